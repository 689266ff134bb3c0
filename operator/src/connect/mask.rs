//! Secrets out of what others say.

use std::fmt;

const MASKED: &str = "***";
/// A user name or a line of a longer secret that is shorter, characters, is no secret worth the name: without it the
/// rest could not be read.
const SHORTEST: usize = 4;

/// Values that must not be shown. Each occurrence in a text becomes `***`, and so does each of their lines: of a text that
/// quotes a key of many lines only some are shown.
#[derive(Clone, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    /// Masks these values.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let lines = |secret: &'a str| secret.lines().map(str::trim).filter(|line| is_long(line));
        // Connect trims values, and quotes them trimmed.
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .flat_map(|secret| std::iter::once(secret).chain(lines(secret)))
            .map(str::to_owned)
            .collect();
        // The longest first: a secret that begins with another one must not leave its end behind.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// Masks the values of these entries of a configuration.
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let secret = |(key, value): &(&str, &str)| !is_username(key) || is_long(value.trim());
        Self::new(entries.into_iter().filter(secret).map(|(_, value)| value))
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

fn is_long(text: &str) -> bool {
    text.chars().count() >= SHORTEST
}

/// Whether a key of a configuration names a user. Anything else may be a password.
fn is_username(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["user", "username", "user.name"]
        .iter()
        .any(|end| key.ends_with(end))
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
        let cases: [(&str, &[&str], &str, &str); 8] = [
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
            (
                "a line of a key, as a stack trace is cut to",
                &["-----BEGIN KEY-----\n  c2VjcmV0\r\nbGFzdA==\n-----END KEY-----\n"],
                "Caused by: no key: c2VjcmV0",
                "Caused by: no key: ***",
            ),
            (
                "lines that say nothing",
                &["{\n  \"password\": \"geheim\"\n}"],
                "{ \"password\": \"geheim\" }",
                "{ *** }",
            ),
            ("an empty value masks nothing", &["", " \n"], "text", "text"),
            ("Hangul", &["비밀"], "값은 비밀입니다", "값은 ***입니다"),
        ];
        for (case, secrets, text, expected) in cases {
            assert_eq!(Mask::new(secrets.iter().copied()).apply(text), expected, "{case}");
        }
        assert_eq!(format!("{:?}", Mask::new(["geheim"])), "Mask(1 values)");
    }

    #[test]
    fn a_short_user_name_leaves_the_text_readable_and_a_short_password_does_not_show() {
        let mask =
            |user, password| Mask::of([("connection.username", user), ("connection.password", password)]);
        let text = "access denied for root with p";
        assert_eq!(mask("a", "x").apply(text), text);
        assert_eq!(mask("a", "p").apply(text), "access denied for root with ***");
        assert_eq!(mask("root", "p").apply(text), "access denied for *** with ***");
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
