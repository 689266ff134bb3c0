//! Each rule of the decision as a row, and what must hold for all lags.

use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_secs(60);

fn policy(min_replicas: i32, max_replicas: i32) -> Policy {
    Policy {
        min_replicas,
        max_replicas,
        lag_per_replica: 10_000,
        scale_in_after: WINDOW,
    }
}

/// Looks every five seconds at these lags; `None` is a look without data. Returns the decision after the last one.
fn after(policy: &Policy, replicas: i32, partitions: i32, lags: &[Option<u64>]) -> Decision {
    let start = Instant::now();
    let mut history = History::default();
    let mut decision = Decision::Hold {
        reason: String::new(),
    };
    for (look, records) in (0u32..).zip(lags) {
        let lag = records.map(|records| Lag { records, partitions });
        let seen = Observation {
            at: start + Duration::from_secs(5) * look,
            replicas,
            lag,
        };
        history.remember(policy, &seen);
        decision = decide(policy, &history, &seen);
    }
    decision
}

fn target(decision: &Decision) -> Option<i32> {
    match decision {
        Decision::Hold { .. } => None,
        Decision::ScaleTo { replicas, .. } => Some(*replicas),
    }
}

#[test]
fn one_look_is_enough_to_scale_out() {
    // (case, min, max, partitions, replicas, lag, expected)
    let cases = [
        ("no lag wants the minimum", 1, 5, 3, 1, 0, None),
        ("a full worker is enough", 1, 5, 3, 1, 10_000, None),
        (
            "one record more needs another worker",
            1,
            5,
            3,
            1,
            10_001,
            Some(2),
        ),
        ("never more than partitions", 1, 5, 3, 1, 1_000_000, Some(3)),
        ("never more than the maximum", 1, 2, 3, 1, 1_000_000, Some(2)),
        (
            "the partitions are stronger than the minimum",
            4,
            5,
            3,
            1,
            0,
            Some(3),
        ),
        ("none at all while there is nothing to do", 0, 5, 3, 0, 0, None),
        ("the first record wakes a worker", 0, 5, 3, 0, 1, Some(1)),
        ("too few for the minimum", 2, 5, 3, 0, 0, Some(2)),
        ("above the limit is cut at once", 1, 2, 3, 5, 1_000_000, Some(2)),
        ("fewer must wait for the window", 1, 5, 3, 3, 0, None),
        ("the largest lag", 1, 5, 3, 1, u64::MAX, Some(3)),
    ];
    for (case, min, max, partitions, replicas, lag, expected) in cases {
        let decision = after(&policy(min, max), replicas, partitions, &[Some(lag)]);
        assert_eq!(target(&decision), expected, "{case}: {decision:?}");
    }
}

#[test]
fn scaling_in_waits_for_a_whole_window() {
    let low = [Some(0); 13];
    let with = |at: usize, records: Option<u64>| {
        let mut lags = low;
        lags[at] = records;
        lags.to_vec()
    };
    // (case, lags, expected of 3 replicas). The window is 60 s: 13 looks.
    let cases = [
        ("not yet a window", low[..12].to_vec(), None),
        ("low throughout", low.to_vec(), Some(1)),
        (
            "to the most that the window wanted",
            with(7, Some(15_000)),
            Some(2),
        ),
        (
            "what was needed within the window is kept",
            with(7, Some(25_000)),
            None,
        ),
        (
            "what was needed at its very start is kept",
            with(0, Some(25_000)),
            None,
        ),
        (
            "what was needed before the window is forgotten",
            [vec![Some(25_000)], low.to_vec()].concat(),
            Some(1),
        ),
        (
            "a look without data changes nothing",
            [low[..12].to_vec(), vec![None]].concat(),
            None,
        ),
        ("a short gap begins nothing anew", with(5, None), Some(1)),
        (
            "after a long gap the window begins anew",
            [vec![Some(0)], vec![None; 15], vec![Some(0)]].concat(),
            None,
        ),
        (
            "after a gap of more than two windows too",
            [vec![Some(0)], vec![None; 30], vec![Some(0)]].concat(),
            None,
        ),
    ];
    for (case, lags, expected) in cases {
        let decision = after(&policy(1, 5), 3, 3, &lags);
        assert_eq!(target(&decision), expected, "{case}: {decision:?}");
    }
}

