//! How much one replica can do: what it does while it works flat out.
//!
//! A group that keeps up does what arrives, which says only that it could do so much. It works flat out when it has a
//! backlog, and the backlog grows or shrinks: one that stays the same may as well be what is on its way through the
//! workers at any time.

use crate::{
    look::{Look, Partition},
    samples::{Sample, Samples},
};

/// Lag is a backlog from this many seconds of work on.
const BACKLOG_S: f64 = 2.5;
/// And has grown or shrunk from this many on.
const MOVED_S: f64 = 5.0;
/// A backlog that has become so large has shown how fast the group is.
pub(crate) const ENOUGH_TO_MEASURE_S: f64 = BACKLOG_S + MOVED_S;
/// The shortest, in commits.
const COMMITS: f64 = 2.0;
/// The longest stretch that is measured, seconds.
const LONGEST_S: f64 = 60.0;
/// Part of the partitions with a backlog from which on all replicas are taken to have work.
const ALL: f64 = 0.8;
/// What the workers say of themselves is not believed if it is so much better than what is seen (Flink's 0.15).
const TOO_GOOD: f64 = 1.15;

/// A stretch of time in which the group worked flat out, up to now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    pub seconds: f64,
    /// Records per second.
    pub arrival: f64,
    /// Records per second of the whole group.
    pub consumption: f64,
    pub replicas: i32,
    /// All replicas had work.
    pub whole: bool,
}

/// The stretch that ends with the last look, if the group works flat out.
///
/// Work shows when it is committed, every so many seconds: less than that is not measured, and as much lag is no backlog.
pub fn flat_out(samples: &Samples, partitions: &[Partition], commits: f64) -> Option<Stretch> {
    let mut looks = samples.back();
    let last = looks.next()?;
    if !last.calm || last.ready <= 0 {
        return None;
    }
    let (mut least, mut most) = (last.lag, last.lag);
    let mut longest: Option<(&Sample, f64)> = None;
    for first in looks.take_while(|look| look.calm && look.ready == last.ready) {
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        (least, most) = (least.min(first.lag), most.max(first.lag));
        let consumption = (last.position - first.position) as f64 / seconds;
        if seconds < commits * COMMITS {
            continue;
        }
        let behind = consumption > 0.0 && least as f64 >= BACKLOG_S.max(commits) * consumption;
        if seconds > LONGEST_S || !behind {
            break;
        }
        longest = Some((first, consumption));
    }
    let (first, consumption) = longest?;
    // What was left out may have lowered it.
    let range = samples
        .back()
        .take_while(|look| look.at >= first.at)
        .map(|look| look.lag);
    let moved = most - range.min().unwrap_or(most);
    if (moved as f64) < MOVED_S.max(commits * COMMITS) * consumption {
        return None;
    }
    let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
    let share = consumption / partitions.len() as f64;
    let behind = partitions
        .iter()
        .filter(|partition| partition.lag as f64 >= share)
        .count();
    Some(Stretch {
        seconds,
        arrival: (last.end - first.end) as f64 / seconds,
        consumption,
        replicas: last.ready,
        whole: behind as f64 >= ALL * partitions.len() as f64,
    })
}

/// A first measurement may be so much too low: work of a few seconds is seen in a few commits.
const FIRST_GUESS: f64 = 1.25;

/// Records per second that one replica can do, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capacity {
    per_replica: Option<f64>,
    /// It was measured once only.
    guessed: bool,
}

impl Capacity {
    /// What was found out earlier, perhaps in a first measurement, and perhaps of other work.
    pub fn known(per_replica: Option<f64>) -> Self {
        let per_replica = per_replica.filter(|rate| rate.is_finite() && *rate > 0.0);
        Self {
            per_replica,
            guessed: per_replica.is_some(),
        }
    }

    /// The most that it may be.
    pub fn at_best(self) -> Option<f64> {
        let more = if self.guessed { FIRST_GUESS } else { 1.0 };
        Some(self.per_replica? * more)
    }

    /// None while the group has never worked flat out.
    pub fn per_replica(self) -> Option<f64> {
        self.per_replica
    }

