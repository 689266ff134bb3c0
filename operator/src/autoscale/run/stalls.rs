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
    /// It has not been looked for long enough to say that none stands still.
    unsure: bool,
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
        let began = *self.began.get_or_insert(at);
        self.unsure = at.saturating_duration_since(began) < every * LOOKS;
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
        let numbers: Vec<_> = self.standing.keys().copied().collect();
        without(&numbers, partitions)
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
            return match before.iter().find(stalled).filter(|_| self.unsure) {
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
            if look < 80 {
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
            }
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
