//! The verifier has teeth: workers that are broken on purpose do not pass, and for the reason that they are broken.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::process::Command;

use naru_tests::loopback::program;

/// Runs a worker that is broken in this way once for each seed. Each run must find one of these invariants violated.
fn is_found(broken: &str, faults: &str, invariants: &[&str]) {
    let seeds = std::env::var("NARU_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    for seed in 1..=seeds.unwrap_or(1) {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let seed = seed.to_string();
        let run = Command::new(env!("CARGO_BIN_EXE_naru-verifier"))
            .env("NARU_BROKEN", broken)
            .args([
                "--brokers",
                "1",
                "--workers",
                "3",
                "--rounds",
                "10",
                "--seed",
                &seed,
            ])
            .args(["--faults", faults, "--worker"])
            .arg(program("naru-filtered-sum-broken"))
            .arg("--report")
            .arg(&report)
            .status();
        assert_eq!(run.unwrap().code(), Some(1), "{broken:?} passes with seed {seed}");
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
        let found = report["violation"]["invariant"].as_str().unwrap();
        assert!(invariants.contains(&found), "{}", report["violation"]);
    }
}

#[test]
fn a_worker_that_commits_offsets_outside_of_the_transaction_is_found() {
    is_found("outside", "step", &["I4"]);
}

#[test]
fn a_worker_that_is_not_fenced_is_found() {
    is_found("unfenced", "twin", &["I2", "I5", "I7"]);
}

#[test]
fn a_worker_that_commits_what_it_processed_instead_of_what_is_next_is_found() {
    is_found("processed", "kill", &["I4"]);
}
