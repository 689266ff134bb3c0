//! Partitions in which the workers do not get on: which they are, and how that is told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use naru_api::{
    Condition,
    condition::{Observed, PARTITIONS_STALLED, reason},
};
use naru_autoscale::{
    Partition,
    stalled::{Status, Stuck, Watch, without},
};

/// Most partitions that are named.
const MOST_NAMED: usize = 5;
/// A watch is sure of its answer after so many looks that count.
const LOOKS: u32 = 10;

/// What is known of the partitions of one group.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    watch: Watch,
    began: Option<Instant>,
    /// By partition: where the group stands, and since when.
    standing: BTreeMap<usize, (u64, Timestamp)>,
    /// Where the group stood when the looking began, as long as it has not been looked for long enough to say that none
    /// stands still: partitions with something to do from which it has not moved since.
    unsure: BTreeMap<usize, u64>,
    /// Where the group was, and when it has moved anywhere.
    positions: Vec<u64>,
    moved: Option<Instant>,
    /// Partitions that do not count.
    left_out: Vec<usize>,
    /// Others were left out in the look before.
    changed: bool,
}

impl Stalls {
    /// Takes in a look at so many replicas, of which less than `every` after the last one does not count. Returns the partitions
    /// as they count for how many replicas are needed.
    pub(super) fn look(
        &mut self,
        every: Duration,
        replicas: i32,
        partitions: &[Partition],
        at: Instant,
        wall: Timestamp,
    ) -> Vec<Partition> {
        if replicas <= 0 {
            // Where nobody works, nobody gets on.
            *self = Self::default();
            return partitions.to_vec();
        }
        self.begin(every, partitions, at);
        if self
            .positions
            .iter()
            .zip(partitions)
            .any(|(was, now)| now.position > *was)
        {
            self.moved = Some(at);
        }
        self.positions = partitions.iter().map(|partition| partition.position).collect();
        let stands = |stuck: &Stuck| matches!(stuck.status, Status::Stalled | Status::Stopped);
        let stuck = self.watch.look(at, every, partitions).into_iter().filter(stands);
        let before = std::mem::take(&mut self.standing);
        self.standing = stuck
            .map(
                |Stuck {
                     partition,
                     offset,
                     since,
                     ..
                 }| {
                    // As it was told once: a clock never says the same twice.
                    let told = before.get(&partition).filter(|(told, _)| *told == offset);
                    let ago =
                        SignedDuration::try_from(at.saturating_duration_since(since)).unwrap_or_default();
                    let since = || wall.checked_sub(ago).unwrap_or(wall);
                    (partition, told.copied().unwrap_or_else(|| (offset, since())))
                },
            )
            .collect();
        // Where nobody gets on anywhere, it is not the partitions, and all of them count.
        let others = |moved| at.saturating_duration_since(moved) < every * LOOKS;
        let left_out = match self.moved.is_some_and(others) {
            true => self.standing.keys().copied().collect(),
            false => Vec::new(),
        };
        self.changed = left_out != self.left_out;
        self.left_out = left_out;
        without(&self.left_out, partitions)
    }

    /// What counts is not what counted before: rates from before say nothing.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    fn begin(&mut self, every: Duration, partitions: &[Partition], at: Instant) {
        let waits = |number: usize, position: u64| {
            let now = partitions.get(number);
            now.is_some_and(|now| now.lag > 0 && now.position == position)
        };
        let began = self.began.is_none();
        let since = *self.began.get_or_insert(at);
        if began {
            let positions = partitions.iter().map(|partition| partition.position).enumerate();
            self.unsure = positions.collect();
        }
        if at.saturating_duration_since(since) >= every * LOOKS {
            self.unsure.clear();
        }
        self.unsure.retain(|number, position| waits(*number, *position));
    }

    /// How many stand still.
    pub(super) fn count(&self) -> usize {
        self.standing.len()
    }

    /// The condition. `before`: as it is told now. An operator that has just begun takes over what another one has seen.
    pub(super) fn observed(&self, topic: &str, before: &[Condition]) -> Observed {
        if self.standing.is_empty() {
            let stalled =
                |told: &&Condition| told.condition_type == PARTITIONS_STALLED && told.status == "True";
            return match before.iter().find(stalled).filter(|_| !self.unsure.is_empty()) {
                Some(told) => Observed::holds(
                    PARTITIONS_STALLED,
                    reason::PARTITIONS_STALLED,
                    told.message.clone(),
                ),
                None => Observed::fails(
                    PARTITIONS_STALLED,
                    reason::PARTITIONS_MOVING,
                    "the workers get on wherever records wait",
                ),
            };
        }
        let named = self.standing.iter().take(MOST_NAMED);
        let mut named: Vec<_> = named
            .map(|(partition, (offset, since))| {
                format!("in partition {partition} at offset {offset} since {since:.0}")
            })
            .collect();
        if self.standing.len() > MOST_NAMED {
            named.push(format!("in {} more", self.standing.len() - MOST_NAMED));
        }
        Observed::holds(
            PARTITIONS_STALLED,
            reason::PARTITIONS_STALLED,
            format!("topic {topic:?}: the workers have stood {}", named.join(", ")),
        )
    }
}

