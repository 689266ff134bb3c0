//! The records of the output topic.
//!
//! Every record is the state of one total at an offset; the newest record of an id is the total, so the topic is
//! compacted and a sink upserts. One without a value says that there is no total of that group any more. The fields are
//! plain columns: no arrays, no maps.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use naru_contract::FilteredSumWorker;
use naru_worker_core::avro::wire;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::accumulator::{Accumulator, MAX_SUM};
use crate::decode::Whole;
use crate::window::{self, Progress, Windowed};

/// The schema of a sum without digits behind the point. By it all totals are coded: where the point is says only the schema
/// that is registered.
const SCHEMA: &str = include_str!("total.avsc");

/// The fields that totals of a sum with windows have behind the others. Others have none of them, so that no table of a sink
/// gets columns which say nothing.
const WINDOWS: &str = include_str!("total-windows.json");

/// The same of a sum whose records take the place of those before of their keys.
const RETRACTED: &str = include_str!("total-retracted.json");

/// Which fields totals have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    Windows,
    Retracted,
}

impl Form {
    /// The one of the totals of this worker.
    pub fn of(config: &FilteredSumWorker) -> Self {
        match (&config.window, &config.keys_topic) {
            (Some(_), _) => Self::Windows,
            (None, Some(_)) => Self::Retracted,
            (None, None) => Self::Plain,
        }
    }
}

/// The schema that is registered under `<output topic>-value`, of sums with so many digits behind the point.
pub fn schema(scale: u8, form: Form) -> String {
    let at_scale = |text: &str| text.replace(r#""scale": 0"#, &format!(r#""scale": {scale}"#));
    match form {
        Form::Plain => at_scale(SCHEMA),
        Form::Windows => joined(&at_scale(SCHEMA), &at_scale(WINDOWS)),
        Form::Retracted => joined(&at_scale(SCHEMA), RETRACTED),
    }
}

fn joined(schema: &str, more: &str) -> String {
    let value = |text| serde_json::from_str::<serde_json::Value>(text).expect("it is parsed by a test");
    let (mut schema, mut more) = (value(schema), value(more));
    if let (Some(fields), Some(more)) = (schema["fields"].as_array_mut(), more.as_array_mut()) {
        fields.append(more);
    }
    schema.to_string()
}

fn parsed(schema: &str) -> Schema {
    Schema::parse_str(schema).expect("the schema is parsed by a test")
}

static PLAIN: LazyLock<Schema> = LazyLock::new(|| parsed(&schema(0, Form::Plain)));
static WITH_WINDOWS: LazyLock<Schema> = LazyLock::new(|| parsed(&schema(0, Form::Windows)));
static WITH_RETRACTED: LazyLock<Schema> = LazyLock::new(|| parsed(&schema(0, Form::Retracted)));
/// By it all totals are read: where fields were not written it has their defaults.
static ALL: LazyLock<Schema> = LazyLock::new(|| parsed(&joined(&schema(0, Form::Windows), RETRACTED)));

/// Next offset of the input that a total does not cover yet, by partition.
pub type Offsets = BTreeMap<i32, i64>;

/// Why a record of the output topic is not a total.
#[derive(Debug, Snafu)]
pub enum TotalError {
    #[snafu(display("it cannot be coded as a total"))]
    Avro { source: Box<apache_avro::Error> },
    #[snafu(display("its field {field:?} is missing or has a value that no total has"))]
    Field { field: &'static str },
}

/// Which records a total covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The records of one partition before `next_offset`.
    Partition { partition: i32, next_offset: i64 },
    /// The records of all partitions before these offsets.
    Overall { offsets: Offsets },
}

impl Scope {
    /// `partition-0`, `partition-0/GROUP`, `total` or `total/GROUP`.
    pub fn id(&self, group: Option<&str>) -> String {
        let mut id = match self {
            Self::Partition { partition, .. } => format!("partition-{partition}"),
            Self::Overall { .. } => "total".to_owned(),
        };
        if let Some(group) = group {
            id.push('/');
            id.push_str(group);
        }
        id
    }
}

/// The total of a group that is gone: of this partition, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    pub partition: Option<i32>,
    pub group: String,
}

