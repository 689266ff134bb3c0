//! The last step of `make demo`: waits until the pipeline holds what the site says it must, and prints it.

use std::{process::ExitCode, time::Duration};

use naru_tests::{
    cluster::{client, mysql},
    joongna::{Figures, Pipeline},
};
use tokio::time::Instant;

/// How long the pipeline may take.
const DEADLINE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> ExitCode {
    let client = client().await;
    let pipeline = Pipeline::demo();
    let start = Instant::now();
    println!("==> waiting until MySQL and the total hold what the site has");
    loop {
        let seen = pipeline.figures(&client).await;
        let missing = match &seen {
            Ok(figures) => figures.check().err(),
            Err(error) => Some(error.clone()),
        };
        match (seen, missing) {
            (Ok(figures), None) => {
                println!("    after {} s all is equal", start.elapsed().as_secs());
                return show(&pipeline, &figures).await;
            }
            (_, Some(missing)) if start.elapsed() > DEADLINE => {
                eprintln!(
                    "not within {} s: {missing}\n`kubectl get naru --output wide` tells more",
                    DEADLINE.as_secs()
                );
                return ExitCode::FAILURE;
            }
            (_, missing) => {
                println!(
                    "    {:>3} s  {}",
                    start.elapsed().as_secs(),
                    missing.unwrap_or_default()
                );
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

async fn show(pipeline: &Pipeline, figures: &Figures) -> ExitCode {
    let query = format!(
        "select productSeq, price, category1, category2, left(title, 30) from {} order by productSeq desc limit 5",
        pipeline.items
    );
    println!(
        "\nThe newest rows of table {}:\n{}",
        pipeline.items,
        mysql(&query).await.unwrap_or_else(|error| error)
    );
    println!("products on the site            {:>14}", figures.products);
    println!("rows in MySQL                   {:>14}", figures.rows);
    println!("products above 1,000,000 KRW    {:>14}", figures.dropped);
    println!(
        "expected total of the others    {:>14} KRW",
        figures.expected_total
    );
    println!("total that the pipeline has     {:>14} KRW", figures.total);
    match serde_json::to_string(figures) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
