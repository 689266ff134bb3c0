//! The table of reasons that people read has each reason, with the words of its constant.

use naru_api::condition::reason;

#[test]
fn the_table_of_reasons_in_the_docs_is_the_list_of_constants() {
    let docs = include_str!("../../../docs/how-naru-reconciles.md");
    let table = docs
        .split_once("## Reasons")
        .expect("the docs have a section about reasons")
        .1;
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(word, rest)| {
            let (meaning, advice) = rest.split_once(" | ").expect("a row has three columns");
            assert!(
                !advice.trim_end_matches('|').trim().is_empty(),
                "{word} has no advice"
            );
            (word, meaning)
        })
        .collect();
    let constants: Vec<(&str, String)> = reason::ALL
        .iter()
        .map(|(word, meaning)| {
            let words: Vec<&str> = meaning.split_whitespace().collect();
            (*word, words.join(" "))
        })
        .collect();
    let constants: Vec<(&str, &str)> = constants
        .iter()
        .map(|(word, meaning)| (*word, meaning.as_str()))
        .collect();
    assert_eq!(rows, constants);
}
