//! What a run has done and found.

use std::collections::BTreeMap;

use serde::Serialize;

/// As it is written to `report.json`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub seed: u64,
    pub worker: String,
    pub brokers: usize,
    /// What was promised.
    pub delivery: String,
    pub rounds: Vec<Round>,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<String, usize>,
    /// Committed records of the input.
    pub records: u64,
    pub dead_letters: u64,
    /// Totals that were visible.
    pub totals: u64,
    /// Records of aborted transactions, which were never visible.
    pub aborted: u64,
    /// How often each invariant was looked at and held.
    pub checks: BTreeMap<String, u64>,
    /// How long workers took to read totals back: how often, and in the mean, s.
    pub restores: u64,
    pub restore_mean_seconds: f64,
    pub seconds: f64,
    pub violation: Option<Violated>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    pub fault: String,
    /// What was done.
    pub what: String,
    /// From the end of the fault until the totals were those of the whole input.
    pub right_again_after_seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Violated {
    pub invariant: String,
    pub found: String,
    /// What was done, and when.
    pub history: Vec<String>,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let list = |pairs: &mut dyn Iterator<Item = (String, String)>| {
            let pairs = pairs.map(|(name, count)| format!("{name} {count}"));
            pairs.collect::<Vec<_>>().join(", ")
        };
        let mut again = self
            .rounds
            .iter()
            .map(|round| round.right_again_after_seconds)
            .collect::<Vec<_>>();
        again.sort_by(f64::total_cmp);
        let last = again.len().saturating_sub(1);
        let at = |part: usize| again.get(last * part / 100).copied().unwrap_or_default();
        let mut text = format!(
            "{} rounds in {:.0} s with seed {}: {} records, {} dead letters, {} totals, {} outputs of aborted transactions\n\
             faults: {}\nchecked: {}\nright again after: median {:.1} s, 90 % {:.1} s, longest {:.1} s\n\
             totals read back: {} times, {:.2} s in the mean\n",
            self.rounds.len(),
            self.seconds,
            self.seed,
            self.records,
            self.dead_letters,
            self.totals,
            self.aborted,
            list(
                &mut self
                    .faults
                    .iter()
                    .map(|(name, count)| (name.clone(), count.to_string()))
            ),
            list(
                &mut self
                    .checks
                    .iter()
                    .map(|(name, count)| (name.clone(), count.to_string()))
            ),
            at(50),
            at(90),
            at(100),
            self.restores,
            self.restore_mean_seconds,
        );
        match &self.violation {
            None => text.push_str("all right\n"),
            Some(violated) => {
                for line in &violated.history {
                    text.push_str(&format!("  {line}\n"));
                }
                text.push_str(&format!(
                    "VIOLATED, seed {}: {}: {}\n",
                    self.seed, violated.invariant, violated.found
                ));
            }
        }
        text
    }
}
