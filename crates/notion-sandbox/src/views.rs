//! Views: how one is created and read. The sandbox shows a table of its own, so it only checks and keeps them.
//!
//! Source: the reference of `POST /v1/views` and the types of Notion's client 5.26.

use super::api_error::ApiError;
use super::calls::user;
use super::filter::Filter;
use super::pages::{shown_time, url_of};
use super::schema::Schema;
use super::state::{Author, State, now};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// A view of a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    /// The id.
    pub id: Uuid,
    database: Uuid,
    data_source: Uuid,
    created: DateTime<Utc>,
    /// What the request asked for.
    request: Value,
}

/// The places where a view can be created; a request names exactly one.
const PLACES: [&str; 3] = ["database_id", "view_id", "create_database"];

const TYPES: &[&str] =
    &["table", "board", "calendar", "timeline", "gallery", "list", "form", "chart", "map", "dashboard"];

/// `POST /v1/views`
pub fn create(state: &mut State, body: &Value) -> Result<Value, ApiError> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let required = |key: &str| {
        text(key).ok_or_else(|| ApiError::malformed(&format!("body.{key}"), "a string", body.get(key)))
    };
    required("name")?;
    let kind = required("type")?;
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
    let view =
        View { id: Uuid::new_v4(), database, data_source: source.id, created: now(), request: body.clone() };
    let answer = to_json(state, &view);
    state.put_view(view)?;
    Ok(answer)
}

/// `GET /v1/views/{id}`
pub fn read(state: &State, id: Uuid) -> Result<Value, ApiError> {
    let view = state.views().iter().find(|view| view.id == id);
    view.map(|view| to_json(state, view)).ok_or_else(|| ApiError::not_found("view", id))
}

/// A view as Notion shows it.
pub fn to_json(state: &State, view: &View) -> Value {
    let asked = |name: &str| view.request.get(name).cloned().unwrap_or_default();
    json!({
        "object": "view",
        "id": view.id,
        "parent": { "type": "database_id", "database_id": view.database },
        "data_source_id": view.data_source,
        "name": asked("name"),
        "type": asked("type"),
        "created_time": shown_time(view.created),
        "last_edited_time": shown_time(view.created),
        "created_by": user(Author::Bot),
        "last_edited_by": user(Author::Bot),
        "url": url_of(state, view.id),
        "filter": asked("filter"),
        "sorts": asked("sorts"),
        "configuration": asked("configuration"),
    })
}

fn known_column(schema: &Schema, column: Option<&Value>, path: &str) -> Result<(), ApiError> {
    let is_known = column.and_then(Value::as_str).is_some_and(|name| schema.find(name).is_some());
    if is_known { Ok(()) } else { Err(ApiError::malformed(path, "a property that exists", column)) }
}
