//! The data that a Next.js page with React server components carries: its flight stream.
//!
//! The page pushes pieces of one text with `self.__next_f.push([1, "…"])`; a piece may end anywhere. The whole text
//! consists of rows `id:payload`, with ids in hexadecimal: JSON up to the next newline, or, after a letter such
//! as `T` for text and a length in hexadecimal, that many bytes. In JSON, `"$41"` stands for row 41 and `"$$…"` for
//! a text that begins with a dollar sign.

use std::collections::HashMap;

use serde_json::Value;

use super::scripts::Script;

/// Letters after which a row's length follows: text, and the kinds of binary arrays.
const WITH_LENGTH: &[u8] = b"TAOobUSsLlGgMmV";
/// A chain of references longer than this is taken for a circle.
const LONGEST_CHAIN: usize = 8;
/// Most bytes of memory, roughly, that a value may grow to when its references are followed: a few rows that name each
/// other many times would stand for more than any machine has.
const LARGEST: usize = 16 << 20;
/// What a value costs beside its text.
const VALUE: usize = 32;

/// The rows of a flight stream.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Rows of JSON, in order.
    pub(super) rows: Vec<Value>,
    by_id: HashMap<u64, Row>,
}

#[derive(Debug)]
enum Row {
    Text(String),
    /// Position among the rows of JSON.
    Json(usize),
}

impl Flight {
    pub(super) fn parse<'a>(scripts: impl Iterator<Item = Script<'a>>) -> Self {
        let mut stream = String::new();
        for script in scripts.filter(|script| script.text.contains("__next_f")) {
            for call in script.text.split(".push(").skip(1) {
                let mut values = serde_json::Deserializer::from_str(call).into_iter::<(u8, String)>();
                if let Some(Ok((1, piece))) = values.next() {
                    stream.push_str(&piece);
                }
            }
        }
        Self::of_stream(&stream)
    }

    fn of_stream(stream: &str) -> Self {
        let mut flight = Self::default();
        let mut rest = stream.as_bytes();
        while let Some(colon) = rest.iter().position(|byte| *byte == b':') {
            let id = hexadecimal(&rest[..colon]);
            rest = &rest[colon + 1..];
            let length = match rest.split_first() {
                Some((letter, sized)) if WITH_LENGTH.contains(letter) => length_prefix(sized),
                _ => None,
            };
            if let Some((length, content)) = length {
                let (bytes, after) = content.split_at(length.min(content.len()));
                if let (Some(id), b'T') = (id, rest[0]) {
                    flight
                        .by_id
                        .insert(id, Row::Text(String::from_utf8_lossy(bytes).into_owned()));
                }
                rest = after;
            } else {
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                if let Ok(json) = serde_json::from_slice(&rest[..end]) {
                    if let Some(id) = id {
                        flight.by_id.insert(id, Row::Json(flight.rows.len()));
                    }
                    flight.rows.push(json);
                }
                rest = rest.get(end + 1..).unwrap_or_default();
            }
        }
        flight
    }

    /// What `value` stands for: itself, unless it is text with a dollar sign. None for what is no data, such as
    /// `"$undefined"` and components.
    pub(super) fn resolve(&self, value: &Value) -> Option<Value> {
        self.resolve_within(value, LONGEST_CHAIN, &mut Room { left: LARGEST })
    }

    fn resolve_within(&self, value: &Value, chain: usize, room: &mut Room) -> Option<Value> {
        let rest_of_chain = chain.checked_sub(1)?;
        match value {
            Value::String(text) => match text.strip_prefix('$') {
                None => room.copy(value),
                Some(code) => self.decode(code, rest_of_chain, room),
            },
            Value::Array(items) => {
                room.take(items.len().saturating_mul(VALUE))?;
                let resolved = |item| {
                    self.resolve_within(item, rest_of_chain, room)
                        .unwrap_or(Value::Null)
                };
                Some(Value::Array(items.iter().map(resolved).collect()))
            }
            other => room.copy(other),
        }
    }

    /// What the text `$code` stands for.
    fn decode(&self, code: &str, chain: usize, room: &mut Room) -> Option<Value> {
        match code.as_bytes().first()? {
            b'$' => Some(Value::from(code)),
            b'D' | b'n' => Some(Value::from(&code[1..])),
            _ => {
                let mut path = code.split(':');
                let id = hexadecimal(path.next()?.as_bytes())?;
                match self.by_id.get(&id)? {
                    Row::Text(text) => {
                        room.take(text.len())?;
                        Some(Value::from(text.as_str()))
                    }
                    Row::Json(position) => {
                        let row = self.rows.get(*position)?;
                        let target = path.try_fold(row, |value, key| match value {
                            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                            other => other.get(key),
                        })?;
                        self.resolve_within(target, chain, room)
                    }
                }
            }
        }
    }
}

/// What is left of [`LARGEST`]. Once something does not fit, nothing more does.
struct Room {
    left: usize,
}

