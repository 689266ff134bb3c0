//! Replicas and partitions: a partition has one consumer, so that the one with the most partitions is the first to be
//! too slow.

/// The fewest replicas of which none has more partitions than the capacity of `raw` evenly loaded ones allows:
/// `ceil(N / floor(N / raw))`. Between 1 and the partition count; 0 without partitions.
///
/// `raw` need not be whole: 4.2 replicas' worth of work on 24 partitions is at most 5 partitions each, so 5 replicas.
pub fn aligned(partitions: i32, raw: f64) -> i32 {
    if partitions <= 0 {
        return 0;
    }
    let most = f64::from(partitions);
    // A sum of rates may miss a whole number by a rounding error.
    let each = (most / raw.clamp(1.0, most) + 1e-9).floor();
    (most / each).ceil() as i32
}

/// How many evenly loaded replicas can do what these can before the busiest of them is too slow.
pub fn even(partitions: i32, replicas: i32) -> f64 {
    match busiest(partitions, replicas) {
        0 => 0.0,
        each => f64::from(partitions) / f64::from(each),
    }
}

/// Partitions of the replica with the most of them.
pub fn busiest(partitions: i32, replicas: i32) -> i32 {
    if partitions <= 0 || replicas <= 0 {
        return 0;
    }
    (partitions + replicas.min(partitions) - 1) / replicas.min(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_what_a_search_from_the_target_upwards_finds() {
        for partitions in 1..=300 {
            for target in 1..=partitions {
                // Flink's rule: the first count that divides evenly, or whose members have fewer partitions each.
                let found = (target..=partitions)
                    .find(|count| partitions % count == 0 || partitions / count < partitions / target);
                // The last one always divides.
                assert_eq!(
                    Some(aligned(partitions, f64::from(target))),
                    found,
                    "{partitions}/{target}"
                );
            }
        }
    }

    #[test]
    fn published_cases() {
        // (partitions, raw, expected). The last three are Flink's: parallelism 16 * 1.5 of 128, 200 * 2 and beyond of 720.
        let cases = [
            (12, 5.0, 6),
            (12, 6.1, 12),
            (24, 4.2, 5),
            (24, 4.8, 5),
            (24, 4.9, 6),
            (13, 6.0, 7),
            (13, 7.0, 13),
            (97, 33.0, 49),
            (3, 0.1, 1),
            (0, 4.0, 0),
            (128, 24.0, 26),
            (720, 400.0, 720),
            (720, 1e9, 720),
        ];
        for (partitions, raw, expected) in cases {
            assert_eq!(aligned(partitions, raw), expected, "{raw} of {partitions}");
        }
    }

    #[test]
    fn what_is_aligned_can_do_at_least_what_was_asked_for() {
        for partitions in 1..=100 {
            for tenths in 1..=partitions * 10 {
                let raw = f64::from(tenths) / 10.0;
                let replicas = aligned(partitions, raw);
                assert!(even(partitions, replicas) + 1e-6 >= raw, "{raw} of {partitions}");
            }
        }
    }
}
