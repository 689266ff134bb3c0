//! What a page's answer means, before its content is looked at.

use reqwest::StatusCode;

/// Texts of pages that sites show instead of the page to who asks too much.
const CHALLENGES: [&str; 8] = [
    "captcha",
    "access denied",
    "too many requests",
    "unusual traffic",
    "비정상적인 접근",
    "자동화된 접근",
    "접근이 제한",
    "요청이 많",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The content counts.
    Page,
    Gone,
    /// It may be there later.
    TryAgain,
    /// Asking again will not help.
    GiveUp,
}

pub(crate) fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200..=299 => Meaning::Page,
        404 | 410 => Meaning::Gone,
        // Sites answer 401 and 403 too when they think that they are asked too often.
        401 | 403 | 408 | 409 | 421 | 423 | 425 | 429 | 500..=599 => Meaning::TryAgain,
        _ => Meaning::GiveUp,
    }
}

/// Why a page on which a required field is missing is not taken for what the site has to say about the product, if
/// there is a reason.
pub(super) fn doubt(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let lower = lower.trim();
    if lower.is_empty() {
        return Some("the page is empty");
    }
    if CHALLENGES.iter().any(|phrase| lower.contains(phrase)) {
        return Some("the site shows a challenge instead of the page");
    }
    let is_document = lower.starts_with("<!doctype html") || lower.starts_with("<html");
    (is_document && !lower.contains("</html")).then_some("the page is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whether_asking_again_helps() {
        for (status, expected) in [
            (200, Meaning::Page),
            (206, Meaning::Page),
            (404, Meaning::Gone),
            (410, Meaning::Gone),
            (403, Meaning::TryAgain),
            (429, Meaning::TryAgain),
            (503, Meaning::TryAgain),
            (304, Meaning::GiveUp),
            (400, Meaning::GiveUp),
            (451, Meaning::GiveUp),
        ] {
            assert_eq!(
                meaning(StatusCode::from_u16(status).unwrap()),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn a_challenge_an_empty_page_and_half_a_page_say_nothing_about_the_product() {
        for (text, is_doubtful) in [
            ("  ", true),
            ("<html><h1>Are you human? CAPTCHA</h1></html>", true),
            ("<html><p>비정상적인 접근입니다</p></html>", true),
            ("<!DOCTYPE html><html><body><h1>의", true),
            (
                "<!DOCTYPE html><html><body>삭제되거나 없는 게시글</body></HTML>",
                false,
            ),
            ("<p>삭제되거나 없는 게시글", false),
            ("{\"meta\":{\"code\":0}}", false),
        ] {
            assert_eq!(doubt(text).is_some(), is_doubtful, "{text:?}");
        }
    }
}
