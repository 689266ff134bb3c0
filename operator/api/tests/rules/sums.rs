//! Rules of how a FilteredSum sums.

use super::*;

/// Changes of a running FilteredSum together with a `reset`, and how each is refused, if it is. Returns the rules that have
/// refused something.
pub(super) fn changes_of_rules() -> BTreeSet<(&'static str, String)> {
    let (schema, old) = (schema_of("FilteredSum"), running("FilteredSum").unwrap());
    let groups = "sum.groupBy, sum.scale, sum.window and sum.retract cannot be changed with reset: continue";
    let fixed = "input, output and kafka cannot be changed";
    let fenced = "delivery must be exactlyOnce while reset is set";
    let mut broken = BTreeSet::new();
    for (reset, place, changed, expected) in [
        ("fromEarliest", "spec.filter", "price < 2", None),
        ("fromEarliest", "spec.filter", "", None),
        (
            "fromEarliest",
            "spec.sum",
            "{field: cost, groupBy: [region]}",
            None,
        ),
        ("fromEarliest", "spec.input.topic", "other", Some(fixed)),
        ("fromEarliest", "spec.output.topic", "other", Some(fixed)),
        ("fromEarliest", "spec.kafka", "", Some(fixed)),
        ("continue", "spec.filter", "price < 2", None),
        ("continue", "spec.sum.field", "cost", None),
        ("continue", "spec.sum.groupBy", "[region]", Some(groups)),
        ("continue", "spec.sum.groupBy", "", Some(groups)),
        ("continue", "spec.sum.scale", "2", Some(groups)),
        ("continue", "spec.sum.window", "{size: 1h}", Some(groups)),
        ("fromEarliest", "spec.sum.window", "{size: 1h}", None),
        ("continue", "spec.sum.roundFloats", "true", None),
        ("continue", "spec.sum.retract", "true", Some(groups)),
        ("continue", "spec.sum.retract", "false", None),
        ("fromEarliest", "spec.sum.retract", "true", None),
        ("fromEarliest", "spec.sum.scale", "2", None),
        ("continue", "spec.input.topic", "other", Some(fixed)),
        ("fromEarliest", "spec.delivery", "", None),
        ("fromEarliest", "spec.delivery", "idempotentUpsert", Some(fenced)),
        ("continue", "spec.delivery", "idempotentUpsert", Some(fenced)),
    ] {
        let new = with(with(old.clone(), "spec.reset", reset), place, changed);
        let refusals = admit(&schema, &new, Some(&old)).err().unwrap_or_default();
        let what = || {
            refusals
                .iter()
                .map(|refusal| refusal.what.as_str())
                .collect::<Vec<_>>()
        };
        match expected {
            None => assert!(refusals.is_empty(), "{reset}, {place} {changed}: {:?}", what()),
            Some(expected) => assert!(
                refusals.len() == 1 && refusals[0].what.contains(expected),
                "{reset}, {place} {changed}: {:?}",
                what()
            ),
        }
        let rules = refusals.into_iter().filter_map(|refusal| refusal.rule);
        broken.extend(rules.map(|rule| ("FilteredSum", rule)));
    }
    broken
}

#[test]
fn records_are_taken_back_in_transactions_only() {
    let schema = schema_of("FilteredSum");
    let retracting = with(example("FilteredSum"), "spec.sum.retract", "true");
    for (delivery, is_accepted) in [("exactlyOnce", true), ("", true), ("idempotentUpsert", false)] {
        let answer = admit(
            &schema,
            &with(retracting.clone(), "spec.delivery", delivery),
            None,
        );
        assert_eq!(answer.is_ok(), is_accepted, "{delivery}: {answer:?}");
    }
    // Nor is it changed to that later.
    let old = with(running("FilteredSum").unwrap(), "spec.sum.retract", "true");
    let new = with(old.clone(), "spec.delivery", "idempotentUpsert");
    let refusals = admit(&schema, &new, Some(&old)).unwrap_err();
    assert!(
        refusals[0]
            .what
            .contains("delivery must be exactlyOnce with sum.retract"),
        "{refusals:?}"
    );
}

#[test]
fn totals_may_be_left_without_a_word_about_them_once_nothing_changes_any_more() {
    let old = with(running("FilteredSum").unwrap(), "spec.reset", "continue");
    let new = with(old.clone(), "spec.reset", "");
    assert!(admit(&schema_of("FilteredSum"), &new, Some(&old)).is_ok());
    // No groups are none, whether that is said or not.
    let (none, unsaid) = (
        with(old.clone(), "spec.sum.groupBy", "[]"),
        with(old, "spec.sum.groupBy", ""),
    );
    assert!(admit(&schema_of("FilteredSum"), &unsaid, Some(&none)).is_ok());
}

#[test]
fn windows_are_changed_and_left_out_only_by_summing_anew() {
    let schema = schema_of("FilteredSum");
    let windowed = |window| with(running("FilteredSum").unwrap(), "spec.sum.window", window);
    let old = windowed("{size: 1h, time: at, grace: 10m}");
    for window in [
        "",
        "{size: 2h, time: at, grace: 10m}",
        "{size: 1h, grace: 10m}",
        "{size: 1h, time: at}",
        "{size: 1h, time: at, grace: 10m, retention: 24h}",
    ] {
        for (reset, is_refused) in [("", true), ("continue", true), ("fromEarliest", false)] {
            let new = with(windowed(window), "spec.reset", reset);
            let answer = admit(&schema, &new, Some(&old));
            assert_eq!(answer.is_err(), is_refused, "{window} {reset}: {answer:?}");
        }
    }
    let same = windowed("{size: 1h, time: at, grace: 10m, retention: 168h}");
    assert!(admit(&schema, &same, Some(&old)).is_ok());
}

#[test]
fn the_example_with_windows_is_accepted_and_says_what_it_means() {
    let yaml = include_str!("../../../../deploy/examples/windows.yaml");
    let object = serde_yaml::from_str::<Value>(yaml).unwrap();
    let stored = admit(&schema_of("FilteredSum"), &object, None).unwrap();
    let sum = serde_json::from_value::<naru_api::FilteredSum>(stored).unwrap();
    let window = sum.spec.sum.window.unwrap();
    let length = [&window.size, &window.grace, &window.retention].map(naru_api::Duration::as_millis);
    assert_eq!(length, [60, 10, 672 * 60].map(|minutes| minutes * 60_000));
    assert_eq!(
        (window.time.as_deref(), window.at_a_time()),
        (Some("soldAt"), 674)
    );
}
