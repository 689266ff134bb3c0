//! What the frontier topic holds, and how far it is worked off.

use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};

/// Ids that one fetcher is to work on, in order: the value of a frontier record.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Range {
    /// First id.
    pub from: u64,
    /// Last id, not below the first.
    pub to: u64,
    /// 1 for a range that the planner has cut.
    pub attempt: u32,
}

/// How far a partition of the frontier is worked off: of its records up to and with `offset`, the ids up to and with
/// `done` are settled, and those after it are not.
///
/// It is the metadata beside each offset that the fetchers commit, and, in the same transaction, a record of the head
/// topic, where it stays when the group's offsets expire. The ids say the same as the offset, since those of a
/// partition only grow; both together are also right for a frontier that was deleted and made anew.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The last record that was worked on.
    pub offset: i64,
    pub done: u64,
}

/// Where the planner stands: the value of the newest record of the head topic with the planner's key.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// First id that is not in a range yet.
    pub next_id: u64,
    /// Partition of the frontier that the next range goes to, modulo their number.
    pub next_partition: i32,
}

#[derive(Debug, Snafu)]
pub enum RangeError {
    #[snafu(display("the frontier record is no range"))]
    Parse { source: serde_json::Error },
    #[snafu(display("the frontier record is a range from {from} to {to}, which is backwards"))]
    Backwards { from: u64, to: u64 },
}

impl Range {
    pub fn parse(value: &[u8]) -> Result<Self, RangeError> {
        let range: Self = serde_json::from_slice(value).context(ParseSnafu)?;
        ensure!(
            range.from <= range.to,
            BackwardsSnafu {
                from: range.from,
                to: range.to
            }
        );
        Ok(range)
    }

    pub fn to_json(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("numbers are always JSON")
    }
}

impl Progress {
    /// None for what no fetcher has written.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// As it stands beside a committed offset. None for what no fetcher has written. The first fetchers left out that the
    /// record is the one at the offset itself.
    pub fn beside(offset: i64, metadata: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Written {
            offset: Option<i64>,
            done: u64,
        }
        let written: Written = serde_json::from_str(metadata).ok()?;
        Some(Self {
            offset: written.offset.unwrap_or(offset),
            done: written.done,
        })
    }

    /// All records before `offset` are settled, and nothing of the one at it.
    pub fn before(offset: i64) -> Self {
        Self {
            offset: offset - 1,
            done: u64::MAX,
        }
    }

    /// First id of the record at `offset` that is not settled; `None` when all of its ids are.
    pub fn first_unsettled(self, offset: i64, range: Range) -> Option<u64> {
        if offset > self.offset {
            return Some(range.from);
        }
        let next = self.done.checked_add(1)?.max(range.from);
        (next <= range.to).then_some(next)
    }

    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("numbers are always JSON")
    }
}

impl Position {
    pub fn parse(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    pub fn to_json(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("numbers are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_stay_what_running_fetchers_and_old_topics_hold() {
        let range = Range {
            from: 1,
            to: 100,
            attempt: 1,
        };
        assert_eq!(range.to_json(), br#"{"from":1,"to":100,"attempt":1}"#);
        assert_eq!(
            Progress { offset: 3, done: 7 }.to_json(),
            r#"{"offset":3,"done":7}"#
        );
        for (metadata, expected) in [
            (r#"{"offset":3,"done":7}"#, Some(Progress { offset: 3, done: 7 })),
            (r#"{"done":7}"#, Some(Progress { offset: 4, done: 7 })),
            ("", None),
            ("written by somebody else", None),
        ] {
            assert_eq!(Progress::beside(4, metadata), expected, "{metadata}");
        }
        let position = Position {
            next_id: 101,
            next_partition: 2,
        };
        assert_eq!(position.to_json(), br#"{"nextId":101,"nextPartition":2}"#);
        assert_eq!(
            Range::parse(br#"{"from":1,"to":100,"attempt":1,"added":"later"}"#).unwrap(),
            range
        );
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for value in [
            &b""[..],
            b"{}",
            br#"{"from":2,"to":1,"attempt":1}"#,
            br#"{"from":-1,"to":1,"attempt":1}"#,
        ] {
            Range::parse(value).unwrap_err();
        }
        assert_eq!(Progress::parse(b""), None);
    }

    #[test]
    fn progress_says_which_ids_of_a_record_are_settled() {
        let progress = Progress { offset: 10, done: 57 };
        let range = |from, to| Range { from, to, attempt: 1 };
        for (name, offset, range, expected) in [
            ("long done", 3, range(1, 20), None),
            ("just done", 9, range(41, 57), None),
            ("half done", 10, range(41, 60), Some(58)),
            ("not begun", 11, range(61, 80), Some(61)),
            ("the planner was made to begin again", 11, range(1, 20), Some(1)),
            ("the frontier was made anew", 0, range(61, 80), Some(61)),
        ] {
            assert_eq!(progress.first_unsettled(offset, range), expected, "{name}");
        }
        let all = Progress {
            offset: 10,
            done: u64::MAX,
        };
        assert_eq!(all.first_unsettled(10, range(1, 2)), None);
        assert_eq!(Progress::before(11), all);
        assert_eq!(all.first_unsettled(11, range(1, 2)), Some(1));
    }
}
