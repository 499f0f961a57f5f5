//! Charts of a time series as SVG: bars and lines on one scale, and the same numbers in a table below.
//!
//! The drawing fills the available width, and its text is not stretched. The labels of the scale stand beside it.
//! The last step is not over, so it is drawn paler: its numbers still grow. The script shows the numbers of the
//! step under the pointer, which it reads from the table.

use super::elements::{count, humanize, none, time};
use super::time_series::{Step, TimeSeries};
use crate::domain::destination_summary::Noun;
use maud::{Markup, html};
use std::fmt::Write as _;
use std::time::Duration;

/// The height of a drawing in its own units. Its width is [`STEP`] times the number of steps.
const HEIGHT: i64 = 1000;
const STEP: i64 = 100;

/// The gap between two bars.
const GAP: i64 = 18;

/// The minimum height of a bar whose value is not 0.
const LEAST: i64 = 12;

/// The grid lines of the latency chart.
const DECADES_MS: [u64; 8] = [100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 21_600_000, 86_400_000];

/// Returns a value of a step.
type Of = fn(&Step) -> i64;

/// The chart of received events, rejected webhooks, deliveries and failures.
pub(super) fn flow(series: &TimeSeries) -> Markup {
    let lines: [(&str, &str, Of); 4] = [
        ("Received", "received", |step| step.received),
        ("Rejected", "rejected", |step| step.rejected),
        ("Delivered", "delivered", |step| step.delivered),
        ("Failed", "failed", |step| step.failed),
    ];
    let highest = lines.iter().filter_map(|(.., of)| series.steps.iter().map(of).max()).max();
    let top = round_up(highest.unwrap_or_default());
    let y = |n: i64| HEIGHT - scaled(n, top);
    let shapes = html! {
        (bars(series, "received", top, |step| step.received))
        (line("delivered", &points(series, |step| Some(y(step.delivered)))))
        (bars(series, "rejected", top, |step| step.rejected))
        (bars(series, "failed", top, |step| step.failed))
    };
    let drawing = on_grid(&grid_of_counts(top), &canvas(series, &shapes));
    let description = lines.map(|(name, _, of)| format!("{name}: {}.", count(series.sum(of)))).join(" ");
    let legend = html! {
        ul.legend {
            @for (name, class, of) in lines {
                li { span class=(format!("key {class}")) {} (name) " " strong { (count(series.sum(of))) } }
            }
        }
    };
    let head = ["Received", "Rejected", "Delivered", "Failed"];
    let row = |step: &Step| lines.map(|(.., of)| html! { (count(of(step))) }).to_vec();
    figure(series, "flow", "Events", &legend, &drawing, &description, &table(series, &head, row))
}

/// The chart of the latency from receipt to delivery. Its title has the destinations' noun if they share one.
pub(super) fn latency(series: &TimeSeries, noun: Option<Noun>) -> Markup {
    let highest = series.steps.iter().filter_map(|step| step.p95_ms.max(step.p50_ms)).max().unwrap_or(1);
    let top = DECADES_MS.into_iter().find(|decade| *decade >= highest.max(1_000)).unwrap_or(highest);
    let y = |ms: Option<u64>| ms.map(|ms| HEIGHT - on_decades(ms, top));
    let decades = DECADES_MS.into_iter().filter(|decade| *decade <= top);
    let grid: Vec<GridLine> =
        decades.map(|decade| (HEIGHT - on_decades(decade, top), latency_text(decade))).collect();
    let shapes = html! {
        (line("p95", &points(series, |step| y(step.p95_ms))))
        (line("p50", &points(series, |step| y(step.p50_ms))))
    };
    let drawing = on_grid(&grid, &canvas(series, &shapes));
    let words = |ms: Option<u64>| ms.map_or_else(|| "–".to_owned(), latency_text);
    let legend = html! {
        ul.legend {
            li { span.key.p50 {} "Median " strong { (words(series.p50_ms)) } }
            li { span.key.p95 {} "95 % within " strong { (words(series.p95_ms)) } }
        }
    };
    let description = format!("Median: {}. 95 % within {}.", words(series.p50_ms), words(series.p95_ms));
    let cell = |ms: Option<u64>| ms.map_or_else(none, |ms| html! { (latency_text(ms)) });
    let row = |step: &Step| vec![cell(step.p50_ms), cell(step.p95_ms)];
    let table = table(series, &["Median", "95 % within"], row);
    let title = format!("From receipt to {}", noun.map_or("delivery", |noun| noun.one));
    figure(series, "latency", &title, &legend, &drawing, &description, &table)
}

