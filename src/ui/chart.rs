//! The last day in bars: what was received, delivered and failed in each hour.

use super::elements::count;
use crate::store::Statistic;
use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

const HOURS: usize = 24;
const WIDTH: i64 = 30;
const HEIGHT: i64 = 96;

/// What is counted, the word of the statistics for it, and its colour.
const SERIES: [(&str, &str, &str); 3] =
    [("Received", "received", "runs"), ("Delivered", "delivered", "good"), ("Failed", "failed", "bad")];

/// When the first hour of the chart begins.
pub(super) fn first_hour(now: DateTime<Utc>) -> DateTime<Utc> {
    let hours = i64::try_from(HOURS).unwrap_or_default() - 1;
    now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now) - TimeDelta::hours(hours)
}

/// A small chart for each series, its sum beside it, and all numbers as a text for those who listen.
pub(super) fn day(statistics: &[Statistic], now: DateTime<Utc>) -> Markup {
    let begin = first_hour(now);
    html! {
        div.charts {
            @for (title, kind, tone) in SERIES {
                @let hours = hours(statistics, kind, begin);
                @let sum: i64 = hours.iter().sum();
                figure.card.chart {
                    figcaption { span.soft { (title) } strong { (count(sum)) } }
                    (bars(&hours, begin, title, tone))
                }
            }
        }
    }
}

fn bars(hours: &[i64; HOURS], begin: DateTime<Utc>, title: &str, tone: &str) -> Markup {
    let highest = hours.iter().copied().max().unwrap_or_default().max(1);
    let width = WIDTH * i64::try_from(HOURS).unwrap_or_default();
    let sum: i64 = hours.iter().sum();
    html! {
        svg class=(format!("bars {tone}")) viewBox=(format!("0 0 {width} {HEIGHT}")) preserveAspectRatio="none" role="img"
            aria-label=(format!("{title} in each of the last {HOURS} hours: {sum} in all, {highest} at most", highest = if sum == 0 { 0 } else { highest })) {
            line x1="0" x2=(width) y1=(HEIGHT - 1) y2=(HEIGHT - 1) {}
            @for (left, (hour, n)) in (0..).step_by(30).zip(hours.iter().enumerate()) {
                @if *n > 0 {
                    @let tall = (n * (HEIGHT - 4) / highest).max(3);
                    @let at = begin + TimeDelta::hours(i64::try_from(hour).unwrap_or_default());
                    rect x=(left + 4) y=(HEIGHT - tall) width=(WIDTH - 8) height=(tall) {
                        title { (at.to_rfc3339_opts(SecondsFormat::Secs, true)) ": " (count(*n)) }
                    }
                }
            }
        }
    }
}

/// The numbers of each hour, whatever their reason or destination.
fn hours(statistics: &[Statistic], kind: &str, begin: DateTime<Utc>) -> [i64; HOURS] {
    let mut hours = [0_i64; HOURS];
    for statistic in statistics.iter().filter(|statistic| statistic.kind == kind) {
        let hour = usize::try_from((statistic.at - begin).num_hours()).ok();
        if let Some(sum) = hour.and_then(|hour| hours.get_mut(hour)) {
            *sum = sum.saturating_add(statistic.n);
        }
    }
    hours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fall_into_their_hours_and_others_are_left_out() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let begin = first_hour(now);
        assert!(now - begin >= TimeDelta::hours(23) && now - begin < TimeDelta::hours(24));
        let one = |hours, kind: &str, n| Statistic {
            at: begin + TimeDelta::hours(hours),
            kind: kind.to_owned(),
            name: String::new(),
            le_ms: 0,
            n,
        };
        let counted = [
            one(0, "received", 2),
            one(0, "received", 3),
            one(23, "received", 1),
            one(0, "failed", 7),
            one(24, "received", 9),
            one(-1, "received", 9),
        ];
        let found = hours(&counted, "received", begin);
        assert_eq!((found[0], found[23], found.iter().sum::<i64>()), (5, 1, 6));
        assert!(day(&counted, now).into_string().contains("Received in each of the last 24 hours: 6 in all"));
    }
}
