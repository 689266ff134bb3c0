//! What must hold of the output of a filtered sum, whatever happened to its workers. Pure, and independent of
//! the worker's code: what a record adds is known from the one who wrote it, not from decoding it.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

mod row;

use std::collections::{BTreeMap, BTreeSet};

use naru_contract::Delivery;

use crate::loopback::Consumed;

pub use self::row::{Row, TOTAL, schema_of_totals};

/// What must hold and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// By its number in the list of what must hold, such as `I2`: see the documentation of the verifier.
    pub invariant: &'static str,
    pub found: String,
}

impl Violation {
    pub fn new(invariant: &'static str, found: impl Into<String>) -> Self {
        Self {
            invariant,
            found: found.into(),
        }
    }
}

/// What the record at an offset is to the sum, as its key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Sum { group: String, value: i64 },
    Null { group: String },
    Drop,
    Dead,
}

impl Fact {
    pub fn to_key(&self) -> String {
        match self {
            Self::Sum { group, value } => format!("sum {value} {group}"),
            Self::Null { group } => format!("null {group}"),
            Self::Drop => "drop".to_owned(),
            Self::Dead => "dead".to_owned(),
        }
    }

    /// Of a record of the input, by its key.
    fn of(record: &Consumed) -> Self {
        Self::from_key(std::str::from_utf8(record.key.as_deref().unwrap()).unwrap())
    }

    fn from_key(key: &str) -> Self {
        match key.split(' ').collect::<Vec<_>>()[..] {
            ["sum", value, group] => Self::Sum {
                group: group.to_owned(),
                value: value.parse().unwrap(),
            },
            ["null", group] => Self::Null {
                group: group.to_owned(),
            },
            ["drop"] => Self::Drop,
            ["dead"] => Self::Dead,
            _ => unreachable!("{key:?} is no key that the test wrote"),
        }
    }
}

/// Count, dropped, dead, retracted and sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub count: i64,
    pub dropped: i64,
    pub dead: i64,
    pub retracted: i64,
    pub sum: i128,
}

impl Figures {
    fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::Sum { value, .. } => {
                self.count += 1;
                self.sum += i128::from(*value);
            }
            Fact::Null { .. } => self.count += 1,
            Fact::Drop => self.dropped += 1,
            Fact::Dead => self.dead += 1,
        }
    }

    fn take_back(&mut self, fact: &Fact) {
        self.retracted += 1;
        if let Fact::Sum { value, .. } = fact {
            self.sum -= i128::from(*value);
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            dropped: self.dropped + other.dropped,
            dead: self.dead + other.dead,
            retracted: self.retracted + other.retracted,
            sum: self.sum + other.sum,
        }
    }
}

type Prefixes = Vec<(i64, Figures)>;

/// The input, and the figures of every prefix of it.
#[derive(Debug, Default)]
pub struct Truth {
    has_groups: bool,
    /// Offset and figures up to and with it, by partition and group (`None`: all).
    prefixes: BTreeMap<(i32, Option<String>), Prefixes>,
    /// Offset after the last record, by partition.
    pub ends: BTreeMap<i32, i64>,
    /// Where records stand that cannot be summed.
    pub dead: BTreeSet<(i32, i64)>,
    pub groups: BTreeSet<String>,
    /// How many keys add something, by [`Self::keyed`].
    pub keys: usize,
}

impl Truth {
    /// `input` are the committed records of the input topic, ordered within each partition.
    pub fn of(input: &[Consumed], has_groups: bool) -> Self {
        Self::by(input, has_groups, |_, fact| fact)
    }

    /// The same by rules that make something else of a record than its key says.
    pub fn by(input: &[Consumed], has_groups: bool, rules: impl Fn(&Consumed, Fact) -> Fact) -> Self {
        let mut truth = Self {
            has_groups,
            ..Self::default()
        };
        for record in input {
            truth.put(record, &rules(record, Fact::of(record)));
        }
        truth
    }

    /// The same where a record takes the place of the one before of its key, unless it is a dead letter. `fact` says what a
    /// record is by itself.
    pub fn keyed(input: &[Consumed], has_groups: bool, fact: impl Fn(&Consumed) -> Fact) -> Self {
        let mut truth = Self {
            has_groups,
            ..Self::default()
        };
        let mut last = BTreeMap::new();
        for record in input {
            let fact = fact(record);
            if fact != Fact::Dead {
                let key = (record.partition, record.key.clone().unwrap());
                if let Some(before) = last.remove(&key) {
                    truth.each(record, &before, |figures| figures.take_back(&before));
                }
                if fact != Fact::Drop {
                    last.insert(key, fact.clone());
                }
            }
            truth.put(record, &fact);
        }
        truth.keys = last.len();
        truth
    }

