//! The verdict on the overview: its headline, its sentences, and their times in the reader's zone.

use super::elements::ago;
use crate::domain::verdict::{self, Level, Piece, Verdict};
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

/// The verdict, with its weightiest sentence first.
pub(super) fn banner(verdict: &Verdict, now: DateTime<Utc>) -> Markup {
    let tone = match verdict.level {
        Level::Ok => "good",
        Level::Warning => "waits",
        Level::Critical => "bad",
    };
    html! {
        section class=(format!("verdict {tone}")) data-part="verdict" aria-live="polite" {
            h1 { (verdict.headline) }
            @for trouble in &verdict.troubles { p { (words(&trouble.sentence, now)) } }
            p.rest { @for sentence in &verdict.rest { (words(sentence, now)) " " } }
        }
    }
}

fn words(sentence: &[Piece], now: DateTime<Utc>) -> Markup {
    html! { @for piece in sentence { (self::piece(piece, now)) } }
}

fn piece(piece: &Piece, now: DateTime<Utc>) -> Markup {
    match piece {
        Piece::Words(words) => html! { (words) },
        Piece::Ago(at) => ago(*at, now),
        Piece::Way { page, words, .. } => html! { a href=(page) { (words) } },
        Piece::At(at) => html! {
            time data-clock="" datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) {
                (at.format(if at.date_naive() == now.date_naive() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" }))
            }
        },
    }
}

/// How many wait, or that they are more than were counted.
pub(super) fn waiting_words(waiting: u64, is_more: bool) -> String {
    let words = verdict::count(waiting, is_more);
    if is_more { words.replacen('m', "M", 1) } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::{Matter, Trouble};

    #[test]
    fn times_of_a_sentence_are_left_to_the_readers_zone() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let verdict = Verdict {
            level: Level::Critical,
            headline: "Notion is held".to_owned(),
            troubles: vec![Trouble {
                matter: Matter::Held,
                level: Level::Critical,
                headline: "Notion is held".to_owned(),
                sentence: vec![
                    Piece::Words("Held since ".to_owned()),
                    Piece::At(now),
                    Piece::Words(": <b>.".to_owned()),
                ],
                remedy: String::new(),
            }],
            rest: Vec::new(),
        };
        let shown = banner(&verdict, now).into_string();
        assert!(
            shown
                .contains("Held since <time data-clock=\"\" datetime=\"2027-01-15T08:00:00.000Z\">08:00 UTC")
        );
        assert!(shown.contains("verdict bad") && shown.contains(": &lt;b&gt;."), "{shown}");
        assert_eq!(waiting_words(20_000, true), "More than 20\u{202f}000");
    }
}
