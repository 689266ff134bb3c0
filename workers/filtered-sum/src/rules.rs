//! What the resource says about a record: whether it passes, what it adds, and to which group.

use apache_avro::types::Value;
use naru_contract::FilteredSumWorker;
use naru_rules::decimal::{Decimal, MAX_SCALE, Misfit};
use naru_rules::filter::{self, EvaluateError, Filter, FilterError, Scalar, type_name};
use snafu::{OptionExt, Snafu, ensure};

use crate::group::{self, GroupError};
use crate::window::Tumbling;

/// Why a record can be neither summed nor dropped.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum Unfit {
    #[snafu(display("expected a record, found {found}"))]
    NotARecord { found: &'static str },
    #[snafu(transparent)]
    Filter { source: EvaluateError },
    #[snafu(display("the record has no field {field:?}, which is to be summed"))]
    MissingField { field: String },
    #[snafu(display("field {field:?}, which is to be summed, is a {found}, expected {expected} or null"))]
    NotANumber {
        field: String,
        found: &'static str,
        expected: &'static str,
    },
    #[snafu(display("field {field:?}, which is to be summed, is {value}, expected a finite number"))]
    NotFinite { field: String, value: String },
    #[snafu(display(
        "field {field:?}, which is to be summed, has more than {scale} digits behind the point, which is what sum.scale says"
    ))]
    Fraction { field: String, scale: u8 },
    #[snafu(display(
        "field {field:?}, which is to be summed, has more than 38 digits, of which sum.scale puts {scale} behind the point"
    ))]
    TooLarge { field: String, scale: u8 },
    #[snafu(transparent)]
    Group { source: GroupError },
}

/// Why nothing could be summed by a worker's document.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum RulesError {
    #[snafu(transparent)]
    Filter { source: FilterError },
    #[snafu(display("the scale of the sum is {scale}, expected at most {MAX_SCALE}"))]
    Scale { scale: u8 },
    #[snafu(display(
        "the windows of the sum have {size_ms} ms, expected whole seconds, and no more than there are times"
    ))]
    Window { size_ms: u64 },
    #[snafu(display(
        "the sum has windows and keys, of which it can have one: what was added to a window that is closed cannot be taken back"
    ))]
    WindowedKeys,
}

/// What the rules make of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Dropped,
    /// It adds this, or nothing if it is null, to the sum of all and to that of its group. It is in units of the sum's last
    /// digit behind the point.
    Summed(Option<i128>),
}

/// What the sum is counted in.
#[derive(Clone, Copy, Debug)]
struct Unit {
    /// Its digits behind the point.
    scale: u8,
    /// How many of them are one.
    one: i128,
    /// Whether floats and doubles are rounded to it.
    rounds_floats: bool,
}

impl Unit {
    fn new(scale: u8, rounds_floats: bool) -> Self {
        Self {
            scale,
            one: 10_i128.pow(scale.into()),
            rounds_floats,
        }
    }

    /// An int or a long, of which none has too many digits.
    #[inline]
    fn of_integer(self, value: i64) -> i128 {
        i128::from(value) * self.one
    }

    /// Any other number, or that it is none that could be summed.
    fn of_other(self, scalar: &Scalar<'_>) -> Option<Result<i128, Misfit>> {
        match scalar {
            Scalar::Decimal { .. } => Some(scalar.as_decimal()?.at(self.scale)),
            Scalar::Float(value) if self.rounds_floats => {
                Some(Decimal::of_float(*value)?.rounded_at(self.scale))
            }
            Scalar::Double(value) if self.rounds_floats => {
                Some(Decimal::of_double(*value)?.rounded_at(self.scale))
            }
            _ => None,
        }
    }
}

/// The compiled rules of a `FilteredSum`.
///
/// They judge a record by its wanted fields ([`Self::judge_row`]) or as a whole ([`Self::judge`]). The first way is the
/// quick one; it says the same as the second or nothing.
#[derive(Clone, Debug)]
pub struct Rules {
    filter: Option<Filter>,
    field: String,
    unit: Unit,
    group_by: Vec<String>,
    /// Every field that is read, once: those of the filter first, in its order.
    wanted: Vec<String>,
    /// Where among them the filter's end, and which the field to be summed and those to group by are.
    filter_end: usize,
    place: usize,
    group_places: Vec<usize>,
    windows: Option<Windows>,
}

/// How records are put into windows.
#[derive(Clone, Debug)]
pub struct Windows {
    pub rule: Tumbling,
    /// The field with the time, and its place among the wanted ones. `None`: the time that Kafka has of the record.
    pub time: Option<(String, usize)>,
}

impl Windows {
    /// The field with the time.
    pub fn field(&self) -> Option<&str> {
        self.time.as_ref().map(|(field, _)| field.as_str())
    }

    /// Its place in a row.
    pub fn place(&self) -> Option<usize> {
        self.time.as_ref().map(|(_, place)| *place)
    }
}