    /// Takes in the next record of a partition, and says what it is to the sum.
    pub fn add(&mut self, record: &Consumed) -> Fact {
        let fact = Fact::of(record);
        self.put(record, &fact);
        fact
    }

    fn put(&mut self, record: &Consumed, fact: &Fact) {
        self.each(record, fact, |figures| figures.add(fact));
        if *fact == Fact::Dead {
            self.dead.insert((record.partition, record.offset));
        }
        self.ends.insert(record.partition, record.offset + 1);
    }

    /// Changes the figures of all and of the group of `fact` from `record` on.
    fn each(&mut self, record: &Consumed, fact: &Fact, change: impl Fn(&mut Figures)) {
        self.extend(record.partition, None, record.offset, &change);
        match fact {
            Fact::Sum { group, .. } | Fact::Null { group } if self.has_groups => {
                self.extend(record.partition, Some(group.clone()), record.offset, &change);
                self.groups.insert(group.clone());
            }
            _ => {}
        }
    }

    /// Whether all that `row` is about is known.
    pub fn covers(&self, row: &Row) -> bool {
        let known = |partition: i32, end: i64| self.ends.get(&partition).copied().unwrap_or(0) >= end;
        match (&row.offsets, row.partition, row.next_offset) {
            (Some(offsets), ..) => offsets.iter().all(|(partition, end)| known(*partition, *end)),
            (None, Some(partition), Some(end)) => known(partition, end),
            _ => true,
        }
    }

    /// The groups and, as `None`, all.
    pub fn groups(&self) -> impl Iterator<Item = Option<&str>> {
        let groups = self.groups.iter().map(|group| Some(group.as_str()));
        groups.chain([None])
    }

    fn extend(&mut self, partition: i32, group: Option<String>, offset: i64, change: impl Fn(&mut Figures)) {
        let prefixes = self.prefixes.entry((partition, group)).or_default();
        let mut figures = prefixes
            .last()
            .map_or_else(Figures::default, |(_, figures)| *figures);
        change(&mut figures);
        prefixes.push((offset, figures));
    }

    /// The figures of the records of `partition` before offset `end`.
    pub fn prefix(&self, partition: i32, group: Option<&str>, end: i64) -> Figures {
        let key = (partition, group.map(str::to_owned));
        let prefixes = self.prefixes.get(&key).map_or(&[][..], Vec::as_slice);
        let covered = prefixes.partition_point(|(offset, _)| *offset < end);
        covered
            .checked_sub(1)
            .map_or_else(Figures::default, |last| prefixes[last].1)
    }

    pub fn records(&self) -> i64 {
        let Figures {
            count, dropped, dead, ..
        } = self.overall(None);
        count + dropped + dead
    }

    /// The figures of everything.
    pub fn overall(&self, group: Option<&str>) -> Figures {
        self.ends
            .iter()
            .fold(Figures::default(), |sum, (partition, end)| {
                sum.plus(self.prefix(*partition, group, *end))
            })
    }
}

/// The totals that were visible so far, in the order of each output partition.
#[derive(Debug, Default)]
pub struct Seen {
    /// What is promised of them.
    delivery: Delivery,
    covered: BTreeMap<i32, i64>,
    /// Groups without the total of their transaction yet, by output partition: their next offset.
    open: BTreeMap<i32, i64>,
    version: i64,
    last: BTreeMap<String, Row>,
}

impl Seen {
    /// None yet. `exactlyOnce` promises that every total is right, that none comes twice or goes back and that the last ones
    /// cover everything. `idempotentUpsert` promises of every total that it is right, in any order and however often, and of
    /// the last ones [`Self::check_end`].
    pub fn with(delivery: Delivery) -> Self {
        Self {
            delivery,
            ..Self::default()
        }
    }

    /// Checks the next total that was visible in its partition.
    pub fn add(&mut self, truth: &Truth, row: &Row) -> Result<(), Violation> {
        check_row(truth, row)?;
        if self.delivery == Delivery::ExactlyOnce {
            self.check_after_others(row)?;
        }
        self.last.insert(row.id.clone(), row.clone());
        Ok(())
    }

    fn check_after_others(&mut self, row: &Row) -> Result<(), Violation> {
        match (&row.offsets, row.next_offset) {
            (None, Some(next_offset)) => self.check_order(row, next_offset)?,
            (Some(offsets), _) => {
                let version = offsets.values().sum();
                if version < self.version {
                    return Err(Violation::new(
                        "I8",
                        format!("after version {} comes {row:?}", self.version),
                    ));
                }
                self.version = version;
            }
            (None, None) => return Err(neither(row)),
        }
        Ok(())
    }

