//! A value without parts, as cheap to pass on as a number.

use apache_avro::types::Value;

/// What a field holds, borrowed from the bytes that it was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    Null,
    Boolean(bool),
    /// An int or a long.
    Integer(i64),
    /// A date, time or timestamp in its own unit: an int to a filter, and nothing that could be summed.
    Time(i64),
    /// A float or a double.
    Double(f64),
    /// A string or the symbol of an enum.
    Text(&'a str),
    /// Its higher and its lower half: as bytes they would make the others slower to copy.
    Uuid(u64, u64),
    /// Something else, or nothing: who must know looks at the record itself.
    Other,
}

impl<'a> Scalar<'a> {
    /// What `value` is, a union being what it holds.
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Union(_, value) => Self::of(value),
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(*value),
            Value::Int(value) => Self::Integer(i64::from(*value)),
            Value::Long(value) => Self::Integer(*value),
            Value::Date(value) | Value::TimeMillis(value) => Self::Time(i64::from(*value)),
            Value::TimeMicros(value)
            | Value::TimestampMillis(value)
            | Value::TimestampMicros(value)
            | Value::TimestampNanos(value)
            | Value::LocalTimestampMillis(value)
            | Value::LocalTimestampMicros(value)
            | Value::LocalTimestampNanos(value) => Self::Time(*value),
            Value::Float(value) => Self::Double(f64::from(*value)),
            Value::Double(value) => Self::Double(*value),
            Value::String(value) | Value::Enum(_, value) => Self::Text(value),
            Value::Uuid(value) => {
                let (high, low) = value.as_u64_pair();
                Self::Uuid(high, low)
            }
            _ => Self::Other,
        }
    }
}
