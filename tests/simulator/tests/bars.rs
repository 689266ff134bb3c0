//! What the rule must hold under the simulated loads. The loads and the yardsticks are as they are; where naru is worse,
//! docs/autoscaling.md says so.

use naru_simulator::{
    naru::Naru,
    report::{RULES, Row, all},
    rules::Rule,
    run::{Outcome, run, run_at},
    shape::{SHAPES, Shape},
};

fn shape(name: &str) -> Shape {
    SHAPES
        .into_iter()
        .find(|shape| shape.name == name)
        .expect("a load")
}

/// naru that knows nothing, and that knows what a pod can do.
const BOTH: [fn(i32) -> Box<dyn Rule>; 2] = [Naru::unknowing, Naru::knowing];

fn ups(outcome: &Outcome) -> usize {
    outcome
        .decisions
        .iter()
        .filter(|made| made.to > made.from)
        .count()
}

#[test]
fn a_step_is_at_most_two_decisions_one_pod_too_many_and_one_way_back_whenever_it_comes() {
    for make in BOTH {
        for offset in 0..5 {
            let step = run_at(shape("step"), make(1), offset);
            let downs = step.decisions.len() - ups(&step);
            assert!((1..=2).contains(&ups(&step)) && downs == 1, "{offset}");
            assert!(step.overshoot() <= 1, "{offset}: {}", step.overshoot());
            assert_eq!(step.decisions.last().unwrap().to, 1);
            assert!(step.reaction(300).unwrap() <= 10, "{offset}");
        }
    }
}

#[test]
fn a_sine_is_followed_with_at_most_one_decision_in_five_minutes() {
    for make in BOTH {
        let sine = run(shape("sine"), make(1));
        assert!(sine.decisions.len() <= 7200 / 300, "{}", sine.decisions.len());
    }
}

#[test]
fn nothing_is_done_while_the_brokers_are_down() {
    for make in BOTH {
        let outage = run(shape("outage"), make(1));
        assert_eq!(outage.scale_ins_during_outage(), 0);
        let during = outage
            .decisions
            .iter()
            .filter(|made| (1200..1800).contains(&made.second));
        assert_eq!(during.count(), 0);
    }
}

#[test]
fn a_group_without_pods_is_woken_within_five_seconds_of_the_first_record() {
    for make in BOTH {
        let wake = run(shape("wake"), make(0));
        for begins in [600, 3300] {
            assert!(wake.reaction(begins - 1).unwrap() <= 6, "{begins}");
        }
        assert_eq!(wake.course[3000].replicas, 0);
    }
}

#[test]
fn no_yardstick_is_better_in_both_lag_and_pods_under_any_load() {
    let yardsticks: Vec<_> = RULES
        .iter()
        .filter(|rule| rule.yardstick)
        .map(|rule| rule.name)
        .collect();
    for row in all() {
        let better: Vec<_> = row
            .beaten_by()
            .into_iter()
            .filter(|rule| yardsticks.contains(rule))
            .collect();
        assert!(better.is_empty(), "{}: {better:?}", row.shape.name);
    }
}

#[test]
fn lag_and_pods_are_both_no_worse_than_the_better_yardstick_under_these_loads() {
    let held = |row: &Row| {
        let (lag, pods) = row.against(0);
        (lag <= 1.005 && pods <= 1.005).then_some(row.shape.name)
    };
    let rows = all();
    let held: Vec<_> = rows.iter().filter_map(held).collect();
    // Not under the others: see the docs.
    assert_eq!(
        held,
        ["step", "ramp", "sine", "bursts", "slow-start", "outage", "wake"]
    );
}

#[test]
fn any_constant_load_comes_to_rest() {
    for make in BOTH {
        for tenths in 1..=64u32 {
            let constant = Shape {
                times: f64::from(tenths) / 10.0,
                ..shape("constant")
            };
            let outcome = run(
                Shape {
                    lasts: 7200,
                    ..constant
                },
                make(1),
            );
            let late: Vec<_> = outcome
                .decisions
                .iter()
                .filter(|made| made.second > 1800)
                .collect();
            let told: Vec<_> = late
                .iter()
                .map(|made| (made.second, made.from, made.to, &made.why))
                .collect();
            assert!(late.is_empty(), "{tenths}: {told:?}");
        }
    }
}
