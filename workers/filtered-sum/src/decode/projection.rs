//! A writer's schema, compiled to what it takes to walk over a datum and take a few fields of it.
//!
//! Every schema compiles: what is not a record has no fields to take, and is walked over all the same, because the
//! walk is also what bounds a datum before apache-avro reads it ([`super::walk`]).

use std::collections::HashMap;

use apache_avro::schema::{
    DecimalSchema, FixedSchema, InnerDecimalSchema, Name, NamesRef, NamespaceRef, RecordSchema,
    ResolvedSchema, Schema, UuidSchema,
};
use naru_rules::filter::Scalar;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use super::MAX_ALLOCATION;
use super::walk::{Fault, Walk};

/// Why a schema cannot be used.
#[derive(Debug, Snafu)]
pub(super) enum CompileError {
    #[snafu(display("the schema's names do not fit together"))]
    Names { source: Box<apache_avro::Error> },
    #[snafu(display("the schema refers to {name:?}, which it does not define"))]
    Undefined { name: String },
    #[snafu(display("the schema's type {name:?} has {size} bytes, expected at most {MAX_ALLOCATION}"))]
    TooLarge { name: String, size: usize },
}

/// How a datum is walked over, and what is taken on the way.
#[derive(Debug)]
pub(super) struct Projection {
    root: Root,
    /// The records below the root, each once however often it is referred to: it may hold itself.
    records: Box<[Box<[Step]>]>,
}

#[derive(Debug)]
enum Root {
    Record(Box<[Field]>),
    Other(Step),
}

#[derive(Debug)]
struct Field {
    step: Step,
    /// Place in the row.
    place: Option<usize>,
}

/// A value to be walked over.
#[derive(Debug)]
pub(super) enum Step {
    Null,
    Boolean,
    Int,
    /// A date or time of day: an int that is not for computing.
    IntTime,
    Long,
    /// A time or timestamp: a long that is not for computing.
    LongTime,
    Float,
    Double,
    Fixed(usize),
    Bytes,
    /// A decimal, of so many bytes and with so many of its digits behind the point.
    DecimalFixed(usize, u8),
    DecimalBytes(u8),
    Text,
    /// With its symbols.
    Enum(Box<[String]>),
    UuidFixed,
    UuidBytes,
    UuidText,
    BigDecimal,
    Array(Box<Self>),
    Map(Box<Self>),
    Union(Box<[Self]>),
    /// With its place among the records.
    Record(usize),
    /// No bytes are a value of this.
    Nothing,
}

impl Projection {
    /// Takes the fields with these names, in this order.
    pub(super) fn compile(schema: &Schema, wanted: &[String]) -> Result<Self, CompileError> {
        let resolved = ResolvedSchema::try_from(schema)
            .map_err(Box::new)
            .context(NamesSnafu)?;
        let mut compile = Compile {
            names: resolved.get_names(),
            places: HashMap::new(),
            records: Vec::new(),
        };
        let root = match schema {
            Schema::Record(record) => {
                let name = record.name.fully_qualified_name(None);
                let field = |field: &apache_avro::schema::RecordField| {
                    Ok(Field {
                        step: compile.step(&field.schema, name.namespace())?,
                        place: wanted.iter().position(|name| *name == field.name),
                    })
                };
                Root::Record(record.fields.iter().map(field).collect::<Result<_, _>>()?)
            }
            other => Root::Other(compile.step(other, None)?),
        };
        Ok(Self {
            root,
            records: compile.records.into_iter().map(Vec::into_boxed_slice).collect(),
        })
    }

    /// Walks over all of `datum` and puts what was wanted in its place in `row`; a field that the record lacks leaves
    /// its place as it is. Whether the datum is a record: of anything else nothing can be taken.
    pub(super) fn take<'a>(&'a self, datum: &'a [u8], row: &mut [Scalar<'a>]) -> Result<bool, Fault> {
        let mut walk = Walk::new(&self.records);
        let rest = match &self.root {
            Root::Record(fields) => fields.iter().try_fold(datum, |bytes, field| {
                match field.place.and_then(|place| row.get_mut(place)) {
                    Some(cell) => walk.take(&field.step, cell, bytes),
                    None => walk.skip(&field.step, bytes),
                }
            }),
            Root::Other(step) => walk.skip(step, datum),
        };
        match rest {
            Some([]) => Ok(matches!(self.root, Root::Record(_))),
            Some(_) => Err(Fault::Malformed),
            None => Err(walk.fault()),
        }
    }
}

