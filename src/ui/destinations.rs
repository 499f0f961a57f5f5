//! `/destinations`: the state of each instance, why it is paused, and pausing and resuming it manually.

use super::Ui;
use super::assessment::{second, waiting_words};
use super::auth::Visitor;
use super::elements::{ago, capital, count, done, empty, humanize, humanize_age, status, time};
use super::error_page::ErrorPage;
use super::forms::{note_field, note_of};
use super::layout::{self, Tab};
use super::query::{Form, Path, Query};
use crate::domain::backing_off::BackingOff;
use crate::health::{DestinationBacklog, Snapshot};
use crate::store::{DestinationRow, Limiter, PausedInstance};
use axum::extract::State;
use axum::response::{Html, Redirect};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

/// The length limit of a note, in characters.
const NOTE_CHARACTERS_MAX: usize = 500;

/// The query of the page: the last action.
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    done: Option<String>,
}

/// What the form of a pause sends.
#[derive(Debug, Deserialize)]
pub(super) struct PauseForm {
    #[serde(default)]
    note: String,
}

/// The data of an instance's card.
#[derive(Debug)]
pub(super) struct Card {
    name: String,
    pause: Option<PausedInstance>,
    /// Until when processes leave it alone after repeated failures.
    backing_off: Option<BackingOff>,
    /// When the next probe checks whether it works again.
    probe_at: Option<DateTime<Utc>>,
    /// What is pending; `None` if it is unknown.
    backlog: Option<DestinationBacklog>,
    rate: Rate,
}

/// The rate limit of an instance, and its present use.
#[derive(Debug, Default)]
struct Rate {
    per_minute: Option<u32>,
    blocked_until: Option<DateTime<Utc>>,
    /// When the next call may start, if that is in the future.
    next_at: Option<DateTime<Utc>>,
    /// The number of calls in the last minute.
    calls: i64,
    /// Whether other instances share it.
    is_shared: bool,
}

