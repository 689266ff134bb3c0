//! What must hold of the output of a filtered sum, whatever happened to its workers. Pure, and independent of
//! the worker's code: what a record adds is known from the one who wrote it, not from decoding it.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a module of tests")]

use std::collections::{BTreeMap, BTreeSet};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::{Schema, types::Value};
use naru_tests::loopback::Consumed;

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

/// Count, dropped, dead and sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub count: i64,
    pub dropped: i64,
    pub dead: i64,
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

    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            dropped: self.dropped + other.dropped,
            dead: self.dead + other.dead,
            sum: self.sum + other.sum,
        }
    }
}

type Prefixes = Vec<(i64, Figures)>;

/// The input, and the figures of every prefix of it.
pub struct Truth {
    /// Offset and figures up to and with it, by partition and group (`None`: all).
    prefixes: BTreeMap<(i32, Option<String>), Prefixes>,
    /// Offset after the last record, by partition.
    pub ends: BTreeMap<i32, i64>,
    /// Where records stand that cannot be summed.
    pub dead: BTreeSet<(i32, i64)>,
    groups: BTreeSet<String>,
}

impl Truth {
    /// `input` are the committed records of the input topic, ordered within each partition.
    pub fn of(input: &[Consumed], has_groups: bool) -> Self {
        let mut truth = Self {
            prefixes: BTreeMap::new(),
            ends: BTreeMap::new(),
            dead: BTreeSet::new(),
            groups: BTreeSet::new(),
        };
        for record in input {
            let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
            let fact = Fact::from_key(&key);
            truth.extend(record.partition, None, record.offset, &fact);
            match &fact {
                Fact::Sum { group, .. } | Fact::Null { group } if has_groups => {
                    truth.extend(record.partition, Some(group.clone()), record.offset, &fact);
                    truth.groups.insert(group.clone());
                }
                Fact::Dead => {
                    truth.dead.insert((record.partition, record.offset));
                }
                _ => {}
            }
            truth.ends.insert(record.partition, record.offset + 1);
        }
        truth
    }

