//! What is learned of schemas, and what becomes of messages that hold no record.

mod binary;
mod bounds;
mod differential;
mod random;

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
    let mut decoder = Decoder::new(&["price".to_owned()]);
    decoder.learn(3, Ok(schema()));
    decoder
}

#[test]
fn a_message_is_decoded_with_the_schema_that_it_names() {
    assert_eq!(decoder().decode(&message()).unwrap(), item());
}

#[test]
fn a_schema_is_to_be_learned_once() {
    let mut decoder = Decoder::new(&["price".to_owned()]);
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
    let mut decoder = Decoder::new(&["price".to_owned()]);
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
        let mut decoder = Decoder::new(&["price".to_owned()]);
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
