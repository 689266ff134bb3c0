//! Whether the producers of a topic are near what they may write, and how that is told.

use std::time::Instant;

use naru_api::{
    Condition,
    condition::{Observed, PRODUCERS_NEAR_CAPACITY, reason},
};
use naru_autoscale::alarm::{Alarm, Level, Meter, Thresholds};

/// What the producers of a topic may write.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub topic: String,
    pub records_per_second: f64,
    pub thresholds: Thresholds,
}

impl Limit {
    /// As the spec says it.
    pub fn of(topic: &str, capacity: &naru_api::ProducerCapacity) -> Self {
        let usual = Thresholds::default();
        let part = |number: usize, usual: f64| {
            let said = capacity.thresholds.get(number);
            said.map_or(usual, |percent| f64::from(*percent) / 100.0)
        };
        Self {
            topic: topic.to_owned(),
            records_per_second: capacity.records_per_second as f64,
            thresholds: Thresholds {
                warning: part(0, usual.warning),
                critical: part(1, usual.critical),
                ..usual
            },
        }
    }
}

/// What is known of the producers of a topic.
#[derive(Debug, Default)]
pub(super) struct Producers {
    /// What they may write, as it was said last.
    limit: Option<Limit>,
    meter: Meter,
    alarm: Option<Alarm>,
    /// Part of what they may write, as far as that is known.
    pub(super) part: Option<f64>,
}

impl Producers {
    /// Takes in where the topic ends, if that is known. `before`: as it is told now, which an operator that has just begun
    /// goes by.
    pub(super) fn look(
        &mut self,
        limit: &Limit,
        end: Option<u64>,
        at: Instant,
        before: &[Condition],
    ) -> Observed {
        if self.limit.as_ref() != Some(limit) {
            let first = self.limit.replace(limit.clone()).is_none();
            self.meter = Meter::default();
            // What was told was told of another limit.
            self.alarm = (!first).then(|| Alarm::at(Level::Fine));
        }
        let rate = self.meter.look(at, end);
        let alarm = self.alarm.get_or_insert_with(|| Alarm::at(told(before)));
        if let Some(changed) = alarm.look(at, rate, limit.records_per_second, &limit.thresholds) {
            tracing::info!(topic = limit.topic, from = ?changed.from, to = ?changed.to, "{changed}");
        }
        self.part = rate.map(|rate| rate / limit.records_per_second);
        observed(limit, alarm.level())
    }
}

/// The level that a condition tells of.
fn told(before: &[Condition]) -> Level {
    let told = before
        .iter()
        .find(|told| told.condition_type == PRODUCERS_NEAR_CAPACITY);
    match told.map(|told| told.reason.as_str()) {
        Some(reason::CAPACITY_CRITICAL) => Level::Critical,
        Some(reason::CAPACITY_WARNING) => Level::Warning,
        _ => Level::Fine,
    }
}

/// Without figures that move.
fn observed(limit: &Limit, level: Level) -> Observed {
    let Limit {
        topic,
        records_per_second,
        thresholds,
    } = limit;
    let of = |part: f64| format!("{:.0} % of {records_per_second:.0} records/s", 100.0 * part);
    let (reason, part) = match level {
        Level::Fine => {
            let message = format!(
                "producers of topic {topic:?} are not known to write more than {}",
                of(thresholds.warning)
            );
            return Observed::fails(PRODUCERS_NEAR_CAPACITY, reason::CAPACITY_LEFT, message);
        }
        Level::Warning => (reason::CAPACITY_WARNING, thresholds.warning),
        Level::Critical => (reason::CAPACITY_CRITICAL, thresholds.critical),
    };
    let message = format!("producers of topic {topic:?} write more than {}", of(part));
    Observed::holds(PRODUCERS_NEAR_CAPACITY, reason, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use naru_api::condition;

    use super::*;

    #[test]
    fn producers_that_come_near_to_what_they_may_write_are_told_of_also_by_another_operator() {
        let limit = Limit::of(
            "items",
            &naru_api::ProducerCapacity {
                records_per_second: 1000,
                thresholds: vec![80, 95],
            },
        );
        let (start, mut producers) = (Instant::now(), Producers::default());
        let (mut end, mut told, mut said) = (0, Vec::new(), Vec::new());
        for look in 0..150u32 {
            if look == 60 {
                producers = Producers::default();
            }
            let at = start + Duration::from_secs(5) * look;
            // Kafka is silent for a while.
            let known = (!(70..75).contains(&look)).then_some(end);
            let observed = producers.look(&limit, known, at, &told);
            said.push((observed.reason, observed.holds));
            told = condition::merge(&told, &[observed], Some(1), Timestamp::UNIX_EPOCH);
            let rate = match look {
                0..20 => 500,
                20..50 => 850,
                50..100 => 990,
                _ => 100,
            };
            end += 5 * rate;
        }
        let mut course = said.clone();
        course.dedup();
        assert_eq!(
            course,
            [
                ("CapacityLeft", Some(false)),
                ("CapacityWarning", Some(true)),
                ("CapacityCritical", Some(true)),
                ("CapacityLeft", Some(false)),
            ]
        );
        let since = |reason| said.iter().position(|said| said.0 == reason).unwrap();
        // Not before it has been so for a minute, and not much later.
        assert!((32..50).contains(&since("CapacityWarning")), "{said:?}");
        assert!((86..100).contains(&since("CapacityCritical")), "{said:?}");
        assert!(
            producers.part.is_some_and(|part| (part - 0.1).abs() < 0.01),
            "{producers:?}"
        );
        assert!(
            told[0].message.ends_with("more than 80 % of 1000 records/s"),
            "{told:?}"
        );
    }

    #[test]
    fn what_was_told_of_another_limit_is_not_told_of_this_one() {
        let limit = |records_per_second| Limit {
            topic: "items".to_owned(),
            records_per_second,
            thresholds: Thresholds::default(),
        };
        let (start, mut producers) = (Instant::now(), Producers::default());
        let mut look = |at: u64, limit: &Limit| {
            let end = Some(at * 990);
            let observed = producers.look(limit, end, start + Duration::from_secs(at), &[]);
            observed.reason
        };
        let last = (0..200).step_by(5).map(|at| look(at, &limit(1000.0))).last();
        assert_eq!(last, Some(reason::CAPACITY_CRITICAL));
        assert_eq!(look(200, &limit(5000.0)), reason::CAPACITY_LEFT);
    }
}
