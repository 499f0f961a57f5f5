//! The filter of the list of events.

use super::fields::{select_field, text_field, time_field};
use super::{ListFilter, NotListed, Pairs, clear, error_message, instant, states, status, types, written};
use crate::store::{Cursor, EventFilter, Page, Window};
use crate::ui::elements::address;
use crate::ui::events::Listed;
use crate::ui::layout::Tab;
use crate::ui::query::{ROWS, filled, last_days};
use crate::ui::{Ui, events};
use maud::{Markup, html};
use serde::Deserialize;

/// The filter of events in a query string.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct EventsQuery {
    #[serde(rename = "type", deserialize_with = "filled")]
    pub event_type: Option<String>,
    #[serde(alias = "object_id", deserialize_with = "filled")]
    pub object: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub status: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub livemode: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub account: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub source: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub received_after: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub received_before: Option<String>,
}

impl ListFilter for EventsQuery {
    type Row = Listed;

    const PATH: &'static str = "/events";
    const TITLE: &'static str = "Events";
    const TAB: Tab = Tab::Events;
    const BULK_PATH: &'static str = "/events/replay";

    fn pairs(&self) -> Pairs<'_> {
        vec![
            ("type", self.event_type.as_deref()),
            ("object", self.object.as_deref()),
            ("status", self.status.as_deref()),
            ("livemode", self.livemode.as_deref()),
            ("account", self.account.as_deref()),
            ("source", self.source.as_deref()),
            ("received_after", self.received_after.as_deref()),
            ("received_before", self.received_before.as_deref()),
        ]
    }

    fn since(&self) -> Option<&str> {
        self.received_after.as_deref()
    }

    async fn page(&mut self, ui: &Ui, cursor: Option<Cursor>) -> Result<Page<Listed>, NotListed> {
        let Page { rows, next } = ui.store.events.events(&self.read(ui).await?, cursor, ROWS).await?;
        Ok(Page { rows: Listed::read(ui, rows).await?, next })
    }

    fn form(&self, ui: &Ui, error: Option<&str>) -> Markup {
        let examples = ui.sources.examples();
        let more = [&self.account, &self.livemode, &self.source, &self.received_after, &self.received_before];
        html! {
            form.filters.card method="get" action="/events" role="search" aria-label="Filter the events" {
                div.fields {
                    (text_field("type", "Type", examples.type_pattern, self.event_type.as_deref()))
                    (text_field("object", "Object", examples.object_id, self.object.as_deref()))
                    (select_field("status", "With an execution that is", "Any state", &states(), self.status.as_deref()))
                    button.primary type="submit" { "Filter" }
                    (clear("/events", &self.pairs()))
                }
                details.more open[more.into_iter().any(Option::is_some)] {
                    summary { "More filters" }
                    div.fields {
                        (select_field("livemode", "Mode", "Live and test", &[("true", "Live"), ("false", "Test")], self.livemode.as_deref()))
                        (text_field("account", "Account", examples.account, self.account.as_deref()))
                        (text_field("source", "Source", ui.sources.first_name(), self.source.as_deref()))
                        (time_field("received_after", "Received from", self.received_after.as_deref()))
                        (time_field("received_before", "Received until", self.received_before.as_deref()))
                    }
                }
                (error_message(error))
            }
        }
    }

    fn rows(_: &Ui, rows: &[Listed]) -> Markup {
        events::rows(rows)
    }

    fn bulk_action(&self) -> Markup {
        html! { a.button href=(address(Self::BULK_PATH, &self.pairs())) { "Replay these …" } }
    }
}

impl EventsQuery {
    /// The filter for the store. If it requires a time range and has none, the range is added to `self`.
    pub async fn read(&mut self, ui: &Ui) -> Result<EventFilter, NotListed> {
        let mut filter = EventFilter {
            key: None,
            source: self.source.clone(),
            types: types(ui, self.event_type.as_deref())?,
            object_id: self.object.clone(),
            account: self.account.clone(),
            livemode: match self.livemode.as_deref() {
                None => None,
                Some("true") => Some(true),
                Some("false") => Some(false),
                Some(_) => {
                    return Err(NotListed::Invalid(
                        "Mode: must be true for live or false for test.".to_owned(),
                    ));
                }
            },
            status: status(self.status.as_deref())?,
            received: Window {
                after: instant("Received from", self.received_after.as_deref())?,
                before: instant("Received until", self.received_before.as_deref())?,
            },
        };
        if filter.needs_time_range() && filter.received == Window::default() {
            filter.received = last_days(ui.store.reports.now().await?);
            self.received_after = filter.received.after.map(written);
        }
        Ok(filter)
    }
}
