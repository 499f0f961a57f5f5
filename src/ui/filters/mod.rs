//! What the lists of executions and events are asked for: read off the address, shown in the form,
//! and handed on to whoever acts on what is listed.
//!
//! A filter that has no index covers the last days where no time is given. What cannot be read is told
//! at the form, so that nothing has to be typed again.

mod events;
mod executions;
mod fields;

pub(super) use events::EventsWanted;
pub(super) use executions::ExecutionsWanted;

use super::Ui;
use super::elements::{in_parts, time};
use super::error_page::ErrorPage;
use super::query::DAYS;
use crate::domain::event::EventKey;
use crate::domain::execution::Status;
use crate::domain::parse_time::parse_form_time;
use crate::domain::subscription::TypeFilter;
use crate::store::{ListError, Page, StoreError, WINDOW_DAYS_MAX};
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use serde_json::{Map, Value};

/// The names and values of a filter, as they stand in an address.
pub(super) type Pairs<'a> = Vec<(&'static str, Option<&'a str>)>;

/// Why a list is not shown.
#[derive(Debug)]
pub(super) enum NotListed {
    /// What is asked for cannot be read, or wants more: told at the form.
    Told(String),
    /// It is no matter of the filter.
    Refused(ErrorPage),
}

impl From<StoreError> for NotListed {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<ListError> for NotListed {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Store(error) => error.into(),
            ListError::TimeRangeRequired { .. } => Self::Told(format!(
                "This filter looks at a month at a time: give two times that are at most {WINDOW_DAYS_MAX} days apart."
            )),
        }
    }
}

impl From<ErrorPage> for NotListed {
    fn from(error: ErrorPage) -> Self {
        Self::Refused(error)
    }
}

impl NotListed {
    /// As a page of its own, where there is no form to tell it at.
    pub(super) fn into_error_page(self) -> ErrorPage {
        match self {
            Self::Told(text) => ErrorPage::bad_request(text),
            Self::Refused(error) => error,
        }
    }
}

/// A page of a list, or an empty one with what is to be told at the form.
pub(super) fn told_at_form<T>(
    listed: Result<Page<T>, NotListed>,
) -> Result<(Page<T>, Option<String>), ErrorPage> {
    match listed {
        Ok(page) => Ok((page, None)),
        Err(NotListed::Told(text)) => Ok((Page { rows: Vec::new(), next: None }, Some(text))),
        Err(NotListed::Refused(error)) => Err(error),
    }
}

/// That a list goes no further back than the last days, where the reader did not say how far.
pub(super) fn window_note(was_given: bool, is_given: bool) -> Markup {
    html! {
        @if !was_given && is_given { p.soft { "Of the last " (DAYS) " days; give other times to look further back." } }
    }
}

/// The filter as a list for people: what stands in an address, without what is not given.
pub(super) fn in_words(pairs: &Pairs<'_>) -> Markup {
    let given = pairs.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    html! {
        @for (name, value) in given {
            div { dt { (label(name)) } dd { (given_value(name, value)) } }
        }
    }
}

/// What was given for a field: a moment as everywhere else, all else as it was written.
fn given_value(name: &str, value: &str) -> Markup {
    let is_moment = name.ends_with("_after") || name.ends_with("_before");
    match DateTime::parse_from_rfc3339(value) {
        Ok(at) if is_moment => time(at.to_utc()),
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

/// Whether an address holds fields that were left empty: it is then shortened, so that it can be shared.
pub(super) fn has_blanks(query: Option<&str>) -> bool {
    query
        .is_some_and(|query| url::form_urlencoded::parse(query.as_bytes()).any(|(_, value)| value.is_empty()))
}

fn label(name: &str) -> &str {
    match name {
        "status" => "State",
        "type" => "Type",
        "destination" => "Destination",
        "error_class" => "Error class",
        "event" => "Event",
        "source" => "Source",
        "failure" => "Group of failures",
        "created_after" => "Created from",
        "created_before" => "Created until",
        "object" | "object_id" => "Object",
        "livemode" => "Live mode",
        "account" => "Account",
        "received_after" => "Received from",
        "received_before" => "Received until",
        other => other,
    }
}

fn states() -> Vec<(&'static str, &'static str)> {
    Status::ALL.into_iter().map(|status| (status.as_str(), status.as_str())).collect()
}

fn clear(path: &str, pairs: &Pairs<'_>) -> Markup {
    html! { @if pairs.iter().any(|(_, value)| value.is_some()) { a.button.quiet href=(path) { "Clear" } } }
}

fn told(error: Option<&str>) -> Markup {
    html! { @if let Some(error) = error { p.error role="alert" { (error) } } }
}

fn detail(pairs: &Pairs<'_>) -> Value {
    // The name that the API has for it.
    let name = |name: &str| if name == "object" { "object_id".to_owned() } else { name.to_owned() };
    let given = pairs.iter().filter_map(|(of, value)| Some((name(of), Value::from((*value)?))));
    Value::Object(given.collect::<Map<_, _>>())
}

/// A time as it stands in an address.
fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn event_key(ui: &Ui, id: &str) -> Result<EventKey, NotListed> {
    match id.parse() {
        Ok(number) => Ok(EventKey(number)),
        Err(_) => match ui.store.events.event_key(id).await? {
            Some(key) => Ok(key),
            None => Err(NotListed::Told("Event: there is none of this id.".to_owned())),
        },
    }
}

fn status(word: Option<&str>) -> Result<Option<&'static str>, NotListed> {
    let read = word.map(|word| word.parse().map(Status::as_str)).transpose();
    read.map_err(|error| NotListed::Told(format!("State: {error}.")))
}

fn types(ui: &Ui, list: Option<&str>) -> Result<Option<TypeFilter>, NotListed> {
    let read = list.map(|list| TypeFilter::parse(list, ui.sources.types())).transpose();
    read.map_err(|error| NotListed::Told(format!("Type: {error}.")))
}

/// The time in a field.
fn instant(label: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, NotListed> {
    let Some(text) = text else { return Ok(None) };
    let parsed = parse_form_time(text).map(Some);
    parsed.map_err(|error| NotListed::Told(format!("{label}: {text:?} {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_a_date_or_without_a_zone_and_anything_else_is_told() {
        let of = |text| instant("From", Some(text)).ok().flatten().map(|at| at.timestamp());
        for text in ["2026-11-23", "2026-11-23T00:00", "2026-11-23T00:00:00", "2026-11-23T01:00:00+01:00"] {
            assert_eq!(of(text), Some(1_795_392_000), "{text}");
        }
        for odd in ["yesterday", "1795392000", "2026-13-01", "2026-11-23T25:00"] {
            let told = instant("From", Some(odd));
            assert!(
                matches!(&told, Err(NotListed::Told(text)) if text.starts_with("From")),
                "{odd}: {told:?}"
            );
        }
    }

    #[test]
    fn fields_left_empty_are_seen_in_an_address() {
        assert!(has_blanks(Some("type=&status=failed")));
        assert!(!has_blanks(Some("status=failed")) && !has_blanks(None));
    }
}
