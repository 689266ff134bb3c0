//! The last looks at a group, few and small however often it is looked at.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    look::{Look, Partition},
    rate::slope,
};

/// Rates are measured over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// Looks are kept for this long.
const KEPT: Duration = Duration::from_secs(150);
/// Most looks that are kept.
const MOST: usize = 40;
/// Rates are compared over stretches of this length to see whether they grow.
const STEP: Duration = Duration::from_secs(30);

/// A look, summed over all partitions.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at: Instant,
    pub end: u64,
    pub position: u64,
    pub lag: u64,
    pub ready: i32,
    /// As many replicas worked as in the look before, and nothing was on the move.
    pub calm: bool,
}

/// End and position of each partition, at a time.
type Mark = (Instant, Box<[(u64, u64)]>);

/// The last looks, the newest last. All of them are of the same partitions, and no offset goes back.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    looks: VecDeque<Sample>,
    /// Ends and positions of each partition: now, about [`STEP`] ago, and up to twice that.
    marks: VecDeque<Mark>,
}

impl Samples {
    /// Adds a look. What was seen of another topic, or longer ago than anything can be told from, is forgotten.
    pub fn add(&mut self, look: &Look) {
        let Some(partitions) = &look.partitions else {
            return;
        };
        let sum = |of: fn(&Partition) -> u64| partitions.iter().map(of).fold(0, u64::saturating_add);
        let mut sample = Sample {
            at: look.at,
            end: sum(|partition| partition.end),
            position: sum(|partition| partition.position),
            lag: sum(|partition| partition.lag),
            ready: look.ready,
            calm: look.obstacle.is_none(),
        };
        if let Some(last) = self.looks.back() {
            let same = self
                .marks
                .back()
                .is_some_and(|(_, marks)| marks.len() == partitions.len());
            let gap = look.at.saturating_duration_since(last.at) > KEPT;
            if !same || gap || sample.end < last.end || sample.position < last.position {
                self.clear();
            } else {
                sample.calm &= last.ready == look.ready;
            }
        }
        self.keep(sample);
        self.mark(look.at, partitions);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.looks.clear();
        self.marks.clear();
    }

    fn keep(&mut self, sample: Sample) {
        let spacing = KEPT / u32::try_from(MOST).unwrap_or(u32::MAX);
        let before = self.looks.iter().rev().nth(1).copied();
        let replaces = |before: Sample, last: &Sample| {
            // Closer than the window can hold, or nothing happened: a line is known by its ends.
            let crowded =
                sample.at.saturating_duration_since(before.at) < spacing * 2 && last.calm == sample.calm;
            let still = |one: &Sample, other: &Sample| {
                (one.end, one.position, one.ready, one.calm)
                    == (other.end, other.position, other.ready, other.calm)
            };
            crowded || (still(&before, last) && still(last, &sample))
        };
        if let (Some(before), Some(last)) = (before, self.looks.back())
            && replaces(before, last)
        {
            self.looks.pop_back();
        }
        self.looks.push_back(sample);
        while self.looks.len() > MOST
            || self
                .looks
                .front()
                .is_some_and(|first| sample.at.saturating_duration_since(first.at) > KEPT)
        {
            self.looks.pop_front();
        }
    }

    fn mark(&mut self, at: Instant, partitions: &[Partition]) {
        let before = self.marks.iter().rev().nth(1).map(|(then, _)| *then);
        if before.is_some_and(|before| at.saturating_duration_since(before) < STEP) {
            self.marks.pop_back();
        }
        let mark = partitions
            .iter()
            .map(|partition| (partition.end, partition.position));
        self.marks.push_back((at, mark.collect()));
        if self.marks.len() > 3 {
            self.marks.pop_front();
        }
    }

    /// The looks, the newest first.
    pub fn back(&self) -> impl DoubleEndedIterator<Item = &Sample> + Clone {
        self.looks.iter().rev()
    }

    /// Records that arrived per second within the window. None: only one look was made.
    pub fn arrival(&self) -> Option<f64> {
        self.rate(Duration::ZERO, WINDOW, |sample| sample.end)
    }

    /// Records that arrived per second since the look before the last.
    pub fn newest_arrival(&self) -> f64 {
        let mut looks = self.back();
        let (Some(last), Some(before)) = (looks.next(), looks.next()) else {
            return 0.0;
        };
        let took = last.at.saturating_duration_since(before.at).as_secs_f64();
        if took > 0.0 {
            (last.end - before.end) as f64 / took
        } else {
            0.0
        }
    }

    /// The least lag of the last quarter of the window, if it grew before and within that, else 0.
    pub fn growing_lag(&self) -> u64 {
        let Some(last) = self.looks.back() else { return 0 };
        let within = |window: Duration| {
            self.back()
                .take_while(move |look| last.at.saturating_duration_since(look.at) <= window)
        };
        let begin = |window| within(window).last().map(|first| first.lag);
        let grows = begin(WINDOW) < begin(WINDOW / 4) && begin(WINDOW / 4) < Some(last.lag);
        let least = within(WINDOW / 4).map(|look| look.lag).min().unwrap_or(0);
        // One look says nothing of how long it has been so.
        if grows && within(WINDOW / 4).nth(2).is_some() {
            least
        } else {
            0
        }
    }

    /// Records that were worked on per second within the window.
    pub fn consumption(&self) -> Option<f64> {
        self.rate(Duration::ZERO, WINDOW, |sample| sample.position)
    }

