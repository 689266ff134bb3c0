//! The end of a membership.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use snafu::ResultExt;
use tracing::warn;

use super::{ASK, AssignSnafu, Error, Event, GroupConsumer, partitions};
use crate::drain::{Deadline, LEAVE, Step};

impl GroupConsumer {
    /// Leaves the group at once, so that others need not wait for the session to time out, and drops all
    /// partitions: commit before. A member that only closes keeps its place for a restart.
    pub fn leave(self, within: Duration) {
        let deadline = self.consumer.drain.deadline(Step {
            longest: within,
            ..LEAVE
        });
        let left = self.give_up(&deadline);
        if !left {
            warn!(group = %self.group, "the group was not left in time");
        }
    }

    /// Leaves the group, if there is time. Nothing is read from then on.
    pub(super) fn give_up(&self, deadline: &Deadline) -> bool {
        self.leaving.set(true);
        // Librdkafka does not leave while its first request to join is under way, which the group takes up nevertheless.
        let joined = self.has_joined.get() || self.poll_until(deadline, || self.has_joined.get());
        self.consumer.unsubscribe();
        // It leaves once the revocation that follows is answered, but tells nobody: ask the broker.
        joined && self.poll_until(deadline, || !self.is_listed(deadline.left().min(ASK)))
    }

    /// Whether this came true in time. It is asked for whenever nothing happens.
    fn poll_until(&self, deadline: &Deadline, is_done: impl Fn() -> bool) -> bool {
        while !deadline.is_over() {
            match self.poll(Duration::from_millis(20)) {
                Ok(Event::Idle) if is_done() => return true,
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "unable to leave the group in order");
                    return false;
                }
            }
        }
        false
    }

    fn is_listed(&self, within: Duration) -> bool {
        self.consumer
            .fetch_group_list(Some(&self.group), within)
            .map_or(true, |list| {
                let mut members = list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
                members.any(|member| member.client_id() == self.instance)
            })
    }

    /// Takes over partitions only to give them up again: librdkafka leaves a group only with what it was assigned.
    /// Nothing is asked for first, which might take too long.
    pub(super) fn decline(&self, list: &TopicPartitionList) -> Result<Event<'_>, Error> {
        let mut unread = TopicPartitionList::new();
        for partition in partitions(list) {
            unread
                .add_partition_offset(&self.topic, partition, Offset::End)
                .context(AssignSnafu { topic: &self.topic })?;
        }
        self.consumer
            .incremental_assign(&unread)
            .context(AssignSnafu { topic: &self.topic })?;
        self.unanswered.set(false);
        Ok(Event::Idle)
    }
}
