//! What happened to an event on its way to one destination, oldest first.

use super::elements::{status, time, took};
use crate::domain::execution::Status;
use crate::store::{AttemptRow, EventRow, ExecutionRow};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

struct Moment {
    at: Option<DateTime<Utc>>,
    tone: &'static str,
    what: Markup,
}

/// The timeline, from Stripe to where the execution stands now. `attempts` are newest first.
pub(super) fn timeline(
    event: &EventRow,
    execution: &ExecutionRow,
    attempts: &[AttemptRow],
    instances: &[String],
) -> Markup {
    let mut moments = Vec::new();
    if let Some(created) = event.created {
        moments.push(moment(created, "past", html! { "It happened, as " (event.source) " says." }));
    }
    let received = html! {
        "It was received, verified with the secret " strong { (event.secret_name) } ", and stored."
    };
    moments.push(moment(event.received_at, "past", received));
    moments.extend(attempts.iter().rev().map(tried));
    moments.extend(now(execution, instances));
    html! {
        ol.timeline {
            @for moment in &moments {
                li class=(moment.tone) {
                    div.what { (moment.what) }
                    div.at { @if let Some(at) = moment.at { (time(at)) } @else { "now" } }
                }
            }
        }
    }
}

fn moment(at: DateTime<Utc>, tone: &'static str, what: Markup) -> Moment {
    Moment { at: Some(at), tone, what }
}

fn tried(attempt: &AttemptRow) -> Moment {
    let tone = match attempt.outcome.as_str() {
        "delivered" => "good",
        "permanent" | "gone" => "bad",
        _ => "waits",
    };
    let what = html! {
        "A try of " (took(attempt.duration_ms)) ": " (status(&attempt.outcome))
        @if let Some(code) = attempt.response_code { span.tag { "HTTP " (code) } }
        @if let Some(class) = &attempt.error_class { span.tag { (class) } }
        @if let Some(message) = &attempt.message { p { (message) } }
        @if let Some(request_id) = &attempt.request_id { p.soft { "Request id " span.mono { (request_id) } } }
    };
    moment(attempt.started_at, tone, what)
}

/// Where it stands, unless the last try said so already.
fn now(execution: &ExecutionRow, instances: &[String]) -> Option<Moment> {
    let reason = execution.why(instances);
    match execution.status.parse() {
        Ok(Status::Pending) => Some(Moment {
            at: None,
            tone: "waits",
            what: html! {
                "It waits" @if let Some(reason) = &reason { ": " (reason) }
                p.soft { "The next try is due " (time(execution.run_at)) "." }
            },
        }),
        Ok(Status::Running) => {
            Some(Moment { at: None, tone: "runs", what: html! { "A worker has it just now." } })
        }
        Ok(status @ (Status::Skipped | Status::Superseded | Status::Cancelled)) => Some(Moment {
            at: execution.finished_at,
            tone: "past",
            what: html! { "It ended as " (status.as_str()) @if let Some(reason) = &reason { ": " (reason) } },
        }),
        _ => None,
    }
}