    /// The groups of a transaction stand before the total of their partition, and no total covers what another covers.
    fn check_order(&mut self, row: &Row, next_offset: i64) -> Result<(), Violation> {
        let before = self.covered.get(&row.at.0).copied().unwrap_or(-1);
        if next_offset <= before {
            return Err(Violation::new(
                "I2",
                format!("after a total up to {before} comes {row:?}"),
            ));
        }
        let open = self.open.insert(row.at.0, next_offset);
        if open.is_some_and(|open| open != next_offset) {
            let found =
                format!("groups up to {open:?} stand without the total of their partition before {row:?}");
            return Err(Violation::new("I6", found));
        }
        if row.grouping.is_none() {
            self.open.remove(&row.at.0);
            self.covered.insert(row.at.0, next_offset);
        }
        Ok(())
    }

    /// Whether the last totals cover everything. `committed` is what the group has committed, by partition.
    pub fn check_end(&self, truth: &Truth, committed: &BTreeMap<i32, i64>) -> Result<(), Violation> {
        for (partition, end) in &truth.ends {
            let row = self.last.get(&format!("partition-{partition}"));
            let reached = row.and_then(|row| row.next_offset);
            let committed = committed.get(partition).copied();
            let found =
                format!("partition {partition} ends at {end}; totals: {reached:?}, offset: {committed:?}");
            // Behind the last record may be markers of transactions, which the totals cover or not.
            if reached.is_none_or(|reached| reached < *end) {
                return Err(Violation::new("I3", found));
            }
            if committed != reached {
                return Err(Violation::new("I4", found));
            }
        }
        for (partition, group) in truth.prefixes.keys() {
            let Some(group) = group else { continue };
            let id = format!("partition-{partition}/{group}");
            let found = self.last.get(&id).map(|row| row.figures);
            let expected = truth.prefix(*partition, Some(group), truth.ends[partition]);
            if found != Some(expected) {
                let found = format!("{id} is {found:?} instead of {expected:?}");
                return Err(Violation::new("I3", found));
            }
        }
        for group in truth.groups() {
            let id = group.map_or_else(|| "total".to_owned(), |group| format!("total/{group}"));
            let found = self.last.get(id.as_str()).map(|row| row.figures);
            let expected = truth.overall(group);
            if found != Some(expected) {
                return Err(Violation::new(
                    "I3",
                    format!("{id} is {found:?} instead of {expected:?}"),
                ));
            }
        }
        Ok(())
    }
}

/// Checks upserts. Of the last ones, [`Seen::check_end`] says whether they cover everything yet.
pub fn check_each(truth: &Truth, rows: &[Row]) -> Result<Seen, Violation> {
    let mut seen = Seen::with(Delivery::IdempotentUpsert);
    rows.iter()
        .try_for_each(|row| seen.add(truth, row))
        .map(|()| seen)
}

/// Checks all totals of transactions. `committed` is what the group has committed, by partition.
pub fn check(truth: &Truth, rows: &[Row], committed: &BTreeMap<i32, i64>) -> Result<(), Violation> {
    let mut seen = Seen::with(Delivery::ExactlyOnce);
    rows.iter().try_for_each(|row| seen.add(truth, row))?;
    seen.check_end(truth, committed)
}

fn neither(row: &Row) -> Violation {
    Violation::new(
        "I1",
        format!("neither a total of a partition nor of all: {row:?}"),
    )
}

fn check_row(truth: &Truth, row: &Row) -> Result<(), Violation> {
    let group = row.grouping.as_deref();
    let (name, expected) = match (&row.offsets, row.partition, row.next_offset) {
        (Some(offsets), None, None) => {
            let parts = offsets
                .iter()
                .map(|(partition, end)| truth.prefix(*partition, group, *end));
            ("total".to_owned(), parts.fold(Figures::default(), Figures::plus))
        }
        (None, Some(partition), Some(end)) => {
            if partition != row.at.0 {
                return Err(Violation::new(
                    "I1",
                    format!("in the wrong output partition: {row:?}"),
                ));
            }
            (
                format!("partition-{partition}"),
                truth.prefix(partition, group, end),
            )
        }
        _ => return Err(neither(row)),
    };
    let id = group.map_or_else(|| name.clone(), |group| format!("{name}/{group}"));
    if row.id != id || row.key != id || row.scope != name.split('-').next().unwrap_or_default() {
        return Err(Violation::new(
            "I1",
            format!("expected id and key {id:?}: {row:?}"),
        ));
    }
    if row.figures != expected {
        let invariant = if row.offsets.is_some() { "I8" } else { "I1" };
        return Err(Violation::new(
            invariant,
            format!("expected {expected:?}: {row:?}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
