//! Each rule of the decision as a row.

#[path = "decisions/group.rs"]
mod group;
#[path = "decisions/properties.rs"]
mod properties;

use std::time::Duration;

use naru_autoscale::{Basis, Guard, Mode, Obstacle, Policy, Recurring, Schedule, Verdict, Why};

use crate::group::{EVERY, Group, policy};

#[test]
fn a_step_is_one_decision_two_looks_later_and_says_why() {
    let mut group = Group::knowing(policy(1, 24), 1, 24);
    assert_eq!(group.during(300, 700.0, 700.0).verdict, Verdict::Hold);
    assert_eq!(
        group.after(3500.0, 1000.0).verdict,
        Verdict::Hold,
        "one look may be a batch"
    );
    let decision = group.after(3500.0, 1000.0);
    assert_eq!(
        (decision.verdict, decision.why),
        (Verdict::ScaleTo(5), Why::Behind),
        "{decision}"
    );
    assert_eq!(
        decision.to_string(),
        "lag 25008 over 24 partitions, 962 records/s arrive and a replica does 1000, which wants 5 replicas: \
         lag would grow beyond what is allowed"
    );
    group.obey(&decision);
    for _ in 0..120 {
        let decision = group.after(3500.0, 5000.0);
        assert_eq!(decision.verdict, Verdict::Hold, "{decision}");
    }
}

#[test]
fn load_that_creeps_up_is_met_before_there_is_lag() {
    let mut group = Group::knowing(policy(1, 24), 2, 24);
    group.during(120, 1500.0, 1500.0);
    let mut rate = 1500.0;
    let decision = loop {
        rate += 10.0;
        let decision = group.after(rate, rate);
        if decision.verdict != Verdict::Hold {
            break decision;
        }
        assert!(rate < 2000.0, "nobody saw it come");
    };
    assert_eq!(
        (decision.target(), decision.why),
        (Some(3), Why::Busy),
        "{decision} at {rate}"
    );
}

#[test]
fn fewer_need_the_whole_window_and_then_go_in_one_step() {
    let mut group = Group::knowing(policy(1, 24), 5, 24);
    group.during(600, 3500.0, 3500.0);
    let mut decisions = Vec::new();
    for second in (5..900).step_by(5) {
        let decision = group.after(700.0, 700.0);
        if group.obey(&decision) {
            decisions.push((second, decision.target().unwrap(), decision.why));
        }
    }
    let [(second, to, why)] = decisions[..] else {
        panic!("{decisions:?}")
    };
    assert_eq!((to, why), (1, Why::Calm { seconds: 300 }));
    assert!((330..=400).contains(&second), "{second}");
}

#[test]
fn bounds_are_kept_at_once() {
    // (case, min, max, partitions, replicas, lag, expected)
    let cases = [
        ("no lag wants the minimum", 1, 5, 3, 1, 0.0, None),
        (
            "the partitions are stronger than the minimum",
            4,
            5,
            3,
            1,
            0.0,
            Some(3),
        ),
        ("none at all while there is nothing to do", 0, 5, 3, 0, 0.0, None),
        ("the first record wakes a worker", 0, 5, 3, 0, 3.0, Some(1)),
        ("too few for the minimum", 2, 5, 3, 0, 0.0, Some(2)),
        ("above the limit is cut", 1, 2, 3, 5, 3e6, Some(2)),
        ("fewer must wait for the window", 1, 5, 3, 3, 0.0, None),
        ("a topic without partitions", 0, 5, 0, 2, 0.0, Some(0)),
    ];
    for (case, min, max, partitions, replicas, lag, expected) in cases {
        let mut group = Group::new(policy(min, max), replicas, partitions);
        for end in &mut group.ends {
            *end += lag / partitions as f64;
        }
        let decision = group.look(true);
        assert_eq!(decision.target(), expected, "{case}: {decision}");
    }
}

#[test]
fn by_lag_alone_one_look_is_enough() {
    // (case, lag, expected of one replica that may become 5, 3 partitions)
    let cases = [(9_999.0, None), (10_002.0, Some(2)), (3e9, Some(3))];
    for (lag, expected) in cases {
        let mut group = Group::new(
            Policy {
                basis: Basis::Lag,
                ..policy(1, 5)
            },
            1,
            3,
        );
        group.ends[0] += lag;
        assert_eq!(group.look(true).target(), expected, "{lag}");
    }
    // And for the next step, too: there is nothing to be measured in between.
    let mut group = Group::new(
        Policy {
            basis: Basis::Lag,
            ..policy(1, 5)
        },
        1,
        3,
    );
    group.ends[0] += 10_002.0;
    let decision = group.look(true);
    assert!(group.obey(&decision));
    group.ready = 1;
    group.ends[0] += 10_002.0;
    assert_eq!(group.look(true).target(), Some(3));
}

