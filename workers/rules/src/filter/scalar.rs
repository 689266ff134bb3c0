//! A value without parts, as cheap to pass on as a number.

use apache_avro::types::Value;

use crate::decimal::Decimal;

/// What a field holds, borrowed from the bytes that it was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    Null,
    Boolean(bool),
    /// An int or a long.
    Integer(i64),
    /// A date, time or timestamp in its own unit: an int to a filter, and nothing that could be summed.
    Time(i64),
    Float(f32),
    Double(f64),
    /// Its number without the point, in a higher and a lower half as those of [`Self::Uuid`], and how many of its digits are
    /// behind the point: [`Scalar::decimal`].
    Decimal {
        high: u64,
        low: u64,
        scale: u8,
    },
    /// A string or the symbol of an enum.
    Text(&'a str),
    /// Its higher and its lower half: as bytes they would make the others slower to copy.
    Uuid(u64, u64),
    /// Something else, or nothing: who must know looks at the record itself.
    Other,
}

impl<'a> Scalar<'a> {
    /// A decimal.
    pub fn decimal(digits: i128, scale: u8) -> Self {
        let digits = digits.cast_unsigned();
        Self::Decimal {
            high: (digits >> 64) as u64,
            low: digits as u64,
            scale,
        }
    }

    /// The number, if it is one that is counted in tens.
    pub fn as_decimal(&self) -> Option<Decimal> {
        match *self {
            Self::Integer(value) | Self::Time(value) => Some(Decimal::new(i128::from(value), 0)),
            Self::Decimal { high, low, scale } => {
                let digits = u128::from(high) << 64 | u128::from(low);
                Some(Decimal::new(digits.cast_signed(), scale))
            }
            _ => None,
        }
    }

    /// What `value` is, a union being what it holds. A decimal is nothing here: how many of its digits are behind the point
    /// is not known to it, but to the schema.
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
            Value::Float(value) => Self::Float(*value),
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
