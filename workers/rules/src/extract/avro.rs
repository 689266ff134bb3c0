//! The Avro schema of a record, and its values in it.

use apache_avro::{Schema, types::Value as Avro, writer::datum::GenericDatumWriter};
use serde_json::json;
use snafu::Snafu;

use super::{Field, FieldType, Record, Value};

/// Why a record does not become Avro.
#[derive(Debug, Snafu)]
pub enum AvroError {
    #[snafu(display("the fields make no Avro schema"))]
    Schema { source: Box<apache_avro::Error> },
    #[snafu(display("a record does not fit the schema of its fields"))]
    Encode { source: Box<apache_avro::Error> },
}

/// The schema that a spec's fields make. An optional field is a union with null, and null by default, so that
/// fields can be added later.
#[derive(Debug)]
pub struct RecordSchema {
    json: String,
    schema: Schema,
    fields: Vec<(String, bool)>,
}

impl RecordSchema {
    /// `topic` names the record: what Avro does not allow in a name becomes `_`.
    pub fn new(topic: &str, fields: &[Field]) -> Result<Self, AvroError> {
        let columns = fields.iter().map(|field| {
            let avro = match field.field_type {
                FieldType::Long => json!("long"),
                FieldType::Double => json!("double"),
                FieldType::String => json!("string"),
                FieldType::Boolean => json!("boolean"),
                FieldType::StringArray => json!({"type": "array", "items": ["null", "string"]}),
            };
            if field.required {
                json!({"name": field.name, "type": avro})
            } else {
                json!({"name": field.name, "type": ["null", avro], "default": null})
            }
        });
        let schema = json!({
            "type": "record",
            "name": record_name(topic),
            "namespace": "naru",
            "fields": columns.collect::<Vec<_>>(),
        });
        let json = schema.to_string();
        let schema = Schema::parse_str(&json).map_err(|error| AvroError::Schema {
            source: Box::new(error),
        })?;
        let fields = fields
            .iter()
            .map(|field| (field.name.clone(), field.required))
            .collect();
        Ok(Self { json, schema, fields })
    }

    /// As JSON, for the registry.
    pub fn json(&self) -> &str {
        &self.json
    }

    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The Avro datum of a record of these fields, without any header.
    pub fn encode(&self, record: Record) -> Result<Vec<u8>, AvroError> {
        let values = self.fields.iter().zip(record).map(|((name, required), value)| {
            let avro = match value {
                None => Avro::Union(0, Box::new(Avro::Null)),
                Some(value) if *required => plain(value),
                Some(value) => Avro::Union(1, Box::new(plain(value))),
            };
            (name.clone(), avro)
        });
        GenericDatumWriter::builder(&self.schema)
            .build()
            .and_then(|writer| writer.write_value_to_vec(Avro::Record(values.collect())))
            .map_err(|error| AvroError::Encode {
                source: Box::new(error),
            })
    }
}

fn record_name(topic: &str) -> String {
    let name = topic
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect::<String>();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

fn plain(value: Value) -> Avro {
    match value {
        Value::Long(number) => Avro::Long(number),
        Value::Double(number) => Avro::Double(number),
        Value::String(text) => Avro::String(text),
        Value::Boolean(truth) => Avro::Boolean(truth),
        Value::StringArray(items) => {
            let items = items.into_iter().map(|item| match item {
                None => Avro::Union(0, Box::new(Avro::Null)),
                Some(text) => Avro::Union(1, Box::new(Avro::String(text))),
            });
            Avro::Array(items.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;

    use super::*;

    fn field(name: &str, field_type: FieldType, required: bool) -> Field {
        Field {
            name: name.to_owned(),
            field_type,
            required,
            from: Vec::new(),
        }
    }

    #[test]
    fn what_is_encoded_reads_back_with_nulls_where_nothing_was_found() {
        let fields = [
            field("id", FieldType::Long, true),
            field("title", FieldType::String, false),
            field("weight", FieldType::Double, false),
            field("sold", FieldType::Boolean, true),
            field("category", FieldType::StringArray, false),
        ];
        let schema = RecordSchema::new("joongna.items", &fields).unwrap();
        let record = vec![
            Some(Value::Long(7)),
            Some(Value::String("의자".to_owned())),
            None,
            Some(Value::Boolean(true)),
            Some(Value::StringArray(vec![Some("가구".to_owned()), None])),
        ];
        let datum = schema.encode(record).unwrap();
        let reader = GenericDatumReader::builder(schema.schema()).build().unwrap();
        let Avro::Record(read) = reader.read_value(&mut datum.as_slice()).unwrap() else {
            unreachable!("the schema is of a record")
        };
        let read = read
            .into_iter()
            .map(|(_, value)| serde_json::Value::try_from(value).unwrap());
        let expected = [
            json!(7),
            json!("의자"),
            json!(null),
            json!(true),
            json!(["가구", null]),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_record_without_a_required_value_is_refused() {
        let schema = RecordSchema::new("items", &[field("id", FieldType::Long, true)]).unwrap();
        assert!(schema.encode(vec![None]).is_err());
    }

    #[test]
    fn every_topic_makes_a_name() {
        for (topic, name) in [("joongna.items", "joongna_items"), ("1-a", "_1_a"), ("a", "a")] {
            assert_eq!(record_name(topic), name);
        }
    }
}
