//! In what a schema counts the time that a field holds.

use apache_avro::Schema;
use apache_avro::types::Value;

/// What one of the numbers is that a field of times holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Days,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    /// Whole milliseconds since the epoch: the last that is not after `time`. `None` if these are too many.
    pub fn milliseconds(self, time: i64) -> Option<i64> {
        match self {
            Self::Days => time.checked_mul(86_400_000),
            Self::Milliseconds => Some(time),
            Self::Microseconds => Some(time.div_euclid(1_000)),
            Self::Nanoseconds => Some(time.div_euclid(1_000_000)),
        }
    }

    /// In what the value is counted, and the number, if it is a date or a timestamp. A local one is taken for one in UTC.
    pub fn of_value(value: &Value) -> Option<(Self, i64)> {
        Some(match value {
            Value::Date(time) => (Self::Days, i64::from(*time)),
            Value::TimestampMillis(time) | Value::LocalTimestampMillis(time) => (Self::Milliseconds, *time),
            Value::TimestampMicros(time) | Value::LocalTimestampMicros(time) => (Self::Microseconds, *time),
            Value::TimestampNanos(time) | Value::LocalTimestampNanos(time) => (Self::Nanoseconds, *time),
            _ => return None,
        })
    }

    /// In what each time is counted that the field may hold. `None` if there is none, or if that depends on the record.
    pub(super) fn of_field(schema: &Schema, name: &str) -> Option<Self> {
        let Schema::Record(record) = schema else {
            return None;
        };
        let field = &record.fields[*record.lookup.get(name)?];
        let schemas = match &field.schema {
            Schema::Union(union) => union.variants(),
            schema => std::slice::from_ref(schema),
        };
        let mut units = schemas.iter().filter_map(Self::of_schema);
        let unit = units.next()?;
        units.all(|other| other == unit).then_some(unit).flatten()
    }

    /// `None` of what holds no time at all, and nothing in it of a time that has no date.
    fn of_schema(schema: &Schema) -> Option<Option<Self>> {
        Some(match schema {
            Schema::Date => Some(Self::Days),
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Some(Self::Milliseconds),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Some(Self::Microseconds),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Some(Self::Nanoseconds),
            Schema::TimeMillis | Schema::TimeMicros => None,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_milliseconds_also_before_the_epoch() {
        for (unit, time, expected) in [
            (Unit::Days, -1, Some(-86_400_000)),
            (Unit::Milliseconds, -1, Some(-1)),
            (Unit::Microseconds, 1_999, Some(1)),
            (Unit::Microseconds, -1, Some(-1)),
            (Unit::Nanoseconds, 1_999_999, Some(1)),
            (Unit::Nanoseconds, -1_000_001, Some(-2)),
            (Unit::Days, i64::MAX, None),
        ] {
            assert_eq!(unit.milliseconds(time), expected, "{time} {unit:?}");
        }
    }

    #[test]
    fn the_unit_of_a_field_is_that_of_all_its_times() {
        let time = |of: &str, logical: &str| format!(r#"{{"type": "{of}", "logicalType": "{logical}"}}"#);
        let millis = time("long", "timestamp-millis");
        let micros = time("long", "timestamp-micros");
        for (field, expected) in [
            (millis.clone(), Some(Unit::Milliseconds)),
            (micros.clone(), Some(Unit::Microseconds)),
            (time("long", "timestamp-nanos"), Some(Unit::Nanoseconds)),
            (time("long", "local-timestamp-millis"), Some(Unit::Milliseconds)),
            (time("int", "date"), Some(Unit::Days)),
            (
                format!(r#"["null", {micros}, "string"]"#),
                Some(Unit::Microseconds),
            ),
            (format!("[{millis}, {}]", time("int", "time-millis")), None),
            (time("long", "time-micros"), None),
            (r#""long""#.to_owned(), None),
        ] {
            let schema = format!(
                r#"{{"type": "record", "name": "R", "fields": [{{"name": "at", "type": {field}}}]}}"#
            );
            let schema = Schema::parse_str(&schema).unwrap();
            assert_eq!(Unit::of_field(&schema, "at"), expected, "{field}");
            assert_eq!(Unit::of_field(&schema, "on"), None);
        }
    }
}
