//! The records of the topic of keys.
//!
//! | key | value |
//! |---|---|
//! | `k` and the key of the input's record | what it adds ([`encode`]); without a value it adds nothing any more |
//! | `mark` | up to where the others of its partition go ([`Mark`]) |

use serde::{Deserialize, Serialize};

use super::Contribution;

/// Before the bytes of a key, which may be none.
const KEY: u8 = b'k';
/// The key of a [`Mark`].
const MARK: &[u8] = b"mark";
/// The first byte of what a key adds.
const VERSION: u8 = 1;

/// Written with every total of its partition, behind the keys that go with it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// First offset of the input that the total does not cover.
    pub next_offset: i64,
    /// Some keys of it are not written yet, or as they were before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_missing: bool,
    /// First offset of the sum that they are of: whoever sums it anew needs the records from there on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
}

/// One record, as it was read. What a key adds is a value in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    Key(&'a [u8], Option<(Option<&'a str>, i128)>),
    Mark(Mark),
}

impl<'a> Record<'a> {
    /// `None` if nobody writes such a record.
    pub fn parse(key: &'a [u8], value: Option<&'a [u8]>) -> Option<Self> {
        match (key.strip_prefix(&[KEY]), value) {
            (Some(key), None) => Some(Self::Key(key, None)),
            (Some(key), Some(value)) => Some(Self::Key(key, Some(decode(value)?))),
            (None, Some(value)) if key == MARK => Some(Self::Mark(serde_json::from_slice(value).ok()?)),
            (None, _) => None,
        }
    }
}

/// Key and value of the record of a key of the input.
pub fn of_key(key: &[u8], added: Option<&Contribution>) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = [&[KEY], key].concat();
    (key, added.map(encode))
}

/// Key and value of the record of a mark.
pub fn of_mark(mark: Mark) -> (Vec<u8>, Option<Vec<u8>>) {
    let value = serde_json::to_vec(&mark).expect("numbers and a truth can always be written as JSON");
    (MARK.to_vec(), Some(value))
}

/// The version; how many bytes the value has, from 0 to 16; these, big-endian in two's complement; and then nothing if nothing is
/// grouped, or 1 and the group's text.
fn encode(added: &Contribution) -> Vec<u8> {
    let value = added.value.to_be_bytes();
    let sign = if added.value < 0 { 0xff } else { 0 };
    let is_needed = |place: usize| value[place] != sign || (value[place + 1] ^ sign) & 0x80 != 0;
    let start = match added.value {
        0 => 16,
        _ => (0..15).find(|place| is_needed(*place)).unwrap_or(15),
    };
    let digits = &value[start..];
    let length = u8::try_from(digits.len()).expect("there are no more than 16");
    let mut bytes =
        Vec::with_capacity(3 + digits.len() + added.group.as_ref().map_or(0, |group| group.len()));
    bytes.extend([VERSION, length]);
    bytes.extend(digits);
    if let Some(group) = &added.group {
        bytes.push(1);
        bytes.extend(group.as_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Option<&str>, i128)> {
    let ([VERSION, length], rest) = bytes.split_first_chunk()? else {
        return None;
    };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    let start = 16_usize.checked_sub(digits.len())?;
    let is_negative = digits.first().is_some_and(|first| first & 0x80 != 0);
    let mut value = [if is_negative { 0xff } else { 0 }; 16];
    value[start..].copy_from_slice(digits);
    let group = match rest.split_first() {
        None => None,
        Some((1, group)) => Some(std::str::from_utf8(group).ok()?),
        Some(_) => return None,
    };
    Some((group, i128::from_be_bytes(value)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_as_they_were_yesterday() {
        let of = |group: Option<&str>, value| Contribution {
            group: group.map(Arc::from),
            value,
        };
        for (added, bytes) in [
            (of(None, 0), &[1, 0][..]),
            (of(None, 1), &[1, 1, 1]),
            (of(None, -1), &[1, 1, 0xff]),
            (of(None, 128), &[1, 2, 0, 128]),
            (of(None, -128), &[1, 1, 128]),
            (of(Some(""), 5), &[1, 1, 5, 1]),
            (of(Some("a|b"), 5), &[1, 1, 5, 1, b'a', b'|', b'b']),
        ] {
            assert_eq!(encode(&added), bytes);
            assert_eq!(decode(bytes), Some((added.group.as_deref(), added.value)));
        }
        let (key, value) = of_mark(Mark {
            next_offset: 7,
            is_missing: false,
            start: None,
        });
        assert_eq!(
            (&key[..], &value.unwrap()[..]),
            (MARK, &br#"{"nextOffset":7}"#[..])
        );
    }

    #[test]
    fn other_records_are_none_of_this_topic() {
        for (key, value) in [
            (&b"mark"[..], None),
            (b"mark", Some(&b"{}"[..])),
            (b"other", Some(b"{\"nextOffset\": 1}")),
            (b"", None),
            (b"ka", Some(b"")),
            (b"ka", Some(&[2, 0])),
            (b"ka", Some(&[1, 17])),
            (b"ka", Some(&[1, 2, 0])),
            (b"ka", Some(&[1, 0, 2])),
            (b"ka", Some(&[1, 0, 1, 0xff])),
            (
                b"ka",
                Some(&[1, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ),
        ] {
            assert_eq!(Record::parse(key, value), None, "{key:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            key: Vec<u8>, added in prop::option::of((prop::option::of(".*"), prop_oneof![any::<i128>(), -300..300_i128])),
            next_offset: i64, is_missing: bool, start: Option<i64>,
        ) {
            let contribution = added.as_ref().map(|(group, value)| Contribution { group: group.as_deref().map(Arc::from), value: *value });
            let (written, value) = of_key(&key, contribution.as_ref());
            let expected = added.as_ref().map(|(group, value)| (group.as_deref(), *value));
            prop_assert_eq!(Record::parse(&written, value.as_deref()), Some(Record::Key(&key, expected)));
            let mark = Mark { next_offset, is_missing, start };
            let (written, value) = of_mark(mark);
            prop_assert_eq!(Record::parse(&written, value.as_deref()), Some(Record::Mark(mark)));
        }

        #[test]
        fn no_bytes_make_it_panic(key: Vec<u8>, value: Option<Vec<u8>>) {
            let _ = Record::parse(&key, value.as_deref());
            let _ = Record::parse(b"k", value.as_deref());
        }
    }
}