impl Rules {
    pub fn compile(config: &FilteredSumWorker) -> Result<Self, RulesError> {
        let scale = config.scale;
        ensure!(scale <= MAX_SCALE, ScaleSnafu { scale });
        if let Some(window) = &config.window {
            let size_ms = window.size_ms;
            ensure!(Tumbling::is_possible(window), WindowSnafu { size_ms });
            ensure!(config.keys_topic.is_none(), WindowedKeysSnafu);
        }
        let filter = config.filter.as_deref().map(filter::compile).transpose()?;
        let unit = Unit::new(scale, config.round_floats);
        let rules = Self::new(filter, config.field.clone(), unit, config.group_by.clone());
        Ok(match &config.window {
            Some(window) => rules.in_windows(Tumbling::of(window), window.time.clone()),
            None => rules,
        })
    }

    fn new(filter: Option<Filter>, field: String, unit: Unit, group_by: Vec<String>) -> Self {
        let mut wanted = match &filter {
            Some(filter) => filter.fields().iter().cloned().collect(),
            None => Vec::new(),
        };
        let filter_end = wanted.len();
        let mut place_of = |name: &String| {
            wanted.iter().position(|known| known == name).unwrap_or_else(|| {
                wanted.push(name.clone());
                wanted.len() - 1
            })
        };
        let place = place_of(&field);
        let group_places = group_by.iter().map(place_of).collect();
        Self {
            filter,
            field,
            unit,
            group_by,
            wanted,
            filter_end,
            place,
            group_places,
            windows: None,
        }
    }

    /// The same, by the times in this field, or those that Kafka has of records.
    fn in_windows(mut self, rule: Tumbling, time: Option<String>) -> Self {
        let time = time.map(|field| {
            let known = self.wanted.iter().position(|name| *name == field);
            let place = known.unwrap_or_else(|| {
                self.wanted.push(field.clone());
                self.wanted.len() - 1
            });
            (field, place)
        });
        self.windows = Some(Windows { rule, time });
        self
    }

    /// The fields of a row, in its order.
    pub fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// Whether sums are kept by group too.
    pub fn has_groups(&self) -> bool {
        !self.group_by.is_empty()
    }

    pub fn windows(&self) -> Option<&Windows> {
        self.windows.as_ref()
    }

