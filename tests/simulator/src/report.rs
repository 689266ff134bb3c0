//! All rules under all loads, and a table of it.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::{
    flink::Flink,
    keda::Keda,
    naru::Naru,
    rules::Setup,
    run::{Outcome, run},
    shape::{SHAPES, Shape},
};

/// The rules. naru's is the first.
pub const RULES: [Setup; 6] = [
    Setup {
        name: "naru",
        about: "all settings as they are if nothing is said",
        yardstick: false,
        make: Naru::unknowing,
    },
    Setup {
        name: "naru-knowing",
        about: "the same, once it is known what a pod can do: after the first time that the group worked flat out",
        yardstick: false,
        make: Naru::knowing,
    },
    Setup {
        name: "keda",
        about: "KEDA with a HorizontalPodAutoscaler, `lagThreshold` 10000: what a pod does in 10 s",
        yardstick: true,
        make: Keda::ten_seconds,
    },
    Setup {
        name: "flink",
        about: "Flink's autoscaler, as it is if nothing is said",
        yardstick: true,
        make: Flink::plain,
    },
    Setup {
        name: "keda-10",
        about: "KEDA with the `lagThreshold` that it has if nothing is said, 10",
        yardstick: false,
        make: Keda::plain,
    },
    Setup {
        name: "flink-quick",
        about: "Flink's rule in naru's times: window 60 s, catch-up 60 s, scale-down 5 min",
        yardstick: false,
        make: Flink::quick,
    },
];

/// What each rule came to under one load, in the order of [`RULES`].
pub struct Row {
    pub shape: Shape,
    pub outcomes: Vec<Outcome>,
}

/// Everything.
pub fn all() -> Vec<Row> {
    let row = |shape: Shape| Row {
        shape,
        outcomes: RULES
            .iter()
            .map(|rule| run(shape, (rule.make)(shape.min_replicas)))
            .collect(),
    };
    SHAPES.into_iter().map(row).collect()
}

impl Row {
    /// naru's lag and pods as parts of the better yardstick's, each by itself.
    pub fn against(&self, rule: usize) -> (f64, f64) {
        let best = |of: fn(&Outcome) -> f64| {
            let pairs = RULES.iter().zip(&self.outcomes);
            pairs
                .filter(|(rule, _)| rule.yardstick)
                .map(|(_, outcome)| of(outcome))
                .fold(f64::INFINITY, f64::min)
        };
        let (lag, pods) = (
            |outcome: &Outcome| outcome.lag_seconds,
            |outcome: &Outcome| outcome.pod_seconds,
        );
        let naru = &self.outcomes[rule];
        (naru.lag_seconds / best(lag), naru.pod_seconds / best(pods))
    }

    /// Which yardsticks are better in one and not worse in the other.
    pub fn beaten_by(&self) -> Vec<&'static str> {
        let naru = &self.outcomes[0];
        let better = |other: &Outcome| {
            let (lag, pods) = (other.lag_seconds, other.pod_seconds);
            lag <= naru.lag_seconds
                && pods <= naru.pod_seconds
                && (lag, pods) != (naru.lag_seconds, naru.pod_seconds)
        };
        let pairs = RULES
            .iter()
            .zip(&self.outcomes)
            .filter(|(rule, _)| !rule.name.starts_with("naru"));
        pairs
            .filter(|(_, outcome)| better(outcome))
            .map(|(rule, _)| rule.name)
            .collect()
    }
}

/// The table of the docs, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| load | rule | lag, million record-seconds | pod-hours | decisions | most lag |\n|---|---|---:|---:|---:|---:|\n",
    );
    for row in rows {
        for (number, (rule, outcome)) in RULES.iter().zip(&row.outcomes).enumerate() {
            let name = if number == 0 {
                format!("**{}**: {}", row.shape.name, row.shape.about)
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {:.2} | {:.2} | {} | {} |",
                if number == 0 { "**naru**" } else { rule.name },
                outcome.lag_seconds / 1e6,
                outcome.pod_seconds / 3600.0,
                outcome.decisions.len(),
                thousands(outcome.most_lag()),
            );
        }
    }
    text
}

/// What the rules are, in Markdown.
pub fn legend() -> String {
    let lines = RULES
        .iter()
        .map(|rule| format!("* `{}`: {}\n", rule.name, rule.about));
    lines.collect()
}

/// naru against the better of the yardsticks in each figure, in Markdown.
pub fn verdicts(rows: &[Row]) -> String {
    let mut text = String::from(
        "| load | lag by the least of keda's and flink's | pods by the fewest of theirs | | worse in both than |\n\
         |---|---:|---:|---|---|\n",
    );
    for row in rows {
        let (lag, pods) = row.against(0);
        let verdict = match (lag <= 1.005, pods <= 1.005) {
            (true, true) => "no worse in both",
            (false, true) => "**more lag**",
            (true, false) => "**more pods**",
            (false, false) => "**more of both**",
        };
        let worse = row.beaten_by().join(", ");
        let worse = if worse.is_empty() {
            "none".to_owned()
        } else {
            worse
        };
        let _ = writeln!(
            text,
            "| {} | {} | {pods:.2} | {verdict} | {worse} |",
            row.shape.name,
            ratio(lag)
        );
    }
    text
}

fn ratio(ratio: f64) -> String {
    if ratio.is_finite() {
        format!("{ratio:.2}")
    } else {
        "they had none".to_owned()
    }
}

/// What `make bench` writes.
pub fn json(rows: &[Row]) -> Value {
    let naru = |name: &str| {
        rows.iter()
            .find(|row| row.shape.name == name)
            .map(|row| &row.outcomes[0])
    };
    let shapes: Map<_, _> = rows
        .iter()
        .map(|row| {
            let rules = RULES.iter().zip(&row.outcomes).map(|(rule, outcome)| {
                let figures = json!({
                    "lagSeconds": outcome.lag_seconds.round(), "podSeconds": outcome.pod_seconds,
                    "decisions": outcome.decisions.len(), "mostLag": outcome.most_lag().round(),
                });
                (rule.name.to_owned(), figures)
            });
            (row.shape.name.to_owned(), Value::Object(rules.collect()))
        })
        .collect();
    json!({
        "decisions": naru("step").map(|step| step.decisions.iter().filter(|made| made.to > made.from).count()),
        "overshootPods": naru("step").map(Outcome::overshoot),
        "scaleInsDuringOutage": naru("outage").map(Outcome::scale_ins_during_outage),
        "stepReactionS": naru("step").and_then(|step| step.reaction(300)),
        "shapes": shapes,
    })
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
