//! How long after a record was written its total can be read.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use naru_contract::Delivery;
use rdkafka::producer::{BaseRecord, Producer};
use snafu::{OptionExt, ResultExt};

use super::{
    data::{Items, PARTITIONS, producer},
    error::Error,
    figures::percentile,
    pause,
    runs::Place,
    totals::{Format, Totals},
};

const PER_MILLISECOND: u64 = 10;
/// The first seconds are not counted: the worker starts, Kafka makes its own topics.
const WARM_UP: Duration = Duration::from_secs(5);
/// Records that were written and are not known here yet: some seconds of them.
const QUEUE: usize = 100_000;
const WITHIN: Duration = Duration::from_secs(60);

/// Milliseconds.
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Place {
    /// At 10,000 records a second for so long.
    pub(crate) fn latency(
        &self,
        name: &str,
        schema_id: u32,
        (delivery, commit_interval_ms): (Delivery, u64),
        lasting: Duration,
    ) -> Result<Latency, Error> {
        let input = format!("{name}-items");
        self.kafka.create_topic(&input, PARTITIONS);
        let mut config = self.sum(name, &input);
        config.delivery = delivery;
        config.commit_interval_ms = commit_interval_ms;
        let totals = Totals::open(self.kafka.address(), &config.output_topic, Format::Naru)?;
        let mut worker = self.worker(&config)?;

        let servers = self.kafka.address().to_owned();
        let (tell, told) = std::sync::mpsc::sync_channel(QUEUE);
        // Ends by itself after `lasting`, or when nobody listens any more.
        let writing =
            std::thread::spawn(move || write(&servers, &input, Items::new(schema_id), lasting, &tell));
        // Per partition when each record was written that no total covers yet; the first is the one at `covered`.
        let mut written = vec![VecDeque::new(); PARTITIONS as usize];
        let mut covered = vec![0; PARTITIONS as usize];
        let mut latencies = Vec::new();
        let started = Instant::now();
        loop {
            let is_over = writing.is_finished();
            for (partition, at) in told.try_iter() {
                let of: &mut VecDeque<Instant> = &mut written[partition];
                of.push_back(at);
            }
            if is_over && written.iter().all(VecDeque::is_empty) {
                break;
            }
            if started.elapsed() > WITHIN + lasting {
                return Err(Error::new("the totals do not cover all records"));
            }
            let Some((total, seen)) = totals.next(Duration::from_millis(5))? else {
                worker.program.expect_running()?;
                continue;
            };
            // What was written before this total is in the channel by now.
            for (partition, at) in told.try_iter() {
                written[partition].push_back(at);
            }
            let next = total.next_offset.whatever_context("a total covers nothing")?;
            let (written, covered) = (&mut written[total.partition], &mut covered[total.partition]);
            while *covered < next {
                let at = written
                    .pop_front()
                    .whatever_context("a total covers records that nobody wrote")?;
                *covered += 1;
                if at.duration_since(started) > WARM_UP {
                    latencies.push(seen.duration_since(at));
                }
            }
        }
        writing.join().map_err(|_| Error::new("the writer panicked"))??;
        worker.program.end()?;
        latencies.sort_unstable();
        Ok(Latency {
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
        })
    }
}

/// Tells of each record when it was handed to the producer, in the order of offsets: nobody else writes there.
fn write(
    servers: &str,
    topic: &str,
    mut items: Items,
    lasting: Duration,
    tell: &std::sync::mpsc::SyncSender<(usize, Instant)>,
) -> Result<(), Error> {
    let producer = producer(servers, 0)?;
    let started = Instant::now();
    let mut value = Vec::new();
    let mut sent: u64 = 0;
    while started.elapsed() < lasting {
        let due = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) * PER_MILLISECOND;
        while sent < due {
            items.next(&mut value);
            let partition = i32::try_from(sent % PARTITIONS as u64).unwrap_or(0);
            let record = BaseRecord::<[u8], [u8]>::to(topic)
                .partition(partition)
                .payload(&value);
            let at = Instant::now();
            // Told first, since its total must not be seen before.
            if tell.send((usize::try_from(partition).unwrap_or(0), at)).is_err() {
                return Ok(());
            }
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .whatever_context("unable to write a record")?;
            sent += 1;
        }
        producer.poll(Duration::ZERO);
        pause(Duration::from_micros(500));
    }
    producer
        .flush(WITHIN)
        .whatever_context("unable to write the records")
}
