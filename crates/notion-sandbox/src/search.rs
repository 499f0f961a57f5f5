//! `POST /v1/search`: the objects that are shared with the integration, by title.

use super::api_error::ApiError;
use super::databases::{self, PARENT_PAGE_ID};
use super::pages;
use super::state::State;
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
        found.push((PARENT_PAGE_ID, pages::parent_page(state)));
        let rows = sources().flat_map(|source| state.pages_of(source.id).map(move |page| (source, page)));
        found.extend(
            rows.filter(|(_, page)| !page.in_trash)
                .map(|(source, page)| (page.id, pages::to_json(state, source, page))),
        );
    }
    found.retain(|(_, thing)| title(thing).to_lowercase().contains(&query));
    let start = match body.get("start_cursor").and_then(Value::as_str) {
        None => 0,
        Some(cursor) => found
            .iter()
            .position(|(id, _)| id.to_string() == cursor)
            .ok_or_else(|| ApiError::validation(format!("The start_cursor provided is invalid: {cursor}")))?,
    };
    let mut rest = found.into_iter().skip(start);
    let results: Vec<Value> =
        rest.by_ref().take(usize::try_from(size).unwrap_or_default()).map(|(_, thing)| thing).collect();
    Ok(list(&results, rest.next().map(|(id, _)| id)))
}

/// The answer of a search if nothing is shared.
pub fn nothing() -> Value {
    list(&[], None)
}

fn list(results: &[Value], next: Option<Uuid>) -> Value {
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
