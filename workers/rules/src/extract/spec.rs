//! The extraction rules as users write them.

use serde::{Deserialize, Serialize};

/// One field of the record that a page becomes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// Name of the Avro field and of the column it is stored in.
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 64), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))
    )]
    pub name: String,
    /// Type of the value after all transforms.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// A page on which no rule finds a required field becomes a dead letter. An optional field becomes null.
    // Without a default in the schema: one in an element of a list makes every `kubectl apply` a change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Where the value is found; the first rule that finds one wins.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 8)))]
    pub from: Vec<Source>,
}

/// Avro type of a field.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FieldType {
    /// A 64-bit integer.
    #[serde(rename = "long")]
    Long,
    /// A 64-bit floating point number. Sums of it are not exact: prefer `long`.
    #[serde(rename = "double")]
    Double,
    /// Text in UTF-8.
    #[serde(rename = "string")]
    String,
    /// `true` or `false`.
    #[serde(rename = "boolean")]
    Boolean,
    /// A list of texts, each of which may be null.
    #[serde(rename = "array<string>")]
    StringArray,
}

/// One place to look for a value: exactly one of `json`, `css`, `meta` and `url`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "[has(self.json), has(self.css), has(self.meta), has(self.url)].filter(x, x).size() == 1",
            "message": "exactly one of json, css, meta and url must be set"
        },
        {
            "rule": "!has(self.attribute) || has(self.css)",
            "message": "attribute is only possible together with css"
        }
    ]))
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// JSONPath (RFC 9535) into the JSON that the page carries: its body, `__NEXT_DATA__`, the rows of a Next.js
    /// flight stream, or JSON-LD, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub json: Option<String>,
    /// CSS selector; the text of the first element that it matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub css: Option<String>,
    /// With `css`: this attribute of the element instead of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64)))]
    pub attribute: Option<String>,
    /// `content` of the `<meta>` element with this `property` or `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 128)))]
    pub meta: Option<String>,
    /// Regular expression on the page's URL; its first group, or the whole match when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub url: Option<String>,
    /// What is done to the text that was found, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 8)))]
    pub transform: Vec<Transform>,
}

/// One step from the text that was found to the value: exactly one of its keys.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("x-kubernetes-validations" = [{
        "rule": "[has(self.keep), has(self.regex), has(self.split), has(self.padTo), has(self.item)].filter(x, x).size() == 1",
        "message": "exactly one of keep, regex, split, padTo and item must be set"
    }]))
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transform {
    /// Drops every character of another class: `163,000원` with `keep: digits` is `163000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Regular expression; its first group, or the whole match when it has none. No match: the value is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    pub regex: Option<String>,
    /// Text to a list of texts, at this separator, each trimmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 16)))]
    pub split: Option<String>,
    /// Fills a list with nulls up to this length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 64)))]
    pub pad_to: Option<u8>,
    /// The element of a list at this position, counted from 0. None there: the value is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 63)))]
    pub item: Option<u8>,
}

/// A class of characters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// `0` to `9`, and a minus sign before the first of them.
    Digits,
}
