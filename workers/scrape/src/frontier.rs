//! What travels through the frontier topic and its offsets.

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

/// How far a fetcher has come inside a range: the metadata beside an offset that is not moved past the range yet.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Last id of the range that is settled, all before it being settled too.
    pub done: u64,
}

/// Where the planner stands: the value of the newest record of the head topic, whose key is the frontier's group.
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
    pub fn parse(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
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
        assert_eq!(Progress { done: 7 }.to_json(), r#"{"done":7}"#);
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
        assert_eq!(Progress::parse(""), None);
    }
}
