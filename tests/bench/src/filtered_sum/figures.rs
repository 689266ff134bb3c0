//! The figures of a run. What was not measured is null.

use std::{path::Path, time::Duration};

use serde::Serialize;
use serde_json::Value;
use snafu::ResultExt;

use super::error::Error;

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// When the run began.
    pub(crate) at: String,
    /// Profile that the programs were compiled with.
    pub(crate) profile: &'static str,
    pub(crate) cores: usize,
    pub(crate) records: u64,
    pub(crate) seconds: u64,
    pub(crate) records_per_s: Option<f64>,
    pub(crate) bare_batch_records_per_s: Option<f64>,
    pub(crate) ratio_to_bare_batch: Option<f64>,
    /// Processor seconds of the worker and of those that it is compared with, for all records.
    pub(crate) cpu_s: Option<f64>,
    pub(crate) bare_batch_cpu_s: Option<f64>,
    pub(crate) decode_million_per_s: Option<f64>,
    pub(crate) kafka_streams_records_per_s: Option<f64>,
    pub(crate) kafka_streams_cpu_s: Option<f64>,
    pub(crate) kafka_streams_rss_mb: Option<f64>,
    pub(crate) ratio_to_kafka_streams: Option<f64>,
    pub(crate) cpu_ratio_to_kafka_streams: Option<f64>,
    pub(crate) bytewax_records_per_s: Option<f64>,
    pub(crate) ratio_to_bytewax_per_cpu: Option<f64>,
    pub(crate) exactly_once_p50_ms: Option<f64>,
    pub(crate) exactly_once_p99_ms: Option<f64>,
    pub(crate) fast_interval_p50_ms: Option<f64>,
    pub(crate) fast_interval_p99_ms: Option<f64>,
    pub(crate) upsert_p50_ms: Option<f64>,
    pub(crate) upsert_p99_ms: Option<f64>,
    pub(crate) commit_p50_ms: Option<f64>,
    pub(crate) rss_mb: Option<f64>,
    pub(crate) rss_idle_mb: Option<f64>,
    pub(crate) start_s: Option<f64>,
    #[serde(rename = "restore10kS")]
    pub(crate) restore_10k_s: Option<f64>,
}

impl Report {
    /// Writes the file and the folder that it is in.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).whatever_context("unable to make the folder of the figures")?;
        }
        let text = serde_json::to_string_pretty(self).whatever_context("the figures cannot be written")?;
        std::fs::write(path, text + "\n").whatever_context("the figures cannot be written")
    }

    /// The figures, a line each.
    pub(crate) fn table(&self) -> String {
        let Ok(Value::Object(figures)) = serde_json::to_value(self) else {
            return String::new();
        };
        let lines: Vec<_> = figures
            .iter()
            .map(|(name, figure)| format!("{name:<28} {figure}"))
            .collect();
        lines.join("\n")
    }
}

/// Nearest rank, in milliseconds. 0 without samples.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let sample = sorted.get(rank - 1).copied().unwrap_or_default();
    round(sample.as_secs_f64() * 1000.0)
}

/// The one in the middle; of an even number the lower one.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<_> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// Three digits after the point.
pub(crate) fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The median of a histogram in the Prometheus format, in its own unit. Within a bucket values count as evenly spread.
pub(crate) fn histogram_median(text: &str, name: &str) -> Option<f64> {
    let start = format!("{name}_bucket{{le=\"");
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| {
            let (bound, count) = line.strip_prefix(&start)?.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        })
        .collect();
    let (_, all) = *buckets.last()?;
    let half = all / 2.0;
    let (mut below, mut before) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= half && count > before {
            return Some(below + (bound - below) * (half - before) / (count - before))
                .filter(|median| median.is_finite());
        }
        (below, before) = (bound, count);
    }
    None
}

/// A value of a text in the Prometheus format.
pub(crate) fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_a_histogram_lies_within_its_bucket() {
        let text = "x_bucket{le=\"1.0\"} 0\nx_bucket{le=\"2.0\"} 10\nx_bucket{le=\"+Inf\"} 20\nx_sum 4\nx_count 20\n";
        assert_eq!(histogram_median(text, "x"), Some(2.0));
        let text = text.replace("\"+Inf\"} 20", "\"+Inf\"} 10");
        assert_eq!(histogram_median(&text, "x"), Some(1.5));
        assert_eq!(histogram_median("", "x"), None);
        assert_eq!(metric(&text, "x_count"), Some(20.0));
    }

    #[test]
    fn a_median_and_a_percentile_are_samples_that_were_seen() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([]), None);
        let samples = (1..=100).map(Duration::from_millis).collect::<Vec<_>>();
        assert!((percentile(&samples, 99) - 99.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let written = serde_json::to_value(Report::default()).unwrap();
        assert_eq!(written["restore10kS"], Value::Null);
        assert!(written.get("upsertP99Ms").is_some());
    }
}
