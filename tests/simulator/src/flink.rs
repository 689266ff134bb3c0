//! The rule of Flink's autoscaler: rates over a window, and how busy the workers say they are.

use naru_autoscale::align::aligned;

use crate::{
    rules::{Rule, Seen},
    world::PARTITIONS,
};

/// Its options, in seconds.
struct Options {
    /// Time between two looks.
    every: u32,
    /// `metrics.window`
    window: u32,
    /// `stabilization.interval`
    stabilization: u32,
    /// `catch-up.duration`
    catch_up: f64,
    /// `restart.time`
    restart: f64,
    /// `scale-down.interval`
    down: u32,
}

/// `utilization.target`, and 0.3 on both sides.
const TARGET: f64 = 0.7;
const BAND: f64 = 0.3;
/// `scale-down.max-factor`
const MOST_DOWN: f64 = 0.6;
/// `backlog-processing.lag-threshold`, seconds.
const BACKLOG: f64 = 300.0;
/// `observed-true-processing-rate.lag-threshold`, seconds, and `.switch-threshold`.
const OBSERVED: f64 = 30.0;
const SWITCH: f64 = 1.15;

struct Sample {
    second: u32,
    worked: f64,
    lag: f64,
    busy: f64,
}

pub struct Flink {
    min_replicas: i32,
    options: Options,
    samples: Vec<Sample>,
    /// Busy seconds since the last sample, and how many seconds those are of.
    busy: (f64, f64),
    restarted: u32,
    /// When fewer were wanted first, and the most that were since.
    down: Option<(u32, i32)>,
}

impl Flink {
    /// As it is if nothing is said.
    pub fn plain(min_replicas: i32) -> Box<dyn Rule> {
        Self::rule(
            min_replicas,
            Options {
                every: 60,
                window: 900,
                stabilization: 300,
                catch_up: 1800.0,
                restart: 300.0,
                down: 3600,
            },
        )
    }

    /// In naru's times, which Flink does not suggest to anybody.
    pub fn quick(min_replicas: i32) -> Box<dyn Rule> {
        Self::rule(
            min_replicas,
            Options {
                every: 5,
                window: 60,
                stabilization: 15,
                catch_up: 60.0,
                restart: 10.0,
                down: 300,
            },
        )
    }

    fn rule(min_replicas: i32, options: Options) -> Box<dyn Rule> {
        Box::new(Self {
            // It knows no zero.
            min_replicas: min_replicas.max(1),
            options,
            samples: Vec::new(),
            busy: (0.0, 0.0),
            restarted: 0,
            down: None,
        })
    }

    /// The pods that the window wants, if they are not within the band.
    fn wanted(&self, replicas: i32) -> Option<i32> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let took = f64::from(last.second - first.second);
        if took < f64::from(self.options.window) {
            return None;
        }
        let input = (last.worked - first.worked) / took;
        let arrival = (input + (last.lag - first.lag) / took).max(0.0);
        let counted = &self.samples[1..];
        let busy = counted.iter().map(|sample| sample.busy).sum::<f64>() / counted.len() as f64;
        let said = if input > 0.0 { input / busy } else { f64::INFINITY };
        let observed = (last.lag >= OBSERVED * input && input > 0.0).then_some(input);
        let rate = observed
            .filter(|observed| said > observed * SWITCH)
            .unwrap_or(said);
        let backlog = last.lag / arrival.max(1e-9) > BACKLOG;
        let capacity = |utilization: f64, restart: bool| {
            let restart = if restart {
                arrival * self.options.restart
            } else {
                0.0
            };
            (last.lag + restart) / self.options.catch_up + arrival / utilization
        };
        let up = capacity(if backlog { 1.0 } else { TARGET + BAND }, false);
        let down = if backlog {
            f64::INFINITY
        } else {
            capacity(TARGET - BAND, true)
        };
        if (up..=down).contains(&rate) {
            return Some(replicas);
        }
        let factor = (capacity(TARGET, true) / rate).max(1.0 - MOST_DOWN);
        let raw = (factor * f64::from(replicas) - 1e-9).ceil();
        Some(aligned(PARTITIONS as i32, raw).max(self.min_replicas))
    }
}

impl Rule for Flink {
    fn tick(&mut self, seen: &Seen) -> Option<(i32, String)> {
        self.busy = (self.busy.0 + seen.busy, self.busy.1 + 1.0);
        if !seen.second.is_multiple_of(self.options.every) {
            return None;
        }
        let busy = self.busy.0 / self.busy.1;
        self.busy = (0.0, 0.0);
        let lag = seen.lag()?;
        if seen.second < self.restarted + self.options.stabilization && self.restarted > 0 {
            return None;
        }
        if seen.replicas == 0 {
            return Some((1, "it knows no zero".to_owned()));
        }
        self.samples.push(Sample {
            second: seen.second,
            worked: seen.worked,
            lag,
            busy,
        });
        let begins = seen.second.saturating_sub(self.options.window);
        self.samples.retain(|sample| sample.second >= begins);
        let wanted = self.wanted(seen.replicas)?;
        let to = if wanted < seen.replicas {
            let (since, most) = self.down.unwrap_or((seen.second, wanted));
            let most = most.max(wanted);
            self.down = Some((since, most));
            if seen.second < since + self.options.down {
                return None;
            }
            most
        } else {
            if wanted > seen.replicas {
                self.down = None;
            } else if let Some((since, _)) = self.down {
                self.down = Some((since, seen.replicas));
            }
            wanted
        };
        if to == seen.replicas {
            if self
                .down
                .is_some_and(|(since, _)| seen.second >= since + self.options.down)
            {
                self.down = None;
            }
            return None;
        }
        self.down = None;
        self.restarted = seen.second;
        self.samples.clear();
        Some((to, format!("lag {lag:.0}")))
    }
}
