//! Where words of eight bytes begin and end.

use super::super::binary;
use super::random::long;

#[test]
fn a_long_is_read_whatever_comes_after_it() {
    let values = (0..64).flat_map(|shift| {
        let value = i64::MAX >> shift;
        [value, !value, value ^ (value >> 1)]
    });
    for value in values {
        let mut encoded = Vec::new();
        long(value, &mut encoded);
        for after in 0..12 {
            let bytes = [&encoded[..], &vec![0xff; after]].concat();
            let rest = &bytes[encoded.len()..];
            assert_eq!(binary::long(&bytes), Some((value, rest)), "{bytes:?}");
            assert_eq!(binary::skip_long(&bytes), Some(rest), "{bytes:?}");
            assert_eq!(
                binary::int(&bytes),
                i32::try_from(value).ok().map(|value| (value, rest)),
                "{bytes:?}"
            );
        }
        for length in 0..encoded.len() {
            assert_eq!(binary::long(&encoded[..length]), None, "{length} of {encoded:?}");
            assert_eq!(
                binary::skip_long(&encoded[..length]),
                None,
                "{length} of {encoded:?}"
            );
        }
    }
}

#[test]
fn a_text_is_utf_8_in_each_of_its_bytes() {
    for length in 0..70 {
        let mut encoded = Vec::new();
        long(length as i64, &mut encoded);
        let first = encoded.len();
        encoded.extend(vec![b'a'; length]);
        // What comes after it is no concern of the text.
        encoded.extend([0xff; 3]);
        let rest = [0xff; 3].as_slice();
        assert_eq!(binary::skip_text(&encoded), Some(rest), "{length}");
        assert_eq!(
            binary::text(&encoded).map(|(text, rest)| (text.len(), rest)),
            Some((length, rest))
        );
        for place in first..first + length {
            let mut wrong = encoded.clone();
            wrong[place] = 0xe9;
            assert_eq!(binary::skip_text(&wrong), None, "{place} of {length}");
            assert_eq!(binary::text(&wrong), None, "{place} of {length}");
            if place + 1 < first + length {
                wrong[place..place + 2].copy_from_slice("é".as_bytes());
                assert_eq!(binary::skip_text(&wrong), Some(rest), "{place} of {length}");
            }
        }
        for end in 0..first + length {
            assert_eq!(binary::skip_text(&encoded[..end]), None, "{end} of {length}");
        }
    }
}
