//! Reads all that there is to see, all the time, and checks it as it comes.

mod records;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use apache_avro::Schema;
use naru_contract::{Delivery, Kafka};
use naru_tests::filtered_sum::check::{Fact, Row, Seen, TOTAL, Truth, Violation};
use naru_tests::filtered_sum::{DEAD, GROUP, INPUT, OUTPUT};
use naru_tests::loopback::Consumed;
use naru_worker_core::kafka::{Quiet, config, topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use self::records::{At, at, consumed, hash, letter, same};
use crate::audit::{self, OFFSETS};

/// How often the last stable offsets are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Longest time that one transaction may hide what comes after it: the workers' transaction timeout (10 s), the time
/// between two looks of the coordinator for transactions that have timed out (10 s), and time for a slow machine.
const OPEN: Duration = Duration::from_secs(45);

/// What was checked, by invariant.
pub type Checks = BTreeMap<&'static str, u64>;

pub struct Watch {
    committed: BaseConsumer<Quiet>,
    uncommitted: BaseConsumer<Quiet>,
    group: BaseConsumer<Quiet>,
    outputs: Vec<(String, i32)>,
    partitions: i32,
    /// What is promised of what is read.
    delivery: Delivery,
    schema: Schema,
    truth: Truth,
    seen: Seen,
    /// Totals of input that was not read yet, by output partition.
    waiting: BTreeMap<i32, VecDeque<Row>>,
    newest: BTreeMap<String, Row>,
    /// Records of the input that are to be dead letters, as they are.
    dead: BTreeMap<(i32, i64), Option<Vec<u8>>>,
    letters: BTreeMap<(i32, i64), Option<Vec<u8>>>,
    /// The last offset that was committed, by input partition.
    offsets: BTreeMap<i32, i64>,
    offsets_without_total: BTreeSet<(i32, i64)>,
    totals_without_offset: BTreeSet<(i32, i64)>,
    /// What stands in the log and was not seen by the `read_committed` reader.
    hidden: HashMap<At, u64>,
    /// What only that one has seen so far.
    visible: HashMap<At, u64>,
    open: BTreeMap<(String, i32), (i64, Instant)>,
    looked: Instant,
    pub checks: Checks,
    pub records: u64,
    pub totals: u64,
}

impl Watch {
    /// `kafka` is new, and its topics have this many partitions.
    pub fn new(kafka: &Kafka, partitions: i32, delivery: Delivery) -> Self {
        let create = |settings: &[(&str, &str)]| -> BaseConsumer<Quiet> {
            let mut config = config::reader(kafka);
            settings.iter().for_each(|(name, value)| {
                config.set(*name, *value);
            });
            config.set("enable.partition.eof", "false");
            config
                .create_with_context(Quiet)
                .expect("the configuration is valid")
        };
        let totals = (0..partitions).map(|partition| (OUTPUT.to_owned(), partition));
        let outputs = totals.chain([(DEAD.to_owned(), 0)]).collect::<Vec<_>>();
        let (committed, uncommitted) = (create(&[]), create(&[("isolation.level", "read_uncommitted")]));
        let group = create(&[("group.id", GROUP)]);
        let audited = audited(&group, partitions);
        let inputs = (0..partitions).map(|partition| (INPUT.to_owned(), partition));
        let all = outputs.iter().cloned().chain(inputs).chain([audited]);
        assign(&committed, all);
        assign(&uncommitted, outputs.iter().cloned());
        Self {
            committed,
            uncommitted,
            group,
            outputs,
            partitions,
            delivery,
            schema: Schema::parse_str(TOTAL).expect("the workers use it"),
            truth: Truth::of(&[], true),
            seen: Seen::with(delivery),
            waiting: BTreeMap::new(),
            newest: BTreeMap::new(),
            dead: BTreeMap::new(),
            letters: BTreeMap::new(),
            offsets: BTreeMap::new(),
            offsets_without_total: BTreeSet::new(),
            totals_without_offset: BTreeSet::new(),
            hidden: HashMap::new(),
            visible: HashMap::new(),
            open: BTreeMap::new(),
            looked: Instant::now(),
            checks: Checks::new(),
            records: 0,
            totals: 0,
        }
    }

    /// Takes in what arrives within this time.
    pub fn follow(&mut self, time: Duration) -> Result<(), Violation> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut is_idle = true;
            while let Some(Ok(message)) = self.uncommitted.poll(Duration::ZERO) {
                is_idle = false;
                let (at, hash) = (at(&message), hash(&message));
                match self.visible.remove(&at) {
                    None => drop(self.hidden.insert(at, hash)),
                    Some(seen) => same(&at, seen, hash)?,
                }
            }
            let wait = left.min(Duration::from_millis(5));
            while let Some(Ok(message)) = self.committed.poll(if is_idle { wait } else { Duration::ZERO }) {
                is_idle = false;
                let (at, hash, record) = (at(&message), hash(&message), consumed(&message));
                let letter = (message.topic() == DEAD).then(|| letter(&message));
                self.take(at, hash, &record, letter.flatten())?;
                if Instant::now() > deadline {
                    break;
                }
            }
            self.check_waiting()?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        at: At,
        hash: u64,
        record: &Consumed,
        letter: Option<(i32, i64)>,
    ) -> Result<(), Violation> {
        match at.0.as_str() {
            INPUT => {
                self.records += 1;
                if self.truth.add(record) == Fact::Dead {
                    let place = (record.partition, record.offset);
                    self.dead.insert(place, record.value.clone());
                }
                return Ok(());
            }
            OFFSETS => {
                return match audit::commit(record.key.as_deref(), record.value.as_deref()) {
                    Some((partition, offset)) => self.take_offset(partition, offset),
                    None => Ok(()),
                };
            }
            DEAD => {
                let Some(place) = letter else {
                    return Err(Violation::new(
                        "I5",
                        format!("a dead letter does not say where it is from: {record:?}"),
                    ));
                };
                let before = self.letters.insert(place, record.value.clone());
                let may_come_again = self.is_upsert() && before.as_ref() == Some(&record.value);
                if before.is_some() && !may_come_again {
                    return Err(Violation::new(
                        "I5",
                        format!("the record at {place:?} is a dead letter twice"),
                    ));
                }
            }
            _ => self.take_total(record),
        }
        *self.checks.entry("I6").or_default() += 1;
        match self.hidden.remove(&at) {
            None => drop(self.visible.insert(at, hash)),
            Some(seen) => same(&at, seen, hash)?,
        }
        Ok(())
    }

    /// The order of the log is that in which the broker accepted the commits.
    fn take_offset(&mut self, partition: i32, offset: i64) -> Result<(), Violation> {
        *self.checks.entry("I7").or_default() += 1;
        let before = self.offsets.insert(partition, offset).unwrap_or(-1);
        if offset < before {
            let found =
                format!("after offset {before} of partition {partition} somebody has committed {offset}");
            return Err(Violation::new("I7", found));
        }
        // The overall total goes with the offset of partition 0, changed or not.
        if offset > before && !self.is_upsert() {
            pair(
                &mut self.totals_without_offset,
                &mut self.offsets_without_total,
                (partition, offset),
            );
        }
        Ok(())
    }

    fn take_total(&mut self, record: &Consumed) {
        let row = Row::read(&self.schema, record);
        self.totals += 1;
        if let (Some(partition), Some(offset), None) = (row.partition, row.next_offset, &row.grouping)
            && !self.is_upsert()
        {
            pair(
                &mut self.offsets_without_total,
                &mut self.totals_without_offset,
                (partition, offset),
            );
        }
        self.newest.insert(row.id.clone(), row.clone());
        self.waiting.entry(row.at.0).or_default().push_back(row);
    }

    fn check_waiting(&mut self) -> Result<(), Violation> {
        for rows in self.waiting.values_mut() {
            while let Some(row) = rows.front().filter(|row| self.truth.covers(row)) {
                self.seen.add(&self.truth, row)?;
                count(&mut self.checks, self.delivery, row);
                rows.pop_front();
            }
        }
        Ok(())
    }

    /// What is not as it must be yet, as the violation that it is if it stays so. The input has at least this many records
    /// and is not being written to.
    pub fn unfinished(&self, records: u64) -> Option<Violation> {
        self.unfinished_totals(records)
            .map(|found| Violation::new("I3", found))
            .or_else(|| self.unfinished_offsets().map(|found| Violation::new("I4", found)))
            .or_else(|| self.unfinished_letters().map(|found| Violation::new("I5", found)))
            .or_else(|| {
                let at = self.visible.keys().next()?;
                Some(Violation::new(
                    "I6",
                    format!("the record at {at:?} is not in the log"),
                ))
            })
    }

    fn unfinished_totals(&self, records: u64) -> Option<String> {
        if self.records < records {
            return Some(format!(
                "of {records} records of the input {} were read",
                self.records
            ));
        }
        for (partition, end) in &self.truth.ends {
            let reached = self.reached(*partition);
            if reached.is_none_or(|reached| reached < *end) {
                return Some(format!(
                    "partition {partition} ends at {end}; its total is up to {reached:?}"
                ));
            }
        }
        self.truth.groups().find_map(|group| {
            let id = group.map_or_else(|| "total".to_owned(), |group| format!("total/{group}"));
            let (found, expected) = (
                self.newest.get(&id).map(|row| row.figures),
                self.truth.overall(group),
            );
            (found != Some(expected)).then(|| format!("{id} is {found:?} instead of {expected:?}"))
        })
    }

    fn unfinished_offsets(&self) -> Option<String> {
        let committed = match self.committed_offsets() {
            Ok(committed) => committed,
            Err(error) => return Some(format!("the group's offsets cannot be read: {error}")),
        };
        for partition in self.truth.ends.keys() {
            let (reached, offset) = (self.reached(*partition), committed.get(partition).copied());
            if offset != reached {
                return Some(format!(
                    "the total of partition {partition} is up to {reached:?}, the committed offset is {offset:?}"
                ));
            }
        }
        let pairs = [
            (
                "offsets were committed without a total",
                &self.offsets_without_total,
            ),
            (
                "totals were committed without their offset",
                &self.totals_without_offset,
            ),
        ];
        pairs.into_iter().find_map(|(what, pairs)| {
            let some = pairs.iter().take(5).collect::<Vec<_>>();
            (!some.is_empty()).then(|| format!("{what}: {some:?}"))
        })
    }

    fn unfinished_letters(&self) -> Option<String> {
        if self.letters == self.dead {
            return None;
        }
        let found = self.letters.keys().collect::<BTreeSet<_>>();
        let expected = self.dead.keys().collect::<BTreeSet<_>>();
        let (missing, more) = (expected.difference(&found), found.difference(&expected));
        Some(format!(
            "dead letters: missing are {:?}, too many are {:?}, or they differ",
            missing.take(5).collect::<Vec<_>>(),
            more.take(5).collect::<Vec<_>>()
        ))
    }

    /// Totals and dead letters may come again, and have no offset that goes with them.
    fn is_upsert(&self) -> bool {
        self.delivery == Delivery::IdempotentUpsert
    }

    fn reached(&self, partition: i32) -> Option<i64> {
        self.newest.get(&format!("partition-{partition}"))?.next_offset
    }

    /// The totals are those of the whole input.
    pub fn finished(&mut self) {
        for (invariant, count) in [
            ("I3", self.truth.groups().count()),
            ("I4", self.truth.ends.len()),
            ("I5", self.letters.len()),
        ] {
            *self.checks.entry(invariant).or_default() += count as u64;
        }
    }

    /// Checks what is left once the input is complete: totals that cover markers behind its last record.
    pub fn end(&mut self) -> Result<(), Violation> {
        for row in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.seen.add(&self.truth, &row)?;
            count(&mut self.checks, self.delivery, &row);
        }
        let committed = self
            .committed_offsets()
            .map_err(|error| Violation::new("I4", error))?;
        self.seen.check_end(&self.truth, &committed)
    }

    /// Looks whether a transaction hides what comes after it for too long. All brokers must be there.
    pub fn look(&mut self) -> Result<(), Violation> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        for (topic, partition) in &self.outputs {
            // Asked first, so that what comes in between does not look like a transaction.
            let end = topic::stable_ends(&self.uncommitted, topic, &[*partition]);
            let stable = topic::stable_ends(&self.committed, topic, &[*partition]);
            let (Ok(end), Ok(stable)) = (end, stable) else {
                return Ok(());
            };
            *self.checks.entry("I9").or_default() += 1;
            let key = (topic.clone(), *partition);
            let since = self.open.get(&key).filter(|(before, _)| *before == stable[0]);
            let since = since.map_or_else(Instant::now, |(_, since)| *since);
            if stable[0] >= end[0] {
                self.open.remove(&key);
            } else if since.elapsed() > OPEN {
                let found = format!(
                    "partition {partition} of {topic:?} is stable up to {} of {} for {} s",
                    stable[0],
                    end[0],
                    since.elapsed().as_secs()
                );
                return Err(Violation::new("I9", found));
            } else {
                self.open.insert(key, (stable[0], since));
            }
        }
        Ok(())
    }

    /// A fault of the brokers excuses transactions that are open.
    pub fn excuse(&mut self) {
        self.open.clear();
    }

    /// Records of transactions that were aborted: in the log and not visible.
    pub fn aborted(&self) -> usize {
        self.hidden.len()
    }

    pub fn dead_letters(&self) -> usize {
        self.letters.len()
    }

    /// How far the totals are, all partitions together.
    pub fn progress(&self) -> i64 {
        self.offsets.values().sum()
    }

    /// The newest totals, by their ids.
    pub fn newest(&self) -> &BTreeMap<String, Row> {
        &self.newest
    }

    fn committed_offsets(&self) -> Result<BTreeMap<i32, i64>, String> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(INPUT, 0, self.partitions - 1);
        let answer = self
            .group
            .committed_offsets(asked, Duration::from_secs(5))
            .map_err(|error| error.to_string())?;
        let elements = answer.elements();
        let offsets = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(offsets.collect())
    }
}