/// The chart of the backlog. `at_least` and `now` are the present backlog, as a number and in words.
pub(super) fn backlog(series: &TimeSeries, at_least: u64, now: &str) -> Markup {
    let of = |step: &Step| step.pending;
    // What is pending now may not be recorded yet.
    let mut series = series.clone();
    if let Some(current) = series.steps.last_mut() {
        current.pending = current.pending.max(i64::try_from(at_least).unwrap_or(i64::MAX));
    }
    let series = &series;
    let highest = series.steps.iter().map(of).max().unwrap_or_default();
    let top = round_up(highest);
    let drawing = on_grid(&grid_of_counts(top), &canvas(series, &bars(series, "pending", top, of)));
    // It is recorded every few seconds, so 0 does not mean that nothing ever waited.
    let maximum = (highest > 0).then(|| count(highest));
    let legend = html! {
        ul.legend {
            li { span.key.pending {} "Now " strong { (now) } }
            @if let Some(maximum) = &maximum { li { "Maximum " strong { (maximum) } } }
        }
    };
    let description =
        maximum.map_or_else(|| format!("Now: {now}."), |maximum| format!("Now: {now}. Maximum: {maximum}."));
    let table = table(series, &["Pending (maximum)"], |step| vec![html! { (count(step.pending)) }]);
    figure(series, "backlog", "Backlog", &legend, &drawing, &description, &table)
}

fn figure(
    series: &TimeSeries,
    id: &str,
    title: &str,
    legend: &Markup,
    drawing: &Markup,
    description: &str,
    table: &Markup,
) -> Markup {
    let range = series.range;
    let title_id = format!("chart-{id}");
    let steps = series.steps.len();
    html! {
        figure.chart.card id=(id) data-chart {
            figcaption { h3 id=(title_id) { (title) } (legend) }
            svg.plot role="img" aria-labelledby=(title_id) aria-describedby=(format!("{title_id}-says")) {
                desc id=(format!("{title_id}-says")) { (description) " In steps of " (range.step_name()) ", over the last " (range.name()) ". The last step is not over." }
                (drawing)
            }
            div.times aria-hidden="true" {
                span { (time(series.start_of(0))) }
                span { (time(series.start_of(steps / 2))) }
                span { "now" }
            }
            details.numbers id=(format!("{title_id}-table")) { summary { "Numbers" } (table) }
        }
    }
}

/// The drawing, stretched to the available width.
fn canvas(series: &TimeSeries, shapes: &Markup) -> Markup {
    let width = STEP * i64::try_from(series.steps.len()).unwrap_or_default();
    html! {
        svg.canvas width="100%" height="100%" viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none" { (shapes) }
    }
}

/// The height of a horizontal line, and its label.
type GridLine = (i64, String);

fn grid_of_counts(top: i64) -> Vec<GridLine> {
    [0, top / 2, top].map(|n| (HEIGHT - scaled(n, top), count(n))).to_vec()
}

/// Adds the grid lines behind a drawing and their labels beside it.
fn on_grid(lines: &[GridLine], drawn: &Markup) -> Markup {
    let percent = |y: i64| format!("{}.{}%", y / 10, y.rem_euclid(10));
    html! {
        @for (y, _) in lines { line.grid x1="0" x2="100%" y1=(percent(*y)) y2=(percent(*y)) {} }
        (drawn)
        @for (y, value) in lines { text.tick x="100%" y=(percent(*y)) dx="7" dy=".35em" { (value) } }
    }
}

fn bars(series: &TimeSeries, class: &str, top: i64, of: impl Fn(&Step) -> i64) -> Markup {
    html! {
        g class=(class) {
            @for (place, (left, step)) in (0..).step_by(100).zip(&series.steps).enumerate() {
                @let n = of(step);
                @if n > 0 {
                    @let tall = scaled(n, top).max(LEAST);
                    rect.partial[series.is_last(place)] x=(left + GAP / 2) y=(HEIGHT - tall) width=(STEP - GAP) height=(tall) {}
                }
            }
        }
    }
}

/// The points of a line, one in the middle of each step.
fn points(series: &TimeSeries, y: impl Fn(&Step) -> Option<i64>) -> Vec<Option<(i64, i64)>> {
    (STEP / 2..).step_by(100).zip(&series.steps).map(|(x, step)| y(step).map(|y| (x, y))).collect()
}

/// The mark of an isolated point: a dash, because no line leads to it.
const DASH: &str = "m-30 0h60";

/// A line through these points, interrupted at missing ones; an isolated point is a dash. The part to the last
/// point, whose step is not over, is a line of its own.
fn line(class: &str, points: &[Option<(i64, i64)>]) -> Markup {
    let over = points.len().saturating_sub(1);
    let (over, last) = (points.get(..over).unwrap_or_default(), points.get(over.saturating_sub(1)..));
    // Without the point before it, it is isolated.
    let last = last.filter(|last| last.last().is_some_and(Option::is_some)).unwrap_or_default();
    html! {
        path class=(format!("line {class}")) d=(path_through(over)) vector-effect="non-scaling-stroke" {}
        @if !last.is_empty() {
            path class=(format!("line partial {class}")) d=(path_through(last)) vector-effect="non-scaling-stroke" {}
        }
    }
}

fn path_through(points: &[Option<(i64, i64)>]) -> String {
    let mut path = String::new();
    for run in points.split(Option::is_none) {
        let mut letter = 'M';
        for (x, y) in run.iter().flatten() {
            // Writing to a String cannot fail.
            let _ok = write!(path, "{letter}{x} {y}");
            letter = 'L';
        }
        if run.len() == 1 {
            path.push_str(DASH);
        }
    }
    path
}

