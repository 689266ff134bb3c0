//! Which sum a total is of.
//!
//! The total of a partition carries it as a header, so that nobody takes the totals of another sum for its own: of
//! another resource with the same output topic, or of one with the same name that was made anew with other rules.

use naru_contract::{FilteredSumWorker, Window};
use serde::{Deserialize, Serialize};

use crate::window::Tumbling;

/// Name of the header, whose value is a version and an [`Identity`] in JSON.
pub const HEADER: &str = "sum";
/// Version of what follows, and more: Kafka Connect takes a header that begins as JSON for a map without a schema, which
/// sinks refuse. So it is a text to it.
const VERSION: &str = "v1 ";
/// The same, of a sum with something that workers of before do not know. They skip fields that they do not know, and would go on
/// with such totals as if each record counted; of this version they say that it is none, and touch nothing.
const LATER: &str = "v2 ";

/// Two sums with the same identity, but for the number of the computation, come to the same totals.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    group: String,
    input_topic: String,
    filter: Option<String>,
    field: String,
    #[serde(default, skip_serializing_if = "is_default")]
    scale: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    round_floats: bool,
    /// Whether a record takes the place of the one before of its key.
    #[serde(default, skip_serializing_if = "is_default")]
    retract: bool,
    group_by: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    window: Option<Window>,
    #[serde(flatten)]
    pub origin: Origin,
}

/// How totals came about, beside the rules that they name.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Which computation of the group's sum they are of. Totals of the first versions do not say it, and are before all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub computation: i64,
    /// Records before some offset were summed by earlier rules, and were gone on with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mixed: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Identity {
    pub fn of(config: &FilteredSumWorker) -> Self {
        Self {
            group: config.group.clone(),
            input_topic: config.input_topic.clone(),
            filter: config.filter.clone(),
            field: config.field.clone(),
            scale: config.scale,
            round_floats: config.round_floats,
            retract: config.keys_topic.is_some(),
            group_by: config.group_by.clone(),
            window: config.window.clone(),
            origin: Origin {
                computation: config.computation,
                mixed: false,
            },
        }
    }

    /// The same rules for totals that came about in another way.
    pub fn with(&self, origin: Origin) -> Self {
        Self {
            origin,
            ..self.clone()
        }
    }

    /// Whether both are of one resource: of the same group, which sums the same input.
    pub fn is_of_the_resource_of(&self, other: &Self) -> bool {
        (&self.group, &self.input_topic) == (&other.group, &other.input_topic)
    }

    /// Whether both sum the same by the same rules.
    pub fn sums_as(&self, other: &Self) -> bool {
        self.is_of_the_resource_of(other)
            && (&self.filter, &self.field, self.round_floats)
                == (&other.filter, &other.field, other.round_floats)
            && self.counts_as(other)
    }

    /// How time is divided, if it is.
    pub fn windows(&self) -> Option<Tumbling> {
        self.window.as_ref().map(Tumbling::of)
    }

    /// Whether both have the same groups and windows, sums in the same unit, and the same to say of keys: so that one can be
    /// added to the other.
    pub fn counts_as(&self, other: &Self) -> bool {
        (&self.group_by, &self.window, self.scale, self.retract)
            == (&other.group_by, &other.window, other.scale, other.retract)
    }

    /// Whether a record takes the place of the one before of its key.
    pub fn retracts(&self) -> bool {
        self.retract
    }

    pub fn to_header(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("texts can always be written as JSON");
        let version = match self.retract || self.window.is_some() {
            true => LATER,
            false => VERSION,
        };
        format!("{version}{json}").into_bytes()
    }

    pub fn parse(header: &[u8]) -> Option<Self> {
        let mut versions = [VERSION, LATER].iter();
        let json = versions.find_map(|version| header.strip_prefix(version.as_bytes()))?;
        serde_json::from_slice(json).ok()
    }

    /// What is found that is not as in `expected`, as a clause; empty if both sum the same by the same rules.
    pub fn differences(&self, expected: &Self) -> String {
        let text = |filter: &Option<String>| format!("{:?}", filter.as_deref().unwrap_or_default());
        let parts = [
            (
                "consumer group",
                format!("{:?}", self.group),
                format!("{:?}", expected.group),
            ),
            (
                "input topic",
                format!("{:?}", self.input_topic),
                format!("{:?}", expected.input_topic),
            ),
            ("filter", text(&self.filter), text(&expected.filter)),
            (
                "field",
                format!("{:?}", self.field),
                format!("{:?}", expected.field),
            ),
            ("scale", self.scale.to_string(), expected.scale.to_string()),
            (
                "roundFloats",
                self.round_floats.to_string(),
                expected.round_floats.to_string(),
            ),
            ("retract", self.retract.to_string(), expected.retract.to_string()),
            (
                "groupBy",
                format!("{:?}", self.group_by),
                format!("{:?}", expected.group_by),
            ),
            ("window", window(&self.window), window(&expected.window)),
        ];
        let different = parts.into_iter().filter(|(_, found, expected)| found != expected);
        let clauses = different.map(|(what, found, expected)| format!("{what} {found}, expected {expected}"));
        clauses.collect::<Vec<_>>().join(", ")
    }
}

