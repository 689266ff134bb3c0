//! The words of conditions and events: the same failure has the same words each time, or each pass would change the
//! status, and each change wake the controller. Pure.

use std::sync::LazyLock;

use regex::Regex;

/// Longest message, bytes. The API server allows an event's note 1024.
const LONGEST: usize = 1000;

/// What differs between two equal failures, and what stands for it. Of ASCII: with the digits and word boundaries of all scripts
/// the patterns take a megabyte.
static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // 2026-11-21T13:26:45.123Z
        (
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?",
            "some time",
        ),
        // librdkafka: "(after 5001ms in state CONNECT, 3 identical error(s) suppressed)".
        (r"\s*\((after|[0-9]+) [^()]*(\(s\))?[^()]*\)", ""),
        // librdkafka: "[thrd:sasl_ssl://kafka:9092/bootstrap]: ".
        (r"\[thrd:[^\]]*\]:\s*", ""),
        (
            r"(?-u:\b)(after|in|within) [0-9]+(\.[0-9]+)?\s?(ns|µs|us|ms|s)(?-u:\b)",
            "$1 some time",
        ),
        // Local ends of connections: "10.0.0.1:43210->10.0.0.2:443".
        (r"([0-9]{1,3}(\.[0-9]{1,3}){3}):[0-9]{1,5}\s*->", "$1->"),
        (
            r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
            "some id",
        ),
        // Addresses in memory, and Java's hash codes of objects.
        (r"(?-u:\b)0x[0-9a-fA-F]{4,16}(?-u:\b)", "some address"),
        (r"@[0-9a-f]{5,16}(?-u:\b)", ""),
        (
            r"(?i)(?-u:\b)(attempts?|retry|retries|correlation ?id|request ?id|epoch)(:|=| #| )\s*[0-9]+",
            "$1 n",
        ),
    ]
    .map(|(pattern, instead)| (Regex::new(pattern).expect("the tests compile it"), instead))
    .into()
});

/// A text as conditions and events have it: without what changes, and cut at a character boundary.
pub fn message(text: &str) -> String {
    let mut text = text.trim().to_owned();
    for (pattern, instead) in CHANGING.iter() {
        if pattern.is_match(&text) {
            text = pattern.replace_all(&text, *instead).into_owned();
        }
    }
    let end = (0..=text.len().min(LONGEST))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_equal_failures_have_the_same_words() {
        let cases = [
            (
                "kafka:9092/bootstrap: Connect to ipv4#10.0.0.9:9092 failed: refused (after 3ms in state CONNECT)",
                "kafka:9092/bootstrap: Connect to ipv4#10.0.0.9:9092 failed: refused (after 5012ms in state CONNECT, 3 identical error(s) suppressed)",
            ),
            (
                "[thrd:kafka:9092/1]: 1/1 brokers are down",
                "[thrd:kafka:9092/bootstrap]: 1/1 brokers are down",
            ),
            (
                "read tcp 10.0.0.1:43210->10.0.0.2:443: reset",
                "read tcp 10.0.0.1:51002->10.0.0.2:443: reset",
            ),
            (
                "2026-11-21T13:26:45Z timed out after 5001 ms",
                "2026-11-21 13:27:15,001 timed out after 4999 ms",
            ),
            (
                "Task 6f9619ff-8b86-d011-b42d-00cf4fc964ff failed, attempt 3",
                "Task 0e2d1c0b-8b86-d011-b42d-00cf4fc964ff failed, attempt 4",
            ),
            (
                "java.lang.Object@1b2c3d4e is closed",
                "java.lang.Object@77aa31 is closed",
            ),
        ];
        for (one, other) in cases {
            assert_eq!(message(one), message(other));
        }
    }

    #[test]
    fn what_a_person_needs_stays() {
        for text in [
            "the schema registry at \"http://registry:8081\" does not answer: connection refused",
            "topic \"items\" has 3 partitions and needs 12",
            "field \"price\": main h1 >> is no selector (at column 9)",
            "commitInterval must be from 1ms to 5s",
        ] {
            assert_eq!(message(text), text);
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "가".repeat(1000);
        assert!(message(&text).len() <= LONGEST);
        assert!(text.starts_with(&message(&text)));
    }
}
