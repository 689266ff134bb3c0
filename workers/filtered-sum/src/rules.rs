//! What the resource says about a record: whether it passes, what it adds, and to which group.

use apache_avro::types::Value;
use naru_contract::FilteredSumWorker;
use naru_rules::filter::{self, EvaluateError, Filter, FilterError, type_name};
use snafu::{OptionExt, Snafu};

use crate::group::{GroupError, group};
use crate::partition::Outcome;

/// Why a record can be neither summed nor dropped.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum Unfit {
    #[snafu(display("expected a record, found {found}"))]
    NotARecord { found: &'static str },
    #[snafu(transparent)]
    Filter { source: EvaluateError },
    #[snafu(display("the record has no field {field:?}, which is to be summed"))]
    MissingField { field: String },
    #[snafu(display(
        "field {field:?}, which is to be summed, is a {found}, expected an int, a long or null"
    ))]
    NotAnInteger { field: String, found: &'static str },
    #[snafu(transparent)]
    Group { source: GroupError },
}

/// The compiled rules of a `FilteredSum`.
#[derive(Clone, Debug)]
pub struct Rules {
    filter: Option<Filter>,
    field: String,
    group_by: Vec<String>,
}

impl Rules {
    pub fn compile(config: &FilteredSumWorker) -> Result<Self, FilterError> {
        Ok(Self {
            filter: config.filter.as_deref().map(filter::compile).transpose()?,
            field: config.field.clone(),
            group_by: config.group_by.clone(),
        })
    }

    /// Whether sums are kept by group too.
    pub fn has_groups(&self) -> bool {
        !self.group_by.is_empty()
    }

    /// A record that the filter drops is not looked at further: it may lack what the others must have.
    pub fn judge(&self, record: &Value) -> Result<Outcome, Unfit> {
        let passes = self
            .filter
            .as_ref()
            .map_or(Ok(true), |filter| filter.matches(record))?;
        if !passes {
            return Ok(Outcome::Dropped);
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
        let value = integer(value).ok_or_else(|| Unfit::NotAnInteger {
            field: field.clone(),
            found: type_name(value),
        })?;
        let group = if self.has_groups() {
            Some(group(&self.group_by, fields)?)
        } else {
            None
        };
        Ok(Outcome::Summed { group, value })
    }
}

/// The outer option is whether it is an integer or null, the inner one whether it is not null.
fn integer(value: &Value) -> Option<Option<i64>> {
    match value {
        Value::Int(value) => Some(Some(i64::from(*value))),
        Value::Long(value) => Some(Some(*value)),
        Value::Null => Some(None),
        Value::Union(_, value) => integer(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(filter: Option<&str>, group_by: &[&str]) -> Rules {
        Rules {
            filter: filter.map(|filter| filter::compile(filter).unwrap()),
            field: "price".to_owned(),
            group_by: group_by.iter().map(|field| (*field).to_owned()).collect(),
        }
    }

    fn record(price: Value) -> Value {
        Value::Record(vec![
            ("price".to_owned(), price),
            ("region".to_owned(), Value::String("Seoul".to_owned())),
        ])
    }

    fn summed(group: Option<&str>, value: Option<i64>) -> Outcome {
        Outcome::Summed {
            group: group.map(str::to_owned),
            value,
        }
    }

    #[test]
    fn a_record_is_summed_or_dropped() {
        let null = || Value::Union(0, Box::new(Value::Null));
        for (filter, price, expected) in [
            (
                Some("price <= 1000000"),
                Value::Long(1_000_000),
                summed(None, Some(1_000_000)),
            ),
            (Some("price <= 1000000"), Value::Long(1_000_001), Outcome::Dropped),
            (
                Some("price <= 1000000"),
                Value::Long(i64::MIN),
                summed(None, Some(i64::MIN)),
            ),
            (Some("price == null"), null(), summed(None, None)),
            (None, Value::Int(-3), summed(None, Some(-3))),
            (
                None,
                Value::Union(1, Box::new(Value::Long(4))),
                summed(None, Some(4)),
            ),
            (None, Value::Null, summed(None, None)),
            // What is dropped need not be a number.
            (
                Some("region != 'Seoul'"),
                Value::String("free".to_owned()),
                Outcome::Dropped,
            ),
        ] {
            assert_eq!(
                rules(filter, &[]).judge(&record(price)),
                Ok(expected),
                "{filter:?}"
            );
        }
        assert_eq!(
            rules(None, &["region"]).judge(&record(Value::Int(1))),
            Ok(summed(Some("Seoul"), Some(1)))
        );
    }

    #[test]
    fn a_record_that_can_be_neither_says_why() {
        for (rules, record, reason) in [
            (rules(None, &[]), Value::Long(1), "expected a record, found long"),
            (
                rules(None, &[]),
                Value::Record(vec![]),
                "the record has no field \"price\", which is to be summed",
            ),
            (
                rules(None, &[]),
                record(Value::Double(1.0)),
                "field \"price\", which is to be summed, is a double, expected an int, a long or null",
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
            assert_eq!(rules.judge(&record).unwrap_err().to_string(), reason);
        }
    }
}
