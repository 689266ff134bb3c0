//! Confluent's wire format: a zero byte, the schema's id as four bytes with the highest first, the Avro datum.

use snafu::{Snafu, ensure};

/// Bytes before the datum.
pub const HEADER: usize = 5;
const MAGIC: u8 = 0;

#[derive(Debug, PartialEq, Eq, Snafu)]
pub enum Error {
    #[snafu(display("a value of {length} bytes is too short for an Avro record with a schema id"))]
    TooShort { length: usize },
    #[snafu(display(
        "the value begins with byte {found}, expected {MAGIC}: it is not Avro with a schema id"
    ))]
    WrongMagic { found: u8 },
}

/// Puts the header before `datum`.
pub fn encode(schema_id: u32, datum: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + datum.len());
    value.push(MAGIC);
    value.extend_from_slice(&schema_id.to_be_bytes());
    value.extend_from_slice(datum);
    value
}

/// Schema id and datum of `value`.
pub fn decode(value: &[u8]) -> Result<(u32, &[u8]), Error> {
    let Some((header, datum)) = value.split_first_chunk::<HEADER>() else {
        return TooShortSnafu { length: value.len() }.fail();
    };
    let [magic, id @ ..] = *header;
    ensure!(magic == MAGIC, WrongMagicSnafu { found: magic });
    Ok((u32::from_be_bytes(id), datum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_zero_byte_and_the_id_with_the_highest_byte_first() {
        assert_eq!(encode(258, &[7, 8]), [0, 0, 0, 1, 2, 7, 8]);
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(decode(&encode(u32::MAX, &[])), Ok((u32::MAX, &[][..])));
    }

    #[test]
    fn other_formats_are_refused() {
        assert_eq!(decode(b"abcd"), Err(Error::TooShort { length: 4 }));
        assert_eq!(decode(b"{\"a\":1}"), Err(Error::WrongMagic { found: b'{' }));
    }
}
