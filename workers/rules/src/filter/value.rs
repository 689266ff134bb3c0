//! From Avro to CEL, borrowing text and bytes.

use std::collections::HashMap;

use apache_avro::types::Value;
use cel::common::{
    types::{CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString},
    value::Val,
};

/// `value` in CEL, or the name of the type that has no counterpart there.
pub(super) fn to_cel(value: &Value) -> Result<Box<dyn Val + '_>, &'static str> {
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Boolean(value) => Box::new(CelBool::from(*value)),
        Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => {
            Box::new(CelInt::from(i64::from(*value)))
        }
        Value::Long(value)
        | Value::TimeMicros(value)
        | Value::TimestampMillis(value)
        | Value::TimestampMicros(value)
        | Value::TimestampNanos(value)
        | Value::LocalTimestampMillis(value)
        | Value::LocalTimestampMicros(value)
        | Value::LocalTimestampNanos(value) => Box::new(CelInt::from(*value)),
        Value::Float(value) => Box::new(CelDouble::from(f64::from(*value))),
        Value::Double(value) => Box::new(CelDouble::from(*value)),
        Value::String(value) | Value::Enum(_, value) => Box::new(CelString::from(value.as_str())),
        Value::Uuid(value) => Box::new(CelString::from(value.to_string())),
        Value::Bytes(value) | Value::Fixed(_, value) => Box::new(CelBytes::from(value.as_slice())),
        Value::Union(_, value) => to_cel(value)?,
        Value::Array(items) => Box::new(CelList::from(
            items.iter().map(to_cel).collect::<Result<Vec<_>, _>>()?,
        )),
        Value::Map(entries) => map(entries.iter())?,
        Value::Record(fields) => map(fields.iter().map(|(name, value)| (name, value)))?,
        Value::Decimal(_) | Value::BigDecimal(_) | Value::Duration(_) => return Err(type_name(value)),
    })
}

fn map<'r>(
    entries: impl Iterator<Item = (&'r String, &'r Value)>,
) -> Result<Box<dyn Val + 'r>, &'static str> {
    let mut values = HashMap::new();
    for (key, value) in entries {
        values.insert(CelMapKey::from(key.as_str()), to_cel(value)?);
    }
    Ok(Box::new(CelMap::from(values)))
}

/// What a value is called in messages: the name of its type in an Avro schema.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "boolean",
        Value::Int(_) => "int",
        Value::Long(_) => "long",
        Value::Float(_) => "float",
        Value::Double(_) => "double",
        Value::Bytes(_) => "bytes",
        Value::String(_) => "string",
        Value::Fixed(..) => "fixed",
        Value::Enum(..) => "enum",
        Value::Union(_, value) => type_name(value),
        Value::Array(_) => "array",
        Value::Map(_) => "map",
        Value::Record(_) => "record",
        Value::Date(_) => "date",
        Value::Decimal(_) | Value::BigDecimal(_) => "decimal",
        Value::TimeMillis(_) | Value::TimeMicros(_) => "time",
        Value::TimestampMillis(_) | Value::TimestampMicros(_) | Value::TimestampNanos(_) => "timestamp",
        Value::LocalTimestampMillis(_) | Value::LocalTimestampMicros(_) | Value::LocalTimestampNanos(_) => {
            "local timestamp"
        }
        Value::Duration(_) => "duration",
        Value::Uuid(_) => "uuid",
    }
}
