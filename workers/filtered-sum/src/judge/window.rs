//! What becomes of a message of a sum with windows: the window that its time is in.

use apache_avro::types::Value;
use jiff::Timestamp;
use naru_rules::filter::{Scalar, type_name};
use naru_worker_core::run::chain;
use snafu::{OptionExt, Snafu};

use super::{FEW, Judge};
use crate::decode::Unit;
use crate::partition::Outcome;
use crate::rules::{Verdict, Windows};
use crate::window;

/// How far the time in a field may be ahead of the one at which the record was written, ms: more than a clock or a time zone
/// is wrong. It would close all windows up to it.
const AHEAD: i64 = 24 * 3_600_000;

/// Why a record is in no window.
#[derive(Debug, PartialEq, Eq, Snafu)]
enum Timeless {
    #[snafu(display("the record has no field {field:?}, by whose time it is to be put into a window"))]
    Missing { field: String },
    #[snafu(display(
        "field {field:?}, by whose time the record is to be put into a window, is {found}, expected a timestamp or a date"
    ))]
    NoTime { field: String, found: String },
    #[snafu(display("Kafka has no timestamp of the record, by which it is to be put into a window"))]
    Unwritten,
    #[snafu(display(
        "field {field:?}, by whose time the record is to be put into a window, is {time}, which is more than 24 h after the \
         record was written, at {written}"
    ))]
    Ahead {
        field: String,
        time: Timestamp,
        written: Timestamp,
    },
    #[snafu(display(
        "the time of the record, {time}, is in no window, expected one from the year 0 to 9999"
    ))]
    OutOfRange { time: String },
}

/// The name of a window, and of what a group has in it: memory that is used again, and the name of the last start.
#[derive(Debug, Default)]
pub(super) struct Named {
    start: Option<i64>,
    text: String,
    length: usize,
}

impl Named {
    fn set(&mut self, start: i64, group: Option<&str>) {
        if self.start != Some(start) {
            window::name(start, &mut self.text);
            self.start = Some(start);
            self.length = self.text.len();
        }
        self.text.truncate(self.length);
        window::append(group, &mut self.text);
    }
}

impl Judge {
    /// What the message is to a sum, with windows or without, or why it is a dead letter. `written` is Kafka's time of it, in ms
    /// since the epoch.
    pub fn judge_at(&mut self, message: &[u8], written: Option<i64>) -> Result<Outcome<'_>, String> {
        let (verdict, time) = match self.project_at(message)? {
            Some(found) => found,
            None => self.decode_at(message)?,
        };
        let Some(windows) = self.rules.windows() else {
            return self.judge(message);
        };
        let Verdict::Summed(value) = verdict else {
            return Ok(Outcome::Dropped);
        };
        let (start, time) = place(windows, time, written).map_err(|error| error.to_string())?;
        let group = self.rules.has_groups().then_some(self.group.as_str());
        self.named.set(start, group);
        Ok(Outcome::Windowed {
            name: &self.named.text,
            start,
            time,
            value,
        })
    }

    /// The verdict and the time of the record, if it is in a field, by the wanted fields alone.
    fn project_at(&mut self, message: &[u8]) -> Result<Option<(Verdict, Option<i64>)>, String> {
        let place = self.rules.windows().and_then(Windows::place);
        let mut few = [Scalar::Other; FEW];
        let mut many;
        let row = match few.get_mut(..self.rules.wanted().len()) {
            Some(few) => few,
            None => {
                many = vec![Scalar::Other; self.rules.wanted().len()];
                &mut many[..]
            }
        };
        let is_record = self
            .decoder
            .project(message, row)
            .map_err(|error| chain(&error))?;
        let verdict = is_record.then(|| self.rules.judge_row(row, &mut self.group));
        Ok(match (verdict.flatten(), place) {
            (None, _) => None,
            (Some(Verdict::Summed(value)), Some(place)) => {
                let time = match (row.get(place), self.decoder.unit(message)) {
                    (Some(Scalar::Time(time)), Some(unit)) => unit.milliseconds(*time),
                    _ => None,
                };
                // What is wrong with it is seen in the whole record.
                time.map(|time| (Verdict::Summed(value), Some(time)))
            }
            (Some(verdict), _) => Some((verdict, None)),
        })
    }

    /// The same by the whole record.
    fn decode_at(&mut self, message: &[u8]) -> Result<(Verdict, Option<i64>), String> {
        let verdict = self.decode(message)?;
        let field = self.rules.windows().and_then(Windows::field);
        let (Verdict::Summed(_), Some(field)) = (verdict, field) else {
            return Ok((verdict, None));
        };
        let record = self.decoder.decode(message).map_err(|error| chain(&error))?;
        let time = time(field, &record).map_err(|error| error.to_string())?;
        Ok((verdict, Some(time)))
    }
}

/// What the field says, in ms since the epoch.
fn time(field: &str, record: &Value) -> Result<i64, Timeless> {
    let fields = match record {
        Value::Record(fields) => &fields[..],
        _ => &[],
    };
    let found = fields.iter().find(|(name, _)| name == field);
    let (_, value) = found.context(MissingSnafu { field })?;
    let held = match value {
        Value::Union(_, held) => held,
        held => held,
    };
    let (unit, time) = Unit::of_value(held).with_context(|| NoTimeSnafu {
        field,
        found: match held {
            Value::Null => "null".to_owned(),
            held => format!("a {}", type_name(held)),
        },
    })?;
    unit.milliseconds(time).with_context(|| OutOfRangeSnafu {
        time: format!("{time} days since 1970"),
    })
}

/// Where the window of a record begins, and its time, which is in a field or that at which it was `written`.
fn place(windows: &Windows, time: Option<i64>, written: Option<i64>) -> Result<(i64, i64), Timeless> {
    let time = match (time, windows.field()) {
        (Some(time), Some(field)) => {
            let ahead = |written: &i64| time > written.saturating_add(AHEAD);
            if let Some(written) = written.filter(ahead)
                && let (Ok(time), Ok(written)) = (
                    Timestamp::from_millisecond(time),
                    Timestamp::from_millisecond(written),
                )
            {
                return AheadSnafu { field, time, written }.fail();
            }
            time
        }
        _ => written.context(UnwrittenSnafu)?,
    };
    let start = windows.rule.start(time).with_context(|| OutOfRangeSnafu {
        time: format!("{time} ms since 1970"),
    })?;
    Ok((start, time))
}

#[cfg(test)]
mod tests;
