//! The filters of the lists of events and executions: read from the query string, shown in the form, and
//! passed on to bulk operations by a link.
//!
//! Without a time range, a filter that has no index covers the last days. Invalid input is reported at the
//! form, so that nothing has to be typed again.

mod events;
mod executions;
mod fields;

pub(super) use events::EventsQuery;
pub(super) use executions::ExecutionsQuery;

use super::Ui;
use super::elements::{in_parts, time};
use super::error_page::ErrorPage;
use super::layout::Tab;
use crate::domain::event::EventKey;
use crate::domain::execution::Status;
use crate::domain::parse_time::parse_form_time;
use crate::domain::subscription::TypeFilter;
use crate::store::{Cursor, ListError, Page, StoreError, WINDOW_DAYS_MAX};
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use serde::de::DeserializeOwned;

/// The names and values of a filter, as in a query string.
pub(super) type Pairs<'a> = Vec<(&'static str, Option<&'a str>)>;

/// A filter of a list, and how the list is shown.
pub(super) trait ListFilter: Clone + Send + Sync + DeserializeOwned {
    /// The type of a row.
    type Row: Send;

    /// The path of the list.
    const PATH: &'static str;
    /// The title.
    const TITLE: &'static str;
    /// The tab.
    const TAB: Tab;
    /// The path of the bulk operation.
    const BULK_PATH: &'static str;

    /// The filter as names and values of the address.
    fn pairs(&self) -> Pairs<'_>;

    /// The start of the time range.
    fn since(&self) -> Option<&str>;

    /// A page of the matching rows, newest first. If the filter needs a time range and has none, it is set.
    fn page(
        &mut self,
        ui: &Ui,
        cursor: Option<Cursor>,
    ) -> impl Future<Output = Result<Page<Self::Row>, NotListed>> + Send;

    /// The filter's form, with an error message.
    fn form(&self, ui: &Ui, error: Option<&str>) -> Markup;

    /// The rows of a page.
    fn rows(ui: &Ui, rows: &[Self::Row]) -> Markup;

    /// The link to the bulk operation on all matching rows.
    fn bulk_action(&self) -> Markup;
}

/// Why a list is not shown.
#[derive(Debug)]
pub(super) enum NotListed {
    /// The filter is invalid or incomplete. The message is shown at the form.
    Invalid(String),
    /// Another error.
    Failed(ErrorPage),
}

impl From<StoreError> for NotListed {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ListError> for NotListed {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Store(error) => error.into(),
            ListError::TimeRangeRequired { .. } => {
                Self::Invalid(format!("This filter requires a time range of at most {WINDOW_DAYS_MAX} days."))
            }
        }
    }
}

impl From<ErrorPage> for NotListed {
    fn from(error: ErrorPage) -> Self {
        Self::Failed(error)
    }
}

impl NotListed {
    /// The error as a page of its own, if there is no form.
    pub(super) fn into_error_page(self) -> ErrorPage {
        match self {
            Self::Invalid(text) => ErrorPage::bad_request(text),
            Self::Failed(error) => error,
        }
    }
}

/// The given fields of a filter as a list with labels.
pub(super) fn in_words(pairs: &Pairs<'_>) -> Markup {
    let given = pairs.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    html! {
        @for (name, value) in given {
            div { dt { (label(name)) } dd { (given_value(name, value)) } }
        }
    }
}

/// The value of a field: times like everywhere else, other values unchanged.
fn given_value(name: &str, value: &str) -> Markup {
    let is_time = name.ends_with("_after") || name.ends_with("_before");
    match DateTime::parse_from_rfc3339(value) {
        Ok(at) if is_time => time(at.to_utc()),
        _ if name == "status" => html! { (Status::name_in_words(value)) },
        _ if name == "livemode" => html! { (if value == "true" { "live" } else { "test" }) },
        _ => html! { bdi { (in_parts(value)) } },
    }
}

/// The pairs as hidden fields of a form.
pub(super) fn hidden(pairs: &Pairs<'_>) -> Markup {
    html! {
        @for (name, value) in pairs {
            @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
        }
    }
}

fn label(name: &str) -> &str {
    match name {
        "status" => "State",
        "type" => "Type",
        "destination" => "Destination",
        "error_class" => "Error class",
        "event" | "event_id" => "Event",
        "source" => "Source",
        "failure" | "failure_group_id" => "Failure group",
        "created_after" => "Created from",
        "created_before" => "Created until",
        "object" | "object_id" => "Object",
        "livemode" => "Mode",
        "account" => "Account",
        "received_after" => "Received from",
        "received_before" => "Received until",
        other => other,
    }
}

fn states() -> Vec<(&'static str, &'static str)> {
    Status::ALL.into_iter().map(|status| (status.as_str(), status.in_words())).collect()
}

fn clear(path: &str, pairs: &Pairs<'_>) -> Markup {
    html! { @if pairs.iter().any(|(_, value)| value.is_some()) { a.button.quiet href=(path) { "Clear" } } }
}

fn error_message(error: Option<&str>) -> Markup {
    html! { @if let Some(error) = error { p.error role="alert" { (error) } } }
}

/// A time for a query string.
fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn event_key(ui: &Ui, id: &str) -> Result<EventKey, NotListed> {
    match id.parse() {
        Ok(number) => Ok(EventKey(number)),
        Err(_) => match ui.store.events.event_key(id).await? {
            Some(key) => Ok(key),
            None => Err(NotListed::Invalid("Event: there is no event with this id.".to_owned())),
        },
    }
}

fn status(word: Option<&str>) -> Result<Option<&'static str>, NotListed> {
    let read = word.map(|word| word.parse().map(Status::as_str)).transpose();
    read.map_err(|error| NotListed::Invalid(format!("State: {error}.")))
}

fn types(ui: &Ui, list: Option<&str>) -> Result<Option<TypeFilter>, NotListed> {
    let read = list.map(|list| TypeFilter::parse(list, ui.sources.types())).transpose();
    read.map_err(|error| NotListed::Invalid(format!("Type: {error}.")))
}

/// Reads the time in a field.
fn instant(label: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, NotListed> {
    let Some(text) = text else { return Ok(None) };
    let parsed = parse_form_time(text).map(Some);
    parsed.map_err(|error| NotListed::Invalid(format!("{label}: {text:?} {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_a_date_or_without_a_zone_and_anything_else_is_an_error() {
        let of = |text| instant("From", Some(text)).ok().flatten().map(|at| at.timestamp());
        for text in ["2026-11-23", "2026-11-23T00:00", "2026-11-23T00:00:00", "2026-11-23T01:00:00+01:00"] {
            assert_eq!(of(text), Some(1_795_392_000), "{text}");
        }
        for odd in ["yesterday", "1795392000", "2026-13-01", "2026-11-23T25:00"] {
            let read = instant("From", Some(odd));
            assert!(
                matches!(&read, Err(NotListed::Invalid(text)) if text.starts_with("From")),
                "{odd}: {read:?}"
            );
        }
    }
}