#[test]
fn while_nothing_is_known_lag_that_stays_is_met_and_lag_that_goes_is_not() {
    let mut group = Group::new(policy(1, 12), 1, 12);
    group.during(60, 100.0, 100.0);
    group.ends[0] += 60_000.0;
    assert_eq!(group.look(true).verdict, Verdict::Hold);
    // It does not seem to work at all.
    let decision = group.look(true);
    assert_eq!(
        (decision.target(), decision.why),
        (Some(4), Why::Lag),
        "never more than four times as many"
    );
    let mut group = Group::new(policy(1, 12), 1, 12);
    group.during(60, 100.0, 100.0);
    group.ends[0] += 60_000.0;
    assert_eq!(group.look(true).verdict, Verdict::Hold);
    assert_eq!(group.after(100.0, 1e6).verdict, Verdict::Hold);
}

#[test]
fn a_change_waits_for_what_is_going_on_but_never_for_ever() {
    let held = |change: fn(&mut Group)| {
        let mut group = Group::knowing(policy(1, 24), 2, 24);
        group.during(120, 1500.0, 1500.0);
        change(&mut group);
        let work = 950.0 * f64::from(group.ready);
        group.during(60, 2600.0, work).why
    };
    assert_eq!(held(|_| ()), Why::Busy);
    assert_eq!(
        held(|group| group.obstacle = Some(Obstacle::Rollout)),
        Why::Held(Guard::Obstacle(Obstacle::Rollout))
    );
    assert_eq!(
        held(|group| group.obstacle = Some(Obstacle::Rebalancing)),
        Why::Held(Guard::Obstacle(Obstacle::Rebalancing))
    );
    assert_eq!(
        held(|group| group.ready = 1),
        Why::Held(Guard::Starting {
            ready: 1,
            replicas: 2
        })
    );
    assert!(matches!(
        held(|group| group.history.changed(group.at + EVERY * 8, 1, 2)),
        Why::Held(Guard::Recent { .. })
    ));
}

#[test]
fn without_data_nothing_changes_and_a_long_gap_begins_the_window_anew() {
    for replicas in [0, 1, 3, 9] {
        let mut group = Group::new(policy(1, 5), replicas, 3);
        for _ in 0..30 {
            let decision = group.look(false);
            assert_eq!((decision.verdict, decision.why), (Verdict::Hold, Why::Unknown));
            assert_eq!(decision.to_string(), "the lag is not known");
        }
    }
    let quiet = |gap: u32| {
        let mut group = Group::new(policy(1, 5), 3, 3);
        for _ in 0..30 {
            assert_eq!(group.look(true).verdict, Verdict::Hold);
        }
        for _ in 0..gap / 5 {
            assert_eq!(group.look(false).verdict, Verdict::Hold, "{gap}");
        }
        (0..100)
            .position(|_| group.look(true).verdict == Verdict::ScaleTo(1))
            .map(|look| look * 5)
    };
    let (none, short, long) = (quiet(0).unwrap(), quiet(100).unwrap(), quiet(600).unwrap());
    assert!(
        short < none && none < long && long >= 300,
        "{none} {short} {long}"
    );
}

#[test]
fn replicas_that_gain_nothing_are_not_followed_by_more() {
    let mut group = Group::knowing(policy(1, 24), 4, 24);
    group.during(300, 3000.0, 3000.0);
    // Something behind the workers takes 3500/s and no more.
    let mut most = 4;
    let mut last = None;
    for _ in 0..240 {
        let decision = group.after(8000.0, 3500.0);
        group.obey(&decision);
        most = most.max(group.replicas);
        last = Some(decision);
    }
    let last = last.unwrap();
    assert_eq!(last.why, Why::Held(Guard::Ineffective), "{last}");
    assert!(most <= 24 && last.figures.unwrap().wanted >= most);
    let capacity = group.history.capacity().unwrap();
    assert!(capacity > 0.0);
}