#[test]
fn without_data_nothing_changes() {
    for replicas in [0, 1, 3, 9] {
        let decision = after(&policy(1, 5), replicas, 3, &[None; 30]);
        assert_eq!(
            decision,
            Decision::Hold {
                reason: "the lag is not known".to_owned()
            }
        );
    }
}

#[test]
fn decisions_say_why() {
    let policy = policy(1, 3);
    let reason = |decision| match decision {
        Decision::Hold { reason } | Decision::ScaleTo { reason, .. } => reason,
    };
    assert_eq!(
        reason(after(&policy, 1, 3, &[Some(25_000)])),
        "lag 25000 over 3 partitions wants 3 replicas"
    );
    let out = "lag 5 over 3 partitions wants 1 replica";
    assert_eq!(reason(after(&policy, 1, 3, &[Some(5)])), out);
    assert_eq!(
        reason(after(&policy, 2, 3, &[Some(5)])),
        format!("{out}, but not yet for 60 s")
    );
    let never = format!("{out}, and for 60 s never more than 1 were wanted");
    assert_eq!(reason(after(&policy, 2, 3, &[Some(5); 13])), never);
    assert_eq!(
        reason(after(&policy, 7, 3, &[Some(5)])),
        "7 replicas are above the limit of 3"
    );
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (0..20i32, 1..20i32, 1..50_000i64).prop_map(|(min_replicas, more, lag_per_replica)| Policy {
        min_replicas,
        max_replicas: min_replicas + more,
        lag_per_replica,
        scale_in_after: WINDOW,
    })
}

fn any_lag() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 4 => (0..500_000u64).prop_map(Some), 1 => any::<u64>().prop_map(Some)]
}

proptest! {
    #[test]
    fn never_above_partitions_and_maximum_nor_below_what_lag_needs(
        policy in any_policy(),
        replicas in 0..40i32,
        partitions in 0..30i32,
        lags in prop::collection::vec(any_lag(), 1..40),
    ) {
        let limit = policy.max_replicas.min(partitions);
        match (after(&policy, replicas, partitions, &lags), lags[lags.len() - 1]) {
            (Decision::ScaleTo { .. }, None) => prop_assert!(false, "scaled without data"),
            (Decision::ScaleTo { replicas: to, .. }, Some(records)) => {
                prop_assert!(to != replicas && to <= limit);
                let needed = wanted(&policy, Lag { records, partitions });
                prop_assert!(to >= needed);
            }
            (Decision::Hold { .. }, Some(_)) => prop_assert!(replicas <= limit),
            (Decision::Hold { .. }, None) => {}
        }
    }

    #[test]
    fn more_lag_never_wants_fewer(
        policy in any_policy(), partitions in 0..30i32, one in any::<u64>(), other in any::<u64>(),
    ) {
        let of = |records| wanted(&policy, Lag { records, partitions });
        prop_assert!(of(one.min(other)) <= of(one.max(other)));
    }

    #[test]
    fn the_same_lag_needs_one_decision(
        policy in any_policy(), replicas in 0..40i32, partitions in 1..30i32, records in any::<u64>(),
    ) {
        if let Some(to) = target(&after(&policy, replicas, partitions, &[Some(records); 13])) {
            prop_assert_eq!(target(&after(&policy, to, partitions, &[Some(records); 13])), None);
        }
    }
}

#[test]
fn what_is_remembered_does_not_grow_with_the_window_and_is_what_all_looks_would_say() {
    let window = Duration::from_secs(3600);
    let policy = Policy {
        min_replicas: 0,
        max_replicas: 20,
        lag_per_replica: 1,
        scale_in_after: window,
    };
    let (mut history, mut all, start) = (History::default(), Vec::new(), Instant::now());
    // Any numbers will do.
    let mut number: u64 = 1;
    for look in 0..3000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = start + Duration::from_secs(5 * look);
        let lag = Lag {
            records: (number >> 33) % 20,
            partitions: 20,
        };
        let seen = Observation {
            at,
            replicas: 20,
            lag: Some(lag),
        };
        history.remember(&policy, &seen);
        all.push((at, wanted(&policy, lag)));
        let within = all.iter().filter(|(then, _)| at - *then <= window);
        let most = within.map(|(_, wanted)| *wanted).max();
        let expected = most.filter(|_| at - start >= window);
        assert_eq!(history.most_wanted(window, at), expected, "look {look}");
        assert!(history.falling.len() <= 21, "{}", history.falling.len());
    }
}
