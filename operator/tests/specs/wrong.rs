//! The table of `docs/wrong-specs.md`: each wrong spec gets the answer that is written there.

use std::{env, fs, path::Path};

use crate::{
    admission::{Refusal, admit},
    examples::{example, with},
    schema, validate,
};

/// Where, what is written, who answers, the answer.
type Row = [String; 4];

fn cells(line: &str) -> Option<Row> {
    let line = line
        .strip_prefix("| ")?
        .strip_suffix('|')?
        .replace("\\|", "\u{0}");
    let cells: Vec<_> = line
        .split('|')
        .map(|cell| cell.trim().trim_matches('`').trim().replace('\u{0}', "|"))
        .collect();
    <Row>::try_from(cells)
        .ok()
        .filter(|cells| cells[0].contains('.') || cells[0] == "spec")
}

fn line([place, written, who, answer]: &Row) -> String {
    let code = |text: &str| match text.replace('|', "\\|") {
        text if text.is_empty() => String::new(),
        text if text.contains('`') => format!("`` {text} ``"),
        text => format!("`{text}`"),
    };
    format!(
        "| {} | {} | {} | {} |",
        code(place),
        code(written),
        code(who),
        code(answer)
    )
}

/// Who answers to a resource, and what.
fn answer(kind: &str, place: &str, yaml: &str) -> Option<[String; 2]> {
    match admit(&schema(kind), &with(example(kind), place, yaml), None) {
        Err(refusals) => {
            let messages: Vec<_> = refusals.iter().map(Refusal::message).collect();
            Some(["apply".to_owned(), messages.join("; ")])
        }
        Ok(stored) => Some(["Valid".to_owned(), validate(kind, stored).err()?]),
    }
}

#[test]
fn each_wrong_spec_gets_the_answer_that_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wrong-specs.md");
    let page = fs::read_to_string(&path).unwrap();
    let (mut kind, mut rows, mut wrong) = (String::new(), 0, Vec::new());
    let answered: Vec<_> = page
        .lines()
        .map(|written| {
            kind = written.strip_prefix("## ").unwrap_or(&kind).to_owned();
            let Some([place, yaml, who, documented]) = cells(written) else {
                return written.to_owned();
            };
            rows += 1;
            let Some([by, answer]) = answer(&kind, &place, &yaml) else {
                wrong.push(format!("{kind} {place}: {yaml:?} is accepted"));
                return written.to_owned();
            };
            if [&by, &answer] != [&who, &documented] {
                wrong.push(format!("{kind} {place}: {yaml:?} gets from {by}: {answer}"));
            }
            line(&[place, yaml, by, answer])
        })
        .collect();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, answered.join("\n") + "\n").unwrap();
    }
    assert!(rows >= 40, "{rows} rows");
    assert!(wrong.is_empty(), "not as documented:\n{}", wrong.join("\n"));
}

#[test]
fn the_examples_that_are_edited_can_work() {
    for kind in crate::KINDS {
        let stored = admit(&schema(kind), &example(kind), None)
            .unwrap_or_else(|refusals| unreachable!("{kind}: {refusals:#?}"));
        assert_eq!(validate(kind, stored), Ok(()), "{kind}");
    }
}

#[test]
fn no_answer_repeats_a_password() {
    for (kind, place, written) in [
        (
            "ScrapeJob",
            "spec.registry.url",
            "http://ada:geheim@registry:8081",
        ),
        (
            "ScrapeJob",
            "spec.source.urlTemplate",
            "https://ada:geheim@example.org/{id}",
        ),
        ("FilteredSum", "spec.registry.url", "http://ada:geheim@registry"),
        (
            "SinkConnector",
            "spec.mysql.url",
            "jdbc:mysql://ada:geheim@db/shop",
        ),
        (
            "SinkConnector",
            "spec.mysql.url",
            "jdbc:mysql://db/shop?user=ada&password=geheim",
        ),
        ("SinkConnector", "spec.connect.url", "http://ada:geheim@:x"),
    ] {
        let [_, answer] = answer(kind, place, written).expect(written);
        assert!(!answer.contains("geheim"), "{answer}");
    }
}
