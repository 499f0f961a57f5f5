//! `/events/replay`: delivers many events again, to the destinations that subscribe to them now.

use super::{AuditEntry, BATCH_ROWS, Batch, Labels, NOTE_CHARACTERS_MAX, Totals, detail, plan_page};
use crate::domain::destination_summary::wanted_of;
use crate::domain::event::EventKey;
use crate::store::{Cursor, EventFilter};
use crate::ui::Ui;
use crate::ui::auth::Visitor;
use crate::ui::elements::address;
use crate::ui::error_page::ErrorPage;
use crate::ui::filters::{EventsQuery, ListFilter as _, NotListed};
use crate::ui::forms::optional_note_of;
use crate::ui::layout::{self, Tab};
use crate::ui::query::{self, Form, Query, filled};
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

const LABELS: Labels = Labels {
    verb: "Replay",
    things: ["execution", "executions"],
    path: EventsQuery::BULK_PATH,
    list: EventsQuery::PATH,
    notes: &[
        "Each event is delivered to the destinations that subscribe to it now, even if they did not at the time.",
        "Running, pending, cancelled and superseded executions are skipped.",
        "What an earlier delivery wrote is updated and never written twice. New events have priority.",
    ],
};

/// The events, an optional destination, and where to continue.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct PlanQuery {
    #[serde(flatten)]
    wanted: EventsQuery,
    #[serde(default, deserialize_with = "filled")]
    destination: Option<String>,
    cursor: Option<String>,
}

/// The form of the plan.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct ReplayForm {
    #[serde(flatten)]
    wanted: EventsQuery,
    #[serde(default, deserialize_with = "filled")]
    destination: Option<String>,
    cursor: Option<String>,
    #[serde(default)]
    note: String,
}

/// Shows what would be delivered again; changes nothing.
pub(in crate::ui) async fn plan(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<PlanQuery>,
) -> Result<Html<String>, ErrorPage> {
    let PlanQuery { mut wanted, destination, cursor } = query;
    let from = query::cursor(cursor.as_deref())?;
    let only = destination.as_deref();
    let totals = totals(&ui, &mut wanted, only, from, None).await.map_err(NotListed::into_error_page)?;
    let mut pairs = wanted.pairs();
    pairs.push(("cursor", cursor.as_deref()));
    let choice = choice(&ui, &pairs, only);
    pairs.push(("destination", only));
    let body = plan_page(&ui, &visitor, &LABELS, &pairs, &choice, &totals);
    Ok(layout::static_page(&visitor, Tab::Events, "Replay", &body))
}

/// Queues them again and shows the progress.
pub(in crate::ui) async fn replay(
    State(ui): State<Ui>,
    visitor: Visitor,
    Form(form): Form<ReplayForm>,
) -> Result<Redirect, ErrorPage> {
    let ReplayForm { mut wanted, destination, cursor, note } = form;
    let cursor = query::cursor(cursor.as_deref())?;
    let note = optional_note_of(&note, NOTE_CHARACTERS_MAX)?;
    let entry = Some((note, &visitor));
    let only = destination.as_deref();
    let totals = totals(&ui, &mut wanted, only, cursor, entry).await.map_err(NotListed::into_error_page)?;
    info!(executions = totals.count(), who = visitor.who.name(), "bulk replay queued");
    ui.notifier.notify();
    ui.badge.invalidate();
    totals.progress_page()
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

async fn totals(
    ui: &Ui,
    wanted: &mut EventsQuery,
    only: Option<&str>,
    cursor: Option<Cursor>,
    entry: Option<(Option<&str>, &Visitor)>,
) -> Result<Totals, NotListed> {
    if let Some(name) = only.filter(|only| ui.instances.iter().all(|name| name != only)) {
        return Err(NotListed::Invalid(format!("Destination: no destination is named {name:?}.")));
    }
    let filter = wanted.read(ui).await?;
    let mut asked = wanted.detail();
    if let (Some(fields), Some(name)) = (asked.as_object_mut(), only) {
        fields.insert("destination".to_owned(), name.into());
    }
    let detail = detail(&asked, entry.and_then(|(note, _)| note));
    let entry = entry.map(|(_, visitor)| AuditEntry { detail: &detail, caller: &visitor.who });
    Totals::of(cursor, |cursor| run_batch(ui, &filter, only, cursor, entry)).await
}

async fn run_batch(
    ui: &Ui,
    filter: &EventFilter,
    only: Option<&str>,
    cursor: Option<Cursor>,
    entry: Option<AuditEntry<'_>>,
) -> Result<Batch, NotListed> {
    let page = ui.store.events.events(filter, cursor, BATCH_ROWS).await?;
    let mut wanted = Vec::new();
    for row in &page.rows {
        let facts = row.facts();
        wanted.extend(
            wanted_of(&ui.destinations, only, &row.source, &facts)
                .map(|execution| (EventKey(row.id), execution)),
        );
    }
    let replayed = match entry {
        None => ui.store.interventions.would_replay(&wanted).await?,
        Some(AuditEntry { detail, caller }) => ui.store.interventions.replay(&wanted, detail, caller).await?,
    };
    Ok(Batch {
        created: replayed.created.values().sum(),
        counts: replayed.all(),
        line: replayed.line,
        next: page.next,
    })
}
