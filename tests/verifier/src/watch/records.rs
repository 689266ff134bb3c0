//! What is to be known of one record that was read.

use std::hash::{DefaultHasher, Hash, Hasher};

use naru_tests::filtered_sum::{INPUT, check::Violation};
use naru_tests::loopback::Consumed;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// Where it stands.
pub(super) type At = (String, i32, i64);

pub(super) fn at(message: &BorrowedMessage<'_>) -> At {
    (message.topic().to_owned(), message.partition(), message.offset())
}

pub(super) fn hash(message: &BorrowedMessage<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (message.key(), message.payload()).hash(&mut hasher);
    hasher.finish()
}

pub(super) fn same(at: &At, one: u64, other: u64) -> Result<(), Violation> {
    match one == other {
        true => Ok(()),
        false => Err(Violation::new(
            "I6",
            format!("two readers see different records at {at:?}"),
        )),
    }
}

pub(super) fn consumed(message: &BorrowedMessage<'_>) -> Consumed {
    Consumed {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
    }
}

/// Where a dead letter is from.
pub(super) fn letter(message: &BorrowedMessage<'_>) -> Option<(i32, i64)> {
    let header = |name: &str| {
        let mut headers = message.headers()?.iter();
        let value = headers.find(|header| header.key == name)?.value?;
        std::str::from_utf8(value).ok()
    };
    let is_explained = header("topic")? == INPUT && !header("reason")?.is_empty();
    is_explained.then_some((
        header("partition")?.parse().ok()?,
        header("offset")?.parse().ok()?,
    ))
}
