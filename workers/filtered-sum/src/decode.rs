//! From the bytes of a message to a record.
//!
//! Nothing here asks the registry: a schema that is not known yet is named by [`Decoder::unknown`], and whoever
//! has found out tells [`Decoder::learn`].

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use naru_worker_core::avro::wire;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

/// Largest part of a record that is allocated because its length prefix says so, bytes. A message is smaller.
const MAX_ALLOCATION: usize = 64 << 20;
/// Most unreadable schemas that are remembered: their ids may be made up.
const MAX_UNREADABLE: usize = 1000;

/// Why a message is not a record.
#[derive(Debug, Snafu)]
pub enum DecodeError {
    #[snafu(transparent)]
    Frame { source: wire::Error },
    #[snafu(display("schema {schema_id} is not known"))]
    Unknown { schema_id: u32 },
    #[snafu(display("{reason}"))]
    Unreadable { reason: String },
    #[snafu(display("the value does not fit schema {schema_id}"))]
    Datum {
        source: Box<apache_avro::Error>,
        schema_id: u32,
    },
    #[snafu(display("{length} bytes are left after the record, which has schema {schema_id}"))]
    Trailing { length: usize, schema_id: u32 },
}

/// Decodes messages whose schemas it has learned.
#[derive(Debug)]
pub struct Decoder {
    schemas: HashMap<u32, Arc<Schema>>,
    unreadable: HashMap<u32, String>,
}

impl Decoder {
    pub fn new() -> Self {
        apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
        Self {
            schemas: HashMap::new(),
            unreadable: HashMap::new(),
        }
    }

    /// The schema that must be learned before `message` can be decoded.
    pub fn unknown(&self, message: &[u8]) -> Option<u32> {
        let (schema_id, _) = wire::decode(message).ok()?;
        let is_known = self.schemas.contains_key(&schema_id) || self.unreadable.contains_key(&schema_id);
        (!is_known).then_some(schema_id)
    }

    /// `schema` is the one with this id, or the reason why there is none that could be used.
    pub fn learn(&mut self, schema_id: u32, schema: Result<Arc<Schema>, String>) {
        match schema {
            Ok(schema) => {
                self.schemas.insert(schema_id, schema);
            }
            Err(reason) => {
                if self.unreadable.len() >= MAX_UNREADABLE {
                    self.unreadable.clear();
                }
                self.unreadable.insert(schema_id, reason);
            }
        }
    }

    /// Lets schemas that could not be used be asked for again.
    pub fn forget_unreadable(&mut self) {
        self.unreadable.clear();
    }

    pub fn decode(&self, message: &[u8]) -> Result<Value, DecodeError> {
        let (schema_id, datum) = wire::decode(message)?;
        if let Some(reason) = self.unreadable.get(&schema_id) {
            return UnreadableSnafu { reason }.fail();
        }
        let schema = self.schemas.get(&schema_id).context(UnknownSnafu { schema_id })?;
        let mut bytes = Whole(datum);
        let value = GenericDatumReader::builder(schema)
            .build()
            .and_then(|reader| reader.read_value(&mut bytes))
            .map_err(Box::new)
            .context(DatumSnafu { schema_id })?;
        ensure!(
            bytes.0.is_empty(),
            TrailingSnafu {
                length: bytes.0.len(),
                schema_id
            }
        );
        Ok(value)
    }
}

