//! The totals of one input partition: a function of the records before an offset.

mod keyed;
mod windows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use snafu::{ResultExt, Snafu};

use crate::accumulator::{Accumulator, Overflow};
use crate::identity::Origin;
use crate::keys::Keys;
use crate::total::{Scope, Total};

use self::windows::Windows;

/// What a record is to the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It passed the filter. `group` is `None` when nothing is grouped, `value` when the field is null; it is in units of
    /// the sum's last digit behind the point.
    Summed {
        group: Option<&'a str>,
        value: Option<i128>,
    },
    /// The same in a window, which begins at `start` and is named by `name`, together with the group.
    Windowed {
        name: &'a str,
        start: i64,
        time: i64,
        value: Option<i128>,
    },
    /// The filter dropped it, or it is a tombstone: there is nothing to add.
    Dropped,
    /// It goes to the dead letter topic.
    Dead,
}

/// The record at `offset` cannot be added.
#[derive(Debug, PartialEq, Eq, Snafu)]
#[snafu(display("the record at offset {offset} of partition {partition} does not fit into its total"))]
pub struct ApplyError {
    source: Overflow,
    partition: i32,
    offset: i64,
}

/// The totals of one input partition, and which of them the output topic does not hold yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTotals {
    partition: i32,
    next_offset: i64,
    all: Accumulator,
    groups: HashMap<Arc<str>, Group>,
    changed: bool,
    offset_is_missing: bool,
    /// Names of those that changed.
    changed_groups: Vec<Arc<str>>,
    origin: Origin,
    /// Groups of the totals before these, which go with the next commit if they are not among these.
    retired: BTreeSet<String>,
    windows: Option<Box<Windows>>,
    /// What each key adds, if a record takes the place of the one before of its key.
    keys: Option<Box<Keys>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Arc<str>,
    accumulator: Accumulator,
    /// It covers the records before this offset, if that is more than the partition's total does.
    next_offset: i64,
    changed: bool,
    /// Whether the output topic has a total of it.
    written: bool,
}

impl Group {
    fn new(name: &str, next_offset: i64, accumulator: Accumulator) -> Self {
        Self {
            name: Arc::from(name),
            accumulator,
            next_offset,
            changed: false,
            written: false,
        }
    }
}

/// Totals of groups with the next offset that each does not cover yet.
pub type Groups = BTreeMap<String, (i64, Accumulator)>;

impl PartitionTotals {
    /// Of a partition that nobody has read before, or of which nobody has written more than totals of `groups`. It counts
    /// as changed: a partition has a record in the output topic from its first commit on, even if nothing has arrived.
    pub fn fresh(partition: i32, next_offset: i64, groups: Groups) -> Self {
        Self {
            changed: true,
            ..Self::restored(partition, next_offset, Accumulator::default(), groups)
        }
    }

    /// As the output topic holds them. A group that covers more than its partition, because its total was written and
    /// the partition's not any more, takes none of the records that it has already.
    pub fn restored(partition: i32, next_offset: i64, all: Accumulator, groups: Groups) -> Self {
        let groups = groups.into_iter().map(|(name, (next_offset, accumulator))| {
            let group = Group {
                written: true,
                ..Group::new(&name, next_offset, accumulator)
            };
            (Arc::clone(&group.name), group)
        });
        Self {
            partition,
            next_offset,
            all,
            groups: groups.collect(),
            changed: false,
            offset_is_missing: false,
            changed_groups: Vec::new(),
            origin: Origin::default(),
            retired: BTreeSet::new(),
            windows: None,
            keys: None,
        }
    }