fn window(window: &Option<Window>) -> String {
    let Some(window) = window else {
        return "none".to_owned();
    };
    let Window {
        size_ms,
        time,
        grace_ms,
        retention_ms,
    } = window;
    let time = time
        .as_ref()
        .map_or_else(|| "Kafka".to_owned(), |field| format!("field {field:?}"));
    format!(
        "{size_ms} ms long by the time of {time}, with a grace of {grace_ms} ms and a retention of {retention_ms} ms"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(group: &str, filter: Option<&str>) -> Identity {
        Identity {
            group: group.to_owned(),
            input_topic: "items".to_owned(),
            filter: filter.map(str::to_owned),
            field: "price".to_owned(),
            scale: 0,
            round_floats: false,
            retract: false,
            group_by: Vec::new(),
            window: None,
            origin: Origin::default(),
        }
    }

    #[test]
    fn the_origin_is_written_and_read_and_is_no_difference() {
        let first = identity("a", None);
        assert!(
            !String::from_utf8(first.to_header())
                .unwrap()
                .contains("computation")
        );
        let origin = Origin {
            computation: 7,
            mixed: true,
        };
        let second = first.with(origin);
        assert_eq!(Identity::parse(&second.to_header()).unwrap().origin, origin);
        assert_eq!(second.differences(&first), "");
    }

    #[test]
    fn what_was_written_is_read_and_other_bytes_are_no_identity() {
        let written = identity("a", Some("price <= 5"));
        assert_eq!(Identity::parse(&written.to_header()), Some(written));
        for other in [&b"a"[..], b"v1 a", b"v2 a", b"v3 {}", b"{}"] {
            assert_eq!(Identity::parse(other), None);
        }
    }

    #[test]
    fn the_header_is_a_text_to_kafka_connect() {
        let header = identity("a", None).to_header();
        // Not a number, a time, a list, a map, a quoted text, `true`, `false` or `null`.
        assert!(
            header.starts_with(b"v1 {"),
            "{}",
            String::from_utf8_lossy(&header)
        );
    }

    #[test]
    fn workers_that_know_neither_keys_nor_windows_take_no_totals_with_them_for_their_own() {
        let plain = identity("a", None);
        let retracting = Identity {
            retract: true,
            ..plain.clone()
        };
        let windowed = Identity {
            window: Some(Window {
                size_ms: 1,
                time: None,
                grace_ms: 0,
                retention_ms: 1,
            }),
            ..plain.clone()
        };
        // They read this version only.
        assert!(plain.to_header().starts_with(b"v1 {"));
        for later in [retracting, windowed] {
            assert!(later.to_header().starts_with(b"v2 {"), "{later:?}");
            assert_eq!(Identity::parse(&later.to_header()), Some(later));
        }
    }

    #[test]
    fn differences_are_named_and_nothing_else() {
        let expected = identity("a", Some("price <= 5"));
        assert_eq!(expected.differences(&expected), "");
        assert_eq!(
            identity("b", None).differences(&expected),
            r#"consumer group "b", expected "a", filter "", expected "price <= 5""#
        );
        let scaled = Identity {
            scale: 2,
            round_floats: true,
            ..expected.clone()
        };
        assert_eq!(
            scaled.differences(&expected),
            "scale 2, expected 0, roundFloats true, expected false"
        );
        let windowed = |retention_ms| Identity {
            window: Some(Window {
                size_ms: 60_000,
                time: Some("at".to_owned()),
                grace_ms: 0,
                retention_ms,
            }),
            ..expected.clone()
        };
        assert_eq!(
            windowed(1).differences(&expected),
            "window 60000 ms long by the time of field \"at\", with a grace of 0 ms and a retention of 1 ms, expected none"
        );
        assert!(!windowed(1).sums_as(&windowed(2)) && !windowed(1).counts_as(&windowed(2)));
        assert_eq!(Identity::parse(&windowed(1).to_header()), Some(windowed(1)));
        assert!(!scaled.sums_as(&expected) && !scaled.counts_as(&expected));
        assert_eq!(Identity::parse(&scaled.to_header()), Some(scaled));
        let retracting = Identity {
            retract: true,
            ..expected.clone()
        };
        assert_eq!(retracting.differences(&expected), "retract true, expected false");
        assert!(!retracting.sums_as(&expected) && !retracting.counts_as(&expected));
        assert_eq!(Identity::parse(&retracting.to_header()), Some(retracting));
    }
}