/// Bytes that must hold all that is read from them. apache-avro takes a string, boolean or union that is cut off for
/// null when the reader says that it is at its end; this reader calls it an error of another kind.
pub(crate) struct Whole<'a>(pub(crate) &'a [u8]);

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the record is cut off",
            ));
        }
        self.0.read(buffer)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::writer::datum::GenericDatumWriter;
    use proptest::prelude::*;

    use super::*;

    fn schema() -> Arc<Schema> {
        let text = r#"{"type": "record", "name": "Item", "fields": [
            {"name": "price", "type": ["null", "long"]},
            {"name": "title", "type": "string"},
            {"name": "category", "type": {"type": "array", "items": "string"}}]}"#;
        Arc::new(Schema::parse_str(text).unwrap())
    }

    fn item() -> Value {
        Value::Record(vec![
            ("price".to_owned(), Value::Union(1, Box::new(Value::Long(5)))),
            ("title".to_owned(), Value::String("bicycle".to_owned())),
            (
                "category".to_owned(),
                Value::Array(vec![Value::String("sports".to_owned())]),
            ),
        ])
    }

    fn message() -> Vec<u8> {
        let schema = schema();
        let datum = GenericDatumWriter::builder(&schema)
            .build()
            .unwrap()
            .write_value_to_vec(item())
            .unwrap();
        wire::encode(3, &datum)
    }

    fn decoder() -> Decoder {
        let mut decoder = Decoder::new();
        decoder.learn(3, Ok(schema()));
        decoder
    }

    #[test]
    fn a_message_is_decoded_with_the_schema_that_it_names() {
        assert_eq!(decoder().decode(&message()).unwrap(), item());
    }

    #[test]
    fn a_schema_is_to_be_learned_once() {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.unknown(&message()), Some(3));
        decoder.learn(3, Err("there is no schema with id 3".to_owned()));
        assert_eq!(decoder.unknown(&message()), None);
        assert_eq!(
            decoder.decode(&message()).unwrap_err().to_string(),
            "there is no schema with id 3"
        );
        decoder.forget_unreadable();
        assert_eq!(decoder.unknown(&message()), Some(3));
        decoder.learn(3, Ok(schema()));
        assert_eq!(decoder.unknown(&message()), None);
    }

    #[test]
    fn unreadable_schemas_do_not_pile_up() {
        let mut decoder = Decoder::new();
        for schema_id in 0..5000 {
            decoder.learn(schema_id, Err(String::new()));
        }
        assert!(decoder.unreadable.len() <= MAX_UNREADABLE);
    }

    #[test]
    fn what_is_not_exactly_a_record_is_refused() {
        let whole = message();
        let cut = &whole[..whole.len() - 1];
        let longer = [&whole[..], &[0]].concat();
        for (message, reason) in [
            (&b"{\"price\": 5}"[..], "the value begins with byte 123"),
            (b"", "too short"),
            (cut, "the value does not fit schema 3"),
            (&longer, "1 bytes are left after the record, which has schema 3"),
        ] {
            let error = decoder().decode(message).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_record_that_is_cut_off_anywhere_is_refused() {
        // Every field in the last place: what is cut off must never be taken for null.
        for field in [
            "\"string\"",
            "\"boolean\"",
            "\"bytes\"",
            "[\"null\", \"long\"]",
            "[\"null\", \"string\"]",
        ] {
            let text = format!(
                r#"{{"type": "record", "name": "Item", "fields": [
                    {{"name": "price", "type": "long"}}, {{"name": "last", "type": {field}}}]}}"#
            );
            let last = match field {
                "\"string\"" => Value::String("bicycle".to_owned()),
                "\"boolean\"" => Value::Boolean(true),
                "\"bytes\"" => Value::Bytes(vec![1, 2]),
                "[\"null\", \"long\"]" => Value::Union(1, Box::new(Value::Long(1_000_000))),
                _ => Value::Union(1, Box::new(Value::String("bicycle".to_owned()))),
            };
            let item = Value::Record(vec![
                ("price".to_owned(), Value::Long(700)),
                ("last".to_owned(), last),
            ]);
            let schema = Arc::new(Schema::parse_str(&text).unwrap());
            let datum = GenericDatumWriter::builder(&schema)
                .build()
                .unwrap()
                .write_value_to_vec(item)
                .unwrap();
            let mut decoder = Decoder::new();
            decoder.learn(3, Ok(schema));
            for length in 0..datum.len() {
                assert!(
                    decoder.decode(&wire::encode(3, &datum[..length])).is_err(),
                    "{field} {length}"
                );
            }
            assert!(decoder.decode(&wire::encode(3, &datum)).is_ok(), "{field}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_worse_than_an_error(datum: Vec<u8>) {
            let _ = decoder().decode(&wire::encode(3, &datum));
        }
    }
}
