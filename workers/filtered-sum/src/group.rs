//! The text that names a group: the values of the `groupBy` fields of its records.
//!
//! Values are joined with `|`. Within a value `\` becomes `\\` and `|` becomes `\|`; null is `\N`. So two
//! different lists of values of the same length never have the same text, and most values stand there as they
//! are: fields `region` = `Seoul` and `brand` = null are `Seoul|\N`. Numbers are written in decimal, booleans
//! as `true` and `false`, enums as their symbol.

use std::fmt::{Display, Write};

use apache_avro::Uuid;
use apache_avro::types::Value;
use naru_rules::filter::Scalar;
use snafu::{OptionExt, Snafu, ensure};

/// Most bytes of a group's text: it is part of a record's key, and of a primary key in a database.
pub const MAX_LENGTH: usize = 1024;

/// Why a record has no group.
#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum GroupError {
    #[snafu(display("the record has no field {field:?}, by which it is to be grouped"))]
    MissingField { field: String },
    #[snafu(display(
        "field {field:?}, by which the record is to be grouped, is neither a number without fraction, \
                     a string, an enum, a boolean nor null"
    ))]
    Type { field: String },
    #[snafu(display("the group's text has {length} bytes, expected at most {MAX_LENGTH}"))]
    TooLong { length: usize },
}

/// Makes `text` that of the group that `record` belongs to. After an error it is of no use.
pub fn group(fields: &[String], record: &[(String, Value)], text: &mut String) -> Result<(), GroupError> {
    text.clear();
    for field in fields {
        let (_, value) = record
            .iter()
            .find(|(name, _)| name == field)
            .context(MissingFieldSnafu { field })?;
        append(Scalar::of(value), text).context(TypeSnafu { field })?;
    }
    end(text)
}

/// Puts the next value behind those in `text`. `None` if it is none that a group could be named by.
pub fn append(value: Scalar<'_>, text: &mut String) -> Option<()> {
    match value {
        Scalar::Null => text.push_str("\\N"),
        Scalar::Boolean(value) => text.push_str(if value { "true" } else { "false" }),
        Scalar::Integer(value) | Scalar::Time(value) => push(text, value),
        Scalar::Uuid(high, low) => push(text, Uuid::from_u64_pair(high, low)),
        Scalar::Text(value) if value.contains(['\\', '|']) => {
            for character in value.chars() {
                if matches!(character, '\\' | '|') {
                    text.push('\\');
                }
                text.push(character);
            }
        }
        Scalar::Text(value) => text.push_str(value),
        Scalar::Float(_) | Scalar::Double(_) | Scalar::Decimal { .. } | Scalar::Other => return None,
    }
    text.push('|');
    Some(())
}

/// Ends a text to which all values were appended.
pub fn end(text: &mut String) -> Result<(), GroupError> {
    text.pop();
    ensure!(text.len() <= MAX_LENGTH, TooLongSnafu { length: text.len() });
    Ok(())
}

fn push(text: &mut String, value: impl Display) {
    // A string takes whatever is written to it.
    let _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group_of(values: &[Value]) -> Result<String, GroupError> {
        let fields = (0..values.len())
            .map(|index| format!("f{index}"))
            .collect::<Vec<_>>();
        let record = fields
            .iter()
            .cloned()
            .zip(values.iter().cloned())
            .collect::<Vec<_>>();
        let mut group_text = "of the record before".to_owned();
        group(&fields, &record, &mut group_text).map(|()| group_text)
    }

    fn text(value: &str) -> Value {
        Value::String(value.to_owned())
    }

    #[test]
    fn values_are_joined_and_escaped() {
        let union = |value| Value::Union(1, Box::new(value));
        for (values, expected) in [
            (vec![text("Seoul"), union(Value::Null)], "Seoul|\\N"),
            (vec![text("a|b"), text("c\\")], "a\\|b|c\\\\"),
            (vec![text("\\N")], "\\\\N"),
            (vec![text("")], ""),
            (vec![text(""), text("")], "|"),
            (
                vec![Value::Int(-3), Value::Long(i64::MAX), Value::Boolean(true)],
                "-3|9223372036854775807|true",
            ),
            (
                vec![Value::Enum(0, "USED".to_owned()), union(Value::Date(3))],
                "USED|3",
            ),
        ] {
            assert_eq!(group_of(&values).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_record_without_a_group_says_why() {
        let field = || "f0".to_owned();
        assert_eq!(
            group_of(&[Value::Double(0.5)]),
            Err(GroupError::Type { field: field() })
        );
        assert_eq!(
            group_of(&[Value::Array(vec![])]),
            Err(GroupError::Type { field: field() })
        );
        assert_eq!(
            group(&[field()], &[], &mut String::new()),
            Err(GroupError::MissingField { field: field() })
        );
        assert_eq!(
            group_of(&[text(&"x".repeat(1025))]),
            Err(GroupError::TooLong { length: 1025 })
        );
    }

    proptest! {
        #[test]
        fn different_values_have_different_texts(
            a in prop::collection::vec("[a|\\\\N]{0,4}", 2), b in prop::collection::vec("[a|\\\\N]{0,4}", 2),
        ) {
            let group_of = |values: &[String]| group_of(&values.iter().map(|value| text(value)).collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(a == b, group_of(&a) == group_of(&b));
        }
    }
}
