//! Charts, as SVG: what arrives, the pods of each rule, and the lag of each rule, over time.

use std::fmt::Write;

use crate::{
    report::{RULES, Row},
    run::Moment,
};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 34.0;
/// Points of a line.
const POINTS: usize = 430;

/// The rules that are drawn, and their colours: naru last, on top.
const DRAWN: [(&str, &str); 3] = [("flink", "#c9892b"), ("keda", "#2f7ed8"), ("naru", "#c0392b")];

/// One row as a chart.
pub fn chart(row: &Row) -> String {
    let height = 3.0 * (PANEL + GAP) + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + LEFT + 20.0,
    );
    let arrival: fn(&Moment) -> f64 = |moment| moment.arrival;
    let pods: fn(&Moment) -> f64 = |moment| moment.replicas.into();
    let lag: fn(&Moment) -> f64 = |moment| moment.lag;
    let own = &row.outcomes[0].course;
    let panels = [
        ("records/s that arrive", vec![("#555555", own, arrival)]),
        ("pods (dashed: the fewest that keep up)", drawn(row, pods)),
        ("lag, records", drawn(row, lag)),
    ];
    for (number, (title, lines)) in panels.iter().enumerate() {
        let top = GAP + number as f64 * (PANEL + GAP);
        let most = lines
            .iter()
            .flat_map(|(_, course, of)| course.iter().map(of))
            .fold(1.0, f64::max);
        axis(&mut svg, top, title, most, own.len());
        if number == 1 {
            line(
                &mut svg,
                top,
                most,
                own,
                |moment| moment.oracle.into(),
                "#999999\" stroke-dasharray=\"4 3",
            );
        }
        for (colour, course, of) in lines {
            line(&mut svg, top, most, course, *of, colour);
        }
    }
    for (place, (name, colour)) in DRAWN.iter().rev().enumerate() {
        let x = LEFT + 90.0 * place as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"14\" fill=\"{colour}\" font-weight=\"bold\">{name}</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

type Line<'a> = (&'static str, &'a Vec<Moment>, fn(&Moment) -> f64);

fn drawn(row: &Row, of: fn(&Moment) -> f64) -> Vec<Line<'_>> {
    let found = |(name, colour): &(&str, &'static str)| {
        let place = RULES.iter().position(|rule| rule.name == *name)?;
        Some((*colour, &row.outcomes[place].course, of))
    };
    DRAWN.iter().filter_map(found).collect()
}

fn axis(svg: &mut String, top: f64, title: &str, most: f64, seconds: usize) {
    let (bottom, right) = (top + PANEL, LEFT + WIDTH);
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#333333\">{title}</text>",
        top - 4.0
    );
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#333333\"/>\
         <text x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{most:.0}</text><text x=\"{0}\" y=\"{bottom}\" text-anchor=\"end\">0</text>",
        LEFT - 6.0,
        top + 10.0,
    );
    for minute in (0..=seconds / 60).step_by(10) {
        let x = LEFT + WIDTH * (minute * 60) as f64 / seconds as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.0}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777777\" font-size=\"10\">{minute}</text>",
            bottom + 12.0
        );
    }
}

/// A staircase: each point is the most of its stretch of time.
fn line(svg: &mut String, top: f64, most: f64, course: &[Moment], of: fn(&Moment) -> f64, colour: &str) {
    let each = course.len().div_ceil(POINTS);
    let mut path = String::new();
    let mut last = String::new();
    for (number, stretch) in course.chunks(each).enumerate() {
        let value = stretch.iter().map(of).fold(0.0, f64::max);
        let x = LEFT + WIDTH * (number * each) as f64 / course.len() as f64;
        let y = format!("{:.1}", top + PANEL * (1.0 - value / most));
        if y != last {
            let _ = if path.is_empty() {
                write!(path, "M{x:.1} {y}")
            } else {
                write!(path, "H{x:.1}V{y}")
            };
            last = y;
        }
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}H{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
        LEFT + WIDTH
    );
}
