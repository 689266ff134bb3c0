use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::accumulator::MAX_SUM;
use crate::partition::Groups;

/// An upsert of a key to a group, with a value that may be null, a record that the filter drops or a tombstone, or a dead
/// letter.
type Step = (u8, Outcome<'static>);

fn summed(group: &'static str, value: i128) -> Outcome<'static> {
    Outcome::Summed {
        group: Some(group),
        value: Some(value),
    }
}

fn any_step(grouped: bool) -> impl Strategy<Value = Step> {
    let group = match grouped {
        true => prop::sample::select(vec![Some("a"), Some("b"), Some("c")]).boxed(),
        false => Just(None).boxed(),
    };
    let outcome = prop_oneof![
        6 => (group, prop::option::weighted(0.9, -9..9_i128)).prop_map(|(group, value)| Outcome::Summed { group, value }),
        3 => Just(Outcome::Dropped),
        1 => Just(Outcome::Dead),
    ];
    (0..5_u8, outcome)
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    any::<bool>().prop_flat_map(|grouped| prop::collection::vec(any_step(grouped), 0..50))
}

fn fresh() -> PartitionTotals {
    PartitionTotals::fresh(0, 0, Groups::new()).with_keys(Some(Keys::default()))
}

fn apply(totals: &mut PartitionTotals, from: usize, steps: &[Step]) {
    for (index, (key, outcome)) in steps.iter().enumerate() {
        let offset = i64::try_from(from + index).unwrap();
        assert_eq!(totals.apply_keyed(offset, &[*key], *outcome), Ok(true));
    }
}

/// By group, and of all.
type Sums = BTreeMap<Option<String>, Accumulator>;

fn sums(totals: &PartitionTotals) -> Sums {
    let groups = totals.groups.values();
    let groups = groups.map(|group| (Some(group.name.to_string()), group.accumulator));
    groups.chain([(None, totals.all)]).collect()
}

/// What the totals must be, from the last values of keys and the numbers of records.
fn expected(steps: &[Step]) -> Sums {
    let (mut last, mut sums) = (BTreeMap::new(), Sums::from([(None, Accumulator::default())]));
    for (key, outcome) in steps {
        let mut count = |group: Option<&str>, one: fn(&mut Accumulator)| {
            one(sums.entry(None).or_default());
            if let Some(group) = group {
                one(sums.entry(Some(group.to_owned())).or_default());
            }
        };
        let before = match outcome {
            Outcome::Summed { group, value } => {
                count(*group, |of| of.count += 1);
                last.insert(key, (*group, value.unwrap_or(0)))
            }
            Outcome::Dropped => {
                count(None, |of| of.dropped += 1);
                last.remove(key)
            }
            Outcome::Dead => {
                count(None, |of| of.dead += 1);
                None
            }
            Outcome::Windowed { .. } => unreachable!("keys have no windows"),
        };
        if let Some((group, _)) = before {
            count(group, |of| of.retracted += 1);
        }
    }
    for (group, value) in last.into_values() {
        sums.entry(None).or_default().sum += value;
        if let Some(group) = group {
            sums.entry(Some(group.to_owned())).or_default().sum += value;
        }
    }
    sums
}

#[test]
fn a_record_takes_the_place_of_the_one_before_of_its_key_also_in_another_group() {
    let mut totals = fresh();
    let steps = [
        (1, summed("a", 5)),
        (2, summed("a", 7)),
        (1, summed("b", 11)),
        (2, Outcome::Dropped),
        (2, Outcome::Dropped),
        (1, Outcome::Dead),
    ];
    apply(&mut totals, 0, &steps);
    let of = |totals: &PartitionTotals, group: Option<&str>| {
        let found = sums(totals)[&group.map(str::to_owned)];
        (found.count, found.retracted, found.sum)
    };
    assert_eq!(of(&totals, None), (3, 2, 11));
    assert_eq!(of(&totals, Some("a")), (2, 2, 0), "a group of nothing stays");
    assert_eq!(of(&totals, Some("b")), (1, 0, 11));
    assert_eq!((totals.all.dropped, totals.all.dead), (2, 1));
    let ids = totals.changes().map(|total| total.id()).collect::<Vec<_>>();
    assert_eq!(ids, ["partition-0/a", "partition-0/b", "partition-0"]);
}

#[test]
fn a_record_that_does_not_fit_changes_nothing() {
    let mut totals = fresh();
    let steps = [
        (1, summed("a", MAX_SUM)),
        (2, summed("b", -MAX_SUM)),
        (3, summed("a", -1)),
        (5, summed("a", 1)),
    ];
    apply(&mut totals, 0, &steps);
    let before = totals.clone();
    for (key, outcome) in [
        // More than all may be.
        (2, summed("b", 2)),
        // More than the group may be that it was in.
        (3, summed("c", 0)),
        (3, Outcome::Dropped),
        // More than the group may be that it comes to.
        (4, summed("b", -1)),
    ] {
        let result = totals.apply_keyed(4, &[key], outcome);
        assert!(result.is_err(), "{key} {outcome:?}");
        assert_eq!(totals, before, "{key} {outcome:?}");
    }
    let steps = [
        (3, summed("a", -2)),
        (5, Outcome::Dropped),
        (3, Outcome::Dropped),
        (1, Outcome::Dropped),
        (2, summed("b", MAX_SUM)),
    ];
    apply(&mut totals, 4, &steps);
    assert_eq!(totals.all.sum, MAX_SUM);
}

#[test]
fn the_counts_are_those_of_records_and_what_stands_are_keys() {
    let mut totals = fresh();
    let steps = [
        (
            1,
            Outcome::Summed {
                group: None,
                value: None,
            },
        ),
        (
            1,
            Outcome::Summed {
                group: None,
                value: Some(3),
            },
        ),
        (
            2,
            Outcome::Summed {
                group: None,
                value: None,
            },
        ),
    ];
    apply(&mut totals, 0, &steps);
    assert_eq!(
        (totals.all.count, totals.all.retracted, totals.all.sum),
        (3, 1, 3)
    );
    assert_eq!(totals.keys().unwrap().len(), 2);
}

proptest! {
    #[test]
    fn the_total_is_the_sum_of_the_last_values_of_keys(steps in any_steps()) {
        let mut totals = fresh();
        apply(&mut totals, 0, &steps);
        prop_assert_eq!(sums(&totals), expected(&steps));
        // What each key adds is all that is needed to tell what stands.
        let stands = totals.keys().unwrap().sums().values().fold((0, 0), |(count, sum), of| (count + of.0, sum + of.1));
        prop_assert_eq!((totals.all.count - totals.all.retracted, totals.all.sum), stands);
    }

    #[test]
    fn what_is_covered_does_nothing(steps in any_steps(), again in any_step(true), at in any::<prop::sample::Index>()) {
        let mut totals = fresh();
        apply(&mut totals, 0, &steps);
        let before = totals.clone();
        if !steps.is_empty() {
            let offset = i64::try_from(at.index(steps.len())).unwrap();
            prop_assert_eq!(totals.apply_keyed(offset, &[again.0], again.1), Ok(false));
            prop_assert_eq!(totals, before);
        }
    }

    /// The state goes through bytes, as through Kafka, with commits at any moments.
    #[test]
    fn a_restart_anywhere_gives_the_same_totals(
        steps in any_steps(), at in any::<prop::sample::Index>(), commits in prop::collection::vec(any::<bool>(), 50),
    ) {
        use crate::keys::record::{Record, of_key};
        let at = at.index(steps.len() + 1);
        let mut first = fresh();
        let mut topic = BTreeMap::new();
        let mut commit = |totals: &mut PartitionTotals| {
            for (key, added) in totals.keys().unwrap().chosen() {
                let (key, value) = of_key(key, added.as_ref());
                topic.insert(key, value);
            }
            totals.committed();
            (totals.clone(), topic.clone())
        };
        let mut last = (fresh(), BTreeMap::new());
        for (index, step) in steps[..at].iter().enumerate() {
            apply(&mut first, index, std::slice::from_ref(step));
            if commits[index] {
                last = commit(&mut first);
            }
        }
        let (first, topic) = last;
        let mut keys = Keys::default();
        for (key, value) in &topic {
            match Record::parse(key, value.as_deref()) {
                Some(Record::Key(key, added)) => keys.observe(key, added),
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(keys.sums(), first.keys().unwrap().sums());
        let groups = first.groups.values().map(|group| (group.name.to_string(), (first.next_offset, group.accumulator)));
        let mut second = PartitionTotals::restored(0, first.next_offset, first.all, groups.collect()).with_keys(Some(keys));
        let from = usize::try_from(first.next_offset).unwrap();
        apply(&mut second, from, &steps[from..]);
        prop_assert_eq!(sums(&second), expected(&steps));
    }

    #[test]
    fn no_values_make_it_panic_or_a_wrong_total(
        steps in prop::collection::vec((0..3_u8, prop::option::of(prop::sample::select(vec!["a", "b"])), prop::sample::select(
            vec![MAX_SUM, -MAX_SUM, MAX_SUM / 2, -MAX_SUM / 2, 1, -1, 0])), 0..20),
    ) {
        let mut totals = fresh();
        let mut taken = Vec::new();
        for (offset, (key, group, value)) in (0..).zip(steps) {
            let outcome = match group {
                Some(_) => Outcome::Summed { group, value: Some(value) },
                None => Outcome::Dropped,
            };
            let before = totals.clone();
            match totals.apply_keyed(offset, &[key], outcome) {
                Ok(is_new) => {
                    prop_assert!(is_new);
                    taken.push((key, outcome));
                }
                Err(_) => prop_assert_eq!(&totals, &before),
            }
        }
        prop_assert_eq!(sums(&totals), expected_modulo(&taken));
    }
}

/// [`expected`] of values whose partial sums may not fit.
fn expected_modulo(steps: &[Step]) -> Sums {
    let halves = |half: fn(i128) -> i128| {
        let step = |(key, outcome): &Step| match outcome {
            Outcome::Summed { group, value } => (
                *key,
                Outcome::Summed {
                    group: *group,
                    value: value.map(half),
                },
            ),
            other => (*key, *other),
        };
        expected(&steps.iter().map(step).collect::<Vec<_>>())
    };
    let (high, low) = (
        halves(|value| value.div_euclid(1 << 64)),
        halves(|value| value.rem_euclid(1 << 64)),
    );
    let join = |(group, high): (Option<String>, Accumulator)| {
        let sum = (high.sum << 64) + low[&group].sum;
        (group, Accumulator { sum, ..high })
    };
    high.into_iter().map(join).collect()
}
