//! Partitions that nobody works on, by the rules of Burrow: a sliding window of commits, and no threshold to tune.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Commits that are remembered (Burrow's `intervals`).
const COMMITS: usize = 10;
/// Ends of a partition that are remembered.
const ENDS: usize = 10;

/// A commit as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub at: Instant,
    pub offset: u64,
    /// Lag then, if it was known.
    pub lag: Option<u64>,
}

/// What the commits to a partition say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is worked on fast enough, or there is nothing to do.
    Ok,
    /// It is worked on, but lag never got less.
    Slow,
    /// It is committed to, but always the same offset.
    Stalled,
    /// It is no longer committed to.
    Stopped,
    /// Somebody has set it back.
    Rewound,
}

/// What the commits to a partition say; the oldest comes first. `ends` are the last few ends of the partition, and `lag`
/// is what it is now. Burrow's rules, in its order.
pub fn status(commits: &[Commit], ends: &[u64], lag: u64, now: Instant) -> Status {
    let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
        return Status::Ok;
    };
    if lag == 0 {
        return Status::Ok;
    }
    let silent = now.saturating_duration_since(last.at) > last.at.saturating_duration_since(first.at);
    let done_lately = ends.iter().any(|end| *end <= last.offset);
    if silent && !done_lately {
        return Status::Stopped;
    }
    if commits.is_sorted_by_key(|commit| commit.offset) {
        let lags = || commits.iter().filter_map(|commit| commit.lag);
        let never_done = lags().all(|lag| lag > 0);
        return match never_done && commits.len() > 1 && !silent {
            true if first.offset == last.offset => Status::Stalled,
            true if lags().is_sorted() => Status::Slow,
            _ => Status::Ok,
        };
    }
    Status::Rewound
}

/// Watches the partitions of one group. Nothing is kept of a partition in which nothing waits.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    partitions: Vec<Option<Box<Window>>>,
}

#[derive(Clone, Debug, Default)]
struct Window {
    commits: VecDeque<Commit>,
    ends: VecDeque<u64>,
    /// Where the group stands, and since when it was seen there.
    stands: Option<(u64, Instant)>,
}

/// A partition that is not [`Status::Ok`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub partition: usize,
    /// Where the group stands.
    pub offset: u64,
    pub lag: u64,
    pub status: Status,
    /// Since when it was seen there.
    pub since: Instant,
}

/// The partitions as they count for how many replicas are needed, where others get on: what waits and arrives in these is no
/// work for more replicas. One record of it is left, so that somebody stays there who may get on.
pub fn without(stuck: &[usize], partitions: &[crate::Partition]) -> Vec<crate::Partition> {
    let mut counted = partitions.to_vec();
    for number in stuck {
        if let Some(partition) = counted.get_mut(*number) {
            *partition = crate::Partition::new(partition.position, partition.position.saturating_add(1));
        }
    }
    counted
}

impl Watch {
    /// Takes in what was seen of all partitions, and returns those that are not worked on as they should be. A look counts
    /// as a commit, and less than `every` after the last one it is not counted: the window is ten times as long.
    pub fn look(&mut self, at: Instant, every: Duration, partitions: &[crate::Partition]) -> Vec<Stuck> {
        self.partitions.resize(partitions.len(), None);
        let mut stuck = Vec::new();
        for (number, (kept, seen)) in self.partitions.iter_mut().zip(partitions).enumerate() {
            if seen.lag == 0 {
                *kept = None;
                continue;
            }
            let window = kept.get_or_insert_default();
            window.add(at, every, seen);
            // Before the window is full, little can be told.
            if window.commits.len() < COMMITS {
                continue;
            }
            let (commits, ends) = (window.commits.make_contiguous(), window.ends.make_contiguous());
            let status = status(commits, ends, seen.lag, at);
            if status != Status::Ok {
                stuck.push(Stuck {
                    partition: number,
                    offset: seen.position,
                    lag: seen.lag,
                    status,
                    since: window.stands.map_or(at, |(_, since)| since),
                });
            }
        }
        stuck
    }
}

