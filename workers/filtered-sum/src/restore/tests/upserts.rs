//! Totals that were written without transactions.

use super::*;

fn upserts(totals: impl IntoIterator<Item = Total>) -> Found {
    totals.into_iter().fold(Found::default(), |mut found, total| {
        found.observe(
            total,
            1_000,
            Some(ours().with(number(3))),
            Delivery::IdempotentUpsert,
        );
        found
    })
}

fn check(found: &Found, assigned: &Assigned, has_groups: bool) -> Result<PartitionTotals, Mismatch> {
    let log = found.outlived(assigned).map(|_| Log {
        end: 20,
        younger: Some(15),
    });
    let restored = found.clone().check(assigned, &sum(None), log, has_groups);
    restored.map(totals)
}

#[test]
fn totals_that_were_written_without_a_transaction_say_where_to_go_on_whatever_the_offset() {
    let found = upserts([written(10, None, 5)]);
    for committed in [None, Some(3), Some(10), Some(12)] {
        let known = check(&found, &assigned(committed), false).unwrap();
        assert_eq!(known.next_offset(), 10, "{committed:?}");
    }
    // Unless the input is not the log that they are of, or has lost what is to be read again. Whose offset is there was not
    // made anew, and may have records that are ahead of their time.
    // (committed, end of the log, the first younger record, whether it is the same log)
    let logs = [
        (None, 20, Some(4), false),
        (None, 20, None, true),
        (Some(3), 20, Some(4), true),
        (Some(3), 9, None, false),
    ];
    for (committed, end, younger, is_same) in logs {
        let log = Some(Log { end, younger });
        let restored = found.clone().check(&assigned(committed), &sum(None), log, false);
        assert_eq!(
            !matches!(restored, Err(Mismatch::OtherLog { .. })),
            is_same,
            "{committed:?} {log:?}"
        );
    }
    let start = Assigned {
        start: 11,
        ..assigned(Some(12))
    };
    let deleted = Mismatch::Deleted {
        partition: 1,
        committed: 10,
        start: 11,
    };
    assert_eq!(check(&found, &start, false), Err(deleted));
}

#[test]
fn what_a_late_writer_has_left_behind_newer_totals_does_not_count() {
    let mut found = upserts([
        written(12, Some("a"), 5),
        written(12, None, 5),
        written(11, Some("a"), 4),
        written(11, None, 4),
    ]);
    let known = check(&found, &assigned(Some(12)), true).unwrap();
    let sums = |mut totals: PartitionTotals| {
        totals.write_again();
        let sums = totals.changes().map(|total| total.accumulator.sum);
        sums.collect::<Vec<_>>()
    };
    assert_eq!((known.next_offset(), sums(known)), (12, vec![5, 5]));

    // Who writes transactions has the last word: nobody else could have.
    found.observe(
        written(11, None, 4),
        1_000,
        Some(ours().with(number(3))),
        Delivery::ExactlyOnce,
    );
    assert_eq!(found.all, Some((11, written(11, None, 4).accumulator)));
    assert!(!found.is_unfenced());
}

#[test]
fn groups_that_were_written_without_the_total_of_their_partition_are_restored_beside_an_older_one() {
    let none = upserts([written(9, Some("a"), 2)]);
    let known = check(&none, &assigned(None), true).unwrap();
    assert_eq!(
        known.next_offset(),
        7,
        "there is no total of the partition at all"
    );
    let before = [written(9, Some("a"), 2), written(9, None, 2)];
    let found = upserts(before.into_iter().chain([written(12, Some("b"), 3)]));
    let mut known = check(&found, &assigned(Some(9)), true).unwrap();
    for (offset, group) in [(9, "b"), (12, "b")] {
        let outcome = Outcome::Summed {
            group: Some(group),
            value: Some(10),
        };
        known.apply(offset, outcome).unwrap();
    }
    known.write_again();
    let sums = known.changes().map(|total| (total.id(), total.accumulator.sum));
    let mut sums = sums.collect::<Vec<_>>();
    sums.sort();
    let expected = [("partition-1", 22), ("partition-1/a", 2), ("partition-1/b", 13)];
    assert_eq!(sums, expected.map(|(id, sum)| (id.to_owned(), sum)));
    // A group that a late writer has set back for good is found out, since records are missing in it.
    let stale = upserts([written(9, Some("a"), 2), {
        let mut total = written(12, None, 3);
        total.accumulator.count = 2;
        total
    }]);
    assert_eq!(
        check(&stale, &assigned(Some(12)), true),
        Err(Mismatch::Groups { partition: 1 })
    );
}

#[test]
fn totals_that_were_written_without_a_transaction_may_be_superseded_in_one() {
    let rules = |filter, computation| Some(identity("ours", filter).with(number(computation)));
    let mut known = Found::default();
    for total in [
        written(10, Some("a"), 5),
        written(10, None, 5),
        // A crash left it without the total of its partition.
        written(12, Some("b"), 3),
    ] {
        known.observe(total, 1_000, rules("price <= 4", 2), Delivery::IdempotentUpsert);
    }
    let log = Log {
        end: 20,
        younger: None,
    };
    let restored = |known: &Found, reset| {
        let computation = sum(Some(reset));
        known
            .clone()
            .check(&assigned(Some(3)), &computation, Some(log), true)
    };
    assert_eq!(
        restored(&known, Reset::FromEarliest),
        Ok(Restored::Anew(Superseded {
            next_offset: 10,
            groups: ["a", "b"].map(str::to_owned).into(),
        }))
    );
    let ahead = Mismatch::Ahead {
        partition: 1,
        next_offset: 10,
    };
    assert_eq!(
        restored(&known, Reset::Continue),
        Err(ahead),
        "b has records that the new rules are for"
    );
    let mut level = known.clone();
    let mut both = written(12, None, 8);
    both.accumulator.count = 2;
    for total in [written(12, Some("b"), 3), both] {
        level.observe(total, 1_000, rules("price <= 4", 2), Delivery::IdempotentUpsert);
    }
    let continued = totals(restored(&level, Reset::Continue).unwrap());
    assert_eq!((continued.next_offset(), continued.origin().mixed), (12, true));

    // What the earlier ones still write when they have been superseded does not count, however much it covers.
    for total in [written(11, Some("a"), 6), written(11, None, 6)] {
        known.observe(total, 1_000, rules("price <= 5", 3), Delivery::ExactlyOnce);
    }
    let superseded = known.clone();
    for total in [written(15, Some("a"), 9), written(15, None, 9)] {
        known.observe(total, 1_000, rules("price <= 4", 2), Delivery::IdempotentUpsert);
    }
    assert_eq!(known, superseded);
}
