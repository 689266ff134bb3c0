//! Partitions that have records and from which none arrives: the client hangs, as it does now and then when brokers come and
//! go. Another session has another client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a partition may have records that do not arrive. Longer than a leader takes to move.
const PATIENCE: Duration = Duration::from_secs(30);

/// Since when partitions, each at the offset that is next, have had records that did not arrive.
#[derive(Debug, Default)]
pub(super) struct Starved(BTreeMap<(i32, i64), Instant>);

impl Starved {
    /// Takes in what was seen in a look: the partitions with records that did not arrive since the look before. Returns one
    /// that has had them for too long.
    pub(super) fn look(&mut self, partitions: &[(i32, i64)], now: Instant) -> Option<(i32, i64)> {
        self.0.retain(|starved, _| partitions.contains(starved));
        for partition in partitions {
            self.0.entry(*partition).or_insert(now);
        }
        let long = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
        let found = self.0.iter().find(|(_, since)| long(**since));
        found.map(|(partition, _)| *partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_starved_when_none_of_its_records_has_arrived_for_half_a_minute() {
        let start = Instant::now();
        let mut starved = Starved::default();
        type At = (i32, i64);
        // (second, partitions with records, the one that is starved)
        let looks: [(u64, &[At], Option<At>); 7] = [
            (0, &[(0, 7), (1, 3)], None),
            (25, &[(0, 7), (1, 3)], None),
            // Something has arrived from 1.
            (30, &[(1, 4)], None),
            (35, &[(0, 7), (1, 4)], None),
            (59, &[(0, 7), (1, 4)], None),
            (60, &[(0, 7), (1, 4)], Some((1, 4))),
            (65, &[(0, 7)], Some((0, 7))),
        ];
        for (second, partitions, expected) in looks {
            let now = start + Duration::from_secs(second);
            assert_eq!(starved.look(partitions, now), expected, "after {second} s");
        }
    }
}
