//! Views: how one is created. The sandbox shows a table of its own, so it checks a view, returns it, and keeps
//! nothing of it.
//!
//! Source: the reference of `POST /v1/views` and the types of Notion's client 5.26.

use super::api_error::ApiError;
use super::filter::Filter;
use super::schema::Schema;
use super::state::State;
use serde_json::{Value, json};
use uuid::Uuid;

/// The places where a view can be created; a request names exactly one.
const PLACES: [&str; 3] = ["database_id", "view_id", "create_database"];

const TYPES: &[&str] =
    &["table", "board", "calendar", "timeline", "gallery", "list", "form", "chart", "map", "dashboard"];

/// `POST /v1/views`
pub fn create(state: &State, body: &Value) -> Result<Value, ApiError> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let required = |key: &str| {
        text(key).ok_or_else(|| ApiError::malformed(&format!("body.{key}"), "a string", body.get(key)))
    };
    let (name, kind) = (required("name")?, required("type")?);
    if !TYPES.contains(&kind) {
        return Err(ApiError::malformed("body.type", "a type of view", body.get("type")));
    }
    if PLACES.iter().filter(|place| body.get(**place).is_some()).count() != 1 {
        return Err(ApiError::validation(format!("Provide exactly one of: {}.", PLACES.join(", "))));
    }
    let id = |key: &str| {
        let id = text(key).and_then(|id| Uuid::parse_str(id).ok());
        id.ok_or_else(|| ApiError::malformed(&format!("body.{key}"), "a valid uuid", body.get(key)))
    };
    let (database, source) = (id("database_id")?, id("data_source_id")?);
    let source = state
        .data_source(source)
        .filter(|known| known.database == database && state.database(database).is_some())
        .ok_or_else(|| ApiError::not_found("database", database))?;
    if let Some(filter) = body.get("filter").filter(|filter| !filter.is_null()) {
        Filter::parse(&source.schema, filter)?;
    }
    let sorts = body.get("sorts").and_then(Value::as_array);
    for sort in sorts.into_iter().flatten() {
        known_column(&source.schema, sort.get("property"), "body.sorts.property")?;
    }
    let grouped = body.pointer("/configuration/group_by").filter(|group| !group.is_null());
    if let Some(group) = grouped {
        let path = "body.configuration.group_by.property_id";
        known_column(&source.schema, group.get("property_id"), path)?;
    }
    Ok(json!({
        "object": "view",
        "id": Uuid::new_v4(),
        "parent": { "type": "database_id", "database_id": database },
        "data_source_id": source.id,
        "name": name,
        "type": kind,
        "filter": body.get("filter"),
        "sorts": body.get("sorts"),
        "configuration": body.get("configuration"),
    }))
}

fn known_column(schema: &Schema, column: Option<&Value>, path: &str) -> Result<(), ApiError> {
    let is_known = column.and_then(Value::as_str).is_some_and(|name| schema.find(name).is_some());
    if is_known { Ok(()) } else { Err(ApiError::malformed(path, "a property that exists", column)) }
}
