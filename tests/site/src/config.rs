//! What can be chosen about a site, as arguments of the binary or fields in a test.

use clap::Args;

use crate::Growth;

/// What a site sells and how it grows.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Chooses the products, the holes, the layouts and whom faults hit
    #[arg(long, env = "NARU_SITE_SEED", default_value_t = Self::default().seed)]
    pub seed: u64,
    /// Smallest id
    #[arg(long, env = "NARU_SITE_FIRST_ID", default_value_t = Self::default().first_id)]
    pub first_id: u64,
    /// Ids at the start, holes among them
    #[arg(long, env = "NARU_SITE_INITIAL", default_value_t = Self::default().initial)]
    pub initial: u64,
    /// New ids per second
    #[arg(long, env = "NARU_SITE_PER_SECOND", default_value_t = Self::default().per_second)]
    #[arg(value_parser = rate, allow_negative_numbers = true)]
    pub per_second: f64,
    /// Most ids from --initial and --per-second together; 0 is no limit
    #[arg(long, env = "NARU_SITE_LIMIT", default_value_t = Self::default().limit)]
    pub limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            first_id: 228_000_001,
            initial: 600,
            per_second: 0.0,
            limit: 0,
        }
    }
}

impl Config {
    pub(crate) fn growth(&self) -> Growth {
        Growth {
            first_id: self.first_id,
            initial: self.initial,
            per_second: self.per_second,
            limit: self.limit,
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if rate.is_finite() && rate >= 0.0 {
        Ok(rate)
    } else {
        Err("expected 0 or more".to_owned())
    }
}
