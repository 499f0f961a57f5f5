//! `/`: whether money flows, and if not, why.

use super::elements::{ago, empty, length, status};
use super::frame::{self, Tab};
use super::guard::Visitor;
use super::refusal::Refusal;
use super::verdict::{self, Level, Verdict};
use super::{Ui, chart, playground};
use crate::domain::execution::Status;
use crate::store::{Backlog, EventFilter, EventRow, ExecutionFilter, ExecutionRow, HeldInstance, Per};
use axum::extract::State;
use axum::response::Html;
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

/// How many of the latest events and failures are shown.
const LATEST: u32 = 8;

/// The overview.
pub(super) async fn overview(State(ui): State<Ui>, visitor: Visitor) -> Result<Html<String>, Refusal> {
    let failed = ExecutionFilter { status: Some(Status::Failed.as_str()), ..ExecutionFilter::default() };
    let everything = EventFilter::default();
    let now = ui.store.now().await?;
    let (events, failures, backlog, held, counted) = tokio::try_join!(
        async { Ok::<_, Refusal>(ui.store.events(&everything, None, LATEST).await?) },
        async { Ok(ui.store.executions(&failed, None, LATEST).await?) },
        async { Ok(ui.store.backlog(&ui.instances).await?) },
        async { Ok(ui.store.held(&ui.instances).await?) },
        async { Ok(ui.store.statistics(Per::Hour, chart::first_hour(now), now).await?) },
    )?;
    let last_event = events.rows.first().map(|event| event.received_at);
    let verdict = verdict::judge(last_event, &backlog, &held, now);
    let body = html! {
        (headline(&verdict))
        @if let Some(playground) = &ui.playground { (playground::panel(&visitor, playground)) }
        section data-part="destinations" aria-labelledby="destinations" {
            h2 id="destinations" { "Destinations" }
            (destinations(&backlog, &held, now))
        }
        section data-part="day" aria-labelledby="day" {
            h2 id="day" { "The last 24 hours" }
            (chart::day(&counted, now))
        }
        div.columns {
            section data-part="events" aria-labelledby="latest" {
                div.head { h2 id="latest" { "Latest events" } a href="/events" { "All events" } }
                (latest_events(&events.rows, now))
            }
            section data-part="failures" aria-labelledby="failures" {
                div.head { h2 id="failures" { "Latest failures" } a href="/executions?status=failed" { "All failures" } }
                (latest_failures(&failures.rows, now))
            }
        }
    };
    Ok(frame::page(&visitor, Tab::Overview, &verdict.headline, &body))
}

fn headline(verdict: &Verdict) -> Markup {
    let tone = match verdict.level {
        Level::Good => "good",
        Level::Waits => "waits",
        Level::Bad => "bad",
    };
    html! {
        section class=(format!("verdict {tone}")) data-part="verdict" aria-live="polite" {
            h1 { (verdict.headline) }
            p { @for sentence in &verdict.sentences { (sentence) " " } }
        }
    }
}

fn destinations(backlog: &[Backlog], held: &[HeldInstance], now: DateTime<Utc>) -> Markup {
    html! {
        @if backlog.is_empty() {
            (empty("No destination is configured", "Events are stored and not delivered: DESTINATIONS is empty."))
        }
        div.cards {
            @for one in backlog {
                @let trouble = held.iter().find(|held| held.name == one.destination);
                article.card {
                    div.head {
                        h3 { (one.destination) }
                        (status(if trouble.is_some() { "held" } else { "ok" }))
                    }
                    dl.figures {
                        div { dt { "Pending" } dd { (verdict::waiting_words(one.pending, one.is_more)) } }
                        div {
                            dt { "Oldest" }
                            dd { @match one.oldest.and_then(|oldest| TimeDelta::from_std(oldest).ok()) {
                                Some(oldest) => (length(oldest)),
                                None => "–",
                            } }
                        }
                    }
                    @if let Some(held) = trouble {
                        p.reason { strong { (held.hold.remedy) } }
                        p.soft { "Held " (ago(held.since, now)) ": " (held.hold.reason) }
                        p.soft { "Nothing is lost and no attempt is counted. It goes on by itself once it works." }
                    }
                }
            }
        }
    }
}

fn latest_events(events: &[EventRow], now: DateTime<Utc>) -> Markup {
    html! {
        @if events.is_empty() {
            (empty("No event yet", "Point an endpoint of your Stripe account at /api/v1/webhooks/stripe."))
        } @else {
            ul.rows {
                @for event in events {
                    li {
                        a.row href=(format!("/events/{}", event.id)) {
                            span.row-main { (event.event_type) }
                            span.row-soft.mono { (event.object_id.as_deref().unwrap_or(&event.event_id)) }
                            span.row-end { (ago(event.received_at, now)) }
                        }
                    }
                }
            }
        }
    }
}

fn latest_failures(failures: &[ExecutionRow], now: DateTime<Utc>) -> Markup {
    html! {
        @if failures.is_empty() {
            (empty("Nothing has failed", "What fails for good is listed here, with the reason."))
        } @else {
            ul.rows {
                @for failure in failures {
                    li {
                        a.row href=(format!("/executions/{}", failure.id)) {
                            span.row-main { (failure.event_type) }
                            span.row-soft { (failure.reason.as_deref().unwrap_or_default()) }
                            span.row-end { (ago(failure.finished_at.unwrap_or(failure.created_at), now)) }
                        }
                    }
                }
            }
        }
    }
}
