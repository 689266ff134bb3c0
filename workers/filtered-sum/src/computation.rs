//! Which totals a worker goes on with, which it replaces, and which it must not touch.
//!
//! Another filter, field or list of fields to group by makes another computation of the same sum, with a larger number
//! than all before it. A worker takes the place of computations with smaller numbers only, and only if it is told to: so
//! one that lingers from before an edit never takes back what a later one has taken over, also if the edit brings back
//! the rules that there were before. Why it is so: `docs/adr/0006-a-changed-rule-is-a-new-computation.md`.

use naru_contract::{FilteredSumWorker, Reset};

use crate::identity::Identity;

/// What this worker computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computation {
    pub identity: Identity,
    pub reset: Option<Reset>,
}

/// What totals are to a computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They were summed by the same rules.
    Same,
    /// They are of an earlier computation, whose place this one takes in this way.
    Earlier(Reset),
    /// They are left alone.
    Other(Other),
}

/// Why totals are left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// What about them is not as expected, as a clause.
    pub differences: String,
    /// What can be done about it, as a clause.
    pub advice: &'static str,
    /// They are of another resource, which will write again.
    pub is_foreign: bool,
}

impl Computation {
    pub fn of(config: &FilteredSumWorker) -> Self {
        Self {
            identity: Identity::of(config),
            reset: config.reset,
        }
    }

    pub fn relation(&self, found: &Identity) -> Relation {
        let ours = &self.identity;
        let is_later = ours.origin.computation > found.origin.computation;
        if found.sums_as(ours) {
            // Not all of it was summed by these rules, and now it is to be.
            let is_anew = found.origin.mixed && is_later && self.reset == Some(Reset::FromEarliest);
            return match is_anew {
                true => Relation::Earlier(Reset::FromEarliest),
                false => Relation::Same,
            };
        }
        let is_foreign = !found.is_of_the_resource_of(ours);
        let advice = match self.reset {
            _ if is_foreign => {
                "use another output topic for this one, or delete the output topic and the group's offsets to start anew"
            }
            _ if ours.origin.computation < found.origin.computation => {
                "they are of a later spec than this worker is of, which is to give way to a newer one"
            }
            None => {
                "set reset to fromEarliest to sum the input anew from its start, or to continue to go on from these totals, \
                 or use another output topic"
            }
            Some(_) if !is_later => {
                "they are not of an earlier spec than this worker is of; use another output topic for this one"
            }
            Some(Reset::Continue) if !found.counts_as(ours) => {
                "with reset: continue they cannot be gone on with by other groups or windows, with another scale or another retract; set reset to fromEarliest to sum the \
                 input anew from its start"
            }
            Some(reset) => return Relation::Earlier(reset),
        };
        Relation::Other(Other {
            differences: found.differences(ours),
            advice,
            is_foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Origin;

    fn identity(group: &str, filter: &str, group_by: &str, computation: i64) -> Identity {
        let header = format!(
            r#"v1 {{"group": "{group}", "inputTopic": "items", "filter": "{filter}", "field": "price", "groupBy": [{group_by}],
                "computation": {computation}}}"#
        );
        Identity::parse(header.as_bytes()).unwrap()
    }

    fn relation(reset: Option<Reset>, ours: i64, found: &Identity) -> Relation {
        let computation = Computation {
            identity: identity("sum", "price <= 5", "", ours),
            reset,
        };
        computation.relation(found)
    }

    fn advice(relation: Relation) -> (&'static str, bool) {
        match relation {
            Relation::Other(other) => (other.advice, other.is_foreign),
            relation => panic!("{relation:?}"),
        }
    }

    #[test]
    fn the_same_rules_are_gone_on_with_whatever_their_number_is() {
        for found in [0, 3, 9] {
            for reset in [None, Some(Reset::FromEarliest), Some(Reset::Continue)] {
                let same = identity("sum", "price <= 5", "", found);
                assert_eq!(relation(reset, 3, &same), Relation::Same, "{found}");
            }
        }
    }

    #[test]
    fn totals_that_were_gone_on_with_are_summed_anew_when_a_later_spec_says_so() {
        let same = identity("sum", "price <= 5", "", 2);
        let mixed = same.with(Origin {
            mixed: true,
            ..same.origin
        });
        let anew = Some(Reset::FromEarliest);
        assert_eq!(relation(anew, 3, &mixed), Relation::Earlier(Reset::FromEarliest));
        assert_eq!(relation(anew, 2, &mixed), Relation::Same);
        assert_eq!(relation(Some(Reset::Continue), 3, &mixed), Relation::Same);
        assert_eq!(relation(None, 3, &mixed), Relation::Same);
    }

    #[test]
    fn other_rules_are_left_alone_unless_they_are_earlier_and_the_resource_says_what_becomes_of_them() {
        let earlier = identity("sum", "price <= 4", "", 2);
        for reset in [Reset::FromEarliest, Reset::Continue] {
            assert_eq!(relation(Some(reset), 3, &earlier), Relation::Earlier(reset));
        }
        let (text, is_foreign) = advice(relation(None, 3, &earlier));
        assert!(
            text.contains("set reset to fromEarliest") && !is_foreign,
            "{text}"
        );
    }

    #[test]
    fn a_worker_that_lingers_does_not_take_back_what_a_later_one_has() {
        for reset in [None, Some(Reset::FromEarliest), Some(Reset::Continue)] {
            let later = identity("sum", "price <= 4", "", 4);
            let (text, _) = advice(relation(reset, 3, &later));
            assert!(text.contains("of a later spec"), "{text}");
        }
        let (text, _) = advice(relation(
            Some(Reset::FromEarliest),
            3,
            &identity("sum", "price <= 4", "", 3),
        ));
        assert!(text.contains("not of an earlier spec"), "{text}");
    }

    #[test]
    fn totals_by_other_groups_are_not_continued_but_may_be_replaced() {
        let grouped = identity("sum", "price <= 5", "\"region\"", 2);
        let (text, _) = advice(relation(Some(Reset::Continue), 3, &grouped));
        assert!(text.contains("by other groups"), "{text}");
        assert_eq!(
            relation(Some(Reset::FromEarliest), 3, &grouped),
            Relation::Earlier(Reset::FromEarliest)
        );
    }

    #[test]
    fn totals_of_another_scale_are_not_continued_but_may_be_replaced() {
        let header = String::from_utf8(identity("sum", "price <= 5", "", 2).to_header()).unwrap();
        let scaled = Identity::parse(header.replacen('{', r#"{"scale":2,"#, 1).as_bytes()).unwrap();
        let (text, _) = advice(relation(Some(Reset::Continue), 3, &scaled));
        assert!(text.contains("with another scale"), "{text}");
        assert_eq!(
            relation(Some(Reset::FromEarliest), 3, &scaled),
            Relation::Earlier(Reset::FromEarliest)
        );
    }

    #[test]
    fn totals_of_another_resource_are_never_taken_over() {
        for reset in [None, Some(Reset::FromEarliest), Some(Reset::Continue)] {
            let (text, is_foreign) = advice(relation(reset, 3, &identity("theirs", "price <= 4", "", 2)));
            assert!(text.contains("use another output topic") && is_foreign, "{text}");
        }
    }
}
