//! What a key costs: memory, and how many records with a key a core adds in a second. Prints one line of JSON.
//!
//! `cargo bench --package naru-filtered-sum --bench keys`. Keys of 16 bytes, each of which adds something to one of 100 groups:
//! a million keys that come for the first time, then each of them again with another value, in another order.

use std::fs;
use std::time::Instant;

use naru_filtered_sum::keys::Keys;
use naru_filtered_sum::partition::{Groups, Outcome, PartitionTotals};
use serde_json::json;

const KEYS: u64 = 1_000_000;
/// Odd, so that each key is met once.
const STEP: u64 = 611_953;

fn main() {
    let groups: Vec<String> = (0..100).map(|group| format!("group {group}")).collect();
    let mut totals = PartitionTotals::fresh(0, 0, Groups::new()).with_keys(Some(Keys::default()));
    let before = resident();
    let mut offset = 0;
    let mut all = |totals: &mut PartitionTotals, more: i128| {
        let started = Instant::now();
        for number in 0..KEYS {
            let key = (number * STEP) % KEYS;
            let group = &groups[usize::try_from(key % 100).expect("it is small")];
            let value = Some(i128::from(key) + more);
            let outcome = Outcome::Summed {
                group: Some(group),
                value,
            };
            let text = format!("key-{key:012}");
            let added = totals.apply_keyed(offset, text.as_bytes(), outcome);
            added.expect("the sum is small");
            offset += 1;
            // As often as a worker commits.
            if offset % 20_000 == 0 {
                totals.committed();
            }
        }
        round(1.0 / started.elapsed().as_secs_f64())
    };
    let first = all(&mut totals, 0);
    let bytes = (resident() - before) as f64 / KEYS as f64;
    let again = all(&mut totals, 1);
    let keys = totals.keys().map_or(0, Keys::len);
    let figures = json!({
        "keys": keys, "bytesPerKey": round(bytes), "newMillionPerS": first, "replacedMillionPerS": again,
    });
    println!("{figures}");
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// Resident memory of this process, bytes.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kilobytes
        .and_then(|text| text.parse::<i64>().ok())
        .expect("it is a number")
}
