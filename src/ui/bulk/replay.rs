//! `/events/replay`: delivers many events again, to the destinations that subscribe to them now.

use super::{Labels, begin, plan_page};
use crate::bulk::{BulkFilter, ReplayFilter};
use crate::ui::Ui;
use crate::ui::auth::Visitor;
use crate::ui::elements::address;
use crate::ui::error_page::ErrorPage;
use crate::ui::filters::{EventsQuery, ListFilter as _, NotListed};
use crate::ui::layout::{self, Tab};
use crate::ui::query::{Form, Query, filled};
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;

const LABELS: Labels = Labels {
    verb: "Replay",
    path: EventsQuery::BULK_PATH,
    list: EventsQuery::PATH,
    notes: &[
        "Each event is delivered to the destinations that subscribe to it now, even if they did not at the time.",
        "Running, pending, cancelled and superseded executions are skipped.",
        "What an earlier delivery wrote is updated and never written twice. New events have priority.",
    ],
};

/// The events, and an optional destination.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct PlanQuery {
    #[serde(flatten)]
    wanted: EventsQuery,
    #[serde(default, deserialize_with = "filled")]
    destination: Option<String>,
}

/// The form of the plan.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct ReplayForm {
    #[serde(flatten)]
    wanted: EventsQuery,
    #[serde(default, deserialize_with = "filled")]
    destination: Option<String>,
    #[serde(default)]
    note: String,
}

/// Shows what would be delivered again; changes nothing.
pub(in crate::ui) async fn plan(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<PlanQuery>,
) -> Result<Html<String>, ErrorPage> {
    let PlanQuery { mut wanted, destination } = query;
    let only = destination.as_deref();
    let filter = read(&ui, &mut wanted, only).await.map_err(NotListed::into_error_page)?;
    let counted = ui.bulk.count(&filter).await.map_err(|error| NotListed::from(error).into_error_page())?;
    let mut pairs = wanted.pairs();
    let choice = choice(&ui, &pairs, only);
    pairs.push(("destination", only));
    let body = plan_page(&ui, &visitor, &LABELS, &pairs, &choice, &counted);
    Ok(layout::static_page(&visitor, Tab::Events, "Replay", &body))
}

/// Creates the task and shows its progress.
pub(in crate::ui) async fn replay(
    State(ui): State<Ui>,
    visitor: Visitor,
    Form(form): Form<ReplayForm>,
) -> Result<Redirect, ErrorPage> {
    let ReplayForm { mut wanted, destination, note } = form;
    let filter = read(&ui, &mut wanted, destination.as_deref()).await.map_err(NotListed::into_error_page)?;
    begin(&ui, &visitor, &filter, &note).await
}

/// The choice of one destination, if there are several.
fn choice(ui: &Ui, pairs: &[(&'static str, Option<&str>)], only: Option<&str>) -> Markup {
    let to = |name| address(LABELS.path, &[pairs, &[("destination", name)]].concat());
    html! {
        @if ui.instances.len() > 1 {
            nav.choice aria-label="Destination" {
                span.soft { "To" }
                a href=(to(None)) aria-current=[only.is_none().then_some("true")] { "all that subscribe to it" }
                @for name in &*ui.instances {
                    a href=(to(Some(name))) aria-current=[(only == Some(name)).then_some("true")] { (name) }
                }
            }
        }
    }
}

/// Reads the filter.
async fn read(ui: &Ui, wanted: &mut EventsQuery, only: Option<&str>) -> Result<BulkFilter, NotListed> {
    if let Some(name) = only.filter(|only| ui.instances.iter().all(|name| name != only)) {
        return Err(NotListed::Invalid(format!("Destination: no destination is named {name:?}.")));
    }
    let filter = wanted.read(ui).await?;
    Ok(BulkFilter::Replay(ReplayFilter {
        event_id: None,
        source: wanted.source.clone(),
        event_type: wanted.event_type.clone(),
        object_id: wanted.object.clone(),
        account: wanted.account.clone(),
        livemode: filter.livemode,
        status: wanted.status.clone(),
        received_after: filter.received.after,
        received_before: filter.received.before,
        destination: only.map(str::to_owned),
    }))
}