    /// How much faster records arrive with each second, if they do so steadily since then. Not below 0.
    pub fn growth(&self, since: Option<Instant>) -> f64 {
        let Some(last) = self.looks.back() else { return 0.0 };
        let begins = last.at.checked_sub(STEP * 3);
        if begins.is_none_or(|begins| since.is_some_and(|since| begins < since)) {
            return 0.0;
        }
        let rate = |steps: u32| self.rate(STEP * steps, STEP * (steps + 1), |sample| sample.end);
        match (rate(2), rate(1), rate(0)) {
            (Some(then), Some(before), Some(now)) => {
                ((before - then).min(now - before) / STEP.as_secs_f64()).max(0.0)
            }
            _ => 0.0,
        }
    }

    /// The slope of the looks of these ages.
    fn rate(&self, youngest: Duration, oldest: Duration, of: fn(&Sample) -> u64) -> Option<f64> {
        let last = self.looks.back()?;
        let (at, from) = (last.at, of(last));
        let points = self.looks.iter().filter_map(move |sample| {
            let age = at.saturating_duration_since(sample.at);
            // Relative to the last look: a float has no room for both an offset and a record.
            let back = from.saturating_sub(of(sample)) as f64;
            (youngest..=oldest)
                .contains(&age)
                .then(|| (-age.as_secs_f64(), -back))
        });
        slope(points)
    }

    /// The part of all records that arrived in each partition lately; the same for all if none did.
    pub fn shares(&self) -> Vec<f64> {
        let arrived = self.between(|(end, _)| *end);
        let all: f64 = arrived.iter().sum();
        let count = arrived.len() as f64;
        arrived
            .iter()
            .map(|one| if all > 0.0 { one / all } else { 1.0 / count })
            .collect()
    }

    /// The fastest that one partition was worked on lately, records per second.
    pub fn fastest(&self) -> f64 {
        let (Some((first, _)), Some((last, _))) = (self.marks.front(), self.marks.back()) else {
            return 0.0;
        };
        let took = last.saturating_duration_since(*first).as_secs_f64();
        let most = self
            .between(|(_, position)| *position)
            .into_iter()
            .fold(0.0, f64::max);
        if took > 0.0 { most / took } else { 0.0 }
    }

    fn between(&self, of: fn(&(u64, u64)) -> u64) -> Vec<f64> {
        let (Some((_, first)), Some((_, last))) = (self.marks.front(), self.marks.back()) else {
            return Vec::new();
        };
        let pairs = first.iter().zip(last);
        pairs
            .map(|(first, last)| of(last).saturating_sub(of(first)) as f64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, ready: i32, partitions: Vec<Partition>) -> Look {
        Look {
            at,
            replicas: ready,
            ready,
            obstacle: None,
            busy: None,
            partitions: Some(partitions),
        }
    }

    /// Looks at this interval at a topic of two partitions, of which the second gets a third.
    fn looks(every: Duration, count: u32, rate: impl Fn(f64) -> f64) -> Samples {
        let (start, mut samples, mut end) = (Instant::now(), Samples::default(), 0.0);
        for number in 0..count {
            let at = every * number;
            let (first, second) = (end * 2.0 / 3.0, end / 3.0);
            let partitions = [first, second].map(|end: f64| Partition::new(0, end.round() as u64));
            samples.add(&look(start + at, 1, partitions.to_vec()));
            end += rate(at.as_secs_f64()) * every.as_secs_f64();
        }
        samples
    }

    #[test]
    fn rates_are_those_of_the_last_minute_however_often_one_looks() {
        for every in [1, 5, 15, 30] {
            let samples = looks(Duration::from_secs(every), 600, |at| {
                if at < 60.0 { 9.0 } else { 300.0 }
            });
            let arrival = samples.arrival().unwrap();
            assert!((arrival - 300.0).abs() < 1.0, "{every}: {arrival}");
            assert_eq!(samples.consumption(), Some(0.0));
            assert!(samples.looks.len() <= MOST && samples.marks.len() <= 3);
            assert!((samples.shares()[0] - 2.0 / 3.0).abs() < 0.01);
        }
    }

    #[test]
    fn growth_is_what_lasts() {
        let every = Duration::from_secs(5);
        let ramp = looks(every, 40, |at| 100.0 + 4.0 * at);
        assert!((ramp.growth(None) - 4.0).abs() < 0.2, "{}", ramp.growth(None));
        let last = ramp.looks.back().unwrap().at;
        assert_eq!(
            ramp.growth(Some(last - Duration::from_secs(60))),
            0.0,
            "measured across a change"
        );
        assert_eq!(looks(every, 40, |_| 100.0).growth(None), 0.0);
        assert_eq!(looks(every, 40, |at| 900.0 - 4.0 * at).growth(None), 0.0);
        assert_eq!(
            looks(every, 40, |at| if at < 190.0 { 100.0 } else { 900.0 }).growth(None),
            0.0
        );
    }

    #[test]
    fn another_topic_of_the_same_name_begins_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ends = |ends: &[u64]| ends.iter().map(|end| Partition::new(0, *end)).collect::<Vec<_>>();
        // (case, the second look, looks that are left)
        let cases = [
            ("it goes on", at(5), ends(&[10, 20]), 2),
            ("it was made anew", at(5), ends(&[0, 0]), 1),
            ("it has more partitions", at(5), ends(&[10, 20, 0]), 1),
            ("it was out of sight for long", at(200), ends(&[10, 20]), 1),
        ];
        for (case, then, partitions, left) in cases {
            let mut samples = Samples::default();
            samples.add(&look(at(0), 1, ends(&[10, 20])));
            samples.add(&look(then, 1, partitions));
            assert_eq!(samples.looks.len(), left, "{case}");
        }
    }

    #[test]
    fn a_group_that_does_nothing_costs_three_looks() {
        let samples = looks(Duration::from_secs(5), 1000, |_| 0.0);
        assert!(samples.looks.len() <= 3, "{}", samples.looks.len());
        assert_eq!(samples.arrival(), Some(0.0));
    }
}