    /// Judges a record by its wanted fields, and makes `group` the text of its group if it is summed by group. `None`
    /// when that takes more than scalars, and whenever something is wrong.
    pub fn judge_row(&self, row: &[Scalar<'_>], group: &mut String) -> Option<Verdict> {
        if let Some(filter) = &self.filter
            && !filter.holds(row.get(..self.filter_end)?)?
        {
            return Some(Verdict::Dropped);
        }
        let value = match row.get(self.place)? {
            Scalar::Integer(value) => Some(self.unit.of_integer(*value)),
            Scalar::Null => None,
            other => Some(self.unit.of_other(other)?.ok()?),
        };
        if self.has_groups() {
            group.clear();
            for place in &self.group_places {
                group::append(*row.get(*place)?, group)?;
            }
            group::end(group).ok()?;
        }
        Some(Verdict::Summed(value))
    }

    /// Judges a record, and makes `group` the text of its group if it is summed by group. A record that the filter
    /// drops is not looked at further: it may lack what the others must have. `row` has its wanted fields and is needed of
    /// decimals, which are not whole without their schema.
    pub fn judge(&self, record: &Value, row: &[Scalar<'_>], group: &mut String) -> Result<Verdict, Unfit> {
        let passes = self
            .filter
            .as_ref()
            .map_or(Ok(true), |filter| filter.matches(record, &row[..self.filter_end]))?;
        if !passes {
            return Ok(Verdict::Dropped);
        }
        let Value::Record(fields) = record else {
            return NotARecordSnafu {
                found: type_name(record),
            }
            .fail();
        };
        let field = &self.field;
        let (_, value) = fields
            .iter()
            .find(|(name, _)| name == field)
            .context(MissingFieldSnafu { field })?;
        let value = match Scalar::of(value) {
            Scalar::Integer(value) => Some(self.unit.of_integer(value)),
            Scalar::Null => None,
            scalar => Some(self.other(value, scalar, row)?),
        };
        if self.has_groups() {
            group::group(&self.group_by, fields, group)?;
        }
        Ok(Verdict::Summed(value))
    }
}

impl Rules {
    /// What is summed of a field that is neither an integer nor null.
    fn other(&self, value: &Value, scalar: Scalar<'_>, row: &[Scalar<'_>]) -> Result<i128, Unfit> {
        let (field, scale) = (&self.field, self.unit.scale);
        let held = match value {
            Value::Union(_, held) => held,
            held => held,
        };
        let scalar = match held {
            Value::Decimal(_) => row.get(self.place).copied().unwrap_or(scalar),
            _ => scalar,
        };
        match (self.unit.of_other(&scalar), scalar) {
            (Some(Ok(value)), _) => Ok(value),
            (Some(Err(Misfit::Fraction)), _) => FractionSnafu { field, scale }.fail(),
            (Some(Err(Misfit::Large)), _) => TooLargeSnafu { field, scale }.fail(),
            (None, _) if matches!(held, Value::Decimal(_)) => TooLargeSnafu { field, scale }.fail(),
            (None, Scalar::Double(value)) if self.unit.rounds_floats => {
                let value = value.to_string();
                NotFiniteSnafu { field, value }.fail()
            }
            (None, Scalar::Float(value)) if self.unit.rounds_floats => NotFiniteSnafu {
                field,
                value: value.to_string(),
            }
            .fail(),
            (None, _) => NotANumberSnafu {
                field,
                found: match held {
                    Value::BigDecimal(_) => "big-decimal",
                    held => type_name(held),
                },
                expected: match self.unit.rounds_floats {
                    true => "an int, a long, a decimal, a float, a double",
                    false => "an int, a long, a decimal",
                },
            }
            .fail(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(filter: Option<&str>, group_by: &[&str]) -> Rules {
        Rules::new(
            filter.map(|filter| filter::compile(filter).unwrap()),
            "price".to_owned(),
            Unit::new(0, false),
            group_by.iter().map(|field| (*field).to_owned()).collect(),
        )
    }

    fn record(price: Value) -> Value {
        Value::Record(vec![
            ("price".to_owned(), price),
            ("region".to_owned(), Value::String("Seoul".to_owned())),
        ])
    }

    /// What both ways say, which must be the same, and the group's text.
    fn judge(rules: &Rules, record: &Value) -> Result<(Verdict, String), Unfit> {
        let Value::Record(fields) = record else {
            panic!("{record:?}")
        };
        let row = rules.wanted().iter().map(|name| {
            let field = fields.iter().find(|(field, _)| field == name);
            field.map_or(Scalar::Other, |(_, value)| Scalar::of(value))
        });
        let (mut quick_text, mut text) = (String::new(), String::new());
        let row = row.collect::<Vec<_>>();
        let quick = rules.judge_row(&row, &mut quick_text);
        let verdict = rules.judge(record, &row, &mut text);
        assert_eq!(quick, verdict.as_ref().ok().copied(), "{rules:?} {record:?}");
        assert_eq!((quick.is_none(), quick_text), (verdict.is_err(), text.clone()));
        verdict.map(|verdict| (verdict, text))
    }

    fn summed(group: &str, value: Option<i128>) -> (Verdict, String) {
        (Verdict::Summed(value), group.to_owned())
    }

    #[test]
    fn a_record_is_summed_or_dropped() {
        let null = || Value::Union(0, Box::new(Value::Null));
        for (filter, price, expected) in [
            (
                Some("price <= 1000000"),
                Value::Long(1_000_000),
                summed("", Some(1_000_000)),
            ),
            (
                Some("price <= 1000000"),
                Value::Long(1_000_001),
                (Verdict::Dropped, String::new()),
            ),
            (
                Some("price <= 1000000"),
                Value::Long(i64::MIN),
                summed("", Some(i64::MIN.into())),
            ),
            (Some("price == null"), null(), summed("", None)),
            (None, Value::Int(-3), summed("", Some(-3))),
            (
                None,
                Value::Union(1, Box::new(Value::Long(4))),
                summed("", Some(4)),
            ),
            (None, Value::Null, summed("", None)),
            // What is dropped need not be a number.
            (
                Some("region != 'Seoul'"),
                Value::String("free".to_owned()),
                (Verdict::Dropped, String::new()),
            ),
        ] {
            assert_eq!(
                judge(&rules(filter, &[]), &record(price)),
                Ok(expected),
                "{filter:?}"
            );
        }
        assert_eq!(
            judge(&rules(None, &["region"]), &record(Value::Int(1))),
            Ok(summed("Seoul", Some(1)))
        );
    }

    #[test]
    fn a_record_that_can_be_neither_says_why() {
        assert_eq!(
            rules(None, &[]).judge(&Value::Long(1), &[], &mut String::new()),
            Err(Unfit::NotARecord { found: "long" })
        );
        for (rules, record, reason) in [
            (
                rules(None, &[]),
                Value::Record(vec![]),
                "the record has no field \"price\", which is to be summed",
            ),
            (
                rules(None, &[]),
                record(Value::Double(1.0)),
                "field \"price\", which is to be summed, is a double, expected an int, a long, a decimal or null",
            ),
            (
                rules(Some("price < 5"), &[]),
                record(Value::Null),
                "the filter computes with null; of the fields that it reads, null are: price",
            ),
            (
                rules(None, &["brand"]),
                record(Value::Int(1)),
                "the record has no field \"brand\", by which it is to be grouped",
            ),
        ] {
            assert_eq!(judge(&rules, &record).unwrap_err().to_string(), reason);
        }
    }
}
