//! The health assessment on the overview: its headline, its sentences, and their times in the reader's zone.

use super::elements::ago;
use crate::domain::quantity;
use crate::health::{Assessment, Level, Part};
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

/// The assessment, with its worst finding first.
pub(super) fn banner(assessment: &Assessment, now: DateTime<Utc>) -> Markup {
    let tone = match assessment.level {
        Level::Ok => "good",
        Level::Warning => "waits",
        Level::Critical => "bad",
    };
    html! {
        section class=(format!("assessment {tone}")) data-part="assessment" aria-live="polite" {
            h1 { (assessment.headline) }
            @for finding in &assessment.findings { p { (text(&finding.sentence, now)) } }
            p.rest { @for sentence in &assessment.rest { (text(sentence, now)) " " } }
        }
    }
}

fn text(sentence: &[Part], now: DateTime<Utc>) -> Markup {
    html! { @for part in sentence { (self::part(part, now)) } }
}

fn part(part: &Part, now: DateTime<Utc>) -> Markup {
    match part {
        Part::Text(text) => html! { (text) },
        Part::Ago(at) => ago(*at, now),
        Part::Link { page, text, .. } => html! { a href=(page) { (text) } },
        Part::AtSecond(at) => second(*at),
        Part::At(at) => html! {
            time data-clock="" datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) {
                (at.format(if at.date_naive() == now.date_naive() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" }))
            }
        },
    }
}

/// A time that is near, with its seconds.
pub(super) fn second(at: DateTime<Utc>) -> Markup {
    html! {
        time data-second="" datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) { (at.format("%H:%M:%S UTC")) }
    }
}

/// The number of pending executions, marked if there are more than were counted.
pub(super) fn waiting_words(waiting: u64, is_more: bool) -> String {
    let words = quantity::count(waiting, is_more);
    if is_more { words.replacen('m', "M", 1) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Finding, FindingKind};

    #[test]
    fn times_of_a_sentence_are_left_to_the_readers_zone() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let assessment = Assessment {
            level: Level::Critical,
            headline: "Notion is paused".to_owned(),
            findings: vec![Finding {
                key: "paused notion columns".to_owned(),
                matter: FindingKind::Paused,
                failure_group: None,
                level: Level::Critical,
                headline: "Notion is paused".to_owned(),
                sentence: vec![
                    Part::Text("Paused since ".to_owned()),
                    Part::At(now),
                    Part::Text(": <b>.".to_owned()),
                ],
                remedy: String::new(),
                since: Some(now),
                notice: None,
            }],
            rest: Vec::new(),
        };
        let shown = banner(&assessment, now).into_string();
        assert!(
            shown.contains(
                "Paused since <time data-clock=\"\" datetime=\"2027-01-15T08:00:00.000Z\">08:00 UTC"
            )
        );
        assert!(shown.contains("assessment bad") && shown.contains(": &lt;b&gt;."), "{shown}");
        assert_eq!(waiting_words(20_000, true), "More than 20,000");
    }
}
