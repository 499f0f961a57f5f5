//! A story as a timeline: the lines of `domain::story` with states, links and times.

use super::elements::{capital, outside, status, time, took};
use crate::domain::event::{EventKey, EventOrigin};
use crate::domain::execution::Status;
use crate::domain::story::{Attempt, Line, LineTime, ManualOperation, What, Written};
use crate::domain::waiting::Waiting;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Which events and destinations the lines must name.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The display names of the events; empty if the page is about a single event.
    pub events: BTreeMap<EventKey, String>,
    /// Whether lines name the destination.
    pub destinations: bool,
}

/// The timeline, oldest first.
pub(super) fn timeline(lines: &[Line], names: &Names) -> Markup {
    html! {
        ol.timeline {
            @for line in lines {
                li class=(tone(&line.what)) {
                    div.what { (about(line, names)) (what(&line.what)) }
                    div.at { @match line.at { LineTime::At(at) => (time(at)), LineTime::Now(_) => "now" } }
                }
            }
        }
    }
}

/// What an execution waits for, as a sentence with a time in the reader's zone or a link to the execution
/// before it.
pub(super) fn waits(waiting: &Waiting) -> Markup {
    match waiting {
        Waiting::Until { next_try, reason } => html! {
            "Waits for its next attempt at " (time(*next_try)) @if let Some(reason) = reason { ": " bdi { (reason) } }
        },
        Waiting::BackingOff { until, cause, reason } => html! {
            "Its destination is backing off until " (time(*until)) " " (cause)
            @if let Some(reason) = reason { ": " bdi { (reason) } }
        },
        Waiting::Behind(first) => html! {
            "Waits for " a href=(format!("/executions/{first}")) { "execution " (first) } " of the same object, which comes first"
        },
        other => html! { bdi { (capital(&other.to_string())) } },
    }
}

/// The event and the destination of a line, unless the page is about them.
fn about(line: &Line, names: &Names) -> Markup {
    html! {
        @if let Some(name) = names.events.get(&line.event) {
            a.chip href=(format!("/events/{}", line.event.0)) { bdi { (name) } }
        }
        @if let Some((id, destination)) = line.execution.as_ref().filter(|_| names.destinations) {
            a.chip href=(format!("/executions/{id}")) { (destination) span.hidden { ", execution " (id) } }
        }
    }
}

fn what(what: &What) -> Markup {
    match what {
        What::Received { origin: EventOrigin::Webhook, secret } => html! {
            "Received, signed with the secret " strong { (secret) } ", and stored"
        },
        What::Received { origin: EventOrigin::Api, secret } => html! {
            "Fetched from its sender's API with the key " strong { (secret) } ", and stored"
        },
        What::Attempted { number, one, written } => attempt(*number, one, written.as_ref()),
        What::Manual { operation } => manual(operation),
        What::Ended { status: state, reason, remedy, written } => html! {
            "Finished: " (status(state.as_str())) (sentence(reason.as_deref())) (sentence(remedy.as_deref()))
            @if let Some(written) = written { p { (link(written)) } }
        },
        What::Pending { waiting } => html! {
            (status(Status::Pending.as_str())) " "
            @if let Some(waiting) = waiting { (waits(waiting)) }
        },
        What::Running => html! { (status(Status::Running.as_str())) " A worker is processing it" },
        // The text may contain external data.
        other => html! { bdi { (capital(&other.to_string())) } },
    }
}

fn attempt(number: u32, one: &Attempt, written: Option<&Written>) -> Markup {
    html! {
        "Attempt " (number) ": " (status(&one.outcome))
        @if let Some(code) = one.code { " " span.tag { "HTTP " (code) } }
        @if let Some(class) = one.class.as_ref().filter(|class| **class != one.outcome) { " " span.tag { (class) } }
        span.soft { " after " (took(one.duration_ms)) }
        (sentence(one.message.as_deref()))
        @if one.request.is_some() || written.is_some() {
            p.soft.pieces {
                @if let Some(request) = &one.request { span { "Request id " span.mono { (request) } } }
                @if let Some(written) = written { span { (link(written)) } }
            }
        }
    }
}

fn manual(operation: &ManualOperation) -> Markup {
    html! {
        (capital(operation.deed())) " by " strong { bdi { (operation.who) } } @if operation.with_others { ", with others" }
        (paragraph(operation.consequence().map(capital).as_deref()))
        (paragraph(operation.note.as_deref()))
    }
}

/// A text of the service, as a sentence of its own.
fn sentence(text: Option<&str>) -> Markup {
    paragraph(text.map(capital).as_deref())
}

fn paragraph(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { p { bdi { (text) } } } }
}

fn link(written: &Written) -> Markup {
    outside(&written.url, &format!("The {}", written.noun))
}

fn tone(what: &What) -> &'static str {
    match what {
        What::Attempted { one, .. } => match one.outcome.as_str() {
            "delivered" => "good",
            "permanent" | "gone" => "bad",
            _ => "waits",
        },
        What::Ended { status: Status::Success, .. } => "good",
        What::Ended { status: Status::Failed, .. } => "bad",
        What::Pending { .. } => "waits",
        What::Running => "runs",
        What::Manual { .. } => "hand",
        What::Waited { .. } => "wait",
        _ => "past",
    }
}
