//! Walking over the bytes of an Avro datum, to its end and without allocation.
//!
//! The walk takes for whole exactly what apache-avro does, so that a record has one fate whoever reads it. That is
//! what the specification says, and beyond it:
//!
//! * a varint of ten bytes may have bits that a long has no room for; they are lost;
//! * the number of bytes that a block says it has is not looked at;
//! * strings are checked to be UTF-8, also those that nobody reads; a uuid may be written in any of the ways that the
//!   crate `uuid` knows, and a big decimal may be followed by more bytes.
//!
//! It is stricter in one thing. A few bytes can make apache-avro recurse until there is no stack left, or allocate
//! without bound: a type that holds itself, and arrays of what has no bytes. Here that ends with
//! [`Fault::TooDeep`] and [`Fault::TooMany`], and apache-avro never sees it.

use apache_avro::Uuid;
use apache_avro::types::Value;
use naru_rules::decimal;
use naru_rules::filter::Scalar;

use super::MAX_ALLOCATION;
use super::binary;
use super::projection::Step;

/// Most values within each other. For each of them apache-avro may take 4.5 KiB of the 2 MiB that the worker has for its stack.
pub(super) const MAX_DEPTH: usize = 256;
/// Most values without a byte of their own in a datum, and in one block above the number of bytes that are left.
pub(super) const MAX_EMPTY: usize = 1 << 16;

/// Why bytes are not a datum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They do not fit the schema. apache-avro says in which way.
    Malformed,
    TooDeep,
    TooMany,
}

/// A walk under way. Each step takes the bytes that are left and gives those after it, or nothing when the walk ends
/// there: in registers all the way, where a position in here would go through memory with each step.
pub(super) struct Walk<'a> {
    records: &'a [Box<[Step]>],
    /// How much deeper it may go.
    depth: usize,
    /// How many more values without bytes there may be.
    empty: usize,
    /// Why it ended, if it has.
    fault: Fault,
}

impl<'a> Walk<'a> {
    pub(super) fn new(records: &'a [Box<[Step]>]) -> Self {
        Self {
            records,
            depth: MAX_DEPTH,
            empty: MAX_EMPTY,
            fault: Fault::Malformed,
        }
    }