impl Room {
    fn take(&mut self, size: usize) -> Option<()> {
        let left = self.left.checked_sub(size);
        self.left = left.unwrap_or(0);
        left.filter(|left| *left > 0).map(|_| ())
    }

    fn copy(&mut self, value: &Value) -> Option<Value> {
        self.take_all(value)?;
        Some(value.clone())
    }

    fn take_all(&mut self, value: &Value) -> Option<()> {
        self.take(VALUE)?;
        match value {
            Value::String(text) => self.take(text.len()),
            Value::Array(items) => items.iter().try_for_each(|item| self.take_all(item)),
            Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
                self.take(name.len())?;
                self.take_all(value)
            }),
            _ => Some(()),
        }
    }
}

/// `1a,…` gives 26 and what follows the comma.
fn length_prefix(text: &[u8]) -> Option<(usize, &[u8])> {
    let comma = text.iter().take(16).position(|byte| *byte == b',')?;
    let length = usize::try_from(hexadecimal(&text[..comma])?).ok()?;
    Some((length, &text[comma + 1..]))
}

/// Ids and lengths are in small letters; capital ones mean other things.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = digits.iter().all(is_digit).then_some(digits)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::extract::scripts::scripts;

    /// A page that pushes `stream` in pieces of `size` characters.
    fn page(stream: &str, size: usize) -> String {
        let characters = stream.chars().collect::<Vec<_>>();
        let mut page = "<script>(self.__next_f=self.__next_f||[]).push([0])</script>".to_owned();
        for piece in characters.chunks(size.max(1)) {
            let push = json!([1, piece.iter().collect::<String>()]);
            page.push_str(&format!("<script>self.__next_f.push({push})</script>"));
        }
        page
    }

    fn flight(stream: &str, size: usize) -> Flight {
        Flight::parse(scripts(&page(stream, size)))
    }

    #[test]
    fn rows_may_be_split_over_pushes_anywhere() {
        let text = "설명:\n\"두 줄\"";
        let stream = format!(
            "1:I[3,[],\"\"]\n:HL[\"/a.css\"]\n2:{{\"title\":\"가\",\"text\":\"$29\"}}\n29:T{:x},{text}3:[1]\n",
            text.len()
        );
        for size in 1..40 {
            let flight = flight(&stream, size);
            assert_eq!(
                flight.rows,
                [json!({"title": "가", "text": "$29"}), json!([1])],
                "{size}"
            );
            assert_eq!(flight.resolve(&json!("$29")), Some(json!(text)));
        }
    }

    #[test]
    fn rows_that_name_each_other_many_times_do_not_grow_without_bound() {
        let row = |number: u32| {
            let references = vec![format!("${:x}", number + 1); 1_000];
            format!("{number:x}:{}\n", json!(references))
        };
        let stream = (1..=4).map(row).collect::<String>() + "5:\"leaf\"\n6:[\"$5\",\"$5\"]\n";
        let flight = flight(&stream, 100_000);
        let values = |value: &Value| {
            fn count(value: &Value) -> usize {
                1 + value.as_array().map_or(0, |items| items.iter().map(count).sum())
            }
            count(value)
        };
        let grown = flight.resolve(&json!("$1")).unwrap();
        assert!(values(&grown) <= 2 * LARGEST / VALUE, "{}", values(&grown));
        assert_eq!(flight.resolve(&json!("$6")), Some(json!(["leaf", "leaf"])));
    }

    #[test]
    fn dollar_signs_are_references_escapes_or_no_data() {
        let flight = flight("1:{\"a\":[\"$2\",\"x\"]}\n2:\"two\"\n3:\"$3\"\n4:T3,abc", 100);
        for (found, expected) in [
            (json!("plain"), Some(json!("plain"))),
            (json!(5), Some(json!(5))),
            (json!("$$5 off"), Some(json!("$5 off"))),
            (json!("$2"), Some(json!("two"))),
            (json!("$4"), Some(json!("abc"))),
            (json!("$1:a:1"), Some(json!("x"))),
            (json!("$1:a"), Some(json!(["two", "x"]))),
            (json!("$1:b"), None),
            (json!("$3"), None),
            (json!("$ff"), None),
            (json!("$undefined"), None),
            (json!("$L2"), None),
            (json!("$F2"), None),
            (
                json!("$D2026-05-21T00:00:00.000Z"),
                Some(json!("2026-05-21T00:00:00.000Z")),
            ),
            (json!("$n123"), Some(json!("123"))),
        ] {
            assert_eq!(flight.resolve(&found), expected, "{found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_stream_makes_it_panic(stream in "([0-9a-f]{0,3}:|T[0-9a-f]{1,2},|\\$|\n|[\"{}\\[\\],가a1])*") {
            let flight = Flight::of_stream(&stream);
            for row in &flight.rows {
                flight.resolve(row);
            }
        }
    }
}
