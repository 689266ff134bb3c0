//! The check passes what is right, and nothing else.

use super::*;

fn record(partition: i32, offset: i64, fact: &Fact) -> Consumed {
    Consumed {
        partition,
        offset,
        key: Some(fact.to_key().into_bytes()),
        value: None,
    }
}

fn example() -> (Truth, Vec<Row>, BTreeMap<i32, i64>) {
    let sum = |value| Fact::Sum {
        group: "a".to_owned(),
        value,
    };
    let input = [
        record(0, 0, &sum(5)),
        record(0, 1, &Fact::Drop),
        record(0, 3, &sum(7)),
        record(1, 0, &Fact::Dead),
    ];
    let row = |partition, offset, grouping: Option<&str>, next_offset, (count, dropped, dead, sum)| {
        let id = grouping.map_or_else(
            || format!("partition-{partition}"),
            |group| format!("partition-{partition}/{group}"),
        );
        Row {
            at: (partition, offset),
            key: id.clone(),
            id,
            scope: "partition".to_owned(),
            partition: Some(partition),
            grouping: grouping.map(str::to_owned),
            figures: Figures {
                count,
                dropped,
                dead,
                sum,
                ..Figures::default()
            },
            next_offset: Some(next_offset),
            offsets: None,
        }
    };
    let total = |offset, grouping: Option<&str>, offsets: &[(i32, i64)], figures| {
        let id = grouping.map_or_else(|| "total".to_owned(), |group| format!("total/{group}"));
        Row {
            key: id.clone(),
            id,
            scope: "total".to_owned(),
            partition: None,
            next_offset: None,
            offsets: Some(offsets.iter().copied().collect()),
            ..row(0, offset, grouping, 0, figures)
        }
    };
    let rows = vec![
        row(0, 0, Some("a"), 2, (1, 0, 0, 5)),
        row(0, 1, None, 2, (1, 1, 0, 5)),
        row(0, 3, Some("a"), 4, (2, 0, 0, 12)),
        row(0, 4, None, 4, (2, 1, 0, 12)),
        total(5, Some("a"), &[(0, 4), (1, 1)], (2, 0, 0, 12)),
        total(6, None, &[(0, 4), (1, 1)], (2, 1, 1, 12)),
        row(1, 0, None, 1, (0, 0, 1, 0)),
    ];
    (Truth::of(&input, true), rows, BTreeMap::from([(0, 4), (1, 1)]))
}

#[test]
fn the_check_passes_what_is_right() {
    let (truth, rows, committed) = example();
    assert_eq!(check(&truth, &rows, &committed), Ok(()));
}

#[test]
fn upserts_may_come_again_and_go_back_but_must_be_right_and_the_last_ones_complete() {
    type Change = fn(&mut Vec<Row>);
    let changes: [(&str, bool, Change); 6] = [
        ("a total written twice", true, |rows| {
            rows.insert(4, rows[3].clone())
        }),
        ("a total that goes back for a moment", true, |rows| {
            rows.insert(3, rows[1].clone());
            rows.insert(5, rows[1].clone());
            rows.insert(6, rows[4].clone());
        }),
        ("a wrong sum, for a moment", false, |rows| rows[1].figures.sum = 6),
        ("a total that goes back for good", false, |rows| {
            rows.push(rows[1].clone())
        }),
        ("a group that goes back for good", false, |rows| {
            rows.push(rows[0].clone())
        }),
        ("an overall total that is missing", false, |rows| rows.truncate(4)),
    ];
    for (what, is_right, change) in changes {
        let (truth, mut rows, committed) = example();
        change(&mut rows);
        let checked = check_each(&truth, &rows).and_then(|seen| seen.check_end(&truth, &committed));
        assert_eq!(checked.is_ok(), is_right, "{what}");
    }
}

#[test]
fn the_check_finds_every_kind_of_wrong_output() {
    type Break = fn(&mut Vec<Row>, &mut BTreeMap<i32, i64>);
    let breaks: [(&str, Break); 12] = [
        ("an intermediate sum", |rows, _| rows[1].figures.sum = 6),
        ("a total's sum", |rows, _| rows[5].figures.sum = 17),
        ("the offset before the next", |rows, _| {
            rows[3].next_offset = Some(3)
        }),
        ("an offset further on", |rows, _| rows[1].next_offset = Some(4)),
        ("a total written twice", |rows, _| rows.insert(4, rows[3].clone())),
        ("a total that goes back", |rows, _| rows.swap(1, 3)),
        ("a missing last total", |rows, _| drop(rows.remove(3))),
        ("a missing overall total", |rows, _| rows.truncate(4)),
        ("a missing group", |rows, _| drop(rows.remove(4))),
        ("another key", |rows, _| rows[1].key = "partition-1".to_owned()),
        ("a committed offset that lags", |_, committed| {
            *committed.get_mut(&0).unwrap() = 3
        }),
        ("no committed offset", |_, committed| {
            committed.retain(|partition, _| *partition != 1)
        }),
    ];
    for (what, damage) in breaks {
        let (truth, mut rows, mut committed) = example();
        damage(&mut rows, &mut committed);
        assert!(check(&truth, &rows, &committed).is_err(), "{what}");
    }
}