#[cfg(test)]
mod tests {
    use naru_api::condition;

    use super::*;

    #[test]
    fn a_partition_that_stands_still_is_named_until_it_moves_also_by_an_operator_that_has_just_begun() {
        let (start, every) = (Instant::now(), Duration::from_secs(30));
        let first: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let (mut stalls, mut told) = (Stalls::default(), Vec::new());
        let stuck =
            "topic \"items\": the workers have stood in partition 1 at offset 50 since 2026-03-02T12:00:00Z";
        for look in 0..90u32 {
            let (passed, arrived) = (Duration::from_secs(5) * look, u64::from(look) * 10);
            // An operator takes over after 350 s, and the partition moves 50 s later.
            if look == 70 {
                stalls = Stalls::default();
            }
            let position = if look < 80 { 50 } else { 100 + arrived };
            let partitions = [
                Partition::new(arrived, arrived),
                Partition::new(position, 100 + arrived),
            ];
            let wall = first + SignedDuration::try_from(passed).unwrap();
            let counted = stalls.look(every, 1, &partitions, start + passed, wall);
            let observed = stalls.observed("items", &told);
            let stands = (54..80).contains(&look);
            let message = if stands {
                stuck
            } else {
                "the workers get on wherever records wait"
            };
            assert_eq!(
                (observed.holds, observed.message.as_str()),
                (Some(stands), message),
                "look {look}"
            );
            let known = (54..70).contains(&look);
            assert_eq!(stalls.count(), usize::from(known), "look {look}");
            let left = if known {
                Partition::new(50, 51)
            } else {
                partitions[1]
            };
            assert_eq!(counted, [partitions[0], left], "look {look}");
            told = condition::merge(&told, &[observed], Some(1), wall);
        }
        let later = start + Duration::from_secs(1000);
        let done = [Partition::new(900, 900), Partition::new(1000, 1000)];
        stalls.look(every, 1, &done, later, first);
        assert_eq!(stalls.observed("items", &told).holds, Some(false));
    }

    #[test]
    fn what_waits_counts_where_the_group_moves_nowhere_and_rates_begin_anew_when_it_counts_no_more() {
        let (start, every, wall) = (Instant::now(), Duration::from_secs(30), Timestamp::UNIX_EPOCH);
        let (mut stalls, mut changes) = (Stalls::default(), Vec::new());
        for look in 0..60u64 {
            // Nothing arrives in the first one, until something does.
            let moved = if look < 30 { 0 } else { look };
            let partitions = [Partition::new(moved, moved), Partition::new(50, 1000 + 10 * look)];
            let at = start + every * u32::try_from(look).unwrap();
            let counted = stalls.look(every, 1, &partitions, at, wall);
            assert_eq!(counted == partitions, look < 30, "look {look}");
            if stalls.has_changed() {
                changes.push(look);
            }
        }
        assert_eq!((stalls.count(), changes), (1, vec![30]));
    }

    #[test]
    fn nothing_stands_still_where_there_are_no_workers_and_many_are_counted() {
        let (start, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut stalls = Stalls::default();
        let partitions = vec![Partition::new(0, 9); 8];
        let mut look = |look: u32, replicas| {
            let at = start + Duration::from_secs(30) * look;
            stalls.look(Duration::from_secs(30), replicas, &partitions, at, wall);
            stalls.count()
        };
        assert_eq!((0..12).map(|number| look(number, 2)).max(), Some(8));
        assert_eq!(look(12, 0), 0);
        assert_eq!((13..22).map(|number| look(number, 2)).max(), Some(0));
        look(22, 2);
        let observed = stalls.observed("items", &[]);
        assert!(observed.message.ends_with(", in 3 more"), "{}", observed.message);
    }
}