impl Removed {
    /// What a record without a value says, by its key. `None` if no total of a group has such a key: others never go.
    pub fn parse(id: &[u8]) -> Option<Self> {
        let (scope, group) = std::str::from_utf8(id).ok()?.split_once('/')?;
        let partition = match scope.strip_prefix("partition-") {
            Some(partition) => Some(partition.parse().ok()?),
            None if scope == "total" => None,
            None => return None,
        };
        Some(Self {
            partition,
            group: group.to_owned(),
        })
    }
}

/// One total: of all records of its scope, or of one group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    pub scope: Scope,
    /// See [`crate::group`], and [`crate::window`] for a sum that has windows. `None`: all records of the scope, whatever their
    /// group.
    pub group: Option<String>,
    /// A group has no `dropped` and no `dead`: what does not pass is not looked at further.
    pub accumulator: Accumulator,
    pub windowed: Windowed,
}

impl Total {
    /// The record's key.
    pub fn id(&self) -> String {
        self.scope.id(self.group.as_deref())
    }

    /// The record's value: framed Avro.
    pub fn encode(&self, schema_id: u32, form: Form) -> Result<Vec<u8>, TotalError> {
        let (scope, partition, next_offset, offsets) = match &self.scope {
            Scope::Partition {
                partition,
                next_offset,
            } => ("partition", Some(*partition), Some(*next_offset), None),
            Scope::Overall { offsets } => ("total", None, None, Some(format_offsets(offsets))),
        };
        let Accumulator {
            count,
            dropped,
            dead,
            late,
            retracted,
            sum,
        } = self.accumulator;
        let has_windows = self.windowed != Windowed::No;
        // The window is told by fields of its own.
        let grouping = match (&self.group, has_windows) {
            (Some(name), true) => window::parse(name)
                .and_then(|(_, group)| group)
                .map(str::to_owned),
            (group, _) => group.clone(),
        };
        let mut fields = vec![
            ("id".to_owned(), Value::String(self.id())),
            ("scope".to_owned(), Value::String(scope.to_owned())),
            ("partition".to_owned(), nullable(partition.map(Value::Int))),
            ("grouping".to_owned(), nullable(grouping.map(Value::String))),
            ("sum".to_owned(), decimal(sum)),
            ("count".to_owned(), Value::Long(count)),
            ("dropped".to_owned(), Value::Long(dropped)),
            ("dead".to_owned(), Value::Long(dead)),
            ("nextOffset".to_owned(), nullable(next_offset.map(Value::Long))),
            ("offsets".to_owned(), nullable(offsets.map(Value::String))),
        ];
        let (start, end, progress) = match self.windowed {
            Windowed::No => Default::default(),
            Windowed::In { start, end } => (Some(start), Some(end), Progress::default()),
            Windowed::All(progress) => (None, None, progress),
        };
        if form == Form::Retracted {
            fields.push(("retracted".to_owned(), Value::Long(retracted)));
        }
        if form == Form::Windows {
            let time = |time: Option<i64>| nullable(time.map(Value::TimestampMillis));
            let Progress { watermark, expired } = progress;
            fields.extend(
                [
                    ("windowStart", time(start)),
                    ("windowEnd", time(end)),
                    ("late", Value::Long(late)),
                    ("watermark", time(watermark)),
                    (
                        "expiredCount",
                        nullable(expired.map(|expired| Value::Long(expired.count))),
                    ),
                    (
                        "expiredSum",
                        nullable(expired.map(|expired| decimal(expired.sum))),
                    ),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            );
        }
        let schema: &Schema = match form {
            Form::Plain => &PLAIN,
            Form::Windows => &WITH_WINDOWS,
            Form::Retracted => &WITH_RETRACTED,
        };
        let datum = GenericDatumWriter::builder(schema)
            .build()
            .and_then(|writer| writer.write_value_to_vec(Value::Record(fields)))
            .map_err(Box::new)
            .context(AvroSnafu)?;
        Ok(wire::encode(schema_id, &datum))
    }

    /// `datum` was written with the schema `writer`, which may be another version of [`SCHEMA`].
    pub fn decode(writer: &Schema, datum: &[u8]) -> Result<Self, TotalError> {
        let value = GenericDatumReader::builder(writer)
            .reader_schema(&ALL)
            .build()
            .and_then(|reader| reader.read_value(&mut Whole(datum)))
            .map_err(Box::new)
            .context(AvroSnafu)?;
        let Value::Record(fields) = value else {
            return FieldSnafu { field: "id" }.fail();
        };
        let mut fields = fields
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect::<BTreeMap<_, _>>();
        let mut take = |field: &'static str| fields.remove(field).context(FieldSnafu { field });
        let accumulator = Accumulator {
            count: long(&take("count")?).context(FieldSnafu { field: "count" })?,
            dropped: long(&take("dropped")?).context(FieldSnafu { field: "dropped" })?,
            dead: long(&take("dead")?).context(FieldSnafu { field: "dead" })?,
            late: long(&take("late")?).context(FieldSnafu { field: "late" })?,
            retracted: long(&take("retracted")?).context(FieldSnafu { field: "retracted" })?,
            sum: integer(&take("sum")?).context(FieldSnafu { field: "sum" })?,
        };
        let grouping = match take("grouping")? {
            Value::String(group) => Some(group),
            _ => None,
        };
        let expired = match take("expiredCount")? {
            Value::Null => None,
            count => Some(Accumulator {
                count: long(&count).context(FieldSnafu {
                    field: "expiredCount",
                })?,
                sum: integer(&take("expiredSum")?).context(FieldSnafu { field: "expiredSum" })?,
                ..Accumulator::default()
            }),
        };
        let watermark = time(&take("watermark")?);
        let windowed = match (time(&take("windowStart")?), time(&take("windowEnd")?)) {
            (Some(start), Some(end)) => Windowed::In { start, end },
            _ if expired.is_some() || watermark.is_some() => Windowed::All(Progress { watermark, expired }),
            _ => Windowed::No,
        };
        let group = match windowed {
            Windowed::In { start, .. } => Some(window::name_of(start, grouping.as_deref())),
            _ => grouping,
        };
        let scope = match (
            take("scope")?,
            take("partition")?,
            take("nextOffset")?,
            take("offsets")?,
        ) {
            (Value::String(scope), Value::Int(partition), Value::Long(next_offset), _)
                if scope == "partition" =>
            {
                Scope::Partition {
                    partition,
                    next_offset,
                }
            }
            (Value::String(scope), _, _, Value::String(offsets)) if scope == "total" => {
                let offsets = parse_offsets(&offsets).context(FieldSnafu { field: "offsets" })?;
                Scope::Overall { offsets }
            }
            _ => return FieldSnafu { field: "scope" }.fail(),
        };
        let total = Self {
            scope,
            group,
            accumulator,
            windowed,
        };
        ensure!(
            take("id")? == Value::String(total.id()),
            FieldSnafu { field: "id" }
        );
        Ok(total)
    }
}

/// `0:123,1:456`: partition 0 is covered before offset 123, partition 1 before offset 456.
fn format_offsets(offsets: &Offsets) -> String {
    let pairs = offsets
        .iter()
        .map(|(partition, offset)| format!("{partition}:{offset}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn parse_offsets(text: &str) -> Option<Offsets> {
    let pair = |pair: &str| {
        let (partition, offset) = pair.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    text.split(',')
        .filter(|text| !text.is_empty())
        .map(pair)
        .collect()
}

fn nullable(value: Option<Value>) -> Value {
    match value {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(value) => Value::Union(1, Box::new(value)),
    }
}

fn plain(value: Value) -> Value {
    match value {
        Value::Union(_, value) => *value,
        value => value,
    }
}

fn decimal(sum: i128) -> Value {
    Value::Decimal(Decimal::from(sum.to_be_bytes()))
}

fn time(value: &Value) -> Option<i64> {
    match value {
        Value::TimestampMillis(time) => Some(*time),
        _ => None,
    }
}

fn long(value: &Value) -> Option<i64> {
    match value {
        Value::Long(value) if *value >= 0 => Some(*value),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i128> {
    let Value::Decimal(value) = value else { return None };
    let bytes = Vec::<u8>::try_from(value).ok()?;
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let (padding, digits) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut wide = [sign; 16];
    wide[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(wide);
    (padding.iter().all(|byte| *byte == sign) && value.checked_abs()? <= MAX_SUM).then_some(value)
}

#[cfg(test)]
mod tests;