struct Compile<'s> {
    names: &'s NamesRef<'s>,
    places: HashMap<Name, usize>,
    records: Vec<Vec<Step>>,
}

impl Compile<'_> {
    /// `namespace` is the one of the record around it: names without one belong there.
    fn step(&mut self, schema: &Schema, namespace: NamespaceRef<'_>) -> Result<Step, CompileError> {
        Ok(match schema {
            Schema::Null => Step::Null,
            Schema::Boolean => Step::Boolean,
            Schema::Int => Step::Int,
            Schema::Date | Schema::TimeMillis => Step::IntTime,
            Schema::Long => Step::Long,
            Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Step::LongTime,
            Schema::Float => Step::Float,
            Schema::Double => Step::Double,
            Schema::Bytes => Step::Bytes,
            Schema::String => Step::Text,
            Schema::Fixed(fixed) => Step::Fixed(size(fixed)?),
            Schema::Decimal(DecimalSchema { inner, scale, .. }) => match (inner, u8::try_from(*scale)) {
                (InnerDecimalSchema::Fixed(fixed), Ok(scale)) => Step::DecimalFixed(size(fixed)?, scale),
                (InnerDecimalSchema::Bytes, Ok(scale)) => Step::DecimalBytes(scale),
                // So many digits that they are none of a sum.
                (InnerDecimalSchema::Fixed(fixed), Err(_)) => Step::Fixed(size(fixed)?),
                (InnerDecimalSchema::Bytes, Err(_)) => Step::Bytes,
            },
            Schema::BigDecimal => Step::BigDecimal,
            Schema::Duration(fixed) if size(fixed)? == 12 => Step::Fixed(12),
            Schema::Duration(_) => Step::Nothing,
            Schema::Uuid(UuidSchema::Fixed(fixed)) if size(fixed)? == 16 => Step::UuidFixed,
            Schema::Uuid(UuidSchema::Fixed(_)) => Step::Nothing,
            Schema::Uuid(UuidSchema::Bytes) => Step::UuidBytes,
            Schema::Uuid(UuidSchema::String) => Step::UuidText,
            Schema::Enum(symbols) => Step::Enum(symbols.symbols.iter().cloned().collect()),
            Schema::Array(array) => Step::Array(Box::new(self.step(&array.items, namespace)?)),
            Schema::Map(map) => Step::Map(Box::new(self.step(&map.types, namespace)?)),
            Schema::Union(union) => {
                let branches = union.variants().iter();
                Step::Union(
                    branches
                        .map(|branch| self.step(branch, namespace))
                        .collect::<Result<_, _>>()?,
                )
            }
            Schema::Record(record) => self.record(record, namespace)?,
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(namespace);
                let definition = *self.names.get(name.as_ref()).context(UndefinedSnafu {
                    name: name.to_string(),
                })?;
                self.step(definition, name.namespace())?
            }
        })
    }

    fn record(&mut self, record: &RecordSchema, namespace: NamespaceRef<'_>) -> Result<Step, CompileError> {
        let name = record.name.fully_qualified_name(namespace).into_owned();
        if let Some(place) = self.places.get(&name) {
            return Ok(Step::Record(*place));
        }
        let place = self.records.len();
        self.records.push(Vec::new());
        self.places.insert(name.clone(), place);
        let fields = record.fields.iter();
        self.records[place] = fields
            .map(|field| self.step(&field.schema, name.namespace()))
            .collect::<Result<_, _>>()?;
        Ok(Step::Record(place))
    }
}

fn size(fixed: &FixedSchema) -> Result<usize, CompileError> {
    let size = fixed.size;
    ensure!(
        size <= MAX_ALLOCATION,
        TooLargeSnafu {
            name: fixed.name.to_string(),
            size,
        }
    );
    Ok(size)
}
