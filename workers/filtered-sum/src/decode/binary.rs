//! Avro's binary encoding, one value at a time: what the bytes begin with, and the bytes after it. `None` when it is not
//! there.

use super::MAX_ALLOCATION;

/// Bit of a varint's byte that is not its last.
const CONTINUES: u8 = 0x80;
/// Most bytes of a varint: seven bits of each hold a long.
const MAX_VARINT: usize = 10;

pub(super) type Read<'a, T> = Option<(T, &'a [u8])>;

pub(super) fn boolean(bytes: &[u8]) -> Read<'_, bool> {
    match bytes {
        [0, rest @ ..] => Some((false, rest)),
        [1, rest @ ..] => Some((true, rest)),
        _ => None,
    }
}

#[inline(always)]
pub(super) fn int(bytes: &[u8]) -> Read<'_, i32> {
    let (value, rest) = long(bytes)?;
    Some((i32::try_from(value).ok()?, rest))
}

#[inline(always)]
pub(super) fn long(bytes: &[u8]) -> Read<'_, i64> {
    let (zigzag, rest) = varint(bytes)?;
    Some(((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed(), rest))
}

#[inline(always)]
pub(super) fn skip_long(bytes: &[u8]) -> Option<&[u8]> {
    match ends(word(bytes)) {
        0 => longest_varint(bytes).map(|(_, rest)| rest),
        ends => bytes.get(ends.trailing_zeros() as usize / 8 + 1..),
    }
}

#[inline(always)]
fn varint(bytes: &[u8]) -> Read<'_, u64> {
    match bytes {
        [byte, rest @ ..] if *byte < CONTINUES => Some((u64::from(*byte), rest)),
        _ => long_varint(bytes),
    }
}

/// Up to eight bytes at once: seven bits of each, brought together in pairs, then in pairs of pairs.
fn long_varint(bytes: &[u8]) -> Read<'_, u64> {
    let word = word(bytes);
    let ends = ends(word);
    if ends == 0 {
        return longest_varint(bytes);
    }
    let word = word & (ends ^ (ends - 1));
    let word = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let word = (word & 0x0000_3fff_0000_3fff) | (word & 0x3fff_0000_3fff_0000) >> 2;
    let word = (word & 0x0000_0000_0fff_ffff) | (word & 0x0fff_ffff_0000_0000) >> 4;
    Some((word, bytes.get(ends.trailing_zeros() as usize / 8 + 1..)?))
}

/// Byte by byte.
#[cold]
fn longest_varint(bytes: &[u8]) -> Read<'_, u64> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(MAX_VARINT) {
        value |= u64::from(byte & !CONTINUES) << (7 * index);
        if *byte < CONTINUES {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Bytes after their number, which mostly is a byte itself: one without [`CONTINUES`] and without the sign, its last bit.
#[inline(always)]
pub(super) fn prefixed(bytes: &[u8]) -> Read<'_, &[u8]> {
    match bytes {
        [length, rest @ ..] if length & (CONTINUES | 1) == 0 => {
            rest.split_at_checked(usize::from(length >> 1))
        }
        _ => long_prefixed(bytes),
    }
}

fn long_prefixed(bytes: &[u8]) -> Read<'_, &[u8]> {
    let (length, rest) = long(bytes)?;
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_ALLOCATION)?;
    rest.split_at_checked(length)
}

pub(super) fn text(bytes: &[u8]) -> Read<'_, &str> {
    let (text, rest) = prefixed(bytes)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[inline(always)]
pub(super) fn skip_text(bytes: &[u8]) -> Option<&[u8]> {
    let (text, rest) = prefixed(bytes)?;
    (is_ascii(text) || std::str::from_utf8(text).is_ok()).then_some(rest)
}

/// Most strings are short, and each has another length: so there is no loop over their bytes, of which the processor
/// would guess the end wrong, but words that may overlap.
#[inline(always)]
fn is_ascii(text: &[u8]) -> bool {
    let all = if let Some(last) = text.last_chunk() {
        let (chunks, _) = text.as_chunks();
        let last = u128::from_le_bytes(*last);
        let all = chunks
            .iter()
            .fold(last, |all, chunk| all | u128::from_le_bytes(*chunk));
        all as u64 | (all >> 64) as u64
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        u64::from_le_bytes(*first) | u64::from_le_bytes(*last)
    } else {
        word(text)
    };
    all & EACH == 0
}

/// [`CONTINUES`] of each byte of a word. Also the bit that no byte of ASCII has.
const EACH: u64 = u64::from_ne_bytes([CONTINUES; 8]);

/// [`CONTINUES`] of those bytes of a word that end a varint.
#[inline(always)]
fn ends(word: u64) -> u64 {
    !word & EACH
}

/// The first eight bytes, the first of them lowest, with zeros for those that there are not. So a varint that is cut off
/// seems to end, but only after the last byte.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let at = |place: usize| 8 * place as u32;
    if let Some(word) = bytes.first_chunk() {
        u64::from_le_bytes(*word)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
        first | last << at(bytes.len() - 4)
    } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
        let (middle, end) = (bytes.len() / 2, bytes.len() - 1);
        u64::from(*first) | u64::from(bytes[middle]) << at(middle) | u64::from(*last) << at(end)
    } else {
        0
    }
}
