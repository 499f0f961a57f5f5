//! The payload of an event on a page: formatted up to a limit, or the note that it was removed.

mod json;

use super::Ui;
use super::elements::time;
use super::error_page::ErrorPage;
use crate::domain::event::EventKey;
use crate::store::RemovedPayload;
use bytes::Bytes;
use maud::{Markup, html};

/// A body, as far as it exists.
pub(super) enum Kept {
    /// The complete body.
    Whole(Bytes),
    /// It was removed.
    Removed(RemovedPayload),
    /// The event does not exist any more.
    Nothing,
}

/// The body of an event, or that it was removed.
pub(super) async fn kept(ui: &Ui, key: EventKey) -> Result<Kept, ErrorPage> {
    if let Some(removed) = ui.store.events.payload_removed(key).await? {
        return Ok(Kept::Removed(removed));
    }
    Ok(ui.store.events.payload(key).await?.map_or(Kept::Nothing, |payload| Kept::Whole(payload.body)))
}

/// Why a body was removed.
pub(super) fn why_removed(removed: &RemovedPayload) -> &'static str {
    match removed.why.as_str() {
        "erasure" => "its customer's data was erased",
        _ => "its retention period ended",
    }
}

/// The payload section: the formatted body up to a limit, and a link to the complete body.
pub(super) fn section(event: i64, kept: &Kept) -> Markup {
    let body = match kept {
        Kept::Whole(body) => body,
        Kept::Nothing => return html! {},
        Kept::Removed(removed) => {
            return html! {
                section aria-labelledby="payload-title" {
                    h2 id="payload-title" { "Payload" }
                    div.empty { strong { "The payload was removed" } p { (time(removed.at)) ": " (why_removed(removed)) "." } }
                }
            };
        }
    };
    let (text, is_all) = json::shown(body);
    html! {
        section aria-labelledby="payload-title" {
            div.head {
                h2 id="payload-title" { "Payload" }
                div.actions {
                    button.quiet type="button" data-copy="payload" hidden { "Copy" }
                    a.button.quiet href=(format!("/events/{event}/payload")) { "Raw payload" }
                }
            }
            pre.code id="payload" tabindex="0" aria-label="Payload as JSON" { code { (json::pretty(&text)) } }
            @if !is_all {
                p.soft { "The first " (json::SHOWN_BYTES_MAX / 1024) " KiB are shown; “Raw payload” has all of it." }
            }
        }
    }
}
