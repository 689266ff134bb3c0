//! The overall total: the sum of the newest totals of all partitions.
//!
//! Whoever owns input partition 0 reads the whole output topic, adds up what every partition's owner wrote, and
//! writes the result beside its own totals. It adds whole states, not changes, so no partition is ever counted
//! twice, however often it moves; and the vector of offsets says exactly which records a total covers.

use std::collections::BTreeMap;

use crate::accumulator::{Accumulator, Overflow};
use crate::total::{Offsets, Scope, Total};

/// What the output topic says.
#[derive(Debug, Default)]
pub struct Overall {
    partitions: BTreeMap<i32, Subtotal>,
    written: BTreeMap<Option<String>, Accumulator>,
    written_offsets: Offsets,
}

/// The newest totals of one partition.
#[derive(Debug, Default)]
struct Subtotal {
    next_offset: Option<i64>,
    /// By group; `None` is the whole partition.
    totals: BTreeMap<Option<String>, Accumulator>,
    /// Groups whose transaction's last record has not been read yet.
    pending: BTreeMap<String, Accumulator>,
}

impl Overall {
    /// Takes in a record of the output topic. Records of one output partition must come in their order.
    pub fn observe(&mut self, total: Total) {
        match (total.scope, total.group) {
            (Scope::Partition { partition, .. }, Some(group)) => {
                self.partitions
                    .entry(partition)
                    .or_default()
                    .pending
                    .insert(group, total.accumulator);
            }
            (
                Scope::Partition {
                    partition,
                    next_offset,
                },
                None,
            ) => {
                let subtotal = self.partitions.entry(partition).or_default();
                let pending = std::mem::take(&mut subtotal.pending);
                subtotal.totals.extend(
                    pending
                        .into_iter()
                        .map(|(group, accumulator)| (Some(group), accumulator)),
                );
                subtotal.totals.insert(None, total.accumulator);
                subtotal.next_offset = Some(next_offset);
            }
            // What was written comes back later, when something newer may have been written already.
            (Scope::Overall { offsets }, group) if version(&offsets) >= version(&self.written_offsets) => {
                self.written.insert(group, total.accumulator);
                self.written_offsets = offsets;
            }
            (Scope::Overall { .. }, _) => {}
        }
    }

    /// The overall totals that differ from those in the output topic, that of all groups last.
    pub fn changes(&self) -> Result<Vec<Total>, Overflow> {
        let offsets = self.offsets();
        if offsets == self.written_offsets {
            return Ok(Vec::new());
        }
        let mut sums = BTreeMap::<&Option<String>, Accumulator>::new();
        for subtotal in self
            .partitions
            .values()
            .filter(|subtotal| subtotal.next_offset.is_some())
        {
            for (group, accumulator) in &subtotal.totals {
                let sum = sums.entry(group).or_default();
                *sum = sum.merge(*accumulator)?;
            }
        }
        let total = |(group, accumulator): (&Option<String>, Accumulator)| Total {
            scope: Scope::Overall {
                offsets: offsets.clone(),
            },
            group: group.clone(),
            accumulator,
        };
        let all = sums.remove_entry(&None);
        let groups = sums
            .into_iter()
            .filter(|(group, sum)| self.written.get(*group) != Some(sum));
        Ok(groups.chain(all).map(total).collect())
    }

    fn offsets(&self) -> Offsets {
        let offset = |(partition, subtotal): (&i32, &Subtotal)| Some((*partition, subtotal.next_offset?));
        self.partitions.iter().filter_map(offset).collect()
    }
}

/// Grows with every total, because the offset of a partition never goes back.
fn version(offsets: &Offsets) -> i128 {
    offsets.values().map(|offset| i128::from(*offset)).sum()
}

#[cfg(test)]
mod tests {
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
        }
    }

    fn sums(overall: &Overall) -> Vec<(String, i128)> {
        overall
            .changes()
            .unwrap()
            .iter()
            .map(|total| (total.id(), total.accumulator.sum))
            .collect()
    }

    /// As the topic would bring them back after the commit.
    fn write(overall: &mut Overall) {
        for total in overall.changes().unwrap() {
            overall.observe(total);
        }
    }

    #[test]
    fn the_overall_total_is_the_sum_of_the_newest_subtotals_with_their_offsets() {
        let mut overall = Overall::default();
        for total in [
            subtotal(0, 3, None, 5),
            subtotal(1, 9, None, 7),
            subtotal(0, 4, None, 6),
        ] {
            overall.observe(total);
        }
        let changes = overall.changes().unwrap();
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
            overall.observe(total);
        }
        assert_eq!(sums(&overall), [("total".to_owned(), 8)]);
    }

    #[test]
    fn nothing_is_written_again() {
        let mut overall = Overall::default();
        overall.observe(subtotal(0, 3, None, 5));
        write(&mut overall);
        assert_eq!(sums(&overall), []);
        overall.observe(subtotal(0, 3, None, 5));
        assert_eq!(sums(&overall), []);
        overall.observe(subtotal(1, 1, None, 0));
        assert_eq!(sums(&overall), [("total".to_owned(), 5)]);
    }

    #[test]
    fn a_total_that_comes_back_late_is_not_taken_for_the_newest() {
        let mut overall = Overall::default();
        overall.observe(subtotal(0, 3, None, 5));
        let first = overall.changes().unwrap();
        write(&mut overall);
        overall.observe(subtotal(0, 4, None, 6));
        write(&mut overall);
        first.into_iter().for_each(|total| overall.observe(total));
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
            overall.observe(total);
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
        overall.observe(subtotal(1, 9, Some("a"), 20));
        assert_eq!(sums(&overall), [], "the group's transaction is not complete");
        overall.observe(subtotal(1, 9, None, 20));
        assert_eq!(sums(&overall), named(&[("total/a", 21), ("total", 23)]));
    }

    #[test]
    fn a_total_out_of_range_is_an_error() {
        let mut overall = Overall::default();
        overall.observe(subtotal(0, 1, None, crate::accumulator::MAX_SUM));
        overall.observe(subtotal(1, 1, None, 1));
        assert_eq!(overall.changes(), Err(Overflow));
    }
}
