//! The records of the output topic.

use std::collections::BTreeMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::{Schema, types::Value};

use super::Figures;
use crate::loopback::Consumed;

/// The schema of totals.
pub const TOTAL: &str = include_str!("../../../../workers/filtered-sum/src/total.avsc");

/// The same, of a sum whose records take the place of those before of their keys or not.
pub fn schema_of_totals(is_keyed: bool) -> Schema {
    let mut schema = serde_json::from_str::<serde_json::Value>(TOTAL).unwrap();
    if is_keyed {
        let more = include_str!("../../../../workers/filtered-sum/src/total-retracted.json");
        let mut more = serde_json::from_str::<Vec<_>>(more).unwrap();
        schema["fields"].as_array_mut().unwrap().append(&mut more);
    }
    Schema::parse(&schema).unwrap()
}

/// A record of the output topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub at: (i32, i64),
    pub key: String,
    pub id: String,
    pub scope: String,
    pub partition: Option<i32>,
    pub grouping: Option<String>,
    pub figures: Figures,
    pub next_offset: Option<i64>,
    pub offsets: Option<BTreeMap<i32, i64>>,
}

impl Row {
    pub fn read(schema: &Schema, record: &Consumed) -> Self {
        let value = record.value.as_deref().unwrap();
        assert_eq!(value[0], 0, "Confluent's framing");
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        let Value::Record(fields) = reader.read_value(&mut &value[5..]).unwrap() else {
            unreachable!()
        };
        let fields = fields.into_iter().collect::<BTreeMap<_, _>>();
        let text = |name: &str| match &fields[name] {
            Value::String(text) => Some(text.clone()),
            Value::Union(_, value) => match &**value {
                Value::String(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let number = |name: &str| match &fields[name] {
            Value::Long(number) => Some(*number),
            Value::Union(_, value) => match **value {
                Value::Long(number) => Some(number),
                Value::Int(number) => Some(i64::from(number)),
                _ => None,
            },
            _ => None,
        };
        let Value::Decimal(sum) = &fields["sum"] else {
            unreachable!()
        };
        let sum: Vec<u8> = sum.try_into().unwrap();
        let offsets = text("offsets").map(|text| {
            let pairs = text.split(',').map(|pair| pair.split_once(':').unwrap());
            pairs
                .map(|(partition, offset)| (partition.parse().unwrap(), offset.parse().unwrap()))
                .collect()
        });
        Self {
            at: (record.partition, record.offset),
            key: String::from_utf8(record.key.clone().unwrap()).unwrap(),
            id: text("id").unwrap(),
            scope: text("scope").unwrap(),
            partition: number("partition").map(|number| i32::try_from(number).unwrap()),
            grouping: text("grouping"),
            figures: Figures {
                count: number("count").unwrap(),
                dropped: number("dropped").unwrap(),
                dead: number("dead").unwrap(),
                // Totals have it only where records are taken back.
                retracted: match fields.contains_key("retracted") {
                    true => number("retracted").unwrap(),
                    false => 0,
                },
                sum: i128::from_be_bytes(sum.try_into().unwrap()),
            },
            next_offset: number("nextOffset"),
            offsets,
        }
    }
}