    /// Learns from a look. `doubted`: it is not clear yet whether more replicas do more, so that less from each need not
    /// mean that each can do less.
    pub fn learn(&mut self, look: &Look, samples: &Samples, stretch: Option<&Stretch>, doubted: bool) {
        if look.ready <= 0 || samples.back().next().is_none_or(|last| !last.calm) {
            return;
        }
        let replicas = f64::from(look.ready.min(look.count().unwrap_or(look.ready)));
        let keeping_up = samples.consumption().unwrap_or(0.0) / replicas;
        let said = look
            .busy
            .filter(|busy| *busy > 0.05)
            .map(|busy| keeping_up / busy.min(1.0));
        let (measured, can_be_less) = match (stretch, said) {
            (Some(stretch), None) if stretch.whole => (stretch.consumption / replicas, !doubted),
            (Some(stretch), Some(said)) if stretch.whole => {
                let seen = stretch.consumption / replicas;
                (if said > seen * TOO_GOOD { seen } else { said }, !doubted)
            }
            // Not all had work: one of them did at least what was done for the fastest partition.
            (Some(stretch), None) => ((stretch.consumption / replicas).max(samples.fastest()), false),
            (_, Some(said)) => (said, !doubted),
            (None, None) => {
                // Lag that only grows, however slowly, shows it as well as one that grows fast, and much later.
                let behind = samples.growing_lag() as f64 >= ENOUGH_TO_MEASURE_S * keeping_up * replicas;
                if self.per_replica.is_none() && !behind {
                    return;
                }
                (keeping_up, false)
            }
        };
        if measured <= 0.0 {
            return;
        }
        let first = self.per_replica.is_none();
        let guessed = std::mem::replace(&mut self.guessed, first && look.busy.is_none());
        self.per_replica = Some(match self.per_replica {
            None => measured,
            // The second one is of the same stretch, and longer.
            Some(_) if guessed && stretch.is_some() => measured,
            // A pause to share out partitions looks like slowness, a late commit like speed.
            Some(known) if measured > known => known + 0.5 * (measured - known),
            Some(known) if can_be_less => known + 0.3 * (measured - known),
            Some(known) => known,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Looks every five seconds at two partitions while these many records per second arrive and are worked on. The
    /// last look, and what is known then.
    fn after(ready: i32, busy: Option<f64>, seconds: &[(f64, f64)]) -> (Samples, Look, Capacity) {
        let (start, mut samples, mut capacity) = (Instant::now(), Samples::default(), Capacity::default());
        let (mut end, mut position, mut last) = (1000.0, 1000.0, None);
        for (number, (arrive, work)) in (0u32..).zip(seconds) {
            let half = Partition::new((position / 2.0) as u64, (end / 2.0) as u64);
            let look = Look {
                at: start + Duration::from_secs(5) * number,
                replicas: ready,
                ready,
                obstacle: None,
                busy,
                partitions: Some(vec![half; 2]),
            };
            samples.add(&look);
            let stretch = flat_out(&samples, &[half; 2], 1.0);
            capacity.learn(&look, &samples, stretch.as_ref(), false);
            (end, position) = (end + 5.0 * arrive, position + 5.0 * work);
            last = Some(look);
        }
        (samples, last.unwrap(), capacity)
    }

    #[test]
    fn a_group_that_keeps_up_says_nothing_of_what_it_could_do() {
        assert_eq!(after(2, None, &[(700.0, 700.0); 20]).2.per_replica(), None);
    }

    #[test]
    fn two_looks_after_a_step_it_is_known_what_the_group_can_do() {
        let mut load = vec![(700.0, 700.0); 12];
        load.extend([(3500.0, 1000.0); 4]);
        let (samples, look, capacity) = after(1, None, &load);
        assert_eq!(capacity.per_replica(), Some(1000.0));
        let stretch = flat_out(&samples, look.partitions.as_deref().unwrap(), 1.0).unwrap();
        assert_eq!(
            (stretch.arrival, stretch.consumption, stretch.whole),
            (3500.0, 1000.0, true)
        );
    }

    #[test]
    fn what_is_committed_seldom_is_measured_over_longer() {
        // 1000/s, which show every 20 s.
        let (start, mut samples) = (Instant::now(), Samples::default());
        let mut found = Vec::new();
        for look in 0..30u32 {
            let committed = u64::from(look / 4 * 20_000);
            let half = Partition::new(committed / 2, 50_000 + u64::from(look) * 10_000);
            samples.add(&Look {
                at: start + Duration::from_secs(5) * look,
                replicas: 1,
                ready: 1,
                obstacle: None,
                busy: None,
                partitions: Some(vec![half; 2]),
            });
            found.extend(flat_out(&samples, &[half; 2], 20.0).map(|stretch| stretch.consumption));
        }
        assert!(
            found.len() > 10 && found.iter().all(|rate| (700.0..=1500.0).contains(rate)),
            "{found:?}"
        );
    }

    #[test]
    fn draining_shows_it_too_but_a_backlog_that_stays_does_not() {
        let mut load = vec![(30_000.0, 0.0)];
        load.extend([(500.0, 1000.0); 12]);
        let known = after(1, None, &load).2.per_replica().unwrap();
        assert!((known - 1000.0).abs() < 1.0, "{known}");
        let mut still = vec![(3000.0, 0.0)];
        still.extend([(500.0, 500.0); 12]);
        assert_eq!(after(1, None, &still).2.per_replica(), None);
    }

    #[test]
    fn what_workers_say_is_believed_unless_it_is_too_good() {
        // Flink's: half busy at 700 is 1400.
        let said = after(1, Some(0.5), &[(700.0, 700.0); 30])
            .2
            .per_replica()
            .unwrap();
        assert!((said - 1400.0).abs() < 1.0, "{said}");
        let mut load = vec![(700.0, 700.0); 2];
        load.extend([(3500.0, 1000.0); 30]);
        let boasting = after(1, Some(0.5), &load).2.per_replica().unwrap();
        assert!((boasting - 1000.0).abs() < 30.0, "{boasting}");
    }

    #[test]
    fn what_is_known_follows_what_is_measured() {
        let mut load = vec![(700.0, 700.0); 2];
        load.extend([(3500.0, 1000.0); 10]);
        load.extend([(3500.0, 600.0); 20]);
        let known = after(1, None, &load).2.per_replica().unwrap();
        assert!((known - 600.0).abs() < 30.0, "{known}");
    }
}
