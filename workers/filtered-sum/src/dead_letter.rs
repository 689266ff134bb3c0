//! Records that cannot be decoded or summed, on their way to the dead letter topic.
//!
//! A dead letter is the record's key and value as they were, with the headers `reason` (a sentence), `topic`,
//! `partition` and `offset` (decimal digits), which say where it stands in the input. With `delivery: idempotentUpsert`
//! it may come again with the same three, and has the header `delivery` too.

use naru_worker_core::kafka::config::MAX_RECORD_BYTES;
use naru_worker_core::kafka::transaction::Record;

/// More dead letters or bytes of them than this are not kept waiting for the next regular commit.
const MAX_COUNT: usize = 1000;
const MAX_BYTES: usize = 8 << 20;

/// One record and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl DeadLetter {
    /// A value that would not fit is left where it is: the headers say where.
    pub fn record<'a>(&self, input_topic: &str, dead_letter_topic: &'a str) -> Record<'a> {
        let fits = self.bytes() <= MAX_RECORD_BYTES;
        let mut headers = vec![
            ("reason", self.reason.clone().into_bytes()),
            ("topic", input_topic.as_bytes().to_vec()),
            ("partition", self.partition.to_string().into_bytes()),
            ("offset", self.offset.to_string().into_bytes()),
        ];
        if !fits {
            headers.push((
                "omitted",
                b"the key and the value are too large to be repeated".to_vec(),
            ));
        }
        Record {
            topic: dead_letter_topic,
            partition: None,
            key: self.key.clone().filter(|_| fits),
            value: self.value.clone().filter(|_| fits),
            headers,
        }
    }

    fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value)
    }
}

/// Dead letters that wait for the next commit.
#[derive(Debug, Default)]
pub struct DeadLetters {
    waiting: Vec<DeadLetter>,
    bytes: usize,
}

impl DeadLetters {
    pub fn push(&mut self, letter: DeadLetter) {
        self.bytes += letter.bytes();
        self.waiting.push(letter);
    }

    /// Whether it is time for a commit.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_COUNT || self.bytes >= MAX_BYTES
    }

    pub fn iter(&self) -> impl Iterator<Item = &DeadLetter> {
        self.waiting.iter()
    }

    /// Drops those of partitions that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.waiting.retain(|letter| keep(letter.partition));
        self.bytes = self.waiting.iter().map(DeadLetter::bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(partition: i32, length: usize) -> DeadLetter {
        DeadLetter {
            partition,
            offset: 42,
            reason: "it is too sour".to_owned(),
            key: Some(b"key".to_vec()),
            value: Some(vec![1; length]),
        }
    }

    fn header<'a>(record: &'a Record<'_>, name: &str) -> Option<&'a [u8]> {
        record
            .headers
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.as_slice())
    }

    #[test]
    fn a_dead_letter_is_the_record_and_says_where_it_is_from_and_why() {
        let record = letter(3, 2).record("items", "items.dead");
        assert_eq!((record.topic, record.partition), ("items.dead", None));
        assert_eq!(
            (record.key.as_deref(), record.value.as_deref()),
            (Some(&b"key"[..]), Some(&[1, 1][..]))
        );
        for (name, value) in [
            ("reason", "it is too sour"),
            ("topic", "items"),
            ("partition", "3"),
            ("offset", "42"),
        ] {
            assert_eq!(header(&record, name), Some(value.as_bytes()));
        }
        assert_eq!(header(&record, "omitted"), None);
    }

    #[test]
    fn what_is_too_large_to_be_repeated_is_named() {
        let record = letter(3, MAX_RECORD_BYTES).record("items", "items.dead");
        assert_eq!((&record.key, &record.value), (&None, &None));
        assert!(header(&record, "omitted").is_some());
        assert_eq!(header(&record, "offset"), Some(&b"42"[..]));
    }

    #[test]
    fn waiting_dead_letters_are_bounded_in_number_and_bytes() {
        let mut letters = DeadLetters::default();
        for _ in 0..MAX_COUNT {
            assert!(!letters.is_full());
            letters.push(letter(0, 1));
        }
        assert!(letters.is_full());
        letters.retain(|partition| partition != 0);
        assert!(!letters.is_full());
        letters.push(letter(1, MAX_BYTES));
        assert!(letters.is_full());
        assert_eq!(letters.iter().count(), 1);
    }
}
