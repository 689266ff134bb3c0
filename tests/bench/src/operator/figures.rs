//! The figures of a run, and how they are taken from samples.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;

/// What is written to the file. A figure that was not measured is left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// When the run began.
    pub(crate) at: String,
    /// Profile that the operator was compiled with.
    pub(crate) profile: String,
    pub(crate) cores: usize,
    #[serde(skip)]
    began: Option<Instant>,
    pub(crate) seconds: u64,
    #[serde(flatten)]
    pub(crate) edits: Option<Edits>,
    #[serde(rename = "rssIdleMb", skip_serializing_if = "Option::is_none")]
    pub(crate) rss_idle_mb: Option<f64>,
    #[serde(flatten)]
    pub(crate) crowd: Option<Crowd>,
    #[serde(flatten)]
    pub(crate) crud: Option<Crud>,
    #[serde(flatten)]
    pub(crate) isolation: Option<Isolation>,
    #[serde(flatten)]
    pub(crate) failover: Option<Failover>,
}

/// Milliseconds from the request to edit a resource to the news that its Deployment changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Edits {
    pub(crate) edit_samples: usize,
    #[serde(rename = "editP50Ms")]
    pub(crate) edit_p50: f64,
    #[serde(rename = "editP99Ms")]
    pub(crate) edit_p99: f64,
    /// The same for a bare patch of a Deployment, between the edits.
    #[serde(rename = "yardstickP50Ms")]
    pub(crate) yardstick_p50: f64,
    #[serde(rename = "yardstickP99Ms")]
    pub(crate) yardstick_p99: f64,
    /// Requests to the API server, none of them a watch, per pass over a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_calls_per_reconcile: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_calls_per_edit: Option<f64>,
    /// Thousandths of a core with 100 resources that nobody touches, scaled by lag and having none.
    pub(crate) idle_millicores: f64,
}

/// The operator's resident memory with a thousand resources.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Crowd {
    /// Scaled by lag, and having none.
    #[serde(rename = "rss1000Mb")]
    pub(crate) rss: f64,
    /// Thousandths of a core, scaled by lag and having none.
    #[serde(rename = "idle1000Millicores")]
    pub(crate) idle: f64,
}

/// Seconds for 500 resources.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Crud {
    /// From the first request to create until all have been created, changed and deleted.
    #[serde(rename = "crud500S")]
    pub(crate) all: f64,
    #[serde(rename = "crudCreateS")]
    pub(crate) create: f64,
    #[serde(rename = "crudChangeS")]
    pub(crate) change: f64,
    #[serde(rename = "crudDeleteS")]
    pub(crate) delete: f64,
    /// From the last of them until Kubernetes' own garbage collector has taken the Deployments.
    #[serde(rename = "crudCollectS")]
    pub(crate) collect: f64,
}

/// Milliseconds from the request to edit a connector to its configuration arriving at Connect.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Isolation {
    /// p99 with connectors on a Connect cluster that never answers, by the p99 without.
    pub(crate) isolation_ratio: f64,
    #[serde(rename = "isolationWithoutP50Ms")]
    pub(crate) without_p50: f64,
    #[serde(rename = "isolationWithoutP99Ms")]
    pub(crate) without_p99: f64,
    #[serde(rename = "isolationWithP50Ms")]
    pub(crate) with_p50: f64,
    #[serde(rename = "isolationWithP99Ms")]
    pub(crate) with_p99: f64,
}

/// Seconds from the end of a leader to the first change that its successor makes. The slowest of the rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failover {
    pub(crate) failover_rounds: usize,
    /// The leader was told to stop.
    pub(crate) failover_clean_s: f64,
    /// The leader was ended with SIGKILL.
    pub(crate) failover_kill_s: f64,
}

impl Report {
    pub(crate) fn new(profile: &str) -> Self {
        Self {
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            profile: profile.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            began: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// Writes the file and the folder that it is in.
    pub(crate) fn write(&mut self, path: &Path) -> io::Result<()> {
        self.seconds = self.began.map_or(0, |began| began.elapsed().as_secs());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// The figures, a line each.
    pub(crate) fn table(&self) -> String {
        let Ok(Value::Object(figures)) = serde_json::to_value(self) else {
            return String::new();
        };
        let lines: Vec<_> = figures
            .iter()
            .map(|(name, figure)| format!("{name:<26} {figure}"))
            .collect();
        lines.join("\n")
    }
}

/// The smallest sample that `percent` of the samples do not exceed (nearest rank), in milliseconds with two
/// digits. 0 without samples.
pub(crate) fn percentile(samples: &[Duration], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let sample = sorted.get(rank - 1).copied().unwrap_or_default();
    round(sample.as_secs_f64() * 1000.0)
}

/// Two digits after the point.
pub(crate) fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        milliseconds.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_a_sample_that_was_seen() {
        // (samples, percent, expected)
        let cases = [
            (of(1..=100), 50, 50.0),
            (of(1..=100), 99, 99.0),
            (of((1..=500).rev()), 99, 495.0),
            (of([7]), 99, 7.0),
            (of([3, 9]), 50, 3.0),
            (of([]), 99, 0.0),
        ];
        for (samples, percent, expected) in cases {
            let found = percentile(&samples, percent);
            assert!(
                (found - expected).abs() < f64::EPSILON,
                "{percent} of {samples:?}: {found}"
            );
        }
    }

    #[test]
    fn a_figure_that_was_not_measured_is_left_out() {
        let mut report = Report::new("dev");
        report.crud = Some(Crud {
            all: 1.5,
            create: 0.5,
            change: 0.5,
            delete: 0.5,
            collect: 9.0,
        });
        let written = serde_json::to_value(&report).unwrap_or_default();
        assert_eq!(written["crud500S"], 1.5);
        assert!(written.get("rssIdleMb").is_none() && written.get("editP99Ms").is_none());
    }
}
