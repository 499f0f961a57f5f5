//! Acts on many: retries of executions and replays of events, by the filters of their lists.
//!
//! First comes a page that tells how many there are and how long they take, with nothing changed; its
//! form does it. An act takes so many at once and says where to go on, so no page takes long.

mod act;
mod replay;
mod retry;

pub(super) use act::show;
pub(super) use replay::{plan as plan_replay, replay, replay_link};
pub(super) use retry::{plan as plan_retry, retry, retry_link};

use super::Ui;
use super::elements::{address, count, empty, humanize_age, span};
use super::filters::{NotListed, Pairs, hidden, in_words};
use super::forms::optional_note_field;
use super::frame;
use super::guard::Visitor;
use super::refusal::Refusal;
use crate::domain::audit::Caller;
use crate::domain::destination_summary::seconds_for;
use crate::store::{Counts, Cursor};
use axum::response::Redirect;
use maud::{Markup, html};
use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// How many rows a statement takes.
const ROWS_AT_ONCE: u32 = 1000;

/// How many statements an act has.
const STEPS_MAX: usize = 10;

/// After this time an act begins no further statement.
const LONG: Duration = Duration::from_secs(8);

/// The longest note, in characters.
const NOTE_CHARACTERS_MAX: usize = 500;

/// What is written down of an act, and who it is.
#[derive(Debug, Clone, Copy)]
struct Deed<'a> {
    detail: &'a Value,
    caller: &'a Caller,
}

/// What one statement did, or would do.
#[derive(Debug, Default)]
struct Step {
    counts: Counts,
    created: u64,
    line: Option<i64>,
    next: Option<Cursor>,
}

/// What an act did, or would do.
#[derive(Debug, Default)]
struct Tally {
    counts: Counts,
    created: u64,
    /// Its first and its last line of the audit.
    lines: Option<(i64, i64)>,
    /// Where to go on; nothing where all were looked at.
    next: Option<Cursor>,
}

impl Tally {
    /// Takes step after step until there is nothing left, or enough is done. Where one fails after
    /// others did something, it is left to be gone on with.
    async fn of<F>(
        cursor: Option<Cursor>,
        mut step: impl FnMut(Option<Cursor>) -> F,
    ) -> Result<Self, NotListed>
    where
        F: Future<Output = Result<Step, NotListed>>,
    {
        let began = Instant::now();
        let mut tally = Self { next: cursor, ..Self::default() };
        for _ in 0..STEPS_MAX {
            let Step { counts, created, line, next } = match step(tally.next).await {
                Ok(step) => step,
                Err(NotListed::Refused(refusal)) if tally.lines.is_some() => {
                    warn!(?refusal, "an act on many ended early");
                    return Ok(tally);
                }
                Err(error) => return Err(error),
            };
            for (destination, count) in counts {
                *tally.counts.entry(destination).or_default() += count;
            }
            tally.created += created;
            tally.lines =
                line.map(|line| (tally.lines.map_or(line, |(first, _)| first), line)).or(tally.lines);
            tally.next = next;
            if tally.next.is_none() || began.elapsed() > LONG {
                break;
            }
        }
        Ok(tally)
    }

    fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// To the page that watches what was done.
    fn watched(self) -> Result<Redirect, Refusal> {
        let Some((first, last)) = self.lines else {
            return Err(Refusal::conflict(
                "Nothing was there to be done any more: the list has changed meanwhile. Nothing was done.",
            ));
        };
        let (last, cursor) = (last.to_string(), self.next.map(Cursor::encode));
        let pairs = [("last", Some(last.as_str())), ("cursor", cursor.as_deref())];
        Ok(Redirect::to(&address(&format!("/acts/{first}"), &pairs)))
    }
}

/// The words of one kind of act.
struct Words {
    /// What is done, as in "Retry 12 executions".
    verb: &'static str,
    /// Of what it is done: of one, and of several.
    things: [&'static str; 2],
    /// Where the form goes, and the page itself.
    path: &'static str,
    /// The list that it began with.
    list: &'static str,
    /// What is to be known before it is done.
    notes: &'static [&'static str],
}

/// The page that tells what would be done, and its form.
fn plan_page(
    ui: &Ui,
    visitor: &Visitor,
    words: &Words,
    pairs: &Pairs<'_>,
    more: &Markup,
    tally: &Tally,
) -> Markup {
    let all = tally.count();
    let number = count(i64::try_from(all).unwrap_or(i64::MAX));
    let [one, several] = words.things;
    let things = if all == 1 { one } else { several };
    let is_more = tally.next.is_some();
    html! {
        div {
            p.kicker { a href=(address(words.list, pairs)) { "Back to the list" } }
            h1 {
                @if all == 0 { "Nothing to " (words.verb.to_lowercase()) }
                @else { (words.verb) " " @if is_more { "the newest " } (number) " " (things) "?" }
            }
            p.lead { "Nothing is changed yet." }
        }
        @if all == 0 {
            (empty("Nothing here can be done again", "What runs is left alone, and so is what has no payload any more."))
        } @else {
            section.card aria-labelledby="plan" {
                h2.hidden id="plan" { "What would be done" }
                dl.figures {
                    @for (destination, some) in tally.counts.iter().filter(|(_, some)| **some > 0) {
                        div { dt { "To " (destination) } dd { (count(i64::try_from(*some).unwrap_or(i64::MAX))) } }
                    }
                    @if tally.created > 0 {
                        div { dt { "Not delivered before" } dd { (count(i64::try_from(tally.created).unwrap_or(i64::MAX))) } }
                    }
                    @if let Some(time) = takes(ui, &tally.counts) { div { dt { "Takes about" } dd { (time) } } }
                }
                ul.plain.soft {
                    @for note in words.notes { li { (note) } }
                    @if is_more { li { "There are more: go on with them when these are queued." } }
                }
                @if pairs.iter().any(|(_, value)| value.is_some()) { dl.facts.asked { (in_words(pairs)) } }
                (more)
                @if visitor.may_write() {
                    div.acts {
                        (frame::post(visitor, words.path, &html! {
                            (hidden(pairs))
                            (optional_note_field("A note for the audit, if you like", "the column is there again", NOTE_CHARACTERS_MAX))
                            button.primary type="submit" { (words.verb) " " (number) " " (things) }
                            a.button.quiet href=(address(words.list, pairs)) { "Leave it" }
                        }))
                    }
                }
            }
        }
    }
}

/// How long so many take at the rate of their connections; nothing where there is none.
fn takes(ui: &Ui, counts: &Counts) -> Option<String> {
    let time = seconds_for(&ui.destinations, counts).and_then(span)?;
    Some(if time.is_zero() { "a moment".to_owned() } else { humanize_age(time) })
}

/// The note and the filter, as the audit keeps them.
fn detail(filter: &Value, note: Option<&str>) -> Value {
    serde_json::json!({"filter": filter, "note": note})
}
