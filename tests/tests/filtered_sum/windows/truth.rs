//! What the windows of an input are, worked out from the keys of its records.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use naru_contract::Window;
use naru_tests::loopback::Consumed;

use super::PARTITIONS;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) count: i64,
    pub(super) late: i64,
    pub(super) dead: i64,
    pub(super) sum: i128,
}

impl Figures {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            late: self.late + other.late,
            dead: self.dead + other.dead,
            sum: self.sum + other.sum,
        }
    }
}

/// What is known of a partition before an offset.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) all: Figures,
    pub(super) watermark: Option<i64>,
    /// By start and region.
    pub(super) windows: BTreeMap<(i64, String), Figures>,
}

impl State {
    pub(super) fn add(&mut self, window: &Window, key: &str) {
        let [at, written, region, price] = key.split(' ').collect::<Vec<_>>()[..] else {
            unreachable!("{key}")
        };
        let written = written.parse::<i64>().unwrap();
        let time = match window.time {
            None => Some(written),
            Some(_) => at.parse().ok().filter(|at| *at <= written + 24 * 3_600_000),
        };
        let Some(time) = time else {
            self.all.dead += 1;
            return;
        };
        let [size, grace] = [window.size_ms, window.grace_ms].map(|ms| i64::try_from(ms).unwrap());
        let start = time - time.rem_euclid(size);
        if self.watermark >= Some(start + size + grace) {
            self.all.late += 1;
            return;
        }
        let one = Figures {
            count: 1,
            sum: price.parse().unwrap(),
            ..Figures::default()
        };
        self.watermark = self.watermark.max(Some(time));
        self.all = self.all.plus(one);
        let held = self.windows.entry((start, region.to_owned())).or_default();
        *held = held.plus(one);
    }
}

/// Whether the window is over that begins at `start`.
pub(super) fn is_gone(window: &Window, start: i64, watermark: Option<i64>) -> bool {
    let kept = window.size_ms + window.grace_ms + window.retention_ms;
    watermark >= Some(start + i64::try_from(kept).unwrap())
}

/// The states of each partition before each offset.
pub(super) struct Truth {
    pub(super) window: Window,
    pub(super) states: BTreeMap<i32, Vec<State>>,
}

impl Truth {
    pub(super) fn of(window: &Window, input: &[Consumed]) -> Self {
        let mut states = PARTITIONS
            .map(|partition| (partition, vec![State::default()]))
            .into_iter()
            .collect::<BTreeMap<_, _>>();
        for record in input {
            let states = states.get_mut(&record.partition).unwrap();
            assert_eq!(usize::try_from(record.offset).unwrap() + 1, states.len());
            let mut next = states.last().unwrap().clone();
            next.add(
                window,
                std::str::from_utf8(record.key.as_deref().unwrap()).unwrap(),
            );
            states.push(next);
        }
        Self {
            window: window.clone(),
            states,
        }
    }

    pub(super) fn at(&self, partition: i32, offset: i64) -> &State {
        &self.states[&partition][usize::try_from(offset).unwrap()]
    }

    pub(super) fn ends(&self) -> BTreeMap<i32, i64> {
        let ends = self.states.iter();
        ends.map(|(partition, states)| (*partition, i64::try_from(states.len() - 1).unwrap()))
            .collect()
    }

    /// What should be left in the output topic.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        let last = PARTITIONS.map(|partition| (partition, self.states[&partition].last().unwrap()));
        let farthest = last.iter().map(|(_, state)| state.watermark).max().unwrap();
        let mut ids = BTreeSet::from(["total".to_owned()]);
        for (partition, state) in last {
            ids.insert(format!("partition-{partition}"));
            for (start, region) in state.windows.keys() {
                let name = format!("{}/{region}", text(*start));
                if !is_gone(&self.window, *start, state.watermark) {
                    ids.insert(format!("partition-{partition}/{name}"));
                }
                if !is_gone(&self.window, *start, farthest) {
                    ids.insert(format!("total/{name}"));
                }
            }
        }
        ids
    }
}

pub(super) fn text(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}