fn table(series: &TimeSeries, head: &[&str], row: impl Fn(&Step) -> Vec<Markup>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Numbers" {
            table {
                thead { tr { th scope="col" { "From" } @for name in head { th.number scope="col" { (name) } } } }
                tbody {
                    @for (place, step) in series.steps.iter().enumerate() {
                        tr { td.when { (time(series.start_of(place))) @if series.is_last(place) { " so far" } } @for cell in row(step) { td.number { (cell) } } }
                    }
                }
            }
        }
    }
}

/// The height of a number.
fn scaled(n: i64, top: i64) -> i64 {
    n.clamp(0, top).saturating_mul(HEIGHT) / top.max(1)
}

/// The next round number: 1, 2 or 5 followed by zeros.
fn round_up(n: i64) -> i64 {
    let mut unit: i64 = 1;
    loop {
        for factor in [2, 4, 10] {
            let round = unit.saturating_mul(factor);
            if n <= round {
                return round;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// The height of a latency, on a logarithmic scale.
fn on_decades(ms: u64, top: u64) -> i64 {
    let [least, ms, top] = [100, ms.max(100), top.max(101)].map(logarithm);
    let share = (ms - least) / (top - least);
    whole(share.clamp(0.0, 1.0))
}

#[expect(clippy::cast_precision_loss, reason = "a latency in milliseconds needs no more than 52 bits")]
fn logarithm(ms: u64) -> f64 {
    (ms as f64).ln()
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and 1000")]
fn whole(share: f64) -> i64 {
    (share * 1000.0).round() as i64
}

fn latency_text(ms: u64) -> String {
    humanize(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::time_series::Range;
    use chrono::DateTime;

    fn history(change: impl Fn(usize, &mut Step)) -> TimeSeries {
        let from = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let mut series = TimeSeries::of(Range::Hour, from, &[]);
        series.steps.iter_mut().enumerate().for_each(|(place, step)| change(place, step));
        series
    }

    #[test]
    fn a_scale_ends_with_a_number_that_reads_well() {
        for (n, top) in [(0, 2), (2, 2), (3, 4), (5, 10), (11, 20), (399, 400), (401, 1_000), (1_001, 2_000)]
        {
            assert_eq!(round_up(n), top, "{n}");
        }
        assert!(round_up(i64::MAX) > 0);
    }

    #[test]
    fn every_number_is_drawn_and_told() {
        let drawn = flow(&history(|place, step| {
            step.received = i64::from(place < 3);
            step.failed = i64::from(place == 1);
        }))
        .into_string();
        assert_eq!(drawn.matches("<rect").count(), 4);
        assert_eq!(drawn.matches("<tr>").count(), 61);
        assert!(drawn.contains("Received: 3. Rejected: 0. Delivered: 0. Failed: 1."), "{drawn}");
        assert!(!drawn.contains("style="), "the policy forbids it");
    }

    #[test]
    fn latencies_lie_on_a_scale_of_decades_and_gaps_stay_gaps() {
        assert_eq!(
            (on_decades(100, 10_000), on_decades(1_000, 10_000), on_decades(10_000, 10_000)),
            (0, 500, 1000)
        );
        assert_eq!((on_decades(0, 1_000), on_decades(u64::MAX, 1_000)), (0, 1000));
        let drawn = latency(
            &history(|place, step| {
                step.p50_ms = (place != 5 && place < 7).then_some(500);
            }),
            None,
        )
        .into_string();
        assert_eq!(drawn.matches(DASH).count(), 1, "the point behind the gap is a dash");
        assert!(drawn.contains("500 ms"), "{drawn}");
    }

    #[test]
    fn the_step_that_is_not_over_is_drawn_apart() {
        let drawn = flow(&history(|_, step| (step.received, step.delivered) = (9, 9))).into_string();
        assert_eq!(drawn.matches("rect class=\"partial\"").count(), 1, "{drawn}");
        assert_eq!(drawn.matches("line partial delivered").count(), 1, "{drawn}");
        assert_eq!(drawn.matches(" so far</td>").count(), 1);
        let latency =
            |last| latency(&history(|place, step| step.p50_ms = (place == 59).then_some(last)), None);
        let isolated = latency(500).into_string();
        assert!(isolated.contains("line partial p50") && isolated.contains(DASH), "{isolated}");
    }

    #[test]
    fn a_backlog_that_was_never_seen_has_no_maximum() {
        let of =
            |pending| backlog(&history(|place, step| step.pending = i64::from(place == 3) * pending), 0, "0");
        assert!(!of(0).into_string().contains("Maximum"));
        assert!(of(7).into_string().contains("Maximum: 7."));
    }

    #[test]
    fn nothing_at_all_is_drawn_without_a_division_by_nothing() {
        let empty = history(|_, _| {});
        let all =
            [flow(&empty), latency(&empty, None), backlog(&empty, 0, "0")].map(Markup::into_string).concat();
        assert!(all.contains("Median: –") && !all.contains("NaN"), "{all}");
    }
}
