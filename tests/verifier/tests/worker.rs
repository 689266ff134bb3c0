//! A short run of the verifier: the long one is `make verify`.

use std::process::Command;

#[test]
fn a_sum_is_right_at_every_moment_while_workers_brokers_and_the_network_fail() {
    let report = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_naru-verifier"))
        .args(["--rounds", "5", "--faults", "kill,step,twin,cut,broker"])
        .arg("--report")
        .arg(report.path().join("report.json"))
        .status();
    assert!(run.unwrap().success());
}
