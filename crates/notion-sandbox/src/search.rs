//! `POST /v1/search`: the objects that are shared with the integration, by title. Data sources in the trash
//! are among them, unless the filter excludes them.

use super::api_error::ApiError;
use super::databases::{self, PARENT_PAGE_ID};
use super::state::State;
use super::{pages, queries};
use serde_json::{Value, json};
use uuid::Uuid;

const PAGE_SIZE_MAX: u64 = 100;

/// Answers a search: data sources first, then the page that contains them, then their rows.
pub fn run(state: &State, body: &Value) -> Result<Value, ApiError> {
    let wanted = wanted(body.get("filter"))?;
    let query = body.get("query").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let size = match body.get("page_size") {
        None => PAGE_SIZE_MAX,
        Some(size) => size
            .as_u64()
            .filter(|size| (1..=PAGE_SIZE_MAX).contains(size))
            .ok_or_else(|| ApiError::malformed("body.page_size", "a number from 1 to 100", Some(size)))?,
    };
    let mut found: Vec<(Uuid, Value)> = Vec::new();
    let sources = || state.databases().iter().flat_map(|database| state.data_sources_of(database.id));
    if wanted != Some("page") {
        found.extend(sources().map(|source| (source.id, databases::source_json(state, source))));
    }
    if wanted != Some("data_source") {
        found.extend((!state.is_parent_hidden).then(|| (PARENT_PAGE_ID, pages::parent_page(state))));
        let rows = sources().flat_map(|source| state.pages_of(source.id).map(move |page| (source, page)));
        found.extend(
            rows.filter(|(_, page)| !page.in_trash)
                .map(|(source, page)| (page.id, pages::to_json(state, source, page))),
        );
    }
    if let Some(in_trash) = body.pointer("/filter/in_trash") {
        found.retain(|(_, thing)| thing.get("in_trash") == Some(in_trash));
    }
    found.retain(|(_, thing)| title(thing).to_lowercase().contains(&query));
    let start = queries::start(body, found.iter().map(|(id, _)| *id))?;
    let mut rest = found.into_iter().skip(start);
    let results: Vec<Value> =
        rest.by_ref().take(usize::try_from(size).unwrap_or_default()).map(|(_, thing)| thing).collect();
    let next = rest.next().map(|(id, _)| queries::cursor(body, id));
    Ok(list(&results, next.as_deref()))
}

/// The answer of a search if nothing is shared.
pub fn nothing() -> Value {
    list(&[], None)
}

fn list(results: &[Value], next: Option<&str>) -> Value {
    json!({
        "object": "list",
        "results": results,
        "next_cursor": next,
        "has_more": next.is_some(),
        "type": "page_or_data_source",
        "page_or_data_source": {},
    })
}

/// The kind of object that a filter asks for.
fn wanted(filter: Option<&Value>) -> Result<Option<&str>, ApiError> {
    let Some(filter) = filter else { return Ok(None) };
    let names = || filter.as_object().into_iter().flat_map(|members| members.keys());
    if names().all(|name| name == "in_trash") && names().count() > 0 {
        return Ok(None);
    }
    if filter.get("property").and_then(Value::as_str) != Some("object") {
        return Err(ApiError::malformed("body.filter.property", "`\"object\"`", filter.get("property")));
    }
    match filter.get("value").and_then(Value::as_str) {
        Some(kind @ ("page" | "data_source")) => Ok(Some(kind)),
        _ => Err(ApiError::malformed(
            "body.filter.value",
            "`\"page\"` or `\"data_source\"`",
            filter.get("value"),
        )),
    }
}

/// The plain title of a page or a data source.
fn title(thing: &Value) -> String {
    let of_page = || {
        let properties = thing.get("properties")?.as_object()?;
        properties.values().find_map(|property| property.get("title")?.as_array())
    };
    let spans = thing.get("title").and_then(Value::as_array).or_else(of_page);
    spans.into_iter().flatten().filter_map(|span| span.get("plain_text").and_then(Value::as_str)).collect()
}