    /// Why the walk ended, when a step gave nothing.
    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    /// Passes over a value that is put into `cell`: as a result it would be copied piece by piece.
    pub(super) fn take(
        &mut self,
        step: &'a Step,
        cell: &mut Scalar<'a>,
        bytes: &'a [u8],
    ) -> Option<&'a [u8]> {
        let (value, rest) = match step {
            Step::Null => (Scalar::Null, bytes),
            Step::Boolean => put(binary::boolean(bytes)?, Scalar::Boolean),
            Step::Int => put(binary::int(bytes)?, |value| Scalar::Integer(i64::from(value))),
            Step::IntTime => put(binary::int(bytes)?, |value| Scalar::Time(i64::from(value))),
            Step::Long => put(binary::long(bytes)?, Scalar::Integer),
            Step::LongTime => put(binary::long(bytes)?, Scalar::Time),
            Step::Float => put(bytes.split_first_chunk()?, |value| {
                Scalar::Float(f32::from_le_bytes(*value))
            }),
            Step::Double => put(bytes.split_first_chunk()?, |value| {
                Scalar::Double(f64::from_le_bytes(*value))
            }),
            Step::DecimalFixed(size, scale) => put(bytes.split_at_checked(*size)?, number(*scale)),
            Step::DecimalBytes(scale) => put(binary::prefixed(bytes)?, number(*scale)),
            Step::Text => put(binary::text(bytes)?, Scalar::Text),
            Step::Enum(symbols) => put(choice(symbols, bytes)?, Scalar::Text),
            Step::UuidFixed => put(bytes.split_first_chunk()?, |value| uuid(Uuid::from_bytes(*value))),
            Step::UuidBytes => put(uuid_bytes(bytes)?, uuid),
            Step::UuidText => put(uuid_text(bytes)?, uuid),
            Step::Union(branches) => {
                let (branch, rest) = branch(branches, bytes)?;
                return self.deeper(|walk| walk.take(branch, cell, rest));
            }
            Step::Fixed(_)
            | Step::Bytes
            | Step::BigDecimal
            | Step::Array(_)
            | Step::Map(_)
            | Step::Record(_)
            | Step::Nothing => (Scalar::Other, self.skip(step, bytes)?),
        };
        *cell = value;
        Some(rest)
    }

    /// Passes over a value.
    #[inline]
    pub(super) fn skip(&mut self, step: &'a Step, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match step {
            Step::Null => Some(bytes),
            Step::Int | Step::IntTime => binary::int(bytes).map(rest),
            Step::Long | Step::LongTime => binary::skip_long(bytes),
            Step::Float => bytes.get(4..),
            Step::Double => bytes.get(8..),
            Step::Text => binary::skip_text(bytes),
            _ => self.skip_other(step, bytes),
        }
    }

    fn skip_other(&mut self, step: &'a Step, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match step {
            Step::Boolean => binary::boolean(bytes).map(rest),
            Step::Fixed(size) | Step::DecimalFixed(size, _) => bytes.get(*size..),
            Step::Bytes | Step::DecimalBytes(_) => binary::prefixed(bytes).map(rest),
            Step::Enum(symbols) => choice(symbols, bytes).map(rest),
            Step::UuidFixed => bytes.get(16..),
            Step::UuidBytes => uuid_bytes(bytes).map(rest),
            Step::UuidText => uuid_text(bytes).map(rest),
            Step::BigDecimal => skip_big_decimal(bytes),
            Step::Array(item) => self.deeper(|walk| walk.skip_array(item, bytes)),
            Step::Map(value) => self.deeper(|walk| walk.skip_map(value, bytes)),
            Step::Union(branches) => {
                let (branch, rest) = branch(branches, bytes)?;
                self.deeper(|walk| walk.skip(branch, rest))
            }
            Step::Record(place) => self.deeper(|walk| walk.skip_record(*place, bytes)),
            _ => None,
        }
    }

    fn deeper(&mut self, walk: impl FnOnce(&mut Self) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => return self.end(Fault::TooDeep),
        }
        let rest = walk(self)?;
        self.depth += 1;
        Some(rest)
    }

    fn skip_record(&mut self, place: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let fields = self.records.get(place)?;
        let rest = fields
            .iter()
            .try_fold(bytes, |bytes, field| self.skip(field, bytes))?;
        if rest.len() == bytes.len() {
            // Its fields had no bytes either.
            self.without_bytes(1 + fields.len())?;
        }
        Some(rest)
    }

    fn skip_array(&mut self, item: &'a Step, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        let mut left = MAX_ALLOCATION / size_of::<Value>();
        loop {
            let (count, rest) = self.block(&mut left, bytes)?;
            bytes = rest;
            if count == 0 {
                return Some(bytes);
            }
            if let Step::Text = item {
                for _ in 0..count {
                    bytes = binary::skip_text(bytes)?;
                }
                continue;
            }
            for _ in 0..count {
                let rest = self.skip(item, bytes)?;
                if rest.len() == bytes.len() {
                    self.without_bytes(1)?;
                }
                bytes = rest;
            }
        }
    }

    fn skip_map(&mut self, value: &'a Step, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        let mut left = MAX_ALLOCATION / size_of::<(String, Value)>();
        loop {
            let (count, rest) = self.block(&mut left, bytes)?;
            bytes = rest;
            if count == 0 {
                return Some(bytes);
            }
            for _ in 0..count {
                bytes = self.skip(value, binary::skip_text(bytes)?)?;
            }
        }
    }

    /// How many items the next block has. No more than are `left`, which they are taken from: there is memory for so
    /// many. And no more than there can be, each taking a byte or counting as one without.
    #[inline]
    fn block(&mut self, left: &mut usize, bytes: &'a [u8]) -> binary::Read<'a, usize> {
        let (count, mut rest) = binary::long(bytes)?;
        if count < 0 {
            // And how many bytes, which apache-avro does not look at.
            rest = binary::skip_long(rest)?;
        }
        match usize::try_from(count.unsigned_abs()) {
            Ok(count) if count <= *left && count <= rest.len() + self.empty => {
                *left -= count;
                Some((count, rest))
            }
            _ => self.end(Fault::TooMany),
        }
    }

    fn without_bytes(&mut self, values: usize) -> Option<()> {
        match self.empty.checked_sub(values) {
            Some(empty) => self.empty = empty,
            None => return self.end(Fault::TooMany),
        }
        Some(())
    }

    #[cold]
    fn end<T>(&mut self, fault: Fault) -> Option<T> {
        self.fault = fault;
        None
    }
}

fn branch<'a>(branches: &'a [Step], bytes: &'a [u8]) -> binary::Read<'a, &'a Step> {
    let (index, rest) = binary::long(bytes)?;
    Some((branches.get(usize::try_from(index).ok()?)?, rest))
}

fn choice<'a>(symbols: &'a [String], bytes: &'a [u8]) -> binary::Read<'a, &'a str> {
    let (index, rest) = binary::int(bytes)?;
    Some((symbols.get(usize::try_from(index).ok()?)?, rest))
}

fn uuid_bytes(bytes: &[u8]) -> binary::Read<'_, Uuid> {
    let (uuid, rest) = binary::prefixed(bytes)?;
    Some((Uuid::from_slice(uuid).ok()?, rest))
}

fn uuid_text(bytes: &[u8]) -> binary::Read<'_, Uuid> {
    let (uuid, rest) = binary::text(bytes)?;
    Some((Uuid::parse_str(uuid).ok()?, rest))
}

/// Within its bytes a big decimal is a number, again with its length, and a scale.
fn skip_big_decimal(bytes: &[u8]) -> Option<&[u8]> {
    let (decimal, rest) = binary::prefixed(bytes)?;
    let (_, scale) = binary::prefixed(decimal)?;
    binary::skip_long(scale)?;
    Some(rest)
}

#[inline(always)]
fn put<'a, T>((value, rest): (T, &'a [u8]), cell: impl FnOnce(T) -> Scalar<'a>) -> (Scalar<'a>, &'a [u8]) {
    (cell(value), rest)
}

fn rest<T>((_, rest): (T, &[u8])) -> &[u8] {
    rest
}

/// The number that the bytes of a decimal are, if it is one that a scalar has room for.
fn number<'a>(scale: u8) -> impl FnOnce(&'a [u8]) -> Scalar<'a> {
    move |bytes| decimal::from_bytes(bytes).map_or(Scalar::Other, |digits| Scalar::decimal(digits, scale))
}

fn uuid<'a>(uuid: Uuid) -> Scalar<'a> {
    let (high, low) = uuid.as_u64_pair();
    Scalar::Uuid(high, low)
}
