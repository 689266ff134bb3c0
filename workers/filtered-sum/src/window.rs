//! Tumbling windows: which one a time is in, what it is called, and when it is over.
//!
//! Times are milliseconds since the epoch. A window is half-open, from its start to its end, and starts at a multiple of its
//! size. What is kept of it is called by its start and, behind a `/`, its group: `2026-11-22T10:00:00Z/Seoul`, or
//! `2026-11-22T10:00:00Z` where nothing is grouped. Starts have the same length all, so names stand in the order of time.
//! Why it is so: `docs/adr/0009-windows-are-groups-that-end.md`.

use std::fmt::Write;

use jiff::Timestamp;
use naru_contract::Window;

use crate::accumulator::Accumulator;

/// Length of a start in a name.
const START: usize = "2026-11-22T10:00:00Z".len();
/// 0000-01-01T00:00:00Z and 9999-12-30T00:00:00Z: in between all starts have four digits for the year.
const TIMES: std::ops::Range<i64> = -62_167_219_200_000..253_402_128_000_000;
/// Longest size, grace and retention of them all together: longer than there are times.
const MOST: u64 = 1 << 50;

/// Most windows of a partition, or of all, that go with one commit: its transaction has 10 s, and one record may end all windows
/// that there are. Few in tests, so that they come to it.
pub const AT_A_TIME: usize = if cfg!(test) { 3 } else { 10_000 };

/// How time is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size: i64,
    grace: i64,
    retention: i64,
}

/// What a total of a sum with windows says about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Windowed {
    /// The sum has none.
    #[default]
    No,
    /// It is of the window between these times.
    In { start: i64, end: i64 },
    /// It is of all windows.
    All(Progress),
}

/// How far the time of a partition has come, or that of all, and what has gone by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The largest time of a record that was summed.
    pub watermark: Option<i64>,
    /// Count and sum of the windows whose totals were removed: with the others they are the total of a partition. It is not kept
    /// of all partitions together.
    pub expired: Option<Accumulator>,
}

impl Tumbling {
    /// Of a document that [`Self::is_possible`].
    pub fn of(window: &Window) -> Self {
        let length = |ms: u64| i64::try_from(ms.min(MOST)).unwrap_or(i64::MAX);
        Self {
            size: length(window.size_ms).max(1),
            grace: length(window.grace_ms),
            retention: length(window.retention_ms),
        }
    }

    /// Whether windows have whole seconds, as their names do, and lengths that can be computed with.
    pub fn is_possible(window: &Window) -> bool {
        let whole = window.size_ms > 0 && window.size_ms.is_multiple_of(1000);
        whole
            && [window.size_ms, window.grace_ms, window.retention_ms]
                .iter()
                .all(|length| *length <= MOST)
    }

    /// Where the window begins that `time` is in. `None` outside of the years that names have room for.
    pub fn start(&self, time: i64) -> Option<i64> {
        let start = TIMES
            .contains(&time)
            .then(|| time.div_euclid(self.size) * self.size)?;
        TIMES.contains(&start).then_some(start)
    }

    pub fn window(&self, start: i64) -> Windowed {
        let end = start.saturating_add(self.size);
        Windowed::In { start, end }
    }

    /// Whether nothing is added any more to the window that begins at `start`.
    pub fn is_closed(&self, start: i64, watermark: i64) -> bool {
        watermark >= start.saturating_add(self.size + self.grace)
    }

    /// Where the first window begins whose total is kept.
    pub fn first_kept(&self, watermark: i64) -> i64 {
        let kept = self.size + self.grace + self.retention;
        let last_gone = watermark.saturating_sub(kept).div_euclid(self.size) * self.size;
        last_gone + self.size
    }
}

/// Makes `name` that of the window which begins at `start`, a whole second. What belongs to a group has it appended.
pub fn name(start: i64, name: &mut String) {
    name.clear();
    if let Ok(start) = Timestamp::from_millisecond(start) {
        // A string takes whatever is written to it.
        let _ = write!(name, "{start}");
    }
}

/// The name of what a `group` has in the window that begins at `start`.
pub fn name_of(start: i64, group: Option<&str>) -> String {
    let mut text = String::new();
    name(start, &mut text);
    append(group, &mut text);
    text
}

/// Makes the name of a window that of what a group has in it.
pub fn append(group: Option<&str>, name: &mut String) {
    if let Some(group) = group {
        name.push('/');
        name.push_str(group);
    }
}

