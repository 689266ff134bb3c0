//! A partition that is summed anew from the start of its log, beside the totals of an earlier computation.
//!
//! Nothing of it is written before it covers all that the earlier totals cover: until then those are the totals. So it
//! is only in memory, and whoever is assigned the partition next begins again.

use std::collections::BTreeSet;

use crate::identity::Origin;
use crate::keys::Keys;
use crate::partition::{Groups, PartitionTotals};
use crate::window::{Progress, Tumbling};

/// Totals of an earlier computation that are to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// First offset that they do not cover.
    pub next_offset: i64,
    pub groups: BTreeSet<String>,
}

/// The totals that will replace them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUp {
    totals: PartitionTotals,
    start: i64,
    superseded: Superseded,
}

impl CatchUp {
    /// `start` is where the log begins.
    pub fn new(partition: i32, start: i64, origin: Origin, superseded: Superseded) -> Self {
        Self {
            totals: PartitionTotals::fresh(partition, start, Groups::new()).with(origin),
            start,
            superseded,
        }
    }

    /// The same by windows, if there are any.
    pub fn in_windows(self, windows: Option<Tumbling>) -> Self {
        let totals = self.totals.in_windows(windows, Progress::default());
        Self { totals, ..self }
    }

    /// The same, in the place also of what these keys add.
    pub fn with_keys(self, keys: Option<Keys>) -> Self {
        let keys = keys.map(|keys| keys.retired(self.start));
        Self {
            totals: self.totals.with_keys(keys),
            ..self
        }
    }

    pub fn totals(&self) -> &PartitionTotals {
        &self.totals
    }

    pub fn totals_mut(&mut self) -> &mut PartitionTotals {
        &mut self.totals
    }

    /// First offset that the earlier totals do not cover. Records before it have their dead letters, by the earlier
    /// rules.
    pub fn until(&self) -> i64 {
        self.superseded.next_offset
    }

    /// How many offsets have been passed, and how many there are to pass.
    pub fn progress(&self) -> (i64, i64) {
        let all = self.superseded.next_offset.saturating_sub(self.start).max(0);
        let done = self.totals.next_offset().saturating_sub(self.start);
        (done.min(all), all)
    }

    /// Whether nothing is missing any more.
    pub fn is_over(&self) -> bool {
        self.totals.next_offset() >= self.superseded.next_offset
    }

    /// The totals to be written from now on. With the first commit all of them are, and the earlier totals of groups that
    /// are not among them go.
    pub fn finish(self) -> PartitionTotals {
        self.totals.retiring(self.superseded.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Outcome;

    fn catch_up(start: i64, next_offset: i64) -> CatchUp {
        let groups = ["a", "b"].map(str::to_owned).into();
        let origin = Origin {
            computation: 7,
            mixed: false,
        };
        CatchUp::new(1, start, origin, Superseded { next_offset, groups })
    }

    #[test]
    fn it_is_over_once_it_covers_what_the_earlier_totals_cover_and_groups_that_are_gone_are_retired() {
        let mut anew = catch_up(10, 13);
        for (offset, group, expected) in [(10, "b", (1, 3)), (11, "c", (2, 3))] {
            let outcome = Outcome::Summed {
                group: Some(group),
                value: Some(2),
            };
            assert_eq!(anew.totals_mut().apply(offset, outcome), Ok(true));
            assert_eq!((anew.progress(), anew.is_over()), (expected, false));
        }
        assert_eq!(anew.totals_mut().apply(12, Outcome::Dropped), Ok(true));
        assert_eq!((anew.progress(), anew.is_over()), ((3, 3), true));
        let mut totals = anew.finish();
        let ids = totals.changes().map(|total| total.id()).collect::<Vec<_>>();
        assert_eq!(ids, ["partition-1/b", "partition-1/c", "partition-1"]);
        assert_eq!(totals.retired().collect::<Vec<_>>(), ["a"]);
        assert_eq!(totals.origin().computation, 7);

        // What was retired may come back before that is committed.
        let outcome = Outcome::Summed {
            group: Some("a"),
            value: None,
        };
        totals.apply(13, outcome).unwrap();
        assert_eq!(totals.retired().count(), 0);
        totals.committed();
        assert_eq!((totals.retired().count(), totals.is_changed()), (0, false));
    }

    #[test]
    fn it_is_over_at_once_where_the_log_begins_behind_the_earlier_totals() {
        let anew = catch_up(20, 13);
        assert_eq!((anew.progress(), anew.is_over()), ((0, 0), true));
    }

    #[test]
    fn offsets_without_records_count() {
        let mut anew = catch_up(0, 5);
        anew.totals_mut().skip_to(5);
        assert!(anew.is_over());
    }
}
