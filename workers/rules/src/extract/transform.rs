//! The steps between the text that a rule finds and the value.

use regex::Regex;

use super::{
    Keep,
    value::{Found, trimmed},
};

/// A step that can be carried out.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Keep(Keep),
    Regex(Regex),
    Split(String),
    PadTo(usize),
    Item(usize),
}

/// Carries out all steps; none when one of them leaves nothing, or meets a list instead of text or the reverse.
pub(super) fn apply(steps: &[Step], found: Found) -> Option<Found> {
    steps.iter().try_fold(found, |found, step| match (step, found) {
        (Step::Keep(Keep::Digits), Found::Text(text)) => Found::text(&digits(&text)),
        (Step::Regex(regex), Found::Text(text)) => Found::text(first_group(regex, &text)?),
        (Step::Split(separator), Found::Text(text)) => {
            Some(Found::List(text.split(separator.as_str()).map(trimmed).collect()))
        }
        (Step::PadTo(length), Found::List(mut items)) => {
            if items.len() < *length {
                items.resize(*length, None);
            }
            Some(Found::List(items))
        }
        (Step::Item(position), Found::List(items)) => items.into_iter().nth(*position)?.map(Found::Text),
        _ => None,
    })
}

/// The first group of the first match, or all of it when the expression has no group.
pub(super) fn first_group<'a>(regex: &Regex, text: &'a str) -> Option<&'a str> {
    let captures = regex.captures(text)?;
    let group = if captures.len() > 1 {
        captures.get(1)?
    } else {
        captures.get(0)?
    };
    Some(group.as_str())
}

/// The digits, with the minus sign when it stands right before the first of them.
fn digits(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut before = None;
    for character in text.chars() {
        if character.is_ascii_digit() {
            if kept.is_empty() && before == Some('-') {
                kept.push('-');
            }
            kept.push(character);
        }
        before = Some(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[Option<&str>]) -> Option<Found> {
        Some(Found::List(
            items.iter().map(|item| item.map(str::to_owned)).collect(),
        ))
    }

    #[test]
    fn only_a_minus_right_before_the_first_digit_is_a_sign() {
        for (text, expected) in [
            ("163,000원", "163000"),
            ("-5 %", "-5"),
            ("5-6", "56"),
            ("- 7", "7"),
            ("A-12", "-12"),
            ("free", ""),
        ] {
            assert_eq!(digits(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_regex_gives_its_first_group_or_the_whole_match() {
        let found = |pattern: &str| {
            let steps = [Step::Regex(Regex::new(pattern).unwrap())];
            apply(&steps, Found::Text("In stock (15 available)".to_owned()))
        };
        assert_eq!(found(r"\((\d+)"), Found::text("15"));
        assert_eq!(found(r"\d+"), Found::text("15"));
        assert_eq!(found("(x)|stock"), None);
        assert_eq!(found("sold"), None);
    }

    #[test]
    fn a_split_list_is_trimmed_and_padded_and_picked_from() {
        let categories = || Found::Text("가전제품, 음향가전,,이어폰".to_owned());
        let split = Step::Split(",".to_owned());
        let list = [Some("가전제품"), Some("음향가전"), None, Some("이어폰"), None];
        assert_eq!(
            apply(&[split.clone(), Step::PadTo(5)], categories()),
            texts(&list)
        );
        assert_eq!(
            apply(&[split.clone(), Step::PadTo(2)], categories()),
            texts(&list[..4])
        );
        assert_eq!(
            apply(&[split.clone(), Step::Item(1)], categories()),
            Found::text("음향가전")
        );
        assert_eq!(apply(&[split.clone(), Step::Item(2)], categories()), None);
        assert_eq!(apply(&[split, Step::Item(4)], categories()), None);
    }

    #[test]
    fn a_step_for_text_finds_nothing_in_a_list_and_the_reverse() {
        let list = Found::List(vec![Some("1".to_owned())]);
        assert_eq!(apply(&[Step::Keep(Keep::Digits)], list), None);
        assert_eq!(apply(&[Step::PadTo(4)], Found::Text("1".to_owned())), None);
    }
}
