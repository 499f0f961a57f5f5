//! `/events/replay`: many events delivered again, to whoever wants them now.

use super::{Deed, NOTE_CHARACTERS_MAX, ROWS_AT_ONCE, Step, Tally, Words, detail, plan_page};
use crate::domain::destination_summary::wanted_of;
use crate::domain::event::EventKey;
use crate::store::{Cursor, EventFilter};
use crate::ui::Ui;
use crate::ui::elements::address;
use crate::ui::filters::{EventsWanted, NotListed};
use crate::ui::forms::optional_note_of;
use crate::ui::frame::{self, Tab};
use crate::ui::guard::Visitor;
use crate::ui::list::Wanted as _;
use crate::ui::query::{self, Form, Query, filled};
use crate::ui::refusal::Refusal;
use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use tracing::info;

const WORDS: Words = Words {
    verb: "Replay",
    things: ["delivery", "deliveries"],
    path: "/events/replay",
    list: "/events",
    notes: &[
        "Each event goes to the destinations that want it now, also where they did not want it then.",
        "What runs or waits is left alone, and so is what was cancelled or superseded.",
        "What was delivered before is updated and never written a second time, and what comes in meanwhile goes first.",
    ],
};

/// Which events, to which destination alone, and where to go on.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct PlanQuery {
    #[serde(flatten)]
    wanted: EventsWanted,
    #[serde(default, deserialize_with = "filled")]
    destination: Option<String>,
    cursor: Option<String>,
}

/// What the form of the plan sends.
#[derive(Debug, Deserialize)]
pub(in crate::ui) struct ReplayForm {
    #[serde(flatten)]
    wanted: EventsWanted,
    #[serde(default, deserialize_with = "filled")]
    destination: Option<String>,
    cursor: Option<String>,
    #[serde(default)]
    note: String,
}

/// From a list to the plan.
pub(in crate::ui) fn replay_link(wanted: &EventsWanted) -> Markup {
    html! { a.button href=(address(WORDS.path, &wanted.pairs())) { "Replay these …" } }
}

/// What would be delivered again, with nothing changed.
pub(in crate::ui) async fn plan(
    State(ui): State<Ui>,
    visitor: Visitor,
    Query(query): Query<PlanQuery>,
) -> Result<Html<String>, Refusal> {
    let PlanQuery { mut wanted, destination, cursor } = query;
    let from = query::cursor(cursor.as_deref())?;
    let only = destination.as_deref();
    let tally = tally(&ui, &mut wanted, only, from, None).await.map_err(NotListed::refusal)?;
    let mut pairs = wanted.pairs();
    pairs.push(("cursor", cursor.as_deref()));
    let choice = choice(&ui, &pairs, only);
    pairs.push(("destination", only));
    let body = plan_page(&ui, &visitor, &WORDS, &pairs, &choice, &tally);
    Ok(frame::still(&visitor, Tab::Events, "Replay", &body))
}

/// Delivers them again, and shows how they get on.
pub(in crate::ui) async fn replay(
    State(ui): State<Ui>,
    visitor: Visitor,
    Form(form): Form<ReplayForm>,
) -> Result<Redirect, Refusal> {
    let ReplayForm { mut wanted, destination, cursor, note } = form;
    let cursor = query::cursor(cursor.as_deref())?;
    let note = optional_note_of(&note, NOTE_CHARACTERS_MAX)?;
    let deed = Some((note, &visitor));
    let only = destination.as_deref();
    let tally = tally(&ui, &mut wanted, only, cursor, deed).await.map_err(NotListed::refusal)?;
    info!(executions = tally.count(), who = visitor.who.name(), "replayed by hand");
    ui.notifier.notify();
    ui.badge.invalidate();
    tally.watched()
}

/// To which destination alone, where there are several.
fn choice(ui: &Ui, pairs: &[(&'static str, Option<&str>)], only: Option<&str>) -> Markup {
    let to = |name| address(WORDS.path, &[pairs, &[("destination", name)]].concat());
    html! {
        @if ui.instances.len() > 1 {
            nav.choice aria-label="Destination" {
                span.soft { "To" }
                a href=(to(None)) aria-current=[only.is_none().then_some("true")] { "all that want it" }
                @for name in &*ui.instances {
                    a href=(to(Some(name))) aria-current=[(only == Some(name)).then_some("true")] { (name) }
                }
            }
        }
    }
}

async fn tally(
    ui: &Ui,
    wanted: &mut EventsWanted,
    only: Option<&str>,
    cursor: Option<Cursor>,
    deed: Option<(Option<&str>, &Visitor)>,
) -> Result<Tally, NotListed> {
    if let Some(name) = only.filter(|only| ui.instances.iter().all(|name| name != only)) {
        return Err(NotListed::Told(format!("Destination: none is called {name:?}.")));
    }
    let filter = wanted.read(ui).await?;
    let mut asked = wanted.detail();
    if let (Some(fields), Some(name)) = (asked.as_object_mut(), only) {
        fields.insert("destination".to_owned(), name.into());
    }
    let detail = detail(&asked, deed.and_then(|(note, _)| note));
    let deed = deed.map(|(_, visitor)| Deed { detail: &detail, caller: &visitor.who });
    Tally::of(cursor, |cursor| step(ui, &filter, only, cursor, deed)).await
}

async fn step(
    ui: &Ui,
    filter: &EventFilter,
    only: Option<&str>,
    cursor: Option<Cursor>,
    deed: Option<Deed<'_>>,
) -> Result<Step, NotListed> {
    let page = ui.store.events.events(filter, cursor, ROWS_AT_ONCE).await?;
    let mut wanted = Vec::new();
    for row in &page.rows {
        let facts = row.facts();
        wanted.extend(
            wanted_of(&ui.destinations, only, &row.source, &facts)
                .map(|execution| (EventKey(row.id), execution)),
        );
    }
    let replayed = match deed {
        None => ui.store.interventions.would_replay(&wanted).await?,
        Some(Deed { detail, caller }) => ui.store.interventions.replay(&wanted, detail, caller).await?,
    };
    Ok(Step {
        created: replayed.created.values().sum(),
        counts: replayed.all(),
        line: replayed.line,
        next: page.next,
    })
}
