//! From the bytes of a message to a record, or to the few fields of it that are wanted.
//!
//! There are two ways. [`Decoder::project`] walks over the bytes and takes the fields as scalars ([`projection`],
//! [`walk`]): that is how nearly all records are read. [`Decoder::decode`] makes a whole value, with apache-avro: slow,
//! and right by definition. Whoever cannot do with the first asks the second, which also says what is wrong with bytes
//! that are no record.
//!
//! Nothing here asks the registry: a schema that is not known yet is named by [`Decoder::unknown`], and whoever
//! has found out tells [`Decoder::learn`].

mod binary;
mod projection;
#[cfg(test)]
mod tests;
mod time;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use naru_rules::filter::Scalar;
use naru_worker_core::avro::wire;
use naru_worker_core::run::chain;
use snafu::{ResultExt, Snafu, ensure};

use self::projection::Projection;
pub use self::time::Unit;
use self::walk::{Fault, MAX_DEPTH, MAX_EMPTY};

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
    #[snafu(display(
        "more than {MAX_DEPTH} values are within each other in the record, which has schema {schema_id}"
    ))]
    TooDeep { schema_id: u32 },
    #[snafu(display(
        "the record, which has schema {schema_id}, has more items than it can have bytes for, or more than {MAX_EMPTY} \
         without any"
    ))]
    TooMany { schema_id: u32 },
}

/// Decodes messages whose schemas it has learned.
#[derive(Debug)]
pub struct Decoder {
    wanted: Vec<String>,
    /// Field whose unit of time is wanted too.
    timed: Option<String>,
    /// By id. Most topics have a few schemas, which this finds without hashing.
    schemas: BTreeMap<u32, Known>,
    unreadable: HashMap<u32, String>,
}

#[derive(Debug)]
struct Known {
    schema: Arc<Schema>,
    projection: Projection,
    unit: Option<Unit>,
}

impl Decoder {
    /// `wanted` are the fields that [`Self::project`] takes.
    pub fn new(wanted: &[String]) -> Self {
        apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
        Self {
            wanted: wanted.to_vec(),
            timed: None,
            schemas: BTreeMap::new(),
            unreadable: HashMap::new(),
        }
    }

    /// The same that also knows in what the field of this name counts times: [`Self::unit`].
    pub fn timing(self, field: Option<&str>) -> Self {
        let timed = field.map(str::to_owned);
        Self { timed, ..self }
    }

    /// The schema that must be learned before `message` can be decoded.
    pub fn unknown(&self, message: &[u8]) -> Option<u32> {
        let (schema_id, _) = wire::decode(message).ok()?;
        let is_known = self.schemas.contains_key(&schema_id) || self.unreadable.contains_key(&schema_id);
        (!is_known).then_some(schema_id)
    }

    /// `schema` is the one with this id, or the reason why there is none that could be used.
    pub fn learn(&mut self, schema_id: u32, schema: Result<Arc<Schema>, String>) {
        let known = schema.and_then(|schema| {
            let projection = Projection::compile(&schema, &self.wanted).map_err(|error| chain(&error))?;
            let unit = self.timed.as_ref();
            Ok(Known {
                unit: unit.and_then(|field| Unit::of_field(&schema, field)),
                schema,
                projection,
            })
        });
        match known {
            Ok(known) => {
                self.schemas.insert(schema_id, known);
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

    /// Puts the wanted fields of the record into `row`, in their order; one that the record lacks leaves its place as
    /// it is. False when [`Self::decode`] is to be asked: the message holds no record, or not exactly one.
    pub fn project<'a>(&'a self, message: &'a [u8], row: &mut [Scalar<'a>]) -> Result<bool, DecodeError> {
        let (schema_id, datum) = wire::decode(message)?;
        match self.known(schema_id)?.projection.take(datum, row) {
            Ok(is_record) => Ok(is_record),
            Err(Fault::Malformed) => Ok(false),
            Err(Fault::TooDeep) => TooDeepSnafu { schema_id }.fail(),
            Err(Fault::TooMany) => TooManySnafu { schema_id }.fail(),
        }
    }

    /// In what the message counts times in the field that is asked for: `None` where its schema alone does not say it.
    pub fn unit(&self, message: &[u8]) -> Option<Unit> {
        let (schema_id, _) = wire::decode(message).ok()?;
        self.schemas.get(&schema_id)?.unit
    }

    /// The whole value of the message.
    pub fn decode(&self, message: &[u8]) -> Result<Value, DecodeError> {
        // First of all, because it has bounds that apache-avro has not.
        self.project(message, &mut [])?;
        let (schema_id, datum) = wire::decode(message)?;
        let schema = &self.known(schema_id)?.schema;
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

    fn known(&self, schema_id: u32) -> Result<&Known, DecodeError> {
        if let Some(known) = self.schemas.get(&schema_id) {
            return Ok(known);
        }
        match self.unreadable.get(&schema_id) {
            Some(reason) => UnreadableSnafu { reason }.fail(),
            None => UnknownSnafu { schema_id }.fail(),
        }
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
