//! `POST /v1/data_sources/{id}/query`: filters, sorts and pages of results.
//!
//! Without sorts the newest page comes first. Archived pages are shown only if the query asks for them, and
//! those in the trash, or in a table in the trash, never. The index answers a filter for the exact text of one
//! column, alone or within an `and`.

use super::api_error::ApiError;
use super::filter::Filter;
use super::pages::to_json;
use super::schema::{Property, Schema};
use super::state::{DataSource, Page, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::time::Instant;
use uuid::Uuid;

/// Answers a query.
pub fn run(state: &State, id: Uuid, body: &Value) -> Result<Value, ApiError> {
    let source = state.data_source(id).ok_or_else(|| ApiError::not_found("data source", id))?;
    let filter = match body.get("filter") {
        None => None,
        Some(filter) => Some(Filter::parse(&source.schema, filter)?),
    };
    let sorts = sorts(&source.schema, body.get("sorts"))?;
    let page_size = page_size(body.get("page_size"))?;

    let archived = match body.get("is_archived") {
        None => false,
        Some(Value::Bool(archived)) => *archived,
        Some(other) => return Err(ApiError::malformed("body.is_archived", "a boolean", Some(other))),
    };

    let mut found = matches(state, source, archived, filter.as_ref());
    if state.is_container_in_trash(source) {
        found.clear();
    }
    if !sorts.is_empty() {
        found.sort_by(|a, b| {
            sorts.iter().map(|sort| sort.compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
    }
    found.truncate(RESULTS_MAX);
    let start = start(body, found.iter().map(|page| page.id))?;
    let mut rest = found.into_iter().skip(start);
    let results: Vec<Value> =
        rest.by_ref().take(page_size).map(|page| to_json(state, source, page)).collect();
    let next = rest.next().map(|page| cursor(body, page.id));
    Ok(json!({
        "object": "list",
        "results": results,
        "next_cursor": next,
        "has_more": next.is_some(),
        "type": "page_or_data_source",
        "page_or_data_source": {},
    }))
}

/// The cursor of an object in the results of a query or a search. It says nothing to a client, and is valid
/// for the same request only.
pub fn cursor(body: &Value, id: Uuid) -> String {
    let mut request = body.clone();
    if let Some(members) = request.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "start_cursor" | "page_size"));
    }
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{request} {id}")))
}

/// The place at which the results of a request begin.
pub fn start(body: &Value, mut found: impl Iterator<Item = Uuid>) -> Result<usize, ApiError> {
    match body.get("start_cursor") {
        None | Some(Value::Null) => Ok(0),
        Some(wanted) => found
            .position(|id| wanted.as_str() == Some(&cursor(body, id)))
            .ok_or_else(|| ApiError::validation(format!("The start_cursor provided is invalid: {wanted}"))),
    }
}

const RESULTS_MAX: usize = 10_000;
const PAGE_SIZE_MAX: usize = 100;

fn matches<'a>(
    state: &'a State,
    source: &DataSource,
    archived: bool,
    filter: Option<&Filter>,
) -> Vec<&'a Page> {
    let now = Instant::now();
    let wanted = |page: &&Page| {
        !page.in_trash
            && page.is_archived == archived
            && page.hidden_until.is_none_or(|until| until <= now)
            && filter.is_none_or(|filter| filter.matches(page))
    };
    match filter.and_then(Filter::exact_text) {
        Some((property, text)) => {
            state.pages_with_text(source.id, property, text).rev().filter(wanted).collect()
        }
        None => state.pages_of(source.id).rev().filter(wanted).collect(),
    }
}

struct Sort {
    by: SortKey,
    descending: bool,
}

enum SortKey {
    Created,
    Edited,
    Property(Property),
}

impl Sort {
    fn compare(&self, a: &Page, b: &Page) -> Ordering {
        let order = match &self.by {
            SortKey::Created => a.number.cmp(&b.number),
            SortKey::Edited => a.edited.cmp(&b.edited),
            SortKey::Property(property) => {
                let number = |page: &Page| page.cell(property)?.plain().parse::<f64>().ok();
                let text = |page: &Page| page.cell(property).map(|cell| cell.plain().into_owned());
                match (number(a), number(b)) {
                    (Some(a), Some(b)) => a.total_cmp(&b),
                    _ => text(a).cmp(&text(b)),
                }
            }
        };
        if self.descending { order.reverse() } else { order }
    }
}

fn sorts(schema: &Schema, value: Option<&Value>) -> Result<Vec<Sort>, ApiError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let Some(list) = value.as_array().filter(|list| list.len() <= 100) else {
        return Err(ApiError::malformed("body.sorts", "an array of 100 at most", Some(value)));
    };
    list.iter().map(|sort| parse_sort(schema, sort)).collect()
}

fn parse_sort(schema: &Schema, sort: &Value) -> Result<Sort, ApiError> {
    let descending = match sort.get("direction").and_then(Value::as_str) {
        Some("ascending") => false,
        Some("descending") => true,
        _ => {
            let path = "body.sorts[].direction";
            let wanted = "`\"ascending\"` or `\"descending\"`";
            return Err(ApiError::malformed(path, wanted, sort.get("direction")));
        }
    };
    let by = match (sort.get("timestamp").and_then(Value::as_str), sort.get("property")) {
        (Some("created_time"), None) => SortKey::Created,
        (Some("last_edited_time"), None) => SortKey::Edited,
        (None, Some(Value::String(name))) => {
            let property = schema.find(name).ok_or_else(|| {
                ApiError::validation(format!("Could not find sort property with name or id: {name}"))
            })?;
            SortKey::Property(property.clone())
        }
        _ => return Err(ApiError::malformed("body.sorts[]", "by a timestamp or a property", Some(sort))),
    };
    Ok(Sort { by, descending })
}

fn page_size(value: Option<&Value>) -> Result<usize, ApiError> {
    let Some(value) = value else { return Ok(PAGE_SIZE_MAX) };
    value
        .as_u64()
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| (1..=PAGE_SIZE_MAX).contains(size))
        .ok_or_else(|| ApiError::malformed("body.page_size", "a number from 1 to 100", Some(value)))
}
