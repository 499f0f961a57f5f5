//! What `dev` has beside a dashboard: a test event at a click, and the sandbox's table.

use super::Ui;
use super::frame;
use super::guard::Visitor;
use super::query::Form;
use super::refusal::Refusal;
use axum::extract::State;
use axum::response::Redirect;
use futures_util::future::BoxFuture;
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;

/// Sends one sample event of the type named to this service's own webhook, as Stripe would, and
/// tells the event's id.
pub type SendSample = Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, SampleError>> + Send + Sync>;

/// Why no sample was sent, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SampleError(pub String);

/// What only `dev` has.
#[derive(Clone)]
pub struct Playground {
    /// The types of samples.
    pub samples: Vec<&'static str>,
    /// Sends one.
    pub send: SendSample,
    /// Where the sandbox shows its table, where there is one.
    pub table_url: Option<String>,
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct SendForm {
    sample: String,
}

/// Sends a sample and shows its event.
pub(super) async fn send(State(ui): State<Ui>, Form(form): Form<SendForm>) -> Result<Redirect, Refusal> {
    let playground = ui.playground.ok_or_else(|| Refusal::not_found("Only dev sends test events."))?;
    match (playground.send)(form.sample).await {
        Ok(event_id) => Ok(Redirect::to(&format!("/events/{event_id}?done=sent"))),
        Err(error) => Err(Refusal::conflict(error.to_string())),
    }
}

/// The box on the overview.
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
            (frame::post(visitor, "/playground/send", &fields))
            @if let Some(url) = &playground.table_url { a.button href=(url) { "The sandbox's table" } }
        }
    }
}
