mod windows;

use super::*;

fn subtotal(partition: i32, next_offset: i64, group: Option<&str>, sum: i128) -> Total {
    Total {
        scope: Scope::Partition {
            partition,
            next_offset,
        },
        group: group.map(str::to_owned),
        accumulator: Accumulator {
            count: 1,
            sum,
            ..Accumulator::default()
        },
        windowed: Windowed::No,
    }
}

fn sums(overall: &Overall) -> Vec<(String, i128)> {
    let changes = overall.changes().unwrap();
    let totals = changes.totals.iter();
    totals.map(|total| (total.id(), total.accumulator.sum)).collect()
}

/// As the topic would bring them back after the commit.
fn write(overall: &mut Overall) {
    let changes = overall.changes().unwrap();
    for group in changes.removed {
        let partition = None;
        overall.remove(Removed { partition, group });
    }
    for total in changes.totals {
        overall.observe(total, true);
    }
}

fn earlier(overall: &mut Overall, total: Total) {
    overall.observe(total, false);
}

#[test]
fn the_overall_total_is_the_sum_of_the_newest_subtotals_with_their_offsets() {
    let mut overall = Overall::default();
    for total in [
        subtotal(0, 3, None, 5),
        subtotal(1, 9, None, 7),
        subtotal(0, 4, None, 6),
    ] {
        overall.observe(total, true);
    }
    let changes = overall.changes().unwrap().totals;
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].scope,
        Scope::Overall {
            offsets: Offsets::from([(0, 4), (1, 9)])
        }
    );
    assert_eq!(
        (changes[0].accumulator.sum, changes[0].accumulator.count),
        (13, 2)
    );
}

#[test]
fn a_partition_that_moved_is_counted_once() {
    let mut overall = Overall::default();
    for total in [
        subtotal(0, 3, None, 5),
        subtotal(0, 3, None, 5),
        subtotal(0, 5, None, 8),
    ] {
        overall.observe(total, true);
    }
    assert_eq!(sums(&overall), [("total".to_owned(), 8)]);
}

#[test]
fn nothing_is_written_again() {
    let mut overall = Overall::default();
    overall.observe(subtotal(0, 3, None, 5), true);
    write(&mut overall);
    assert_eq!(sums(&overall), []);
    overall.observe(subtotal(0, 3, None, 5), true);
    assert_eq!(sums(&overall), []);
    overall.observe(subtotal(1, 1, None, 0), true);
    assert_eq!(sums(&overall), [("total".to_owned(), 5)]);
}

#[test]
fn a_total_that_comes_back_late_is_not_taken_for_the_newest() {
    let mut overall = Overall::default();
    overall.observe(subtotal(0, 3, None, 5), true);
    let first = overall.changes().unwrap().totals;
    write(&mut overall);
    overall.observe(subtotal(0, 4, None, 6), true);
    write(&mut overall);
    first.into_iter().for_each(|total| overall.observe(total, true));
    assert_eq!(sums(&overall), []);
}

#[test]
fn groups_are_added_over_the_partitions_and_only_changed_ones_written() {
    let mut overall = Overall::default();
    for total in [
        subtotal(0, 3, Some("a"), 1),
        subtotal(0, 3, Some("b"), 2),
        subtotal(0, 3, None, 3),
        subtotal(1, 8, Some("a"), 10),
        subtotal(1, 8, None, 10),
    ] {
        overall.observe(total, true);
    }
    let named = |pairs: &[(&str, i128)]| {
        pairs
            .iter()
            .map(|(id, sum)| ((*id).to_owned(), *sum))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        sums(&overall),
        named(&[("total/a", 11), ("total/b", 2), ("total", 13)])
    );
    write(&mut overall);
    overall.observe(subtotal(1, 9, Some("a"), 20), true);
    assert_eq!(sums(&overall), [], "the group's transaction is not complete");
    overall.observe(subtotal(1, 9, None, 20), true);
    assert_eq!(sums(&overall), named(&[("total/a", 21), ("total", 23)]));
}

