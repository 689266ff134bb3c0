//! The script elements of a page, found without building its element tree.

/// One script element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script<'a> {
    attributes: &'a str,
    pub(super) text: &'a str,
}

impl Script<'_> {
    /// Whether an attribute `name` has exactly this value.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        let mut rest = self.attributes;
        while let Some((before, after)) = rest.split_once('=') {
            let found = before
                .trim_end()
                .rsplit(|c: char| c.is_ascii_whitespace() || c == '/')
                .next()
                .unwrap_or("");
            let (content, next) = attribute_value(after);
            if found.eq_ignore_ascii_case(name) && content == value {
                return true;
            }
            rest = next;
        }
        false
    }
}

/// All script elements outside of comments, in order. The text of a script ends at the first `</script`, as for a
/// browser.
pub(super) fn scripts(page: &str) -> impl Iterator<Item = Script<'_>> {
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find('<')?;
            rest = &rest[start..];
            if let Some(comment) = rest.strip_prefix("<!--") {
                rest = comment.find("-->").map_or("", |end| &comment[end..]);
            } else if let Some(tag) = strip_tag(rest, "<script") {
                let close = end_of_tag(tag)?;
                let (attributes, text) = (&tag[..close], &tag[close + 1..]);
                let end = find_ignoring_case(text, "</script").unwrap_or(text.len());
                rest = &text[end..];
                return Some(Script {
                    attributes,
                    text: &text[..end],
                });
            }
            rest = rest.get(1..).unwrap_or("");
        }
    })
}

/// What follows `name` when the text begins with it and the name ends there.
fn strip_tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.get(..name.len())?;
    let tail = &text[name.len()..];
    let ends = tail.starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/');
    (head.eq_ignore_ascii_case(name) && ends).then_some(tail)
}

/// Position of the `>` that ends a tag, which is not within a quoted value.
fn end_of_tag(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.bytes().position(|byte| {
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None => return byte == b'>',
        }
        false
    })
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    let (text, wanted) = (text.as_bytes(), wanted.as_bytes());
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.iter().position(|byte| *byte == wanted[0])?;
        if text
            .get(start..start + wanted.len())?
            .eq_ignore_ascii_case(wanted)
        {
            return Some(start);
        }
        from = start + 1;
    }
}

/// The value after an equals sign, and what follows it.
fn attribute_value(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split_once(quote).unwrap_or((quoted, ""));
        }
    }
    let end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(page: &str) -> Vec<&str> {
        scripts(page).map(|script| script.text).collect()
    }

    #[test]
    fn scripts_are_found_in_order_whatever_stands_around_them() {
        let page = "<!-- <script>no</script> --><p>1 < 2</p><SCRIPT src=x>a<b</SCRIPT><scripture>no</scripture>\
                    <script data-x=\"1>2\">가\"<\\/script>\"</script ><script>unfinished";
        assert_eq!(texts(page), ["a<b", "가\"<\\/script>\"", "unfinished"]);
    }

    #[test]
    fn attributes_are_compared_without_their_quotes() {
        let page = r#"<script id = "__NEXT_DATA__" type='application/json' async data-id=other>{}</script>"#;
        let script = scripts(page).next().unwrap();
        assert!(script.has("id", "__NEXT_DATA__"));
        assert!(script.has("TYPE", "application/json"));
        assert!(script.has("data-id", "other"));
        assert!(!script.has("id", "other"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(page in "(<script|</script>|<!--|-->|[<>'\"= /a가])*") {
            for script in scripts(&page) {
                script.has("id", "a");
            }
        }
    }
}
