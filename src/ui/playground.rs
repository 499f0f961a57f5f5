//! The playground, which only `dev` has: it sends test events and links to the sandbox's table.

use super::Ui;
use super::auth::Visitor;
use super::error_page::ErrorPage;
use super::layout;
use super::query::Form;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{MethodRouter, post};
use futures_util::future::BoxFuture;
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;

/// Sends one sample event of the given type to this service's own webhook, as the sender would, and returns
/// the event's id.
pub type SendSample = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, SampleError>> + Send + Sync>;

/// Why no sample was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SampleError(pub String);

/// The parts of the dashboard that only `dev` has.
#[derive(Clone)]
pub struct Playground {
    /// The types of samples.
    pub samples: Vec<&'static str>,
    /// Sends one.
    pub send: SendSample,
    /// The address of the sandbox's table, if there is a sandbox.
    pub table_url: Option<String>,
}

/// The form.
#[derive(Debug, Deserialize)]
struct SendForm {
    sample: String,
}

/// Its pages.
pub(super) fn pages() -> [(&'static str, MethodRouter<Ui>); 1] {
    [("/playground/send", post(send))]
}

/// Sends a sample and shows its event.
async fn send(State(ui): State<Ui>, Form(form): Form<SendForm>) -> Result<Redirect, ErrorPage> {
    let playground = ui.playground.ok_or_else(|| ErrorPage::not_found("Only dev sends test events."))?;
    match (playground.send)(form.sample).await {
        Ok(event_id) => Ok(Redirect::to(&format!("/events/{event_id}?done=sent"))),
        Err(error) => Err(ErrorPage::conflict(error.to_string())),
    }
}

/// The panel on the overview.
pub(super) fn panel(visitor: &Visitor, playground: &Playground) -> Markup {
    let fields = html! {
        label.hidden for="sample" { "Type of test event" }
        select id="sample" name="sample" {
            @for sample in &playground.samples {
                option value=(sample) selected[*sample == "invoice.paid"] { (sample) }
            }
        }
        button.primary type="submit" { "Send a test event" }
    };
    html! {
        section.strip aria-label="Playground" {
            span.strip-text { strong { "dev" } " runs everything on this machine." }
            (layout::post_form(visitor, "/playground/send", &fields))
            @if let Some(url) = &playground.table_url { a.button href=(url) { "The sandbox's table" } }
        }
    }
}
