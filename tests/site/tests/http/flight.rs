//! Reads a React flight stream out of a page, in the plainest way.

use std::collections::HashMap;

use scraper::{Html, Selector};
use serde_json::Value;

/// The rows that are JSON, with their references to text rows replaced by the texts.
pub(crate) fn rows(html: &str) -> Vec<Value> {
    let stream = stream(html);
    let mut rest = stream.as_bytes();
    let mut texts = HashMap::new();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let (id, after) = split_once(rest, b':');
        let (payload, after) = match after.strip_prefix(b"T") {
            Some(text) => {
                let (length, text) = split_once(text, b',');
                let length = usize::from_str_radix(str::from_utf8(length).unwrap(), 16).unwrap();
                let (text, after) = text.split_at(length);
                let id = format!("${}", str::from_utf8(id).unwrap());
                texts.insert(id, String::from_utf8(text.to_vec()).unwrap());
                (&b""[..], after)
            }
            None => split_once(after, b'\n'),
        };
        rest = after;
        rows.extend(serde_json::from_slice::<Value>(payload));
    }
    rows.iter_mut().for_each(|row| resolve(row, &texts));
    rows
}

/// How many pushes the stream is cut into.
pub(crate) fn pushes(html: &str) -> usize {
    parts(html).len()
}

fn stream(html: &str) -> String {
    parts(html).concat()
}

fn parts(html: &str) -> Vec<String> {
    let scripts = Selector::parse("script").unwrap();
    let document = Html::parse_document(html);
    let scripts = document
        .select(&scripts)
        .map(|script| script.text().collect::<String>());
    scripts
        .filter_map(|script| {
            let part = script.strip_prefix("self.__next_f.push(")?.strip_suffix(")")?;
            Some(serde_json::from_str::<(u8, String)>(part).unwrap().1)
        })
        .collect()
}

fn split_once(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| *byte == separator).unwrap();
    (&bytes[..at], &bytes[at + 1..])
}

fn resolve(value: &mut Value, texts: &HashMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(long) = texts.get(text.as_str()) {
                *text = long.clone();
            } else if text.starts_with("$$") {
                text.remove(0);
            } else if text.starts_with('$') {
                let known = matches!(
                    text.as_str(),
                    "$" | "$undefined" | "$L2" | "$L3" | "$L22" | "$Sreact.fragment"
                );
                assert!(known, "a reference to nothing: {text}");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| resolve(value, texts)),
        Value::Object(values) => values.values_mut().for_each(|value| resolve(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