/// Start and group of what has this name. `None` if that is nothing in a window.
pub fn parse(name: &str) -> Option<(i64, Option<&str>)> {
    let (start, rest) = name.split_at_checked(START)?;
    let group = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    let start = start.parse::<Timestamp>().ok()?.as_millisecond();
    Some((start, group))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(size_s: u64, grace_ms: u64, retention_ms: u64) -> Tumbling {
        Tumbling::of(&Window {
            size_ms: size_s * 1000,
            time: None,
            grace_ms,
            retention_ms,
        })
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_begin_at_multiples_of_their_size_also_before_the_epoch() {
        let start = |size, time: &str| windows(size, 0, 0).start(ms(time));
        for (size, time, expected) in [
            (3600, "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            (3600, "2026-11-22T10:59:59.999Z", "2026-11-22T10:00:00Z"),
            (3600, "2026-11-22T11:00:00Z", "2026-11-22T11:00:00Z"),
            (86_400, "2024-02-29T23:59:59Z", "2024-02-29T00:00:00Z"),
            // The epoch was a Thursday.
            (7 * 86_400, "2026-11-22T10:00:00Z", "2026-11-19T00:00:00Z"),
            (1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z"),
            (3600, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            (3600, "1969-12-31T23:59:59.999Z", "1969-12-31T23:00:00Z"),
            (3600, "1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z"),
            (3600, "1969-12-31T22:59:59.999Z", "1969-12-31T22:00:00Z"),
        ] {
            assert_eq!(start(size, time), Some(ms(expected)), "{size} s, {time}");
        }
    }

    #[test]
    fn a_time_that_no_name_has_room_for_has_no_window() {
        let hours = windows(3600, 0, 0);
        for time in [i64::MIN, TIMES.start - 1, TIMES.end, i64::MAX] {
            assert_eq!(hours.start(time), None, "{time}");
        }
        assert_eq!(hours.start(TIMES.start), Some(TIMES.start));
        assert_eq!(hours.start(TIMES.end - 1), Some(TIMES.end - 3_600_000));
        // The first year of a window of more than a year began before it.
        assert_eq!(windows(366 * 86_400, 0, 0).start(TIMES.start), None);
        assert_eq!(name_of(TIMES.start, None), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn a_window_is_closed_grace_after_its_end_and_goes_retention_after_that() {
        let windows = windows(10, 2_000, 5_000);
        for (watermark, is_closed, is_kept) in [
            (19_999, false, true),
            (20_000, false, true),
            (21_999, false, true),
            (22_000, true, true),
            (26_999, true, true),
            (27_000, true, false),
        ] {
            assert_eq!(windows.is_closed(10_000, watermark), is_closed, "{watermark}");
            assert_eq!(10_000 >= windows.first_kept(watermark), is_kept, "{watermark}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let window = |size_ms, retention_ms| Window {
            size_ms,
            time: None,
            grace_ms: 0,
            retention_ms,
        };
        for (size, retention, is_possible) in [
            (1000, 0, true),
            (0, 0, false),
            (1500, 0, false),
            (u64::MAX, 0, false),
            (1000, u64::MAX, false),
        ] {
            assert_eq!(
                Tumbling::is_possible(&window(size, retention)),
                is_possible,
                "{size} {retention}"
            );
        }
    }

    #[test]
    fn names_are_of_a_window_and_a_group_and_nothing_else_is() {
        let start = ms("2026-11-22T10:00:00Z");
        for (name, group) in [
            ("2026-11-22T10:00:00Z", None),
            ("2026-11-22T10:00:00Z/", Some("")),
            ("2026-11-22T10:00:00Z/a/b", Some("a/b")),
        ] {
            assert_eq!(name_of(start, group), name);
            assert_eq!(parse(name), Some((start, group)));
        }
        for other in [
            "",
            "Seoul",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00:00Zx",
            "2026-13-22T10:00:00Z",
            "서울 서울 서울 서울",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn each_time_is_in_its_window_and_names_stand_in_the_order_of_time(
            size in 1..=366 * 86_400_u64, times in prop::array::uniform2(TIMES), group in prop::option::of(".{0,4}"),
        ) {
            let windows = windows(size, 0, 0);
            let starts = times.map(|time| windows.start(time));
            let [Some(one), Some(other)] = starts else { return Ok(()) };
            prop_assert!((one..one + i64::try_from(size * 1000).unwrap()).contains(&times[0]));
            prop_assert_eq!(one.rem_euclid(i64::try_from(size * 1000).unwrap()), 0);
            let name = name_of(one, group.as_deref());
            prop_assert_eq!(parse(&name), Some((one, group.as_deref())));
            prop_assert_eq!(name_of(one, None).cmp(&name_of(other, None)), one.cmp(&other));
        }
    }
}