/// The page.
pub(super) async fn list(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Html<String>, ErrorPage> {
    let snapshot = ui.snapshot().await?;
    let cards = read_cards(&ui, &snapshot).await?;
    let now = snapshot.now;
    let body = html! {
        (done(query.done.as_deref()))
        div {
            h1 { "Destinations" }
            p.lead { "Where events are delivered. While a destination is paused, nothing is delivered to it and nothing is lost: incoming events wait and use no attempts." }
        }
        section data-part="destinations" aria-labelledby="each" {
            h2.hidden id="each" { "All destinations" }
            (self::cards(&visitor, &cards, now))
        }
    };
    Ok(layout::page(&visitor, Tab::Destinations, "Destinations", &body))
}

/// Pauses an instance until an operator resumes it.
pub(super) async fn pause(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(name): Path<String>,
    Form(form): Form<PauseForm>,
) -> Result<Redirect, ErrorPage> {
    let name = configured(&ui, name)?;
    let note = note_of(&form.note, NOTE_CHARACTERS_MAX)?;
    ui.store.destinations.pause_manually(&name, note, &visitor.who).await?;
    info!(instance = name, who = visitor.who.name(), "destination paused manually");
    Ok(Redirect::to("/destinations?done=paused"))
}

/// Resumes an instance, whatever paused it.
pub(super) async fn resume(
    State(ui): State<Ui>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Redirect, ErrorPage> {
    let name = configured(&ui, name)?;
    if ui.store.destinations.resume_manually(&name, &visitor.who).await? {
        info!(instance = name, who = visitor.who.name(), "destination resumed manually");
        ui.notifier.notify();
    }
    Ok(Redirect::to("/destinations?done=resumed"))
}

/// The cards of all configured instances, by name.
pub(super) async fn read_cards(ui: &Ui, snapshot: &Snapshot) -> Result<Vec<Card>, ErrorPage> {
    let connections: Vec<_> = ui.destinations.iter().filter_map(|target| target.connection.clone()).collect();
    let (rows, limiters) = tokio::try_join!(
        ui.store.destinations.destinations(&ui.instances),
        ui.store.rate_limits.limiters(&connections)
    )?;
    let card = |row: DestinationRow| {
        let known = snapshot.destinations.iter().find(|known| known.name == row.name);
        Card {
            rate: Rate::of(ui, &row.name, &limiters),
            backlog: known.and_then(|known| known.backlog),
            backing_off: known.and_then(|known| known.backing_off.clone()),
            pause: row.pause,
            probe_at: row.probe_at,
            name: row.name,
        }
    };
    Ok(rows.into_iter().map(card).collect())
}

/// A card for each instance, with its buttons for visitors who may write.
pub(super) fn cards(visitor: &Visitor, cards: &[Card], now: DateTime<Utc>) -> Markup {
    html! {
        @if cards.is_empty() {
            (empty("No destination is configured", "Events are stored but not delivered, because DESTINATIONS is empty."))
        } @else {
            div.cards.wide { @for shown in cards { (card(visitor, shown, now)) } }
        }
    }
}

fn card(visitor: &Visitor, shown: &Card, now: DateTime<Utc>) -> Markup {
    let word = match (&shown.pause, &shown.backing_off) {
        (Some(_), _) => "paused",
        (None, Some(rest)) if rest.is_everywhere() => "backing off",
        (None, _) => "working",
    };
    html! {
        article.card.destination aria-labelledby=(format!("destination-{}", shown.name)) {
            div.head {
                h3 id=(format!("destination-{}", shown.name)) { (shown.name) }
                (status(word))
            }
            dl.figures {
                @if let Some(backlog) = &shown.backlog { (pending(backlog, shown.pause.is_some())) }
            }
            (rate(&shown.rate, now))
            @if let Some(paused) = &shown.pause { (reason(paused, shown.probe_at, now)) }
            @else if let Some(rest) = &shown.backing_off { (resting(rest, now)) }
            @if visitor.may_write() { (buttons(visitor, shown)) }
        }
    }
}

fn reason(paused: &PausedInstance, probe_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    html! {
        div.reason {
            @if paused.pause.is_manual() {
                p {
                    strong { "Paused by " bdi { (paused.pause.by.as_deref().unwrap_or("an operator")) } ": " }
                    bdi { (paused.pause.reason) }
                }
                p.soft { "Since " (time(paused.since)) ", " (ago(paused.since, now)) ". Deliveries continue when an operator resumes it." }
            } @else {
                p { strong { (sentence(&paused.pause.remedy)) } }
                p.soft { (sentence(&paused.pause.reason)) }
                p.soft {
                    "Paused since " (time(paused.since)) ", " (ago(paused.since, now)) ". It resumes by itself once it works"
                    @if let Some(at) = probe_at { @if at > now { "; the next probe is at " (second(at)) } }
                    "."
                }
            }
        }
    }
}

/// A remedy or reason as a sentence of its own.
fn sentence(text: &str) -> String {
    format!("{}.", capital(text.trim_end_matches('.')))
}

fn resting(rest: &BackingOff, now: DateTime<Utc>) -> Markup {
    html! {
        div.reason {
            p {
                strong {
                    @if rest.until > now { "Backing off until " (second(rest.until)) } @else { "Tried again now" }
                    " " (rest.cause())
                }
            }
            p.soft { "It is tried again by itself, with new events first." }
        }
    }
}

fn buttons(visitor: &Visitor, shown: &Card) -> Markup {
    let resume = format!("/destinations/{}/resume", shown.name);
    let is_manual = shown.pause.as_ref().is_some_and(|paused| paused.pause.is_manual());
    html! {
        div.action-bar {
            @if shown.pause.is_some() {
                (layout::post_form(visitor, &resume, &html! {
                    button.primary[is_manual] type="submit" { (if is_manual { "Resume" } else { "Resume now" }) }
                }))
            }
            @if !is_manual {
                details.fold id=(format!("pause-{}", shown.name)) {
                    summary { (if shown.pause.is_some() { "Pause manually instead" } else { "Pause" }) }
                    (layout::post_form(visitor, &format!("/destinations/{}/pause", shown.name), &html! {
                        (note_field(&shown.name, "Reason", "moving to another database", NOTE_CHARACTERS_MAX))
                        button type="submit" { "Pause " (shown.name) }
                    }))
                }
            }
        }
    }
}

/// The use of the rate limit, in words and as a bar.
fn rate(rate: &Rate, now: DateTime<Utc>) -> Markup {
    let Some(per_minute) = rate.per_minute else {
        return html! { p.rate.soft { "Its calls have no rate limit." } };
    };
    let used = rate.calls.clamp(0, per_minute.into());
    let next = rate.next_at.filter(|at| *at > now);
    html! {
        div.rate {
            p {
                strong { (count(rate.calls)) } " of " strong { (count(per_minute.into())) } " calls a minute used"
                @if rate.is_shared { span.soft { ", with others that share the rate" } }
            }
            p.soft {
                @match (rate.blocked_until, next) {
                    (Some(until), _) => { "The destination asked for no calls until " (time(until)) "." },
                    (None, Some(at)) => { "The next call may start in " (humanize((at - now).to_std().unwrap_or_default())) "." },
                    (None, None) => "The next call may start immediately.",
                }
            }
            svg.gauge viewBox=(format!("0 0 {per_minute} 1")) preserveAspectRatio="none" aria-hidden="true" focusable="false" {
                rect.rest width=(per_minute) height="1" {}
                rect.used width=(used) height="1" {}
            }
        }
    }
}

fn pending(backlog: &DestinationBacklog, is_paused: bool) -> Markup {
    let DestinationBacklog { pending, is_more, later, next_at, oldest, .. } = *backlog;
    let oldest = oldest.and_then(|oldest| TimeDelta::from_std(oldest.waited).ok());
    html! {
        div { dt { "Pending" } dd { (waiting_words(pending, is_more)) } }
        div { dt { "Oldest" } dd { (or_dash(oldest)) } }
        @if later > 0 {
            @if let Some(next) = next_at {
                div { dt { (count(i64::try_from(later).unwrap_or(i64::MAX))) " waiting for retry, next at" } dd { (second(next)) } }
            }
        }
        @if let Some(clears_in) = backlog.clears_in_words() {
            div { dt { "Clears in" @if is_paused { ", once resumed" } } dd { (clears_in) } }
        }
    }
}

fn or_dash(time: Option<TimeDelta>) -> String {
    time.map_or_else(|| "–".to_owned(), humanize_age)
}

fn configured(ui: &Ui, name: String) -> Result<String, ErrorPage> {
    if ui.instances.contains(&name) {
        Ok(name)
    } else {
        Err(ErrorPage::not_found("No destination with this name is configured."))
    }
}

impl Rate {
    fn of(ui: &Ui, name: &str, limiters: &[Limiter]) -> Self {
        let Some(target) = ui.destinations.iter().find(|target| target.name() == name) else {
            return Self::default();
        };
        let sharing = ui.destinations.iter().filter(|other| other.connection == target.connection).count();
        let known = limiters.iter().find(|row| Some(&row.connection) == target.connection.as_ref());
        Self {
            per_minute: target.per_minute.map(u32::from),
            blocked_until: known.and_then(|row| row.blocked_until),
            next_at: known.and_then(|row| row.next_at),
            calls: known.map_or(0, |row| row.calls),
            is_shared: target.connection.is_some() && sharing > 1,
        }
    }
}
