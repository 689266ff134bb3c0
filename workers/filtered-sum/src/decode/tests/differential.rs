//! The walk against apache-avro, which is right by definition.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use naru_rules::filter::Scalar;
use proptest::prelude::*;

use super::super::Whole;
use super::super::projection::Projection;
use super::super::walk::Fault;
use super::random::{Source, any_record, damaged, datum, schema};

/// What apache-avro makes of bytes that must hold one value and nothing else.
fn oracle(schema: &Schema, datum: &[u8]) -> Option<Value> {
    let mut bytes = Whole(datum);
    let reader = GenericDatumReader::builder(schema).build().unwrap();
    let value = reader.read_value(&mut bytes).ok()?;
    bytes.0.is_empty().then_some(value)
}

/// What a field holds. A value does not say where the point of a decimal is, so that is taken from the schema.
fn scalar<'v>(schema: &Schema, name: &str, value: &'v Value) -> Scalar<'v> {
    let Schema::Record(record) = schema else {
        panic!("{schema:?} is a record")
    };
    let mut field = &record.fields[record.lookup[name]].schema;
    let mut held = value;
    if let (Value::Union(branch, value), Schema::Union(union)) = (value, field) {
        (held, field) = (value, &union.variants()[*branch as usize]);
    }
    let (Value::Decimal(held), scale) = (held, scale(schema, field)) else {
        return Scalar::of(value);
    };
    // apache-avro has no bytes for the zero that it makes of none.
    let bytes = Vec::<u8>::try_from(held).unwrap_or_default();
    let sign = match bytes.first() {
        Some(0x80..) => -1_i128,
        _ => 0,
    };
    let digits = bytes.iter().try_fold(sign, |digits, byte| {
        digits.checked_mul(256)?.checked_add(i128::from(*byte))
    });
    match digits {
        Some(digits) => Scalar::decimal(digits, u8::try_from(scale.unwrap()).unwrap()),
        None => Scalar::Other,
    }
}

