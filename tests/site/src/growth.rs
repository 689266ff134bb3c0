//! How many ids there are at a moment: a pure function of the time since the start.

use std::time::Duration;

/// The growth of the id space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// The smallest id.
    pub first_id: u64,
    /// Ids at the start.
    pub initial: u64,
    /// New ids per second.
    pub per_second: f64,
    /// Most ids from `initial` and `per_second` together; 0 is no limit.
    pub limit: u64,
}

impl Growth {
    /// The largest id, which may be a hole; none while there are no ids. Ids released by hand come on top of what
    /// grows, also beyond the limit.
    pub fn newest_id(&self, elapsed: Duration, released: u64) -> Option<u64> {
        // The cast saturates, and takes NaN for 0.
        let grown = (self.per_second * elapsed.as_secs_f64()) as u64;
        let limit = if self.limit == 0 { u64::MAX } else { self.limit };
        let ids = self
            .initial
            .saturating_add(grown)
            .min(limit)
            .saturating_add(released);
        ids.checked_sub(1).map(|last| self.first_id.saturating_add(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth {
        first_id: 100,
        initial: 10,
        per_second: 0.5,
        limit: 20,
    };

    fn newest(growth: Growth, seconds: u64, released: u64) -> Option<u64> {
        growth.newest_id(Duration::from_secs(seconds), released)
    }

    #[test]
    fn ids_grow_with_time_up_to_the_limit() {
        assert_eq!(newest(GROWTH, 0, 0), Some(109));
        assert_eq!(newest(GROWTH, 1, 0), Some(109));
        assert_eq!(newest(GROWTH, 2, 0), Some(110));
        assert_eq!(newest(GROWTH, 1_000, 0), Some(119));
        assert_eq!(newest(Growth { limit: 0, ..GROWTH }, 1_000, 0), Some(609));
    }

    #[test]
    fn released_ids_come_on_top_of_the_limit() {
        assert_eq!(newest(GROWTH, 0, 5), Some(114));
        assert_eq!(newest(GROWTH, 1_000, 5), Some(124));
    }

    #[test]
    fn the_newest_id_never_goes_back_as_time_passes() {
        let ids: Vec<_> = (0..100).map(|seconds| newest(GROWTH, seconds, 0)).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn no_ids_have_no_newest() {
        assert_eq!(newest(Growth { initial: 0, ..GROWTH }, 0, 0), None);
        assert_eq!(newest(Growth { initial: 0, ..GROWTH }, 0, 1), Some(100));
    }
}