#[test]
fn the_overall_total_of_an_earlier_computation_stays_until_all_partitions_are_of_ours() {
    let mut overall = Overall::default();
    for (partition, sum) in [(0, 1), (1, 2)] {
        earlier(&mut overall, subtotal(partition, 3, Some("old"), sum));
        earlier(&mut overall, subtotal(partition, 3, None, sum));
    }
    for (offset, group, sum) in [(3, Some("old"), 3), (3, None, 3)] {
        let offsets = Offsets::from([(0, offset), (1, offset)]);
        let total = Total {
            scope: Scope::Overall { offsets },
            ..subtotal(0, 0, group, sum)
        };
        earlier(&mut overall, total);
    }
    assert_eq!(overall.changes(), Ok(Changes::default()));
    let mut switch = |partition, sum| {
        let group = "old".to_owned();
        let partition_of = Some(partition);
        overall.remove(Removed {
            partition: partition_of,
            group,
        });
        overall.observe(subtotal(partition, 3, Some("new"), sum), true);
        overall.observe(subtotal(partition, 3, None, sum), true);
        overall.changes().unwrap()
    };
    assert_eq!(switch(1, 20), Changes::default(), "partition 0 is behind");
    // The offsets are those of the total before, and the rules are not.
    let changes = switch(0, 10);
    assert_eq!(changes.removed, ["old"]);
    let totals = changes
        .totals
        .iter()
        .map(|total| (total.id(), total.accumulator.sum));
    let expected = [("total/new".to_owned(), 30), ("total".to_owned(), 30)];
    assert_eq!(totals.collect::<Vec<_>>(), expected);
    write(&mut overall);
    assert_eq!(overall.changes(), Ok(Changes::default()));
}

#[test]
fn groups_without_the_total_of_their_partition_wait_for_it() {
    let mut overall = Overall::default();
    overall.observe(subtotal(0, 3, Some("a"), 1), true);
    overall.observe(subtotal(0, 3, None, 1), true);
    write(&mut overall);
    assert!(overall.is_settled());
    // A crash; then the partition is read again from its own total on.
    overall.observe(subtotal(0, 9, Some("a"), 20), true);
    assert!(!overall.is_settled());
    overall.observe(subtotal(0, 5, None, 6), true);
    assert_eq!(sums(&overall), []);
    overall.observe(subtotal(0, 9, None, 20), true);
    assert!(overall.is_settled());
    assert_eq!(
        sums(&overall),
        [("total/a".to_owned(), 20), ("total".to_owned(), 20)]
    );
}

#[test]
fn what_was_written_late_by_who_had_lost_the_partition_does_not_count() {
    let mut overall = Overall::default();
    for total in [
        subtotal(0, 3, Some("a"), 1),
        subtotal(0, 5, None, 6),
        subtotal(0, 9, Some("b"), 2),
    ] {
        overall.observe(total, true);
    }
    let before = sums(&overall);
    for late in [
        subtotal(0, 8, Some("b"), 7),
        subtotal(0, 2, Some("a"), 7),
        subtotal(0, 4, None, 7),
    ] {
        assert!(overall.knows_better(&late), "{late:?}");
    }
    assert_eq!(sums(&overall), before);
    overall.observe(subtotal(0, 9, None, 8), true);
    let expected = [("total/a", 1), ("total/b", 2), ("total", 8)];
    assert_eq!(sums(&overall), expected.map(|(id, sum)| (id.to_owned(), sum)));
}

#[test]
fn an_overall_total_of_which_only_a_group_was_written_is_written_again_and_so_is_all_on_demand() {
    let mut overall = Overall::default();
    for total in [subtotal(0, 3, Some("a"), 1), subtotal(0, 3, None, 1)] {
        overall.observe(total, true);
    }
    let changes = overall.changes().unwrap().totals;
    overall.observe(changes[0].clone(), true);
    assert_eq!(sums(&overall), [("total".to_owned(), 1)]);
    write(&mut overall);
    assert_eq!(sums(&overall), []);
    overall.write_again();
    assert_eq!(
        sums(&overall),
        [("total/a".to_owned(), 1), ("total".to_owned(), 1)]
    );
}

#[test]
fn a_group_is_written_again_by_new_rules_also_if_its_digits_are_the_same() {
    let mut overall = Overall::default();
    for total in [subtotal(0, 3, Some("a"), 500), subtotal(0, 3, None, 500)] {
        overall.observe(total, true);
    }
    for mut total in overall.changes().unwrap().totals {
        // As of a sum with another scale.
        total.accumulator.sum = 500;
        overall.observe(total, false);
    }
    let all = [("total/a".to_owned(), 500), ("total".to_owned(), 500)];
    assert_eq!(sums(&overall), all);
}

#[test]
fn groups_that_are_gone_are_removed_also_if_all_is_to_be_written_again() {
    let mut overall = Overall::default();
    for total in [subtotal(0, 3, Some("a"), 1), subtotal(0, 3, None, 1)] {
        overall.observe(total, true);
    }
    write(&mut overall);
    let (partition, group) = (Some(0), "a".to_owned());
    overall.remove(Removed { partition, group });
    overall.observe(subtotal(0, 4, None, 0), true);
    overall.write_again();
    let changes = overall.changes().unwrap();
    assert_eq!((changes.removed, changes.totals.len()), (vec!["a".to_owned()], 1));
}

#[test]
fn a_total_out_of_range_is_an_error() {
    let mut overall = Overall::default();
    overall.observe(subtotal(0, 1, None, crate::accumulator::MAX_SUM), true);
    overall.observe(subtotal(1, 1, None, 1), true);
    assert_eq!(overall.changes(), Err(Overflow));
}
