//! Are producers near what a cluster can take?
//!
//! A level is told when it has held for a while, and taken back only well below it: a rate that swings around a threshold
//! tells nobody anything new.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use crate::rate::slope;

/// A rate is measured over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// And over this time at least.
const SHORTEST: Duration = Duration::from_secs(10);
/// Ends are kept so far apart at least.
const APART: Duration = Duration::from_secs(2);

/// When to tell. Parts of the capacity, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub warning: f64,
    pub critical: f64,
    /// How far below its threshold a level is taken back.
    pub below: f64,
    /// How long a rate must have been on the other side of a threshold.
    pub lasting: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            warning: 0.7,
            critical: 0.9,
            below: 0.1,
            lasting: Duration::from_secs(60),
        }
    }
}

/// How near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Fine,
    Warning,
    Critical,
}

/// The level now, and the one that it is on the way to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    level: Level,
    turning: Option<(Level, Instant)>,
}

/// A level that has changed, and what it was changed by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Changed {
    pub from: Level,
    pub to: Level,
    /// Bytes per second, or records: what the capacity is in.
    pub rate: f64,
    pub capacity: f64,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = 100.0 * self.rate / self.capacity;
        write!(
            f,
            "producers write {:.0}/s, which is {part:.0} % of {:.0}/s",
            self.rate, self.capacity
        )
    }
}

/// Measures how fast a topic grows.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    ends: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Takes in where the topic ends, over all partitions. Returns records per second; none while that is not known.
    pub fn look(&mut self, at: Instant, end: Option<u64>) -> Option<f64> {
        let end = end?;
        if self.ends.back().is_some_and(|(_, before)| *before > end) {
            // It is another topic of the same name.
            self.ends.clear();
        }
        let age = |then: Instant| at.saturating_duration_since(then);
        if self.ends.back().is_none_or(|(then, _)| age(*then) >= APART) {
            self.ends.push_back((at, end));
        }
        while self.ends.front().is_some_and(|(then, _)| age(*then) > WINDOW) {
            self.ends.pop_front();
        }
        let (first, from) = *self.ends.front()?;
        let points = self.ends.iter().map(|(then, end)| {
            // Relative to the first: a float has no room for both an offset and a record.
            let passed = then.saturating_duration_since(first).as_secs_f64();
            (passed, end.saturating_sub(from) as f64)
        });
        slope(points).filter(|_| age(first) >= SHORTEST)
    }
}

impl Alarm {
    /// One that is at a level already.
    pub fn at(level: Level) -> Self {
        Self { level, turning: None }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes in a rate, and returns what has changed by it. Without a rate nothing does, and what was on the way begins
    /// anew.
    pub fn look(
        &mut self,
        at: Instant,
        rate: Option<f64>,
        capacity: f64,
        thresholds: &Thresholds,
    ) -> Option<Changed> {
        let Some(rate) = rate.filter(|_| capacity > 0.0) else {
            self.turning = None;
            return None;
        };
        let part = rate / capacity;
        let holds = |level: Level, threshold: f64| {
            let taken_back_at = threshold
                - if self.level >= level {
                    thresholds.below.min(threshold / 2.0)
                } else {
                    0.0
                };
            part >= taken_back_at
        };
        let to = if holds(Level::Critical, thresholds.critical) {
            Level::Critical
        } else if holds(Level::Warning, thresholds.warning) {
            Level::Warning
        } else {
            Level::Fine
        };
        if to == self.level {
            self.turning = None;
            return None;
        }
        let up = to > self.level;
        let since = match self.turning {
            Some((level, since)) if (level > self.level) == up => since,
            _ => at,
        };
        self.turning = Some((to, since));
        if at.saturating_duration_since(since) < thresholds.lasting {
            return None;
        }
        let from = std::mem::replace(&mut self.level, to);
        self.turning = None;
        Some(Changed {
            from,
            to,
            rate,
            capacity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute_and_of_the_topic_that_there_is() {
        let (start, mut meter) = (Instant::now(), Meter::default());
        let mut rates = Vec::new();
        // 100/s for a minute, and 200/s for another; then the topic is made anew.
        for seconds in (0..=120u64).step_by(5).chain([125]) {
            let end = 1_000_000 + 100 * seconds + 100 * seconds.saturating_sub(60);
            let end = if seconds == 125 { 0 } else { end };
            let rate = meter.look(start + Duration::from_secs(seconds), Some(end));
            rates.push(rate.map(f64::round));
        }
        assert_eq!(rates[..3], [None, None, Some(100.0)]);
        assert_eq!(
            (rates[12], rates[24], rates[25]),
            (Some(100.0), Some(200.0), None)
        );
        assert_eq!(meter.look(start, None), None, "not known");
    }

    #[test]
    fn a_low_threshold_is_taken_back_too() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        let thresholds = Thresholds {
            warning: 0.05,
            critical: 0.1,
            ..Thresholds::default()
        };
        let mut levels = Vec::new();
        for seconds in (0..=300u64).step_by(10) {
            let rate = if seconds < 150 { 20.0 } else { 0.0 };
            alarm.look(
                start + Duration::from_secs(seconds),
                Some(rate),
                100.0,
                &thresholds,
            );
            levels.push(alarm.level());
        }
        levels.dedup();
        assert_eq!(levels, [Level::Fine, Level::Critical, Level::Fine]);
    }

    #[test]
    fn a_level_is_told_once_it_lasts_and_taken_back_well_below() {
        use Level::{Critical, Fine, Warning};
        let (start, mut alarm, thresholds) = (Instant::now(), Alarm::default(), Thresholds::default());
        // (seconds, percent of the capacity, level afterwards)
        let course = [
            (0, Some(50.0), Fine),
            (10, Some(75.0), Fine),
            (60, Some(72.0), Fine),
            (70, Some(71.0), Warning),
            (80, Some(65.0), Warning),
            (500, Some(60.0), Warning),
            (510, Some(59.0), Warning),
            (560, Some(69.0), Warning),
            (570, Some(59.0), Warning),
            (620, Some(59.0), Warning),
            (630, Some(10.0), Fine),
            (640, Some(99.0), Fine),
            (690, None, Fine),
            (700, Some(99.0), Fine),
            (730, Some(80.0), Fine),
            (760, Some(99.0), Critical),
            (800, Some(81.0), Critical),
            (810, Some(79.0), Critical),
            (870, Some(79.0), Warning),
        ];
        for (seconds, percent, expected) in course {
            let before = alarm.level();
            let rate = percent.map(|percent| percent * 10.0);
            let changed = alarm.look(start + Duration::from_secs(seconds), rate, 1000.0, &thresholds);
            assert_eq!(alarm.level(), expected, "{seconds} s");
            assert_eq!(
                changed.map(|changed| (changed.from, changed.to)),
                (before != expected).then_some((before, expected))
            );
        }
        let told = Changed {
            from: Fine,
            to: Warning,
            rate: 75e6,
            capacity: 1e8,
        };
        assert_eq!(
            told.to_string(),
            "producers write 75000000/s, which is 75 % of 100000000/s"
        );
        assert_eq!(
            alarm.look(start, Some(5.0), 0.0, &thresholds),
            None,
            "no capacity was named"
        );
    }
}
