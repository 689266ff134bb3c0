//! Partitions that no member of the group has.
//!
//! A partition moves in two rebalances: its owner gives it up and joins again, then it is given to another. An owner that is
//! restarted in between comes back under its name, is told what it was left with, and the second rebalance never happens:
//! the broker sees no reason for one. Members therefore look after the group's assignment, and one of them makes room.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::groups::GroupMemberInfo;
use tracing::{debug, warn};

use super::{Error, GroupConsumer, UnownedSnafu};
use crate::drain::{LEAVE, Step};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// Longest time that one of the two questions of a look takes, on the polling thread.
const ASK: Duration = Duration::from_secs(1);
/// Time for leaving the group.
const LEAVING: Duration = Duration::from_secs(5);

/// When to look, and what was seen the last time.
pub(super) struct Unowned {
    looked: Instant,
    seen: BTreeSet<i32>,
}

impl Unowned {
    pub(super) fn new() -> Self {
        Self {
            looked: Instant::now(),
            seen: BTreeSet::new(),
        }
    }

    /// The partitions that nobody had in the look before either.
    fn look(&mut self, now: BTreeSet<i32>) -> BTreeSet<i32> {
        let lasting = self.seen.intersection(&now).copied().collect();
        self.seen = now;
        lasting
    }
}

/// A member, and what it was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    partitions: BTreeSet<i32>,
}

impl GroupConsumer {
    /// Every few seconds. Leaves the group, which shares out all partitions again, if some of them have had no owner for two
    /// looks and it costs this member least.
    pub(super) fn look_for_unowned(&self) -> Result<(), Error> {
        let is_due = self.unowned.borrow().looked.elapsed() >= EVERY;
        if !is_due || self.leaving.get() || !self.has_joined.get() {
            return Ok(());
        }
        self.unowned.borrow_mut().looked = Instant::now();
        let (count, members) = match self.members() {
            Ok(Some(found)) => found,
            Ok(None) => (0, Vec::new()),
            Err(error) => {
                debug!(group = %self.group, %error, "unable to look at the members of the group");
                (0, Vec::new())
            }
        };
        let lasting = self.unowned.borrow_mut().look(without_owner(count, &members));
        if lasting.is_empty() || makes_room(&members) != Some(self.instance.as_str()) {
            return Ok(());
        }
        warn!(group = %self.group, partitions = ?lasting, "nobody has these partitions: leaving for another rebalance");
        let deadline = self.consumer.drain.deadline(Step {
            longest: LEAVING,
            ..LEAVE
        });
        self.give_up(&deadline);
        UnownedSnafu {
            group: &self.group,
            partitions: lasting.into_iter().collect::<Vec<_>>(),
        }
        .fail()
    }

    /// How many partitions there are, and who has which. `None` while they are shared out, or some of it cannot be read.
    fn members(&self) -> Result<Option<(i32, Vec<Member>)>, KafkaError> {
        let groups = self.consumer.fetch_group_list(Some(&self.group), ASK)?;
        let Some(group) = groups.groups().iter().find(|group| group.state() == "Stable") else {
            return Ok(None);
        };
        let member = |member: &GroupMemberInfo| {
            Some(Member {
                name: member.client_id().to_owned(),
                partitions: partitions(member.assignment()?, &self.topic)?,
            })
        };
        let Some(members) = group.members().iter().map(member).collect() else {
            return Ok(None);
        };
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ASK)?;
        let topic = metadata.topics().first();
        let count = topic.map_or(0, |topic| topic.partitions().len());
        Ok(i32::try_from(count).ok().map(|count| (count, members)))
    }
}

fn without_owner(count: i32, members: &[Member]) -> BTreeSet<i32> {
    let is_owned = |partition: &i32| members.iter().any(|member| member.partitions.contains(partition));
    (0..count).filter(|partition| !is_owned(partition)).collect()
}

/// The member that has least to give up. All of them come to the same one.
fn makes_room(members: &[Member]) -> Option<&str> {
    let least = members
        .iter()
        .min_by_key(|member| (member.partitions.len(), &member.name))?;
    Some(&least.name)
}

/// Partitions of a topic in a member's assignment, as the consumer protocol writes it (ConsumerProtocolAssignment of Apache
/// Kafka): a version, topics with their partitions, and data of the assignor's.
fn partitions(assignment: &[u8], topic: &str) -> Option<BTreeSet<i32>> {
    if assignment.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut rest = assignment;
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(taken)
    };
    let version = i16::from_be_bytes(take(2)?.try_into().ok()?);
    if version < 0 {
        return None;
    }
    let topics = i32::from_be_bytes(take(4)?.try_into().ok()?);
    let mut found = BTreeSet::new();
    for _ in 0..topics {
        let length = i16::from_be_bytes(take(2)?.try_into().ok()?);
        let is_ours = take(usize::try_from(length).ok()?)? == topic.as_bytes();
        let count = i32::from_be_bytes(take(4)?.try_into().ok()?);
        for _ in 0..count {
            let partition = i32::from_be_bytes(take(4)?.try_into().ok()?);
            if is_ours {
                found.insert(partition);
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, partitions: &[i32]) -> Member {
        Member {
            name: name.to_owned(),
            partitions: partitions.iter().copied().collect(),
        }
    }

    #[test]
    fn an_assignment_is_read_whatever_its_length() {
        let mut assignment = vec![0, 1, 0, 0, 0, 2];
        for (topic, partitions) in [("items", [3, 700].as_slice()), ("others", &[1])] {
            assignment.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
            assignment.extend(topic.as_bytes());
            assignment.extend(i32::try_from(partitions.len()).unwrap().to_be_bytes());
            assignment.extend(
                partitions
                    .iter()
                    .flat_map(|partition: &i32| partition.to_be_bytes()),
            );
        }
        let whole = assignment.len();
        assignment.extend([255, 255, 255, 255]);
        assert_eq!(partitions(&assignment, "items"), Some([3, 700].into()));
        assert_eq!(partitions(&[], "items"), Some(BTreeSet::new()));
        for cut in 1..whole {
            assert_eq!(partitions(&assignment[..cut], "items"), None, "{cut}");
        }
    }

    #[test]
    fn the_member_with_least_to_give_up_makes_room_for_what_nobody_has_had_for_two_looks() {
        let members = [
            member("sum-0", &[0, 2]),
            member("sum-2", &[]),
            member("sum-1", &[]),
        ];
        assert_eq!(without_owner(4, &members), [1, 3].into());
        assert_eq!(makes_room(&members), Some("sum-1"));
        let mut unowned = Unowned::new();
        // (nobody has these now, and had them before)
        let looks: [(&[i32], &[i32]); 5] = [
            (&[1, 3], &[]),
            (&[3], &[3]),
            (&[], &[]),
            (&[3], &[]),
            (&[1, 3], &[3]),
        ];
        for (now, expected) in looks {
            let lasting = unowned.look(now.iter().copied().collect());
            assert_eq!(lasting, expected.iter().copied().collect(), "{now:?}");
        }
    }
}