/// Of a decimal, or of the name of one.
fn scale(schema: &Schema, field: &Schema) -> Option<usize> {
    match field {
        Schema::Decimal(decimal) => Some(decimal.scale),
        Schema::Ref { name } => {
            let resolved = apache_avro::schema::ResolvedSchema::try_from(schema).unwrap();
            let full = name.fully_qualified_name(match schema {
                Schema::Record(record) => record.name.namespace(),
                _ => None,
            });
            match resolved.get_names()[full.as_ref()] {
                Schema::Decimal(decimal) => Some(decimal.scale),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether the bytes are a datum; panics when apache-avro says otherwise, or holds something else to be in its fields.
fn is_datum(schema: &Schema, wanted: &[String], datum: &[u8]) -> bool {
    let projection = Projection::compile(schema, wanted).unwrap();
    let mut row = vec![Scalar::Other; wanted.len()];
    let taken = projection.take(datum, &mut row);
    let value = match taken {
        // apache-avro is not to be asked about these: it may not survive that.
        Err(Fault::TooDeep | Fault::TooMany) => return false,
        Err(Fault::Malformed) => None,
        Ok(true) => Some(()),
        Ok(false) => panic!("{schema:?} is a record"),
    };
    let expected = oracle(schema, datum);
    assert_eq!(value.is_some(), expected.is_some(), "{schema:?}\n{datum:?}");
    if let Some(Value::Record(fields)) = &expected {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_str(), scalar(schema, name, value)));
        let fields = fields.collect::<BTreeMap<_, _>>();
        let expected = wanted
            .iter()
            .map(|name| fields.get(name.as_str()).copied().unwrap_or(Scalar::Other));
        // As text, for which a number that is none is equal to itself.
        assert_eq!(format!("{row:?}"), format!("{:?}", expected.collect::<Vec<_>>()));
    }
    expected.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whole_and_damaged_data_are_told_apart_as_apache_avro_does(
        shape in any_record(), seed: u64, wanted in prop::sample::subsequence(vec!["f0", "f1", "f2", "f3", "none"], 0..5).prop_shuffle(),
    ) {
        let schema = schema(&shape);
        let wanted = wanted.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut source = Source(seed);
        for _ in 0..8 {
            let whole = datum(&schema, &mut source);
            prop_assert!(is_datum(&schema, &wanted, &whole), "{schema:?}\n{whole:?}");
            for _ in 0..8 {
                is_datum(&schema, &wanted, &damaged(&whole, &mut source));
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_as_apache_avro_does(shape in any_record(), data in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 8)) {
        let schema = schema(&shape);
        for datum in data {
            is_datum(&schema, &["f0".to_owned(), "f1".to_owned()], &datum);
        }
    }
}

#[test]
fn a_datum_that_is_cut_off_anywhere_is_none() {
    let text = r#"{"type": "record", "name": "Item", "fields": [
        {"name": "f0", "type": "long"}, {"name": "f1", "type": "string"}, {"name": "f2", "type": ["null", "long"]},
        {"name": "f3", "type": {"type": "array", "items": "string"}}, {"name": "f4", "type": "double"},
        {"name": "f5", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
    let schema = Schema::parse_str(text).unwrap();
    let wanted = ["f2".to_owned(), "f5".to_owned()];
    let mut source = Source(1);
    for _ in 0..200 {
        let whole = datum(&schema, &mut source);
        assert!(is_datum(&schema, &wanted, &whole));
        for length in 0..whole.len() {
            assert!(
                !is_datum(&schema, &wanted, &whole[..length]),
                "{length} of {whole:?}"
            );
        }
    }
}

/// Where apache-avro takes more than the specification allows.
#[test]
fn what_apache_avro_is_lax_about_is_taken_too() {
    let of = |field: &str| {
        let text =
            format!(r#"{{"type": "record", "name": "Item", "fields": [{{"name": "f0", "type": {field}}}]}}"#);
        Schema::parse_str(&text).unwrap()
    };
    let wanted = ["f0".to_owned()];
    for (field, datum) in [
        // Bits that a long has no room for.
        (
            r#""long""#,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
        ),
        // A varint that is longer than it need be.
        (
            r#""long""#,
            &[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        ),
        (r#""int""#, &[0x82, 0x80, 0x00]),
        (r#""string""#, &[0x82, 0x00, b'a']),
        // A block with a wrong number of bytes.
        (r#"{"type": "array", "items": "int"}"#, &[0x01, 0x7f, 0x02, 0x00]),
        (r#"{"type": "array", "items": "int"}"#, &[0x01, 0x01, 0x02, 0x00]),
        // More in a big decimal than its number and its scale.
        (
            r#"{"type": "bytes", "logicalType": "big-decimal"}"#,
            &[0x08, 0x02, 0x05, 0x04, 0x07],
        ),
    ] {
        assert!(is_datum(&of(field), &wanted, datum), "{field} {datum:?}");
    }
    for (field, datum) in [
        (r#""long""#, &[0x80; 10][..]),
        (r#""long""#, &[0xff; 11]),
        (r#""int""#, &[0x80, 0x80, 0x80, 0x80, 0x20]),
        (r#""boolean""#, &[2]),
        (r#""string""#, &[0x02, 0xff]),
        (r#""string""#, &[0x01]),
        (r#"["null", "int"]"#, &[0x04]),
        (r#"["null", "int"]"#, &[0x01]),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#, &[0x02]),
        (r#"{"type": "array", "items": "int"}"#, &[0x02, 0x02]),
        (
            r#"{"type": "map", "values": "int"}"#,
            &[0x02, 0x02, 0xff, 0x02, 0x00],
        ),
        (r#"{"type": "string", "logicalType": "uuid"}"#, &[0x02, b'a']),
        (
            r#"{"type": "bytes", "logicalType": "big-decimal"}"#,
            &[0x02, 0x05],
        ),
    ] {
        assert!(!is_datum(&of(field), &wanted, datum), "{field} {datum:?}");
    }
}
