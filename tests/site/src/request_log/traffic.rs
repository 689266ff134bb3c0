//! Figures on the requests for one kind of path.

use std::collections::VecDeque;

use serde::Serialize;

/// The kinds of paths that are counted apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PathKind {
    Product,
    Sitemap,
    Robots,
    Other,
}

impl PathKind {
    pub(crate) const ALL: [Self; 4] = [Self::Product, Self::Sitemap, Self::Robots, Self::Other];

    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with("/product/") {
            Self::Product
        } else if path.starts_with("/sitemap") {
            Self::Sitemap
        } else if path == "/robots.txt" {
            Self::Robots
        } else {
            Self::Other
        }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traffic {
    requests: u64,
    /// Most requests that were being answered at a time.
    max_in_flight: u64,
    /// Shortest time between two arrivals, ms; null before the second.
    smallest_gap_millis: Option<u64>,
    /// Most arrivals within any 1000 ms.
    busiest_second: usize,
    #[serde(skip)]
    in_flight: u64,
    /// Arrivals of the last second, ms since the start.
    #[serde(skip)]
    recent: VecDeque<u64>,
}

impl Traffic {
    /// Counts an arrival; they come in the order of their time.
    pub(crate) fn arrive(&mut self, millis: u64) {
        self.requests += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        if let Some(last) = self.recent.back() {
            let gap = millis.saturating_sub(*last);
            self.smallest_gap_millis = Some(self.smallest_gap_millis.map_or(gap, |least| least.min(gap)));
        }
        self.recent.push_back(millis);
        while self.recent.front().is_some_and(|first| first + 1_000 <= millis) {
            self.recent.pop_front();
        }
        self.busiest_second = self.busiest_second.max(self.recent.len());
    }

    pub(crate) fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(arrivals: &[u64]) -> Traffic {
        let mut traffic = Traffic::default();
        for millis in arrivals {
            traffic.arrive(*millis);
        }
        traffic
    }

    #[test]
    fn the_smallest_gap_is_between_any_two_arrivals() {
        assert_eq!(after(&[5]).smallest_gap_millis, None);
        assert_eq!(after(&[0, 5_000]).smallest_gap_millis, Some(5_000));
        assert_eq!(after(&[0, 500, 700, 2_000]).smallest_gap_millis, Some(200));
    }

    #[test]
    fn the_busiest_second_may_begin_anywhere() {
        assert_eq!(after(&[0, 1_000, 2_000]).busiest_second, 1);
        assert_eq!(after(&[0, 600, 1_100, 1_599, 1_600, 3_000]).busiest_second, 3);
    }

    #[test]
    fn requests_in_flight_are_those_that_have_not_left() {
        let mut traffic = after(&[0, 1, 2]);
        traffic.leave();
        traffic.leave();
        traffic.arrive(3);
        assert_eq!(traffic.max_in_flight, 3);
        assert_eq!(traffic.in_flight, 2);
    }
}
