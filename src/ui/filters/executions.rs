//! The filter of the list of executions.

use super::fields::{select_field, text_field, time_field};
use super::{
    ListFilter, NotListed, Pairs, clear, error_message, event_key, instant, states, status, types, written,
};
use crate::domain::execution::{Change, Status};
use crate::store::{Cursor, ExecutionFilter, ExecutionRow, Page, Window};
use crate::ui::elements::address;
use crate::ui::layout::Tab;
use crate::ui::query::{ROWS, filled, last_days};
use crate::ui::{Ui, executions};
use maud::{Markup, html};
use serde::Deserialize;

/// The filter of executions in a query string.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct ExecutionsQuery {
    #[serde(deserialize_with = "filled")]
    pub status: Option<String>,
    #[serde(rename = "type", deserialize_with = "filled")]
    pub event_type: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub destination: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub error_class: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub event: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub source: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub failure: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub created_after: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub created_before: Option<String>,
}

impl ListFilter for ExecutionsQuery {
    type Row = ExecutionRow;

    const PATH: &'static str = "/executions";
    const TITLE: &'static str = "Executions";
    const TAB: Tab = Tab::Executions;
    const BULK_PATH: &'static str = "/executions/retry";

    fn pairs(&self) -> Pairs<'_> {
        vec![
            ("status", self.status.as_deref()),
            ("type", self.event_type.as_deref()),
            ("destination", self.destination.as_deref()),
            ("error_class", self.error_class.as_deref()),
            ("event", self.event.as_deref()),
            ("source", self.source.as_deref()),
            ("failure", self.failure.as_deref()),
            ("created_after", self.created_after.as_deref()),
            ("created_before", self.created_before.as_deref()),
        ]
    }

    fn since(&self) -> Option<&str> {
        self.created_after.as_deref()
    }

    async fn page(&mut self, ui: &Ui, cursor: Option<Cursor>) -> Result<Page<ExecutionRow>, NotListed> {
        Ok(ui.store.reports.executions(&self.read(ui).await?, cursor, ROWS).await?)
    }

    fn form(&self, ui: &Ui, error: Option<&str>) -> Markup {
        let examples = ui.sources.examples();
        let more = [&self.error_class, &self.event, &self.source, &self.created_after, &self.created_before];
        let names: Vec<(&str, &str)> =
            ui.instances.iter().map(|name| (name.as_str(), name.as_str())).collect();
        html! {
            form.filters.card method="get" action="/executions" role="search" aria-label="Filter the executions" {
                @if let Some(failure) = &self.failure { input type="hidden" name="failure" value=(failure); }
                div.fields {
                    (select_field("status", "State", "Any state", &states(), self.status.as_deref()))
                    (text_field("type", "Type", examples.type_pattern, self.event_type.as_deref()))
                    (select_field("destination", "Destination", "Any", &names, self.destination.as_deref()))
                    button.primary type="submit" { "Filter" }
                    (clear("/executions", &self.pairs()))
                }
                details.more open[more.into_iter().any(Option::is_some)] {
                    summary { "More filters" }
                    div.fields {
                        (text_field("error_class", "Error class", "validation_error", self.error_class.as_deref()))
                        (text_field("event", "Event", examples.event_id, self.event.as_deref()))
                        (text_field("source", "Source", ui.sources.first_name(), self.source.as_deref()))
                        (time_field("created_after", "Created from", self.created_after.as_deref()))
                        (time_field("created_before", "Created until", self.created_before.as_deref()))
                    }
                }
                (error_message(error))
            }
        }
    }

    fn rows(ui: &Ui, rows: &[ExecutionRow]) -> Markup {
        executions::rows(rows, &ui.instances)
    }

    fn bulk_action(&self) -> Markup {
        let can_be_retried = |status: Status| status.after(Change::Retry).is_some();
        let is_possible =
            self.status.as_deref().is_none_or(|status| status.parse().is_ok_and(can_be_retried));
        let all_failed = self.status.is_none() && self.failure.is_none();
        html! {
            @if is_possible {
                a.button href=(address(Self::BULK_PATH, &self.pairs())) {
                    (if all_failed { "Retry the failed ones …" } else { "Retry these …" })
                }
            }
        }
    }
}

impl ExecutionsQuery {
    /// The filter for the store. If it requires a time range and has none, the range is added to `self`.
    pub async fn read(&mut self, ui: &Ui) -> Result<ExecutionFilter, NotListed> {
        let event = match &self.event {
            None => None,
            Some(id) => Some(event_key(ui, id).await?),
        };
        let mut filter = ExecutionFilter {
            source: self.source.clone(),
            types: types(ui, self.event_type.as_deref())?,
            status: status(self.status.as_deref())?,
            event,
            destination: self.destination.clone(),
            error_class: self.error_class.clone(),
            failure_group: self.failure.clone(),
            created: Window {
                after: instant("Created from", self.created_after.as_deref())?,
                before: instant("Created until", self.created_before.as_deref())?,
            },
        };
        if filter.needs_time_range() && filter.created == Window::default() {
            filter.created = last_days(ui.store.reports.now().await?);
            self.created_after = filter.created.after.map(written);
        }
        Ok(filter)
    }
}
