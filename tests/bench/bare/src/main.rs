//! The least that a program can do with a topic: it takes librdkafka's messages in batches and counts them. How fast
//! that goes is what the workers are measured by.
#![allow(unsafe_code, reason = "the Rust client has no batches")]

use std::{ffi::c_int, process::ExitCode, ptr};

use clap::Parser;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    bindings::{
        rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_queue_destroy,
        rd_kafka_queue_get_consumer, rd_kafka_resp_err_t,
    },
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

const BATCH: usize = 10_000;
const WAIT_MS: c_int = 100;

/// Counts the records of a topic, from its start, until there are this many.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap_servers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    records: u64,
}

fn main() -> ExitCode {
    match count(&Arguments::parse()) {
        Ok((records, bytes)) => {
            println!("{records} {bytes} {} {}", cpu_seconds(), peak_kib());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count(arguments: &Arguments) -> KafkaResult<(u64, u64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.bootstrap_servers)
        .set("group.id", "naru-bench-bare")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..arguments.partitions {
        assignment.add_partition_offset(&arguments.topic, partition, Offset::Offset(0))?;
    }
    consumer.assign(&assignment)?;
    let mut messages = vec![ptr::null_mut(); BATCH];
    let (mut records, mut bytes) = (0, 0);
    // SAFETY: the client lives. There is no group, so no rebalance comes this way.
    let queue = unsafe { rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    while records < arguments.records {
        // SAFETY: the queue lives, there is room for that many messages, and each that is returned is destroyed once.
        unsafe {
            let count = rd_kafka_consume_batch_queue(queue, WAIT_MS, messages.as_mut_ptr(), BATCH);
            for message in &messages[..usize::try_from(count).unwrap_or(0)] {
                if (**message).err == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    records += 1;
                    bytes += (**message).len as u64;
                }
                rd_kafka_message_destroy(*message);
            }
        }
    }
    // SAFETY: it is ours and not used any more.
    unsafe { rd_kafka_queue_destroy(queue) }
    Ok((records, bytes))
}

/// Of this process, user and system. The kernel counts in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = peak.and_then(|peak| peak.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
