//! Random schemas, and data that fit them.

use apache_avro::Schema;
use apache_avro::schema::{
    DecimalSchema, InnerDecimalSchema, NamesRef, NamespaceRef, ResolvedSchema, UuidSchema,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A type, before its parts have names.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Simple(Json),
    Enum(u8),
    /// Of this many bytes and with this logical type.
    Fixed(usize, Option<&'static str>),
    Array(Box<Self>),
    Map(Box<Self>),
    /// Null or one of them.
    Union(Vec<Self>),
    Record(Vec<Self>),
    /// Null or a type that has been named before, which may be one around it.
    Again(u8),
}

pub(super) fn any_record() -> impl Strategy<Value = Shape> {
    prop::collection::vec(any_shape(), 1..6).prop_map(Shape::Record)
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let logical = |of: &str, logical: &str| json!({"type": of, "logicalType": logical});
    let simple = prop::sample::select(vec![
        json!("null"),
        json!("boolean"),
        json!("int"),
        json!("long"),
        json!("float"),
        json!("double"),
        json!("bytes"),
        json!("string"),
        logical("int", "date"),
        logical("int", "time-millis"),
        logical("long", "time-micros"),
        logical("long", "timestamp-millis"),
        logical("long", "timestamp-micros"),
        logical("long", "timestamp-nanos"),
        logical("long", "local-timestamp-millis"),
        logical("string", "uuid"),
        logical("bytes", "uuid"),
        logical("bytes", "big-decimal"),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 77, "scale": 40}),
    ]);
    let leaf = prop_oneof![
        8 => simple.prop_map(Shape::Simple),
        1 => (1..4_u8).prop_map(Shape::Enum),
        1 => (0..9_usize).prop_map(|size| Shape::Fixed(size, None)),
        1 => prop::sample::select(vec![(8, "decimal"), (16, "decimal"), (21, "decimal"), (12, "duration"), (16, "uuid")])
            .prop_map(|(size, logical)| Shape::Fixed(size, Some(logical))),
        1 => any::<u8>().prop_map(Shape::Again),
    ];
    leaf.prop_recursive(4, 24, 4, |part| {
        prop_oneof![
            part.clone().prop_map(|item| Shape::Array(Box::new(item))),
            part.clone().prop_map(|value| Shape::Map(Box::new(value))),
            prop::collection::vec(part.clone(), 0..3).prop_map(Shape::Union),
            prop::collection::vec(part, 0..4).prop_map(Shape::Record),
        ]
    })
}

