//! Secrets out of what others say.

use std::fmt;

const MASKED: &str = "***";

/// Values that must not be shown. Each occurrence in a text becomes `***`.
#[derive(Clone, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    /// Masks these values.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        // Connect trims values, and quotes them trimmed.
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .map(|s| s.trim().to_owned())
            .filter(|s| !s.is_empty())
            .collect();
        // The longest first: a secret that begins with another one must not leave its end behind.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// The text without the secrets.
    pub fn apply(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(secret) = self.0.iter().find(|secret| rest.starts_with(secret.as_str())) {
                shown.push_str(MASKED);
                rest = &rest[secret.len()..];
            } else {
                shown.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        shown
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} values)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_become_stars() {
        let cases: [(&str, &[&str], &str, &str); 6] = [
            ("nothing secret", &[], "pass word", "pass word"),
            ("twice", &["geheim"], "geheim, geheim", "***, ***"),
            (
                "one begins with another",
                &["abc", "abcdef"],
                "abcdef abc",
                "*** ***",
            ),
            (
                "a trailing newline in the Secret",
                &["geheim\n"],
                "'geheim' is wrong",
                "'***' is wrong",
            ),
            ("an empty value masks nothing", &["", " \n"], "text", "text"),
            ("Hangul", &["비밀"], "값은 비밀입니다", "값은 ***입니다"),
        ];
        for (case, secrets, text, expected) in cases {
            assert_eq!(Mask::new(secrets.iter().copied()).apply(text), expected, "{case}");
        }
        assert_eq!(format!("{:?}", Mask::new(["geheim"])), "Mask(1 values)");
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secrets in prop::collection::vec("[a-c]{2,4}", 1..4), text in "[a-d]{0,40}") {
            let shown = Mask::new(secrets.iter().map(String::as_str)).apply(&text);
            for secret in &secrets {
                prop_assert!(!shown.contains(secret.as_str()), "{:?} in {:?}", secret, shown);
            }
        }
    }
}
