//! `/`: the overview: the health assessment, charts, and the latest events, failures and changes.

use super::assessment::{banner, waiting_words};
use super::audit::{action, plain_subject};
use super::auth::Visitor;
use super::elements::{address, ago, capital, count, empty, humanize_age, in_parts, status};
use super::error_page::ErrorPage;
use super::events::Listed;
use super::layout::{self, Tab};
use super::query::Query;
use super::time_series::{Range, TimeSeries};
use super::{Ui, chart, destinations, playground};
use crate::domain::destination_summary::{Noun, common_noun};
use crate::domain::execution::Status;
use crate::domain::rejection::Diagnosis;
use crate::health::{Snapshot, assess};
use crate::store::{AuditRow, EventFilter, ExecutionFilter, ExecutionRow, Replica, WORKER_DEAD_AFTER};
use axum::extract::State;
use axum::response::Html;
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;
use tracing::debug;

/// The number of the latest events, failures and changes on the page.
const LATEST: u32 = 8;

/// The query of the overview: the time range of the charts.
#[derive(Debug, Deserialize)]
pub(super) struct OverviewQuery {
    range: Option<String>,
}

/// The overview.
pub(super) async fn overview(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<OverviewQuery>,
) -> Result<Html<String>, ErrorPage> {
    let Gathered { snapshot, series, events, failures, changes, replicas, cards } =
        gather(&ui, Range::of(query.range.as_deref())).await?;
    let now = snapshot.now;
    let assessment = assess(&snapshot, &ui.thresholds);
    let body = html! {
        (banner(&assessment, now))
        @if let Some(playground) = &ui.playground { (playground::panel(&visitor, playground)) }
        (numbers(&series, &snapshot, common_noun(&ui.destinations)))
        section data-part="destinations" aria-labelledby="destinations" {
            div.head { h2 id="destinations" { "Destinations" } a href="/destinations" { "Details" } }
            (destinations::cards(&visitor, &cards, now))
        }
        div.columns {
            section data-part="events" aria-labelledby="latest" {
                div.head { h2 id="latest" { "Latest events" } a href="/events" { "All events" } }
                (latest_events(&events, now))
            }
            section data-part="failures" aria-labelledby="failures" {
                div.head { h2 id="failures" { "Latest failures" } a href="/failures" { "By cause" } }
                (latest_failures(&failures, now))
            }
        }
        div.columns.three {
            section data-part="rejections" aria-labelledby="rejections" {
                h2 id="rejections" { "Rejected webhooks" }
                (rejected(&snapshot.causes_of_rejections, &series, now))
            }
            section data-part="changes" aria-labelledby="changes" {
                div.head { h2 id="changes" { "Manual changes" } a href="/audit" { "Audit" } }
                (manual_changes(&changes, now))
            }
            section data-part="replicas" aria-labelledby="replicas" {
                h2 id="replicas" { "Replicas" }
                (processes(&replicas, now))
            }
        }
    };
    Ok(layout::page(&visitor, Tab::Overview, &assessment.headline, &body))
}

/// The data of the overview.
struct Gathered {
    snapshot: Arc<Snapshot>,
    series: Arc<TimeSeries>,
    events: Vec<Listed>,
    failures: Vec<ExecutionRow>,
    changes: Vec<AuditRow>,
    replicas: Vec<Replica>,
    cards: Vec<destinations::Card>,
}

async fn gather(ui: &Ui, range: Range) -> Result<Gathered, ErrorPage> {
    let failed = ExecutionFilter { status: Some(Status::Failed.as_str()), ..ExecutionFilter::default() };
    let everything = EventFilter::default();
    let (snapshot, series, events, failures, rows) = tokio::try_join!(
        ui.snapshot(),
        ui.time_series(range),
        async {
            let events = ui.store.events.events(&everything, None, LATEST).await?.rows;
            Ok::<_, ErrorPage>(Listed::read(ui, events).await?)
        },
        async { Ok(ui.store.reports.executions(&failed, None, LATEST).await?.rows) },
        async {
            let changes = ui.store.reports.audited(None, None, LATEST).await?.rows;
            let replicas = ui.store.reports.replicas().await?;
            Ok((changes, replicas))
        },
    )?;
    let (changes, replicas) = rows;
    let cards = destinations::read_cards(ui, &snapshot).await?;
    Ok(Gathered { snapshot, series, events, failures, changes, replicas, cards })
}

/// Reads the overview's data in advance, so that the first visitor finds open connections and prepared
/// statements.
pub(super) async fn prepare(ui: &Ui) {
    // The second round uses the connections of the first one in another order.
    for _ in 0..2 {
        if gather(ui, Range::of(None)).await.is_err() {
            debug!("warming up the overview failed; the first page takes longer");
            return;
        }
    }
}

