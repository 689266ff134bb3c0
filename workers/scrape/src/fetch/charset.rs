//! From the bytes of a page to its text.

use encoding_rs::{Encoding, UTF_8};

/// How far into a page a `<meta charset>` is looked for, bytes: as far as browsers do.
const HEAD: usize = 1_024;

/// Decodes by byte order mark, else as `content_type` says, else as a `<meta>` near the beginning says, else as
/// UTF-8. What does not decode becomes U+FFFD.
pub(super) fn decode(body: &[u8], content_type: Option<&str>) -> String {
    let declared = content_type.and_then(charset).or_else(|| {
        let head = &body[..body.len().min(HEAD)];
        // The declaration itself is in ASCII.
        charset(&String::from_utf8_lossy(head))
    });
    // `decode` looks for a byte order mark first.
    let (text, _, _) = declared.unwrap_or(UTF_8).decode(body);
    text.into_owned()
}

/// The encoding that is named after `charset=`.
fn charset(text: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let (_, after) = lower.split_once("charset")?;
    let after = after
        .trim_start()
        .strip_prefix('=')?
        .trim_start()
        .trim_start_matches(['"', '\'']);
    let end = after
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c)))
        .unwrap_or(after.len());
    Encoding::for_label(&after.as_bytes()[..end])
}

#[cfg(test)]
mod tests {
    use encoding_rs::EUC_KR;

    use super::*;

    #[test]
    fn the_declaration_that_browsers_would_follow_is_followed() {
        let korean = EUC_KR.encode("<p>의자").0.into_owned();
        let declared = EUC_KR
            .encode("<meta http-equiv=x content='text/html; charset=euc-kr'><p>의자")
            .0
            .into_owned();
        for (name, body, content_type, expected) in [
            (
                "header",
                korean.as_slice(),
                Some("text/html; charset=EUC-KR"),
                "의자",
            ),
            ("meta", declared.as_slice(), Some("text/html"), "의자"),
            ("neither", "<p>의자".as_bytes(), None, "의자"),
            (
                "an unknown name",
                "<p>의자".as_bytes(),
                Some("text/html; charset=nonsense"),
                "의자",
            ),
            (
                "a byte order mark above all",
                "\u{feff}<p>의자".as_bytes(),
                Some("text/html; charset=euc-kr"),
                "의자",
            ),
        ] {
            let text = decode(body, content_type);
            assert!(text.ends_with(expected), "{name}: {text}");
        }
    }
}
