//! Exact decimal numbers: what an Avro decimal is, and what a float or a double stands for.
//!
//! Nothing here rounds unless it is called so, and nothing allocates.

use std::cmp::Ordering;
use std::io::Write;

/// Most digits after the point of a sum.
pub const MAX_SCALE: u8 = 18;
/// Largest magnitude without its point: 38 digits, what Avro, Java and databases take for a decimal.
pub const MAX_DIGITS: i128 = 10_i128.pow(38) - 1;

/// `digits` × 10^`exponent`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    pub digits: i128,
    pub exponent: i32,
}

/// Why a number is none with so many digits after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It has more of them than that.
    Fraction,
    /// It has more than 38 digits in all.
    Large,
}

impl Decimal {
    /// As an Avro decimal of this scale.
    pub fn new(digits: i128, scale: u8) -> Self {
        Self {
            digits,
            exponent: -i32::from(scale),
        }
    }

    /// What a double stands for: of the decimals that it could be read from, the shortest one, and of these the nearest.
    /// None if it is infinite or not a number.
    pub fn of_double(value: f64) -> Option<Self> {
        value.is_finite().then(|| shortest(format_args!("{value:e}")))
    }

    /// The same of a float, which has fewer digits than the double that is equal to it: 0.1 is 0.1, and not 0.10000000149011612.
    pub fn of_float(value: f32) -> Option<Self> {
        value.is_finite().then(|| shortest(format_args!("{value:e}")))
    }

    /// The number as an integer of units of 10^-`scale`, if it is one.
    pub fn at(self, scale: u8) -> Result<i128, Misfit> {
        let (digits, rest) = self.split(scale)?;
        match rest {
            Rest::Nothing => Ok(digits),
            _ => Err(Misfit::Fraction),
        }
    }

    /// The nearest integer of units of 10^-`scale`; the even one of two that are as near.
    pub fn rounded_at(self, scale: u8) -> Result<i128, Misfit> {
        let (digits, rest) = self.split(scale)?;
        let is_away = match rest {
            Rest::Nothing | Rest::Less => false,
            Rest::Half => digits % 2 != 0,
            Rest::More => true,
        };
        let rounded = match is_away {
            true => digits + self.digits.signum(),
            false => digits,
        };
        fits(rounded)
    }

    /// The integer of units of 10^-`scale` towards zero, and what is beyond.
    fn split(self, scale: u8) -> Result<(i128, Rest), Misfit> {
        let shift = self.exponent + i32::from(scale);
        if self.digits == 0 {
            return Ok((0, Rest::Nothing));
        }
        let Some(factor) = power(shift.unsigned_abs()) else {
            // More than 10^38, or less than half a unit.
            return match shift > 0 {
                true => Err(Misfit::Large),
                false => Ok((0, Rest::Less)),
            };
        };
        if shift >= 0 {
            let digits = self.digits.checked_mul(factor).ok_or(Misfit::Large)?;
            return Ok((fits(digits)?, Rest::Nothing));
        }
        let (digits, rest) = (self.digits / factor, self.digits % factor);
        // A power of ten from 10^1 on is even.
        let rest = match (rest, rest.unsigned_abs().cmp(&(factor.unsigned_abs() / 2))) {
            (0, _) => Rest::Nothing,
            (_, Ordering::Less) => Rest::Less,
            (_, Ordering::Equal) => Rest::Half,
            (_, Ordering::Greater) => Rest::More,
        };
        Ok((fits(digits)?, rest))
    }
}

/// By value: 1.50 is 1.5.
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.exponent < other.exponent {
            return other.cmp(self).reverse();
        }
        if self.digits == 0 {
            return 0.cmp(&other.digits);
        }
        let more = self.exponent.abs_diff(other.exponent);
        match power(more).and_then(|factor| self.digits.checked_mul(factor)) {
            Some(digits) => digits.cmp(&other.digits),
            // Farther from zero than any digits.
            None => self.digits.cmp(&0),
        }
    }
}

/// What is left beyond an integer, against half of a unit.
enum Rest {
    Nothing,
    Less,
    Half,
    More,
}

fn fits(digits: i128) -> Result<i128, Misfit> {
    match digits.unsigned_abs() <= MAX_DIGITS.unsigned_abs() {
        true => Ok(digits),
        false => Err(Misfit::Large),
    }
}

fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// A big-endian number in two's complement, as the bytes of an Avro decimal are; no bytes are zero. None if it is none of
/// 128 bits.
pub fn from_bytes(bytes: &[u8]) -> Option<i128> {
    let sign = match bytes.first() {
        Some(first) if first & 0x80 != 0 => 0xff,
        _ => 0,
    };
    let (padding, digits) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut wide = [sign; 16];
    wide[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(wide);
    let is_whole = padding.iter().all(|byte| *byte == sign) && (value < 0) == (sign != 0);
    is_whole.then_some(value)
}

/// From the shortest text in scientific notation, such as `-1.25e-7`, which Rust writes without an allocation.
fn shortest(text: std::fmt::Arguments<'_>) -> Decimal {
    // 17 digits, two signs, a point, an e and an exponent of three digits.
    let mut buffer = [0_u8; 32];
    let mut rest = &mut buffer[..];
    let _ = rest.write_fmt(text);
    let left = rest.len();
    let text = &buffer[..buffer.len() - left];
    let (mut digits, mut exponent) = (0_i128, 0);
    let mut has_point = false;
    let mut bytes = text.iter();
    for byte in bytes.by_ref() {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + i128::from(byte - b'0');
                exponent -= i32::from(has_point);
            }
            b'.' => has_point = true,
            b'e' => break,
            _ => {}
        }
    }
    let written = bytes.as_slice();
    let power = written
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0, |power, byte| power * 10 + i32::from(byte - b'0'));
    exponent += match written.first() {
        Some(b'-') => -power,
        _ => power,
    };
    Decimal {
        digits: match text.first() {
            Some(b'-') => -digits,
            _ => digits,
        },
        exponent,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_decimal() -> impl Strategy<Value = Decimal> {
        let digits = prop_oneof![any::<i128>(), -1000..1000_i128, Just(0)];
        (digits, 0..60_u8).prop_map(|(digits, scale)| Decimal::new(digits, scale))
    }

    /// In units of 10^-60, in 256 bits or more, by the schoolbook.
    fn wide(decimal: Decimal) -> (bool, Vec<u8>) {
        let zeros = usize::try_from(60 + decimal.exponent).unwrap();
        let text = decimal.digits.unsigned_abs().to_string() + &"0".repeat(zeros);
        let text = format!("{text:0>120}");
        (
            decimal.digits < 0 && decimal.digits != 0,
            text.bytes().map(|digit| digit - b'0').collect(),
        )
    }

    #[test]
    fn a_number_keeps_all_of_its_digits_or_says_why_not() {
        for (digits, scale, at, expected) in [
            (12_345, 4, 4, Ok(12_345)),
            (12_300, 4, 2, Ok(123)),
            (12_345, 4, 3, Err(Misfit::Fraction)),
            (-5, 0, 18, Ok(-5_000_000_000_000_000_000)),
            (0, 200, 0, Ok(0)),
            (1, 200, 0, Err(Misfit::Fraction)),
            (MAX_DIGITS, 0, 0, Ok(MAX_DIGITS)),
            (-MAX_DIGITS, 18, 18, Ok(-MAX_DIGITS)),
            (MAX_DIGITS + 1, 0, 0, Err(Misfit::Large)),
            (MAX_DIGITS, 0, 1, Err(Misfit::Large)),
            (10_i128.pow(37), 0, 1, Err(Misfit::Large)),
            (i128::MIN, 0, 0, Err(Misfit::Large)),
        ] {
            assert_eq!(
                Decimal::new(digits, scale).at(at),
                expected,
                "{digits} {scale} {at}"
            );
        }
    }

    #[test]
    fn a_double_is_the_decimal_that_a_person_would_write_and_rounds_half_to_even() {
        for (value, scale, expected) in [
            (0.1, 1, 1),
            (0.1 + 0.2, 2, 30),
            (0.125, 2, 12),
            (0.135, 2, 14),
            (2.5, 0, 2),
            (3.5, 0, 4),
            (-2.5, 0, -2),
            (-0.015, 2, -2),
            (1.005, 2, 100),
            (999_999.99, 2, 99_999_999),
            (5e-324, 18, 0),
            (-0.0, 2, 0),
            (1e19, 18, 10_i128.pow(37)),
        ] {
            let expected = fits(expected);
            assert_eq!(
                Decimal::of_double(value).unwrap().rounded_at(scale),
                expected,
                "{value}"
            );
        }
        assert_eq!(
            Decimal::of_double(f64::MAX).unwrap().rounded_at(0),
            Err(Misfit::Large)
        );
        assert_eq!(Decimal::of_float(0.1).unwrap().at(1), Ok(1));
        assert_eq!(Decimal::of_float(16_777_216.0).unwrap().at(0), Ok(16_777_216));
        assert_eq!(Decimal::of_double(f64::NAN), None);
        assert_eq!(Decimal::of_float(f32::NEG_INFINITY), None);
    }

    #[test]
    fn bytes_are_a_number_with_any_padding_and_not_too_many_bits() {
        for (bytes, expected) in [
            (&[][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0xff], Some(-1)),
            (&[0x00, 0xff], Some(255)),
            (&[0xff; 40], Some(-1)),
            (&[0x00; 40], Some(0)),
        ] {
            assert_eq!(from_bytes(bytes), expected, "{bytes:?}");
        }
        let wide = |first: u8, value: i128| [&[first], &value.to_be_bytes()[..]].concat();
        assert_eq!(from_bytes(&wide(0, i128::MAX)), Some(i128::MAX));
        assert_eq!(from_bytes(&wide(0xff, i128::MIN)), Some(i128::MIN));
        assert_eq!(from_bytes(&wide(0, i128::MIN)), None);
        assert_eq!(from_bytes(&wide(0xff, i128::MAX)), None);
        assert_eq!(from_bytes(&wide(1, 0)), None);
    }

    proptest! {
        #[test]
        fn numbers_are_ordered_as_their_digits_are(left in any_decimal(), right in any_decimal()) {
            let ((is_left_negative, left_digits), (is_right_negative, right_digits)) = (wide(left), wide(right));
            let expected = match (is_left_negative, is_right_negative) {
                (false, false) => left_digits.cmp(&right_digits),
                (true, true) => right_digits.cmp(&left_digits),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            };
            prop_assert_eq!(left.cmp(&right), expected);
            prop_assert_eq!(right.cmp(&left), expected.reverse());
        }

        #[test]
        fn a_double_and_a_float_are_read_back_from_their_decimal(double: f64, float: f32) {
            let text = |decimal: Decimal| format!("{}e{}", decimal.digits, decimal.exponent);
            if double.is_finite() {
                prop_assert_eq!(text(Decimal::of_double(double).unwrap()).parse::<f64>().unwrap(), double);
            }
            if float.is_finite() {
                prop_assert_eq!(text(Decimal::of_float(float).unwrap()).parse::<f32>().unwrap(), float);
            }
        }

        #[test]
        fn a_rounded_number_is_at_most_half_a_unit_away(digits in -(1_i128 << 100)..1 << 100, scale in 0..30_u8, to in 0..=MAX_SCALE) {
            let number = Decimal::new(digits, scale);
            match number.rounded_at(to) {
                // Twice as much is to fit too.
                Ok(rounded) if rounded.abs() > MAX_DIGITS / 2 => {}
                Ok(rounded) => {
                    let twice = |digits: i128| Decimal { digits: 2 * digits, exponent: -i32::from(scale) };
                    let edge = |by| Decimal { digits: 2 * rounded + by, exponent: -i32::from(to) };
                    prop_assert!(edge(-1) <= twice(digits) && twice(digits) <= edge(1));
                    let is_half = twice(digits) == edge(-1) || twice(digits) == edge(1);
                    prop_assert!(!is_half || rounded % 2 == 0);
                    prop_assert_eq!(number.at(to).ok(), (Decimal::new(rounded, to) == number).then_some(rounded));
                }
                Err(misfit) => {
                    prop_assert_eq!(misfit, Misfit::Large);
                    prop_assert!(number.cmp(&Decimal::new(MAX_DIGITS, to)).is_gt() || number.cmp(&Decimal::new(-MAX_DIGITS, to)).is_lt());
                }
            }
        }

        #[test]
        fn bytes_of_any_length_are_read(value: i128, padding in 0..20_usize) {
            let sign = if value < 0 { 0xff } else { 0 };
            let bytes = [&vec![sign; padding][..], &value.to_be_bytes()].concat();
            prop_assert_eq!(from_bytes(&bytes), Some(value));
            let digits = value >> 64;
            prop_assert_eq!(from_bytes(&value.to_be_bytes()[..8]), Some(digits));
        }
    }
}
