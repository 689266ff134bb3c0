//! How many replicas a load takes.
//!
//! A partition has one consumer, so that it never takes more than one replica, however much waits in it; and the
//! busiest replica has to keep up, not only all of them together.

use crate::align::{aligned, busiest};

/// A partition that gets so many times the mean is one that others must make room for.
const HOT: f64 = 1.5;

/// What is to be done, and how.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Records that arrive per second.
    pub arrival: f64,
    /// The part of them that each partition gets; adds up to 1.
    pub shares: &'a [f64],
    /// Records that wait in each partition. Empty: none do.
    pub backlog: &'a [f64],
    /// Seconds in which the backlog is to be worked off.
    pub catch_up: f64,
    /// How busy replicas are to be, 0 to 1.
    pub utilization: f64,
    /// Records per second that one replica can do.
    pub capacity: f64,
}

/// What a load takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Replicas as if work could be shared out evenly.
    pub raw: f64,
    /// Replicas, whole and aligned to the partitions.
    pub replicas: i32,
    /// One partition gets more than a replica can do: more replicas do not help it.
    pub skewed: bool,
}

impl Load<'_> {
    /// The room that replicas have for more is what a backlog is worked off with, and only what exceeds it is asked for
    /// on top. Never less for more backlog.
    pub fn demand(&self) -> Demand {
        let partitions = i32::try_from(self.shares.len()).unwrap_or(i32::MAX);
        let mut work = 0.0;
        for (number, share) in self.shares.iter().enumerate() {
            let arrives = self.arrival * share;
            let waits = self.backlog.get(number).copied().unwrap_or(0.0);
            let takes = (arrives / self.utilization).max(arrives + waits / self.catch_up);
            work += takes.min(self.capacity);
        }
        let raw = work / self.capacity;
        if raw <= 0.0 {
            return Demand {
                raw: 0.0,
                replicas: 0,
                skewed: false,
            };
        }
        let (hot, skewed) = self.hot(partitions);
        Demand {
            raw,
            replicas: aligned(partitions, raw).max(hot),
            skewed,
        }
    }

    /// How much of its capacity the busiest of so many replicas needs for what arrives.
    pub fn busiest(&self, replicas: i32) -> f64 {
        let partitions = i32::try_from(self.shares.len()).unwrap_or(i32::MAX);
        let each = f64::from(busiest(partitions, replicas));
        let most = self.shares.iter().copied().fold(0.0, f64::max);
        let mean = 1.0 / f64::from(partitions.max(1));
        let share = if most > HOT * mean {
            most + (each - 1.0).max(0.0) * (1.0 - most) / f64::from((partitions - 1).max(1))
        } else {
            each * mean
        };
        if each > 0.0 {
            self.arrival * share / self.capacity
        } else {
            f64::INFINITY
        }
    }

    /// The fewest replicas of which the one with the hottest partition keeps up, with room if that can be, else without.
    /// 0 if no partition is hot, or none helps. And whether none does.
    fn hot(&self, partitions: i32) -> (i32, bool) {
        let most = self.shares.iter().copied().fold(0.0, f64::max);
        if most * f64::from(partitions) <= HOT {
            return (0, false);
        }
        if self.arrival * most >= self.capacity {
            return (0, true);
        }
        let fits = |limit: f64| (1..=partitions).find(|replicas| self.busiest(*replicas) <= limit);
        let replicas = fits(self.utilization).or_else(|| fits(1.0));
        (replicas.unwrap_or(partitions), false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn even(partitions: usize) -> Vec<f64> {
        vec![1.0 / partitions as f64; partitions]
    }

    /// Replicas for a load that is the same on all partitions.
    fn replicas(partitions: usize, arrival: f64, backlog: f64, utilization: f64, capacity: f64) -> i32 {
        let backlog = vec![backlog / partitions as f64; partitions];
        let shares = even(partitions);
        Load {
            arrival,
            shares: &shares,
            backlog: &backlog,
            catch_up: 60.0,
            utilization,
            capacity,
        }
        .demand()
        .replicas
    }

    #[test]
    fn flinks_cases_without_a_backlog() {
        // (parallelism, target rate, true processing rate of all, utilization, expected), from its JobVertexScalerTest.
        // 720 partitions, so that alignment has no say up to 8, and there as noted.
        let cases = [
            (10.0, 50.0, 100.0, 1.0, 5),
            (10.0, 80.0, 100.0, 0.8, 10),
            (10.0, 60.0, 100.0, 0.8, 8),
            (10.0, 59.0, 100.0, 0.8, 8),
            (2.0, 100.0, 40.0, 0.5, 10),
            (2.0, 100.0, 100.0, 0.6, 4),
            (5.0, 100.0, 50.0, 1.0, 10),
            (10.0, 180.0, 90.0, 1.0, 20),
            (20.0, 180.0, 100.0, 1.0, 36),
            (20.0, 45.0, 90.0, 1.0, 10),
            (6.0, 80.0, 100.0, 1.0, 5),
            (200.0, 200.0, 100.0, 1.0, 720),
        ];
        for (parallelism, rate, all, utilization, expected) in cases {
            let expected = if expected == 720 {
                400.max(aligned(720, 400.0))
            } else {
                expected
            };
            let found = replicas(720, rate, 0.0, utilization, all / parallelism);
            assert_eq!(found, expected, "{rate} of {all} at {parallelism}");
        }
    }

    #[test]
    fn a_backlog_takes_what_exceeds_the_room_for_it() {
        // 24 partitions, 3500/s, one replica does 1000/s, at 0.8: 4.375 of 4.8.
        let cases = [
            (0.0, 5),
            (52_000.0, 5),
            (100_000.0, 6),
            (300_000.0, 12),
            (1e9, 24),
        ];
        for (backlog, expected) in cases {
            assert_eq!(replicas(24, 3500.0, backlog, 0.8, 1000.0), expected, "{backlog}");
        }
        assert_eq!(replicas(24, 0.0, 0.0, 0.8, 1000.0), 0, "nothing to do");
        assert_eq!(replicas(24, 0.0, 1.0, 0.8, 1000.0), 1, "one record");
    }

    /// The first partition gets this part of the load.
    fn skewed(partitions: usize, part: f64) -> Vec<f64> {
        let rest = (1.0 - part) / (partitions - 1) as f64;
        std::iter::once(part)
            .chain(std::iter::repeat_n(rest, partitions - 1))
            .collect()
    }

    #[test]
    fn a_hot_partition_gets_company_only_as_far_as_its_replica_keeps_up() {
        // (part of the first of 12, arrival, replicas, skewed)
        let cases = [
            // One does 1000/s, and 800/s with room. 700/s and 118/s for each other: it wants to be alone.
            (0.35, 2000.0, 12, false),
            (0.30, 2000.0, 6, false),
            (0.20, 2000.0, 4, false),
            (0.46, 2000.0, 12, false),
            (0.60, 2000.0, 2, true),
        ];
        for (part, arrival, expected, hopeless) in cases {
            let shares = skewed(12, part);
            let load = Load {
                arrival,
                shares: &shares,
                backlog: &[],
                catch_up: 60.0,
                utilization: 0.8,
                capacity: 1000.0,
            };
            let demand = load.demand();
            assert_eq!(
                (demand.replicas, demand.skewed),
                (expected, hopeless),
                "{part}: {demand:?}"
            );
        }
    }

    #[test]
    fn a_backlog_in_one_partition_takes_one_replica() {
        let (shares, mut backlog) = (even(12), vec![0.0; 12]);
        backlog[3] = 1e9;
        let load = Load {
            arrival: 0.0,
            shares: &shares,
            backlog: &backlog,
            catch_up: 60.0,
            utilization: 0.8,
            capacity: 1000.0,
        };
        assert_eq!(load.demand().replicas, 1);
    }

    proptest! {
        #[test]
        fn more_backlog_never_takes_fewer_and_never_more_than_partitions(
            weights in prop::collection::vec(1..100u32, 1..40),
            backlog in prop::collection::vec(0.0..1e6f64, 40),
            more in prop::collection::vec(0.0..1e6f64, 40),
            arrival in 0.0..1e5f64,
            capacity in 1.0..1e4f64,
            utilization in 0.3..1.0f64,
        ) {
            let all: u32 = weights.iter().sum();
            let shares: Vec<f64> = weights.iter().map(|one| f64::from(*one) / f64::from(all)).collect();
            let sum: Vec<f64> = backlog.iter().zip(&more).map(|(one, other)| one + other).collect();
            let of = |backlog: &[f64]| {
                Load { arrival, shares: &shares, backlog, catch_up: 60.0, utilization, capacity }.demand().replicas
            };
            prop_assert!(of(&backlog) <= of(&sum));
            prop_assert!(of(&sum) <= i32::try_from(shares.len()).unwrap());
        }
    }
}
