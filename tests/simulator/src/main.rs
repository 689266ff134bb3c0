//! `naru-simulator [--out FILE] [--docs FOLDER] [SHAPE...]`: lets all rules scale all loads, and prints how they compare.
//! With names of loads it prints each decision under them; with `--out` it writes the figures, with `--docs` the charts and
//! the tables of the docs.

use std::{env, fs, io, path::Path, process::ExitCode};

use naru_simulator::{
    chart::chart,
    report::{RULES, Row, all, json, legend, table, verdicts},
};

fn main() -> ExitCode {
    let rows = all();
    println!("{}\n{}\n{}", legend(), table(&rows), verdicts(&rows));
    let (mut out, mut docs, mut shapes) = (None, None, Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--out" => out = arguments.next(),
            "--docs" => docs = arguments.next(),
            _ => shapes.push(argument),
        }
    }
    for row in rows
        .iter()
        .filter(|row| shapes.iter().any(|shape| shape == row.shape.name))
    {
        tell(row);
    }
    let written = out
        .map_or(Ok(()), |out| fs::write(out, format!("{:#}\n", json(&rows))))
        .and_then(|()| docs.map_or(Ok(()), |docs| illustrate(Path::new(&docs), &rows)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("unable to write what came out: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(row: &Row) {
    for (rule, outcome) in RULES.iter().zip(&row.outcomes) {
        println!("{} under {}", rule.name, row.shape.name);
        for made in &outcome.decisions {
            println!(
                "  {:>5} s  {} to {}: {}",
                made.second, made.from, made.to, made.why
            );
        }
    }
}

/// Charts beside the page, and the tables into it, between their marks.
fn illustrate(docs: &Path, rows: &[Row]) -> io::Result<()> {
    let folder = docs.join("autoscaling");
    fs::create_dir_all(&folder)?;
    for row in rows {
        fs::write(folder.join(format!("{}.svg", row.shape.name)), chart(row))?;
    }
    let page = docs.join("autoscaling.md");
    let text = fs::read_to_string(&page)?;
    let (begin, end) = ("<!-- figures -->\n", "<!-- end of figures -->");
    let marks = text.find(begin).zip(text.find(end));
    let (from, to) = marks.ok_or_else(|| io::Error::other(format!("{} has no marks", page.display())))?;
    let figures = format!("{}\n{}\n{}", legend(), verdicts(rows), table(rows));
    fs::write(
        page,
        format!("{}\n{figures}\n{}", &text[..from + begin.len()], &text[to..]),
    )
}