impl Window {
    fn add(&mut self, at: Instant, every: Duration, seen: &crate::Partition) {
        let stood = self.stands.filter(|(offset, _)| *offset == seen.position);
        self.stands = stood.or(Some((seen.position, at)));
        let recent = |last: &Commit| at.saturating_duration_since(last.at) < every;
        if self.commits.back().is_some_and(recent) {
            return;
        }
        if self.commits.len() >= COMMITS {
            self.commits.pop_front();
        }
        if self.ends.len() >= ENDS {
            self.ends.pop_front();
        }
        self.commits.push_back(Commit {
            at,
            offset: seen.position,
            lag: Some(seen.lag),
        });
        self.ends.push_back(seen.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    #[test]
    fn burrows_cases() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let commits = |of: &[(u64, Option<u64>)]| {
            let commit = |(number, (offset, lag)): (u64, &(u64, Option<u64>))| Commit {
                at: at(100 * (number + 1)),
                offset: *offset,
                lag: *lag,
            };
            (0..).zip(of).map(commit).collect::<Vec<_>>()
        };
        let lags = |offsets: [u64; 5], lags: [u64; 5]| {
            commits(&offsets.into_iter().zip(lags.map(Some)).collect::<Vec<_>>())
        };
        let (moving, from_zero) = ([1000, 2000, 3000, 4000, 5000], [0, 50, 100, 150, 200]);
        let (still, from_fifty) = ([1000; 5], [50, 100, 150, 200, 250]);
        let back = [1000, 2000, 3000, 2000, 4000];
        // (case, commits, ends, lag, seconds, expected): the cases of its caching_test, and one of each kind that it lacks.
        let cases = [
            (
                "lag was zero somewhere",
                lags(moving, from_zero),
                vec![5200],
                200,
                600,
                Status::Ok,
            ),
            (
                "as silent as it was heard",
                lags(moving, from_zero),
                vec![5200],
                200,
                900,
                Status::Ok,
            ),
            (
                "more silent",
                lags(moving, from_zero),
                vec![5200],
                200,
                1000,
                Status::Stopped,
            ),
            (
                "more silent, and always with lag",
                lags(moving, from_fifty),
                vec![5250],
                250,
                1000,
                Status::Stopped,
            ),
            (
                "the same offset, once without lag",
                lags(still, from_zero),
                vec![1200],
                200,
                600,
                Status::Ok,
            ),
            (
                "the same offset",
                lags(still, [100, 150, 200, 250, 300]),
                vec![1300],
                300,
                600,
                Status::Stalled,
            ),
            (
                "the same offset and lag",
                lags(still, [100; 5]),
                vec![1100],
                100,
                600,
                Status::Stalled,
            ),
            (
                "set back",
                lags(back, [100, 150, 200, 1250, 300]),
                vec![4300],
                300,
                600,
                Status::Rewound,
            ),
            (
                "nothing waits any more",
                lags(moving, from_fifty),
                vec![5250],
                0,
                1000,
                Status::Ok,
            ),
            (
                "new records after silence",
                lags(moving, [0; 5]),
                vec![9000, 8000],
                931,
                1000,
                Status::Stopped,
            ),
            (
                "the first record after silence",
                lags(moving, [0; 5]),
                vec![5001, 5000],
                1,
                1000,
                Status::Ok,
            ),
            (
                "some lags are not known",
                commits(&[
                    (1000, Some(0)),
                    (1500, None),
                    (2000, Some(50)),
                    (2500, None),
                    (3000, Some(100)),
                ]),
                vec![5700],
                200,
                400,
                Status::Ok,
            ),
            (
                "lag only grows",
                lags(moving, from_fifty),
                vec![5250],
                250,
                600,
                Status::Slow,
            ),
            (
                "lag got less once",
                lags(moving, [50, 100, 90, 200, 250]),
                vec![5250],
                250,
                600,
                Status::Ok,
            ),
            ("never committed", Vec::new(), vec![5], 5, 600, Status::Ok),
        ];
        for (case, commits, ends, lag, now, expected) in cases {
            assert_eq!(status(&commits, &ends, lag, at(now)), expected, "{case}");
        }
    }

    #[test]
    fn one_record_is_left_of_what_waits_where_nobody_gets_on() {
        let partitions = [
            Partition::new(1000, 9000),
            Partition::new(50, 50),
            Partition::new(7, 9),
        ];
        let counted = without(&[0], &partitions);
        assert_eq!(
            counted,
            [Partition::new(1000, 1001), partitions[1], partitions[2]]
        );
        assert_eq!(without(&[], &partitions), partitions);
    }

    #[test]
    fn one_stuck_partition_shows_after_ten_looks_and_is_forgotten_once_it_is_done() {
        let (start, mut watch, every) = (Instant::now(), Watch::default(), Duration::from_secs(30));
        let mut shown = Vec::new();
        for look in 0..60u64 {
            let end = 1100 + 100 * look;
            let partitions = [
                Partition::new(1000, end),
                Partition::new(end - 50, end),
                Partition::new(end, end),
            ];
            let at = start + Duration::from_secs(5 * look);
            shown = watch.look(at, every, &partitions);
            let full = look >= 9 * 6;
            let stuck: Vec<_> = shown
                .iter()
                .map(|stuck| (stuck.partition, stuck.status))
                .collect();
            // The second one's lag stays the same, which is not less.
            let expected = [(0, Status::Stalled), (1, Status::Slow)];
            assert_eq!(stuck, if full { &expected[..] } else { &[] }, "look {look}");
        }
        assert_eq!((shown[0].offset, shown[0].lag), (1000, 6000));
        let moved = start + Duration::from_secs(5 * 59);
        assert_eq!((shown[0].since, shown[1].since), (start, moved));
        let done = [Partition::new(9000, 9000); 3];
        assert_eq!(watch.look(start + Duration::from_secs(400), every, &done), []);
        assert!(watch.partitions.iter().all(Option::is_none));
    }
}