/// The charts, and the links to their time ranges.
fn numbers(series: &TimeSeries, snapshot: &Snapshot, noun: Option<Noun>) -> Markup {
    let pending = snapshot.backlogs().map(|backlogs| {
        let at_least = backlogs.iter().map(|(_, backlog)| backlog.pending).sum();
        (at_least, waiting_words(at_least, backlogs.iter().any(|(_, backlog)| backlog.is_more)))
    });
    html! {
        section data-part="numbers" aria-labelledby="numbers" {
            div.head {
                h2 id="numbers" { "The last " (series.range.name()) }
                nav.ranges aria-label="Time range" {
                    @for range in Range::ALL {
                        a href=(address("/", &[("range", Some(range.word()))])) aria-current=[(range == series.range).then_some("true")] {
                            span aria-hidden="true" { (range.word()) } span.hidden { "The last " (range.name()) }
                        }
                    }
                }
            }
            div.charts {
                (chart::flow(series))
                (chart::latency(series, noun))
                @if let Some((at_least, waiting)) = &pending { (chart::backlog(series, *at_least, waiting)) }
            }
        }
    }
}

fn latest_events(events: &[Listed], now: DateTime<Utc>) -> Markup {
    html! {
        @if events.is_empty() {
            (empty("No event yet", "Set up a webhook endpoint at the sender with the URL of this service and the path /api/v1/webhooks/ followed by the name of the source."))
        } @else {
            ul.rows {
                @for Listed { event, amount } in events {
                    li {
                        a.row href=(format!("/events/{}", event.id)) {
                            span.row-main { (in_parts(&event.event_type)) }
                            span.row-soft {
                                @if let Some(amount) = amount { (amount) " · " }
                                span.mono { (event.object_id.as_deref().unwrap_or(&event.event_id)) }
                            }
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
            (empty("No failures", "Executions that fail for good are listed here, with the reason."))
        } @else {
            ul.rows {
                @for failure in failures {
                    li {
                        a.row href=(format!("/executions/{}", failure.id)) {
                            span.row-main { (in_parts(&failure.event_type)) }
                            span.row-soft { (capital(failure.reason.as_deref().unwrap_or_default())) }
                            span.row-end { (ago(failure.finished_at.unwrap_or(failure.created_at), now)) }
                        }
                    }
                }
            }
        }
    }
}

fn rejected(causes: &[Diagnosis], series: &TimeSeries, now: DateTime<Utc>) -> Markup {
    let all = series.sum(|step| step.rejected);
    html! {
        @if all > 0 { p.soft { (count(all)) " rejected in the last " (series.range.name()) ". The newest causes:" } }
        @if causes.is_empty() {
            (empty("None", "Webhooks that fail verification are listed here, with the cause and the remedy."))
        } @else {
            ul.notes {
                @for cause in causes {
                    li {
                        div.head {
                            strong { (count(i64::try_from(cause.count).unwrap_or(i64::MAX))) " rejected" }
                            span.soft { (ago(cause.last_at, now)) }
                        }
                        p { (cause.message) }
                        @if cause.is_current || !cause.cause.is_fixable() {
                            p.soft { (cause.remedy) }
                        } @else {
                            p.soft {
                                (if now - cause.last_at < TimeDelta::days(1) { "Webhooks have been accepted since then." } else { "No further one for a day." })
                            }
                        }
                    }
                }
            }
        }
    }
}

fn manual_changes(changes: &[AuditRow], now: DateTime<Utc>) -> Markup {
    html! {
        @if changes.is_empty() {
            (empty("None", "Retries, pauses and all other manual changes appear here."))
        } @else {
            ul.rows {
                @for change in changes {
                    li.row {
                        span.row-main { (action(&change.action)) }
                        span.row-soft { (plain_subject(change)) " by " bdi { (change.who) } }
                        span.row-end { (ago(change.at, now)) }
                    }
                }
            }
        }
    }
}

fn processes(replicas: &[Replica], now: DateTime<Utc>) -> Markup {
    html! {
        @if replicas.is_empty() {
            (empty("None", "No worker is running, because no destination is configured."))
        } @else {
            ul.rows {
                @for replica in replicas {
                    @let is_alive = replica.silent_for < WORKER_DEAD_AFTER;
                    li.row {
                        span.row-main { (status(if is_alive { "working" } else { "silent" })) }
                        span.row-soft { span.mono { (replica.id.to_string().get(..8).unwrap_or_default()) } " · version " (replica.version) " · " (count(replica.running.into())) " running" }
                        span.row-end {
                            @match TimeDelta::from_std(replica.silent_for) {
                                Ok(silent) if !is_alive => { "heartbeat " (humanize_age(silent)) " ago" },
                                _ => { "up " (humanize_age(now - replica.started_at)) },
                            }
                        }
                    }
                }
            }
        }
    }
}