/// The schema of this shape, the fields of which are `f0`, `f1` and so on.
pub(super) fn schema(shape: &Shape) -> Schema {
    let text = json(shape, "top", &mut Vec::new()).to_string();
    Schema::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `names` are the full ones of the types so far.
fn json(shape: &Shape, namespace: &str, names: &mut Vec<String>) -> Json {
    let count = names.len();
    let name = format!("n{count}");
    let mut named = |namespace: &str| names.push(format!("{namespace}.{name}"));
    match shape {
        Shape::Simple(json) => json.clone(),
        Shape::Enum(count) => {
            named(namespace);
            let symbols = (0..*count).map(|symbol| format!("S_{symbol}"));
            json!({"type": "enum", "name": name, "symbols": symbols.collect::<Vec<_>>()})
        }
        Shape::Fixed(size, logical) => {
            named(namespace);
            let mut fixed = json!({"type": "fixed", "name": name, "size": size});
            if let Some(logical) = logical {
                fixed["logicalType"] = json!(logical);
                fixed["precision"] = json!(9);
                fixed["scale"] = json!(2);
            }
            fixed
        }
        Shape::Array(item) => json!({"type": "array", "items": json(item, namespace, names)}),
        Shape::Map(value) => json!({"type": "map", "values": json(value, namespace, names)}),
        Shape::Union(parts) => {
            let mut branches = vec![json!("null")];
            for part in parts {
                // A union holds no union, and no two of a kind unless they have names.
                let before = names.len();
                if branches.len() == 1 || has_name(part) {
                    let branch = json(part, namespace, names);
                    if branch.is_array() || branch == json!("null") {
                        names.truncate(before);
                    } else {
                        branches.push(branch);
                    }
                }
            }
            Json::Array(branches)
        }
        Shape::Record(fields) => {
            let own = format!("space{count}");
            // Some have a namespace of their own, the others that of the record around them.
            let (namespace, is_own) = match count % 3 {
                0 => (own.as_str(), true),
                _ => (namespace, false),
            };
            named(namespace);
            let fields = fields.iter().enumerate().map(
                |(index, field)| json!({"name": format!("f{index}"), "type": json(field, namespace, names)}),
            );
            let mut record = json!({"type": "record", "name": name, "fields": fields.collect::<Vec<_>>()});
            if is_own {
                record["namespace"] = json!(namespace);
            }
            record
        }
        Shape::Again(index) => match names.len() {
            0 => json!("null"),
            count => json!(["null", names[usize::from(*index) % count]]),
        },
    }
}

fn has_name(shape: &Shape) -> bool {
    matches!(shape, Shape::Enum(_) | Shape::Fixed(..) | Shape::Record(_))
}

/// Numbers from a seed.
pub(super) struct Source(pub(super) u64);

impl Source {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    /// Of any magnitude.
    fn long(&mut self) -> i64 {
        let shift = self.below(64);
        self.next().cast_signed() >> shift
    }

    /// Bytes that often begin as a number of fewer bytes does.
    fn number(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = self.bytes(count);
        let padding = match self.below(3) {
            0 => None,
            1 => Some(0),
            _ => Some(0xff),
        };
        if let Some(padding) = padding {
            let padded = self.below(count + 1);
            bytes[..padded].fill(padding);
        }
        bytes
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Bytes of a value of `schema`.
pub(super) fn datum(schema: &Schema, source: &mut Source) -> Vec<u8> {
    let resolved = ResolvedSchema::try_from(schema).unwrap();
    let mut out = Vec::new();
    write(schema, resolved.get_names(), None, source, 12, &mut out);
    out
}

pub(super) fn long(value: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag > 0x7f {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn write(
    schema: &Schema,
    names: &NamesRef<'_>,
    namespace: NamespaceRef<'_>,
    source: &mut Source,
    depth: usize,
    out: &mut Vec<u8>,
) {
    const TEXTS: [&str; 8] = [
        "",
        "a|b",
        "\\N",
        "USED",
        "mountain",
        "a mountain bicycle of 26 inch, as good as new, with a pump and lights",
        "자전거",
        "판매합니다 자전거 26",
    ];
    let below = |depth: usize| depth.saturating_sub(1);
    match schema {
        Schema::Null => {}
        Schema::Boolean => out.push(source.below(2) as u8),
        Schema::Int | Schema::Date | Schema::TimeMillis => long(i64::from(source.long() as i32), out),
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => long(source.long(), out),
        Schema::Float => out.extend(source.bytes(4)),
        Schema::Double => out.extend(source.bytes(8)),
        Schema::Bytes
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Bytes,
            ..
        }) => {
            let count = source.below(20);
            prefixed(&source.number(count), out);
        }
        Schema::String => prefixed(TEXTS[source.below(TEXTS.len())].as_bytes(), out),
        Schema::Uuid(UuidSchema::String) => {
            let digits = "0123456789abcdefABCDEF0123456789";
            let text = match source.below(4) {
                0 => digits.to_owned(),
                1 => format!("{{{}}}", "01234567-89ab-cdef-ABCD-EF0123456789"),
                _ => "01234567-89ab-cdef-ABCD-EF0123456789".to_owned(),
            };
            prefixed(text.as_bytes(), out);
        }
        Schema::Uuid(UuidSchema::Bytes) => prefixed(&source.bytes(16), out),
        Schema::BigDecimal => {
            let mut inner = Vec::new();
            let count = source.below(9);
            prefixed(&source.bytes(count), &mut inner);
            long(source.long(), &mut inner);
            let count = source.below(2);
            inner.extend(source.bytes(count));
            prefixed(&inner, out);
        }
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema {
            inner: InnerDecimalSchema::Fixed(fixed),
            ..
        }) => out.extend(source.number(fixed.size)),
        Schema::Enum(symbols) => long(source.below(symbols.symbols.len()) as i64, out),
        Schema::Array(array) => blocks(source, depth, out, |source, out| {
            write(&array.items, names, namespace, source, below(depth), out);
        }),
        Schema::Map(map) => blocks(source, depth, out, |source, out| {
            prefixed(TEXTS[source.below(TEXTS.len())].as_bytes(), out);
            write(&map.types, names, namespace, source, below(depth), out);
        }),
        Schema::Union(union) => {
            let branches = union.variants();
            let index = if depth == 0 {
                0
            } else {
                source.below(branches.len())
            };
            long(index as i64, out);
            write(&branches[index], names, namespace, source, below(depth), out);
        }
        Schema::Record(record) => {
            let name = record.name.fully_qualified_name(namespace);
            for field in &record.fields {
                write(&field.schema, names, name.namespace(), source, below(depth), out);
            }
        }
        Schema::Ref { name } => {
            let name = name.fully_qualified_name(namespace);
            write(names[name.as_ref()], names, name.namespace(), source, depth, out);
        }
    }
}

/// Blocks of both kinds: with and without a number of bytes, which need not be the right one.
fn blocks(
    source: &mut Source,
    depth: usize,
    out: &mut Vec<u8>,
    mut item: impl FnMut(&mut Source, &mut Vec<u8>),
) {
    let blocks = if depth == 0 { 0 } else { source.below(3) };
    for _ in 0..blocks {
        let count = 1 + source.below(3);
        if source.below(2) == 0 {
            long(count as i64, out);
        } else {
            long(-(count as i64), out);
            long(source.long(), out);
        }
        for _ in 0..count {
            item(source, out);
        }
    }
    long(0, out);
}

/// The same bytes with something wrong with them, probably.
pub(super) fn damaged(datum: &[u8], source: &mut Source) -> Vec<u8> {
    let mut damaged = datum.to_vec();
    for _ in 0..=source.below(2) {
        let place = source.below(damaged.len());
        match source.below(5) {
            0 => damaged.truncate(place),
            1 => damaged.insert(place, source.next() as u8),
            2 if !damaged.is_empty() => drop(damaged.remove(place)),
            3 if !damaged.is_empty() => damaged[place] ^= 1 << source.below(8),
            4 if !damaged.is_empty() => {
                damaged[place] = [0, 1, 2, 3, 0x7f, 0x80, 0xfe, 0xff][source.below(8)];
            }
            _ => damaged.push(source.next() as u8),
        }
    }
    damaged
}
