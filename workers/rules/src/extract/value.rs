//! What was found on a page, and how it is read as a value of a field's type.

use super::FieldType;

/// Integers up to this size are exact as 64-bit floating point numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Text on its way from a page to a value. No text in it is empty or has blanks around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Text(String),
    List(Vec<Option<String>>),
}

impl Found {
    pub(super) fn text(text: &str) -> Option<Self> {
        trimmed(text).map(Self::Text)
    }

    /// Null, objects and lists of lists are no value.
    pub(super) fn json(json: &serde_json::Value) -> Option<Self> {
        match json {
            serde_json::Value::Array(items) => Some(Self::List(items.iter().map(scalar).collect())),
            other => scalar(other).map(Self::Text),
        }
    }
}

/// The text without blanks around it; none when it is empty.
pub(super) fn trimmed(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn scalar(json: &serde_json::Value) -> Option<String> {
    match json {
        serde_json::Value::String(text) => trimmed(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Long(i64),
    Double(f64),
    String(String),
    Boolean(bool),
    StringArray(Vec<Option<String>>),
}

impl Value {
    /// As text, for a record's key; none for a list.
    pub fn as_key(&self) -> Option<String> {
        match self {
            Self::Long(number) => Some(number.to_string()),
            Self::Double(number) => Some(number.to_string()),
            Self::String(text) => Some(text.clone()),
            Self::Boolean(truth) => Some(truth.to_string()),
            Self::StringArray(_) => None,
        }
    }
}

/// `found` as a value of type `field_type`, if it reads as one.
pub(super) fn read(field_type: FieldType, found: Found) -> Option<Value> {
    match (field_type, found) {
        (FieldType::StringArray, Found::List(items)) => Some(Value::StringArray(items)),
        (FieldType::StringArray, Found::Text(text)) => Some(Value::StringArray(vec![Some(text)])),
        (_, Found::List(_)) => None,
        (FieldType::String, Found::Text(text)) => Some(Value::String(text)),
        (FieldType::Long, Found::Text(text)) => long(&text).map(Value::Long),
        (FieldType::Double, Found::Text(text)) => text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Value::Double),
        (FieldType::Boolean, Found::Text(text)) => boolean(&text).map(Value::Boolean),
    }
}

/// Sites write whole numbers as `540000.0` too.
#[expect(
    clippy::cast_possible_truncation,
    reason = "whole numbers below 2^53 are exact"
)]
fn long(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
    })
}

/// Sites write `1` and `Y` for true.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "Y" | "y" => Some(true),
        "0" | "N" | "n" => Some(false),
        _ => text.to_ascii_lowercase().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(field_type: FieldType, text: &str) -> Option<Value> {
        read(field_type, Found::text(text)?)
    }

    #[test]
    fn whole_numbers_read_as_longs_and_nothing_else_does() {
        for (text, expected) in [
            ("163000", Some(163_000)),
            (" -5 ", Some(-5)),
            ("9223372036854775807", Some(i64::MAX)),
            ("540000.0", Some(540_000)),
            ("1.5", None),
            ("9223372036854775808", None),
            ("1e300", None),
            ("NaN", None),
            ("163,000", None),
            ("free", None),
            ("", None),
        ] {
            assert_eq!(
                read_text(FieldType::Long, text),
                expected.map(Value::Long),
                "{text:?}"
            );
        }
    }

    #[test]
    fn doubles_are_finite() {
        assert_eq!(read_text(FieldType::Double, "1.5"), Some(Value::Double(1.5)));
        assert_eq!(read_text(FieldType::Double, "inf"), None);
        assert_eq!(read_text(FieldType::Double, "NaN"), None);
    }

    #[test]
    fn truth_is_written_in_several_ways() {
        for (text, expected) in [
            ("true", Some(true)),
            ("False", Some(false)),
            ("Y", Some(true)),
            ("0", Some(false)),
            ("2", None),
        ] {
            assert_eq!(
                read_text(FieldType::Boolean, text),
                expected.map(Value::Boolean),
                "{text:?}"
            );
        }
    }

    #[test]
    fn objects_and_null_are_no_value_and_null_stays_in_a_list() {
        use serde_json::json;
        assert_eq!(Found::json(&json!({"a": 1})), None);
        assert_eq!(Found::json(&json!(null)), None);
        let list = Found::List(vec![Some("a".to_owned()), None, Some("2".to_owned())]);
        assert_eq!(Found::json(&json!([" a ", null, 2])), Some(list));
    }
}
