//! The picture: a bar for each rate.

use crate::figures::Results;
use maud::{Markup, html};

const BARS: &[(&str, &str, &str, &str)] = &[
    ("nothing", "per_second", "stored nowhere", "#9aa4b2"),
    ("postgres", "per_second", "Postgres alone", "#9aa4b2"),
    ("each", "per_second", "a commit for each request", "#9aa4b2"),
    ("ingest", "per_second", "ingest", "#635bff"),
    ("beside", "per_second", "ingest beside delivery", "#635bff"),
    ("flat", "drained_per_second", "both, flat backlog", "#635bff"),
    ("growth", "per_second", "ingest, full tables", "#635bff"),
    ("drain", "per_second", "delivery to nowhere", "#0a8f6c"),
    ("pages", "per_second", "webhook to page", "#0a8f6c"),
    ("default", "per_second", "the same by default", "#0a8f6c"),
];

const WIDTH: f64 = 760.0;
const LABEL: f64 = 190.0;
const NUMBER: f64 = 80.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// An SVG that reads on a light and on a dark page.
pub fn picture(results: &Results) -> String {
    let bars: Vec<_> = BARS
        .iter()
        .filter_map(|(scenario, figure, label, colour)| {
            Some((results.get(scenario, figure)?, *label, *colour))
        })
        .collect();
    let most = bars.iter().map(|(value, ..)| *value).fold(1.0, f64::max);
    let mut top = 8.0;
    let rows: Vec<Markup> = bars
        .iter()
        .map(|(value, label, colour)| {
            let row = bar(top, *value, value / most * (WIDTH - LABEL - NUMBER), label, colour);
            top += ROW;
            row
        })
        .collect();
    let height = top + 28.0;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}"))
            font-family="system-ui, sans-serif" font-size="13" role="img" {
            title { "Answers and executions in a second, by scenario" }
            style { "text{fill:#3c4257}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}}" }
            @for row in rows { (row) }
            text x=(LABEL) y=(top + 14.0) font-size="11" { "in a second; one machine of two cores for senders, service and Postgres together" }
        }
    }
    .into_string()
}

fn bar(top: f64, value: f64, length: f64, label: &str, colour: &str) -> Markup {
    let middle = top + BAR / 2.0 + 4.5;
    html! {
        text x=(LABEL - 10.0) y=(middle) text-anchor="end" { (label) }
        rect x=(LABEL) y=(top) width=(format!("{length:.1}")) height=(BAR) rx="3" fill=(colour) {}
        text x=(format!("{:.1}", LABEL + length + 8.0)) y=(middle) { (format!("{value:.0}")) }
    }
}
