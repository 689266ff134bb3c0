//! What must hold for all groups.

use naru_autoscale::{Basis, History, Obstacle, Policy, Why};
use proptest::prelude::*;

use crate::group::{Group, policy};

fn any_policy() -> impl Strategy<Value = Policy> {
    (0..20i32, 1..20i32, 1..50_000u64, any::<bool>()).prop_map(
        |(min_replicas, more, lag_per_replica, lag)| Policy {
            lag_per_replica,
            basis: if lag { Basis::Lag } else { Basis::Rates },
            ..policy(min_replicas, min_replicas + more)
        },
    )
}

proptest! {
    #[test]
    fn whatever_comes_it_stays_within_bounds_and_does_nothing_unseen(
        policy in any_policy(),
        replicas in 0..40i32,
        partitions in 0..30usize,
        course in prop::collection::vec((prop::option::weighted(0.8, 0.0..20_000.0f64), 0.0..5_000.0f64, 0..5u8), 1..80),
    ) {
        let limit = policy.max_replicas.min(i32::try_from(partitions).unwrap());
        let mut group = Group::new(policy, replicas, partitions);
        for (arrive, work, state) in course {
            group.ready = if state == 0 { group.replicas / 2 } else { group.replicas };
            group.obstacle = (state == 1).then_some(Obstacle::Rebalancing);
            let decision = match arrive {
                Some(arrive) => group.after(arrive, work),
                None => group.look(false),
            };
            match decision.scale_to() {
                Some(to) => {
                    prop_assert!(arrive.is_some(), "scaled without data: {decision}");
                    prop_assert!(to != group.replicas && (0..=limit).contains(&to), "{decision}");
                    if to > group.replicas && group.replicas > 0 && !matches!(decision.why, Why::BelowMinimum { .. }) {
                        prop_assert_eq!(group.obstacle, None);
                    }
                }
                None => prop_assert!(arrive.is_none() || group.replicas <= limit),
            }
            group.obey(&decision);
        }
    }

    #[test]
    fn more_lag_never_wants_fewer(
        rate in 0.0..20_000.0f64, one in 0.0..1e7f64, other in 0.0..1e7f64, known in any::<bool>(),
    ) {
        let wanted = |lag: f64| {
            let mut group = if known {
                Group::knowing(policy(0, 24), 8, 24)
            } else {
                Group::new(policy(0, 24), 8, 24)
            };
            for end in &mut group.ends {
                *end += lag / 24.0;
            }
            group.during(60, rate, rate).figures.unwrap().wanted
        };
        prop_assert!(wanted(one.min(other)) <= wanted(one.max(other)));
    }
}

proptest! {
    // Each is two hours of a group.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn under_a_constant_load_the_replicas_come_to_rest(
        load in 0.0..25_000.0f64, replicas in 1..24i32, capacity in 300.0..3000.0f64, known in any::<bool>(),
    ) {
        let mut group = Group::new(policy(1, 24), replicas, 24);
        if known {
            group.history = History::with_capacity(Some(capacity));
        }
        // Twenty-four partitions: the busiest replica is the first to be too slow.
        let most = |replicas: i32| capacity * 24.0 / f64::from((24 + replicas - 1) / replicas);
        let mut changes = Vec::new();
        for look in 0..1440 {
            let from = group.replicas;
            let work = if load <= most(from) { most(from) } else { capacity * f64::from(from) };
            let decision = group.after(load, work);
            if group.obey(&decision) {
                changes.push((look * 5, from, group.replicas));
            }
        }
        // A load that is a hair too much shows only once hours have made a backlog of it.
        let is_slow = |from: i32, to: i32| to > from && load > most(from) && load <= most(from) * 1.01;
        let late: Vec<_> = changes.iter().filter(|(second, from, to)| *second > 3600 && !is_slow(*from, *to)).collect();
        prop_assert!(late.is_empty(), "{changes:?}");
        let enough = load <= most(group.replicas) * 1.01;
        prop_assert!(enough || group.replicas == 24, "{} do not do {load}: {changes:?}", group.replicas);
        let turns = changes.windows(2).filter(|pair| (pair[0].2 > pair[0].1) != (pair[1].2 > pair[1].1)).count();
        prop_assert!(turns <= 4, "{changes:?}");
    }
}