    /// The same, which came about in this way.
    pub fn with(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The same, in the place of totals with these groups.
    pub fn retiring(self, groups: BTreeSet<String>) -> Self {
        Self {
            retired: groups,
            ..self
        }
    }

    /// The same, of which the group has no offset any more: it gets one with the next commit, also if nothing comes.
    pub fn without_offset(self) -> Self {
        Self {
            offset_is_missing: true,
            ..self
        }
    }

    /// The same, of which the output topic does not say that they are of this computation: it will with the next commit.
    pub fn without_identity(self) -> Self {
        Self {
            changed: true,
            ..self
        }
    }

    /// Lets everything be written again with the next commit, as if all had changed.
    pub fn write_again(&mut self) {
        self.changed = true;
        for group in self.groups.values_mut().filter(|group| !group.changed) {
            group.changed = true;
            self.changed_groups.push(Arc::clone(&group.name));
        }
    }

    /// First offset that is not covered: what is to be committed.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Groups whose totals in the output topic are of nothing any more: those that go with the next commit.
    pub fn retired(&self) -> impl Iterator<Item = &str> {
        let groups = self.retired.iter().map(String::as_str);
        let groups = groups.filter(|group| !self.groups.contains_key(*group));
        groups.chain(self.over())
    }

    /// Whether there is something to commit.
    pub fn is_changed(&self) -> bool {
        self.changed || self.offset_is_missing || self.keys.as_ref().is_some_and(|keys| keys.has_left())
    }

    /// Whether the record at `offset` was added, or is known to be none.
    pub fn covers(&self, offset: i64) -> bool {
        offset < self.next_offset
    }

    /// Adds the record at `offset`; false if it is covered already. After an error nothing has changed.
    /// Offsets between records belong to transaction markers and to records that compaction removed.
    pub fn apply(&mut self, offset: i64, outcome: Outcome<'_>) -> Result<bool, ApplyError> {
        if self.covers(offset) {
            return Ok(false);
        }
        let partition = self.partition;
        let (group, one) = match outcome {
            Outcome::Summed { group, value } => (group, Accumulator::summed(value)),
            Outcome::Windowed {
                name,
                start,
                time,
                value,
            } => return self.apply_windowed(offset, name, (start, time), value),
            Outcome::Dropped => (None, Accumulator::dropped()),
            Outcome::Dead => (None, Accumulator::dead()),
        };
        let all = self.all.merge(one).context(ApplySnafu { partition, offset })?;
        if let Some(name) = group {
            // Only a new group costs memory.
            let group = match self.groups.get_mut(name) {
                Some(group) => group,
                None => {
                    let group = Group::new(name, 0, Accumulator::default());
                    self.groups.entry(Arc::clone(&group.name)).or_insert(group)
                }
            };
            if offset >= group.next_offset {
                group.accumulator = group
                    .accumulator
                    .merge(one)
                    .context(ApplySnafu { partition, offset })?;
                if !group.changed {
                    group.changed = true;
                    self.changed_groups.push(Arc::clone(&group.name));
                }
            }
        }
        self.all = all;
        self.next_offset = offset + 1;
        self.changed = true;
        Ok(true)
    }

    /// There is no record before `next_offset` that is not covered.
    pub fn skip_to(&mut self, next_offset: i64) {
        if next_offset > self.next_offset {
            self.next_offset = next_offset;
            self.changed = true;
        }
    }

    /// The totals that changed since [`Self::committed`], that of the whole partition last: whoever reads it has
    /// read the groups that belong to it.
    pub fn changes(&self) -> impl Iterator<Item = Total> {
        let groups = self.changed_groups.iter().map(|name| {
            let group = &self.groups[name];
            let next_offset = group.next_offset.max(self.next_offset);
            (Some(String::from(&**name)), next_offset, group.accumulator)
        });
        let all = self.changed.then_some((None, self.next_offset, self.all));
        groups.chain(all).map(|(group, next_offset, accumulator)| Total {
            scope: Scope::Partition {
                partition: self.partition,
                next_offset,
            },
            windowed: self.windowed(group.as_deref()),
            group,
            accumulator,
        })
    }

    /// The output topic holds all of this.
    pub fn committed(&mut self) {
        // Whoever reads what has gone waits for a total of the partition behind it.
        self.changed = self.leave_over();
        if let Some(keys) = &mut self.keys {
            keys.written();
        }
        self.offset_is_missing = false;
        self.retired.clear();
        for name in self.changed_groups.drain(..) {
            if let Some(group) = self.groups.get_mut(&name) {
                group.changed = false;
                group.written = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::accumulator::MAX_SUM;

    fn summed(group: &str, value: i128) -> Outcome<'_> {
        Outcome::Summed {
            group: Some(group),
            value: Some(value),
        }
    }

    fn any_outcome() -> impl Strategy<Value = Outcome<'static>> {
        let group = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
        prop_oneof![
            (group, any::<Option<i64>>()).prop_map(|(group, value)| Outcome::Summed {
                group,
                value: value.map(i128::from)
            }),
            Just(Outcome::Dropped),
            Just(Outcome::Dead),
        ]
    }

    fn accumulators(totals: &PartitionTotals) -> BTreeMap<String, Accumulator> {
        let groups = totals.groups.values();
        groups
            .map(|group| (group.name.to_string(), group.accumulator))
            .collect()
    }

    fn groups(totals: &PartitionTotals) -> Groups {
        let accumulators = accumulators(totals).into_iter();
        accumulators
            .map(|(name, accumulator)| (name, (totals.next_offset, accumulator)))
            .collect()
    }

    fn apply(totals: &mut PartitionTotals, from: usize, outcomes: &[Outcome<'_>]) {
        for (index, outcome) in outcomes.iter().enumerate() {
            totals
                .apply(i64::try_from(from + index).unwrap(), *outcome)
                .unwrap();
        }
    }

    #[test]
    fn only_what_changed_is_written_and_the_whole_partition_last() {
        let mut totals = PartitionTotals::fresh(2, 10, Groups::new());
        for (offset, outcome) in [(10, summed("a", 5)), (11, summed("b", 7)), (13, Outcome::Dropped)] {
            assert_eq!(totals.apply(offset, outcome), Ok(true));
        }
        let written = totals
            .changes()
            .map(|total| (total.id(), total.accumulator.sum))
            .collect::<Vec<_>>();
        let ids = ["partition-2/a", "partition-2/b", "partition-2"].map(str::to_owned);
        assert_eq!(written, ids.into_iter().zip([5, 7, 12]).collect::<Vec<_>>());

        totals.committed();
        assert_eq!((totals.is_changed(), totals.changes().count()), (false, 0));
        totals.apply(14, summed("b", 1)).unwrap();
        totals.apply(15, summed("b", 1)).unwrap();
        assert_eq!(
            totals.changes().map(|total| total.id()).collect::<Vec<_>>(),
            ["partition-2/b", "partition-2"]
        );
        assert_eq!(totals.next_offset(), 16);
    }

    #[test]
    fn a_partition_without_records_has_a_total_too() {
        let totals = PartitionTotals::fresh(0, 42, Groups::new());
        let total = totals.changes().next().unwrap();
        assert_eq!(
            total.scope,
            Scope::Partition {
                partition: 0,
                next_offset: 42
            }
        );
        assert_eq!(total.accumulator, Accumulator::default());
    }

    #[test]
    fn a_record_that_is_covered_already_is_not_added_again() {
        let mut totals = PartitionTotals::restored(0, 5, Accumulator::default(), BTreeMap::new());
        let before = totals.clone();
        assert_eq!(totals.apply(4, summed("a", 1)), Ok(false));
        assert_eq!(totals, before);
    }

    #[test]
    fn offsets_without_records_are_skipped_forwards_only() {
        let mut totals = PartitionTotals::restored(0, 5, Accumulator::default(), BTreeMap::new());
        totals.skip_to(5);
        assert!(!totals.is_changed());
        totals.skip_to(7);
        totals.skip_to(6);
        assert_eq!((totals.next_offset(), totals.changes().count()), (7, 1));
    }

    #[test]
    fn a_record_that_does_not_fit_changes_nothing_and_is_named() {
        let full = Accumulator {
            sum: MAX_SUM,
            ..Accumulator::default()
        };
        let mut totals = PartitionTotals::restored(3, 5, full, BTreeMap::new());
        let before = totals.clone();
        let error = totals.apply(8, summed("a", 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the record at offset 8 of partition 3 does not fit into its total"
        );
        assert_eq!(totals, before);
        assert_eq!(totals.apply(8, summed("a", -1)), Ok(true));
    }

    #[test]
    fn a_group_that_covers_more_than_its_partition_says_so_and_takes_nothing_twice() {
        let one = Accumulator::summed(Some(5));
        let groups = Groups::from([("a".to_owned(), (12, one)), ("b".to_owned(), (10, one))]);
        let mut totals = PartitionTotals::restored(2, 10, one.merge(one).unwrap(), groups);
        let changes = |totals: &PartitionTotals| {
            let changes = totals.changes().map(|total| {
                let Scope::Partition { next_offset, .. } = total.scope else {
                    unreachable!()
                };
                (total.id(), next_offset, total.accumulator.sum)
            });
            let mut changes = changes.collect::<Vec<_>>();
            changes.sort();
            changes
        };
        let named = |rows: [(&str, i64, i128); 3]| rows.map(|(id, end, sum)| (id.to_owned(), end, sum));
        totals.write_again();
        assert_eq!(
            changes(&totals),
            named([
                ("partition-2", 10, 10),
                ("partition-2/a", 12, 5),
                ("partition-2/b", 10, 5)
            ])
        );
        for (offset, group) in [(10, "b"), (11, "a"), (12, "a")] {
            totals.apply(offset, summed(group, 1)).unwrap();
        }
        assert_eq!(
            changes(&totals),
            named([
                ("partition-2", 13, 13),
                ("partition-2/a", 13, 6),
                ("partition-2/b", 13, 6)
            ])
        );
    }

    proptest! {
        /// A crash may leave the totals of some groups that belong to a total of the partition that was never written.
        #[test]
        fn a_restart_with_groups_of_any_later_moment_gives_the_same_totals(
            outcomes in prop::collection::vec(any_outcome(), 0..40),
            at in any::<prop::sample::Index>(), later in any::<[prop::sample::Index; 2]>(),
        ) {
            let mut straight = PartitionTotals::fresh(0, 0, Groups::new());
            apply(&mut straight, 0, &outcomes);

            let at = at.index(outcomes.len() + 1);
            let mut first = PartitionTotals::fresh(0, 0, Groups::new());
            apply(&mut first, 0, &outcomes[..at]);
            let mut found = groups(&first);
            for (name, later) in ["a", "b"].into_iter().zip(later) {
                let later = at + later.index(outcomes.len() - at + 1);
                let mut ahead = first.clone();
                apply(&mut ahead, at, &outcomes[at..later]);
                found.extend(groups(&ahead).remove_entry(name));
            }
            let mut second = PartitionTotals::restored(0, first.next_offset, first.all, found);
            apply(&mut second, at, &outcomes[at..]);

            prop_assert_eq!(
                (second.next_offset, second.all, accumulators(&second)),
                (straight.next_offset, straight.all, accumulators(&straight))
            );
        }

        #[test]
        fn a_restart_anywhere_gives_the_same_totals(
            outcomes in prop::collection::vec(any_outcome(), 0..40), at in any::<prop::sample::Index>(),
        ) {
            let mut straight = PartitionTotals::fresh(0, 0, Groups::new());
            apply(&mut straight, 0, &outcomes);

            let at = at.index(outcomes.len() + 1);
            let mut first = PartitionTotals::fresh(0, 0, Groups::new());
            apply(&mut first, 0, &outcomes[..at]);
            let mut second = PartitionTotals::restored(0, first.next_offset, first.all, groups(&first));
            apply(&mut second, at, &outcomes[at..]);

            let groups = accumulators(&second);
            prop_assert_eq!((second.next_offset, second.all, &groups), (straight.next_offset, straight.all, &accumulators(&straight)));
            let grouped = groups.values().try_fold(Accumulator::default(), |all, group| all.merge(*group)).unwrap();
            prop_assert!(grouped.count <= second.all.count);
        }
    }
}
