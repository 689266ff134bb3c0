//! `naru-simulator [--decisions SHAPE] [--out FILE] [--docs FOLDER]`: prints how the rules compare.

use std::env;

use naru_simulator::report::{RULES, all, table, verdicts};

fn main() {
    let rows = all();
    println!("{}", table(&rows));
    println!("{}", verdicts(&rows));
    let arguments: Vec<_> = env::args().skip(1).collect();
    for row in &rows {
        if !arguments.iter().any(|name| name == row.shape.name) {
            continue;
        }
        for (rule, outcome) in RULES.iter().zip(&row.outcomes) {
            println!("{} under {}", rule.name, row.shape.name);
            for made in &outcome.decisions {
                println!("  {:>5} s  {} -> {}: {}", made.second, made.from, made.to, made.why);
            }
        }
    }
}