    fn extend(&mut self, partition: i32, group: Option<String>, offset: i64, fact: &Fact) {
        let prefixes = self.prefixes.entry((partition, group)).or_default();
        let mut figures = prefixes
            .last()
            .map_or_else(Figures::default, |(_, figures)| *figures);
        figures.add(fact);
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

/// A record of the output topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub at: (i32, i64),
    pub key: String,
    pub id: String,
    pub scope: String,
    pub partition: Option<i32>,
    pub grouping: Option<String>,
    pub figures: Figures,
    pub next_offset: Option<i64>,
    pub offsets: Option<BTreeMap<i32, i64>>,
}

impl Row {
    pub fn read(schema: &Schema, record: &Consumed) -> Self {
        let value = record.value.as_deref().unwrap();
        assert_eq!(value[0], 0, "Confluent's framing");
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        let Value::Record(fields) = reader.read_value(&mut &value[5..]).unwrap() else {
            unreachable!()
        };
        let fields = fields.into_iter().collect::<BTreeMap<_, _>>();
        let text = |name: &str| match &fields[name] {
            Value::String(text) => Some(text.clone()),
            Value::Union(_, value) => match &**value {
                Value::String(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let number = |name: &str| match &fields[name] {
            Value::Long(number) => Some(*number),
            Value::Union(_, value) => match **value {
                Value::Long(number) => Some(number),
                Value::Int(number) => Some(i64::from(number)),
                _ => None,
            },
            _ => None,
        };
        let Value::Decimal(sum) = &fields["sum"] else {
            unreachable!()
        };
        let sum: Vec<u8> = sum.try_into().unwrap();
        let offsets = text("offsets").map(|text| {
            let pairs = text.split(',').map(|pair| pair.split_once(':').unwrap());
            pairs
                .map(|(partition, offset)| (partition.parse().unwrap(), offset.parse().unwrap()))
                .collect()
        });
        Self {
            at: (record.partition, record.offset),
            key: String::from_utf8(record.key.clone().unwrap()).unwrap(),
            id: text("id").unwrap(),
            scope: text("scope").unwrap(),
            partition: number("partition").map(|number| i32::try_from(number).unwrap()),
            grouping: text("grouping"),
            figures: Figures {
                count: number("count").unwrap(),
                dropped: number("dropped").unwrap(),
                dead: number("dead").unwrap(),
                sum: i128::from_be_bytes(sum.try_into().unwrap()),
            },
            next_offset: number("nextOffset"),
            offsets,
        }
    }
}

/// Checks every total that was ever visible, and that the last ones cover everything. `committed` is what the group
/// has committed, by partition.
pub fn check(truth: &Truth, rows: &[Row], committed: &BTreeMap<i32, i64>) -> Result<(), String> {
    let mut covered = BTreeMap::<i32, i64>::new();
    let mut version = -1;
    let mut last = BTreeMap::<&str, &Row>::new();
    for row in rows {
        check_row(truth, row)?;
        match (&row.offsets, row.next_offset) {
            (None, Some(next_offset)) => {
                let before = covered.insert(row.at.0, next_offset).unwrap_or(-1);
                let grows = if row.grouping.is_none() {
                    next_offset > before
                } else {
                    next_offset >= before
                };
                // The groups of a transaction stand before the total of their partition.
                if row.grouping.is_some() {
                    covered.insert(row.at.0, before);
                }
                if !grows {
                    return Err(format!("after a total up to {before} comes {row:?}"));
                }
            }
            (Some(offsets), None) => {
                let next: i64 = offsets.values().sum();
                if next < version {
                    return Err(format!("after version {version} comes {row:?}"));
                }
                version = next;
            }
            _ => return Err(format!("neither a total of a partition nor of all: {row:?}")),
        }
        last.insert(&row.id, row);
    }
    for (partition, end) in &truth.ends {
        let row = last.get(format!("partition-{partition}").as_str());
        let reached = row.and_then(|row| row.next_offset);
        let committed = committed.get(partition).copied();
        // Behind the last record may be markers of transactions, which the totals cover or not.
        if reached.is_none_or(|reached| reached < *end) || committed != reached {
            return Err(format!(
                "partition {partition} ends at {end}; totals: {reached:?}, offset: {committed:?}"
            ));
        }
    }
    let groups = truth.groups.iter().map(|group| Some(group.as_str()));
    for group in groups.chain([None]) {
        let id = group.map_or_else(|| "total".to_owned(), |group| format!("total/{group}"));
        let found = last.get(id.as_str()).map(|row| row.figures);
        let expected = truth.overall(group);
        if found != Some(expected) {
            return Err(format!("{id} is {found:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

fn check_row(truth: &Truth, row: &Row) -> Result<(), String> {
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
                return Err(format!("in the wrong output partition: {row:?}"));
            }
            (
                format!("partition-{partition}"),
                truth.prefix(partition, group, end),
            )
        }
        _ => return Err(format!("neither a total of a partition nor of all: {row:?}")),
    };
    let id = group.map_or_else(|| name.clone(), |group| format!("{name}/{group}"));
    if row.id != id || row.key != id || row.scope != name.split('-').next().unwrap_or_default() {
        return Err(format!("expected id and key {id:?}: {row:?}"));
    }
    if row.figures != expected {
        return Err(format!("expected {expected:?}: {row:?}"));
    }
    Ok(())
}

fn record(partition: i32, offset: i64, fact: &Fact) -> Consumed {
    Consumed {
        partition,
        offset,
        key: Some(fact.to_key().into_bytes()),
        value: None,
    }
}

fn example() -> (Truth, Vec<Row>, BTreeMap<i32, i64>) {
    let sum = |value| Fact::Sum {
        group: "a".to_owned(),
        value,
    };
    let input = [
        record(0, 0, &sum(5)),
        record(0, 1, &Fact::Drop),
        record(0, 3, &sum(7)),
        record(1, 0, &Fact::Dead),
    ];
    let row = |partition, offset, grouping: Option<&str>, next_offset, (count, dropped, dead, sum)| {
        let id = grouping.map_or_else(
            || format!("partition-{partition}"),
            |group| format!("partition-{partition}/{group}"),
        );
        Row {
            at: (partition, offset),
            key: id.clone(),
            id,
            scope: "partition".to_owned(),
            partition: Some(partition),
            grouping: grouping.map(str::to_owned),
            figures: Figures {
                count,
                dropped,
                dead,
                sum,
            },
            next_offset: Some(next_offset),
            offsets: None,
        }
    };
    let total = |offset, grouping: Option<&str>, offsets: &[(i32, i64)], figures| {
        let id = grouping.map_or_else(|| "total".to_owned(), |group| format!("total/{group}"));
        Row {
            key: id.clone(),
            id,
            scope: "total".to_owned(),
            partition: None,
            next_offset: None,
            offsets: Some(offsets.iter().copied().collect()),
            ..row(0, offset, grouping, 0, figures)
        }
    };
    let rows = vec![
        row(0, 0, Some("a"), 2, (1, 0, 0, 5)),
        row(0, 1, None, 2, (1, 1, 0, 5)),
        row(0, 3, Some("a"), 4, (2, 0, 0, 12)),
        row(0, 4, None, 4, (2, 1, 0, 12)),
        total(5, Some("a"), &[(0, 4), (1, 1)], (2, 0, 0, 12)),
        total(6, None, &[(0, 4), (1, 1)], (2, 1, 1, 12)),
        row(1, 0, None, 1, (0, 0, 1, 0)),
    ];
    (Truth::of(&input, true), rows, BTreeMap::from([(0, 4), (1, 1)]))
}

#[test]
fn the_check_passes_what_is_right() {
    let (truth, rows, committed) = example();
    assert_eq!(check(&truth, &rows, &committed), Ok(()));
}

#[test]
fn the_check_finds_every_kind_of_wrong_output() {
    type Break = fn(&mut Vec<Row>, &mut BTreeMap<i32, i64>);
    let breaks: [(&str, Break); 12] = [
        ("an intermediate sum", |rows, _| rows[1].figures.sum = 6),
        ("a total's sum", |rows, _| rows[5].figures.sum = 17),
        ("the offset before the next", |rows, _| {
            rows[3].next_offset = Some(3)
        }),
        ("an offset further on", |rows, _| rows[1].next_offset = Some(4)),
        ("a total written twice", |rows, _| rows.insert(4, rows[3].clone())),
        ("a total that goes back", |rows, _| rows.swap(1, 3)),
        ("a missing last total", |rows, _| drop(rows.remove(3))),
        ("a missing overall total", |rows, _| rows.truncate(4)),
        ("a missing group", |rows, _| drop(rows.remove(4))),
        ("another key", |rows, _| rows[1].key = "partition-1".to_owned()),
        ("a committed offset that lags", |_, committed| {
            *committed.get_mut(&0).unwrap() = 3
        }),
        ("no committed offset", |_, committed| {
            committed.retain(|partition, _| *partition != 1)
        }),
    ];
    for (what, damage) in breaks {
        let (truth, mut rows, mut committed) = example();
        damage(&mut rows, &mut committed);
        assert!(check(&truth, &rows, &committed).is_err(), "{what}");
    }
}