/// The partition that holds what the group commits. Kafka makes the topic when somebody first asks for a group.
fn audited(group: &BaseConsumer<Quiet>, partitions: i32) -> (String, i32) {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(INPUT, 0, partitions - 1);
    let mut count = 0;
    naru_tests::loopback::eventually(Duration::from_secs(60), "Kafka keeps offsets of groups", || {
        let answered = group.committed_offsets(asked.clone(), Duration::from_secs(5));
        count = topic::partition_count(group, OFFSETS).unwrap_or(0);
        answered.is_ok() && count > 0
    });
    (OFFSETS.to_owned(), audit::partition_of(GROUP, count))
}

fn assign(consumer: &BaseConsumer<Quiet>, partitions: impl Iterator<Item = (String, i32)>) {
    let mut assignment = TopicPartitionList::new();
    for (topic, partition) in partitions {
        let added = assignment.add_partition_offset(&topic, partition, Offset::Offset(0));
        added.expect("an offset is valid");
    }
    consumer.assign(&assignment).expect("the assignment is valid");
}

/// Takes `one` from those that wait for it, or lets it wait for its other half.
fn pair(halves: &mut BTreeSet<(i32, i64)>, others: &mut BTreeSet<(i32, i64)>, one: (i32, i64)) {
    if !halves.remove(&one) {
        others.insert(one);
    }
}

fn count(checks: &mut Checks, delivery: Delivery, row: &Row) {
    let invariants: &[_] = match (&row.offsets, &row.grouping) {
        (Some(_), _) => &["I8", "I11"],
        // One may come twice.
        (None, None) if delivery == Delivery::ExactlyOnce => &["I1", "I2", "I11"],
        (None, _) => &["I1", "I11"],
    };
    for invariant in invariants {
        *checks.entry(invariant).or_default() += 1;
    }
}