#[test]
fn one_partition_that_is_too_much_for_a_replica_is_told_and_not_chased() {
    let mut group = Group::knowing(policy(1, 24), 3, 24);
    let mut last = None;
    for _ in 0..60 {
        // 60 % of 2000/s in one partition, where a replica does 1000/s.
        for (number, (end, position)) in group.ends.iter_mut().zip(&mut group.positions).enumerate() {
            let (arrive, work) = if number == 0 {
                (1200.0, 1000.0)
            } else {
                (800.0 / 23.0, 800.0 / 23.0)
            };
            (*end, *position) = (*end + arrive * 5.0, *position + work * 5.0);
        }
        let decision = group.look(true);
        assert!(decision.target().is_none_or(|to| to <= 3), "{decision}");
        last = Some(decision);
    }
    assert_eq!(last.unwrap().why, Why::Skewed);
}

#[test]
fn the_mode_and_the_clock_decide_whether_anything_is_done() {
    let hours = |cron| Recurring::new(cron, "UTC", Duration::from_secs(3600)).unwrap();
    let night = |min, max| Schedule {
        when: hours("0 12 * * *"),
        min_replicas: min,
        max_replicas: max,
    };
    let plain = || policy(1, 5);
    // (case, policy, verdict on 2 replicas with nothing to do but a lag that wants 3, why)
    let cases = [
        ("auto", plain(), Verdict::ScaleTo(3), Why::Lag),
        (
            "recommend",
            Policy {
                mode: Mode::Recommend,
                ..plain()
            },
            Verdict::Recommend(3),
            Why::Lag,
        ),
        (
            "disabled",
            Policy {
                mode: Mode::Disabled,
                ..plain()
            },
            Verdict::Hold,
            Why::Disabled,
        ),
        (
            "frozen",
            Policy {
                freezes: vec![hours("0 12 * * *")],
                ..plain()
            },
            Verdict::Hold,
            Why::Frozen,
        ),
        (
            "frozen at another time",
            Policy {
                freezes: vec![hours("0 13 * * *")],
                ..plain()
            },
            Verdict::ScaleTo(3),
            Why::Lag,
        ),
        (
            "a schedule wants more",
            Policy {
                schedules: vec![night(Some(4), None)],
                ..plain()
            },
            Verdict::ScaleTo(4),
            Why::BelowMinimum { minimum: 4 },
        ),
        (
            "a schedule wants fewer",
            Policy {
                schedules: vec![night(None, Some(1))],
                ..plain()
            },
            Verdict::ScaleTo(1),
            Why::AboveLimit { limit: 1 },
        ),
        (
            "a schedule wants none",
            Policy {
                schedules: vec![night(Some(0), Some(0))],
                ..plain()
            },
            Verdict::ScaleTo(0),
            Why::AboveLimit { limit: 0 },
        ),
    ];
    for (case, policy, verdict, why) in cases {
        let mut group = Group::new(policy, 2, 6);
        group.ends[0] += 25_000.0;
        group.look(true);
        let decision = group.look(true);
        assert_eq!(
            (decision.verdict, decision.why),
            (verdict, why),
            "{case}: {decision}"
        );
    }
}

#[test]
fn a_group_goes_to_zero_only_when_nothing_comes_and_wakes_at_the_first_look() {
    let mut group = Group::knowing(policy(0, 24), 1, 24);
    for _ in 0..240 {
        let decision = group.after(1.0, 1.0);
        assert_eq!(decision.verdict, Verdict::Hold, "{decision}");
    }
    let asleep = (0..240).position(|_| {
        let decision = group.after(0.0, 0.0);
        group.obey(&decision)
    });
    assert!((60..85).contains(&asleep.unwrap()), "{asleep:?}");
    assert_eq!(group.replicas, 0);
    assert_eq!(group.during(3600, 0.0, 0.0).verdict, Verdict::Hold);
    // As many as what comes takes, and not one to begin with.
    let decision = group.after(3000.0, 0.0);
    assert_eq!(
        (decision.target(), decision.why),
        (Some(4), Why::Woken),
        "{decision}"
    );
}

#[test]
fn a_group_of_twelve_partitions_is_remembered_in_a_few_kilobytes() {
    let mut group = Group::new(policy(1, 12), 1, 12);
    group.during(3600, 5000.0, 900.0);
    let bytes = format!("{:?}", group.history).len();
    // A rough measure, several times too much: what is printed of each look is longer than the look.
    assert!(bytes < 20_000, "{bytes}");
}
