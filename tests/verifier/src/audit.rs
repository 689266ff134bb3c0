//! What the group has committed, in the order in which the broker accepted it: the records of `__consumer_offsets`.

use naru_tests::filtered_sum::{GROUP, INPUT};

/// The topic that holds what groups commit.
pub const OFFSETS: &str = "__consumer_offsets";

/// Which of `partitions` holds what belongs to `name`: that of [`OFFSETS`] for a group, or that of the transactions' topic
/// for a transactional id.
pub fn partition_of(name: &str, partitions: i32) -> i32 {
    // As Java's `String.hashCode`; all names here are ASCII.
    let hash = name.bytes().fold(0_i32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(i32::from(byte))
    });
    hash.checked_abs().unwrap_or(0) % partitions
}

/// Input partition and offset of a record of [`OFFSETS`], if it is a commit of the workers' group for their input.
pub fn commit(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<(i32, i64)> {
    let mut key = Fields(key?);
    // Version 2 is the group itself.
    if !matches!(key.number::<2>()?, 0 | 1)
        || key.text()? != GROUP.as_bytes()
        || key.text()? != INPUT.as_bytes()
    {
        return None;
    }
    let partition = i32::try_from(key.number::<4>()?).ok()?;
    // No value: the commit has expired.
    let mut value = Fields(value?);
    let _version = value.number::<2>()?;
    Some((partition, value.number::<8>()?))
}

/// What is left to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    /// A signed number of as many bytes.
    fn number<const SIZE: usize>(&mut self) -> Option<i64> {
        let bytes = self.take(SIZE)?;
        let first = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
        Some(
            bytes
                .iter()
                .fold(first, |number, byte| number << 8 | i64::from(*byte)),
        )
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number::<2>()?).ok()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str) -> Vec<u8> {
        [b"\0\x01\0\x03", group.as_bytes(), b"\0\x05items\0\0\0\x02"].concat()
    }

    #[test]
    fn a_commit_of_the_group_is_read() {
        let value = b"\0\x03\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\0\0";
        assert_eq!(commit(Some(&key("sum")), Some(value)), Some((2, 258)));
        assert_eq!(commit(Some(&key("who")), Some(value)), None);
        assert_eq!(commit(Some(&key("sum")), None), None);
        assert_eq!(commit(Some(b"\0\x02\0\x03sum"), Some(value)), None);
        assert_eq!(commit(Some(b"\0\x01\0\x09sum"), Some(value)), None);
    }

    #[test]
    fn a_group_is_where_kafka_keeps_it() {
        // As `"sum".hashCode()` is in Java.
        assert_eq!(partition_of("sum", i32::MAX), 114_251);
        assert_eq!(partition_of("sum", 5), 1);
    }
}
