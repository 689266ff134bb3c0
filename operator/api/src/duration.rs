//! A length of time as people write it.

use std::{borrow::Cow, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time such as `500ms`, `30s` or `1m30s`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(String, time::Duration);

impl Duration {
    /// The length of time in whole milliseconds.
    pub fn as_millis(&self) -> u64 {
        u64::try_from(self.1.as_millis()).unwrap_or(u64::MAX)
    }
}

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match humantime::parse_duration(&text) {
            Ok(length) => Ok(Self(text, length)),
            Err(error) => Err(format!(
                "{text:?} is not a duration such as \"30s\" or \"1m30s\": {error}"
            )),
        }
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

/// For defaults, which are literals in this crate.
pub(crate) fn literal(text: &str) -> Duration {
    Duration::try_from(text.to_owned()).expect("a literal of this crate that its tests parse")
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]{1,9}(ms|s|m|h))+$",
        })
    }
}
