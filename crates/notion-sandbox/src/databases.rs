//! Databases and data sources: how they are created and read, and how their columns change.

use super::api_error::ApiError;
use super::calls::user;
use super::content::{Span, rich_text};
use super::pages::{shown_time, url_of};
use super::schema::{Alteration, Schema};
use super::state::{Author, DataSource, Database, State, now};
use super::validate;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// The parent of all databases. Unless it is hidden, it is the only page above them that the integration sees.
pub const PARENT_PAGE_ID: Uuid = Uuid::from_u128(0xeb00_0000_0000_4000_8000_0000_0000_0001);

/// `GET /v1/databases/{id}`
pub fn read(state: &State, id: Uuid) -> Result<Value, ApiError> {
    let database = state.database(id).ok_or_else(|| ApiError::not_found("database", id))?;
    Ok(to_json(state, database))
}

/// `POST /v1/databases`
pub fn create(state: &mut State, body: &Value) -> Result<Value, ApiError> {
    let parent = body.get("parent").and_then(|parent| parent.get("page_id"));
    let parent_page = parent
        .and_then(Value::as_str)
        .and_then(|id| Uuid::parse_str(id).ok())
        .ok_or_else(|| ApiError::malformed("body.parent.page_id", "a valid uuid", parent))?;
    if (parent_page != PARENT_PAGE_ID || state.is_parent_hidden) && state.page(parent_page).is_none() {
        return Err(ApiError::not_found("page", parent_page));
    }
    let title = match body.get("title") {
        None => String::new(),
        Some(title) => validate::spans(title, "body.title")?.into_iter().map(|span| span.content).collect(),
    };
    let path = "body.initial_data_source.properties";
    let properties = body.get("initial_data_source").and_then(|source| source.get("properties"));
    let schema = Schema::parse(object(properties, path)?, path)?;
    let database = add(state, Uuid::new_v4(), parent_page, &title)?;
    add_source(state, Uuid::new_v4(), database.id, &title, schema)?;
    Ok(to_json(state, &database))
}

/// `GET /v1/data_sources/{id}`
pub fn read_source(state: &State, id: Uuid) -> Result<Value, ApiError> {
    let source = state.data_source(id).ok_or_else(|| ApiError::not_found("data source", id))?;
    Ok(source_json(state, source))
}

/// `PATCH /v1/data_sources/{id}`: applies all changes or none.
pub fn update_source(state: &mut State, id: Uuid, body: &Value) -> Result<Value, ApiError> {
    let source = state.data_source(id).ok_or_else(|| ApiError::not_found("data source", id))?;
    let mut source = DataSource::clone(source);
    let path = "body.properties";
    for (key, definition) in object(body.get("properties"), path)? {
        let alteration = Alteration::parse(definition, &format!("{path}.{key}"))?;
        source.schema.alter(key, alteration)?;
    }
    source.edited = now();
    let answer = source_json(state, &source);
    state.put_data_source(Arc::new(source))?;
    Ok(answer)
}

/// Creates a database without data sources.
pub fn add(state: &mut State, id: Uuid, parent_page: Uuid, title: &str) -> Result<Database, ApiError> {
    if state.databases().len() >= DATABASES_MAX {
        return Err(ApiError::validation(format!("The sandbox holds {DATABASES_MAX} databases at most.")));
    }
    let title = title.to_owned();
    let database = Database { id, title, parent_page, in_trash: false, created: now() };
    state.put_database(database.clone())?;
    Ok(database)
}

/// Creates a data source in a database.
pub fn add_source(
    state: &mut State,
    id: Uuid,
    database: Uuid,
    name: &str,
    schema: Schema,
) -> Result<(), ApiError> {
    state.database(database).ok_or_else(|| ApiError::not_found("database", database))?;
    if state.data_sources_of(database).count() >= DATA_SOURCES_MAX {
        return Err(ApiError::validation(format!(
            "A database of the sandbox holds {DATA_SOURCES_MAX} data sources at most."
        )));
    }
    let created = now();
    let name = name.to_owned();
    let source = DataSource { id, database, name, schema, in_trash: false, created, edited: created };
    state.put_data_source(Arc::new(source))
}

const DATABASES_MAX: usize = 1000;
const DATA_SOURCES_MAX: usize = 20;

fn object<'a>(value: Option<&'a Value>, path: &str) -> Result<&'a Map<String, Value>, ApiError> {
    value.and_then(Value::as_object).ok_or_else(|| match value {
        None => ApiError::malformed(path, "defined", None),
        found => ApiError::malformed(path, "an object", found),
    })
}

fn to_json(state: &State, database: &Database) -> Value {
    let sources: Vec<Value> = state
        .data_sources_of(database.id)
        .map(|source| json!({ "id": source.id, "name": source.name }))
        .collect();
    json!({
        "object": "database",
        "id": database.id,
        "title": text(&database.title),
        "description": [],
        "parent": { "type": "page_id", "page_id": database.parent_page },
        "is_inline": false,
        "is_locked": false,
        // A database below a trashed page says that it is not in the trash.
        "in_trash": database.in_trash,
        "created_time": shown_time(database.created),
        "last_edited_time": shown_time(database.created),
        "data_sources": sources,
        "icon": null,
        "cover": null,
        "url": url_of_database(state, database.id),
        "public_url": null,
    })
}

/// A data source as Notion shows it.
pub fn source_json(state: &State, source: &DataSource) -> Value {
    let parent_page = state.database(source.database).map(|database| database.parent_page);
    json!({
        "object": "data_source",
        "id": source.id,
        "title": text(&source.name),
        "description": [],
        "parent": { "type": "database_id", "database_id": source.database },
        "database_parent": { "type": "page_id", "page_id": parent_page },
        "is_inline": false,
        "in_trash": source.in_trash,
        "created_time": shown_time(source.created),
        "last_edited_time": shown_time(source.edited),
        "created_by": user(Author::Bot),
        "last_edited_by": user(Author::Bot),
        "properties": source.schema.to_json(),
        "icon": null,
        "cover": null,
        "url": url_of_database(state, source.database),
        "public_url": null,
    })
}

fn url_of_database(state: &State, id: Uuid) -> String {
    match &state.public_url {
        Some(base) => format!("{}/db/{}", base.trim_end_matches('/'), id.simple()),
        None => url_of(state, id),
    }
}

fn text(content: &str) -> Value {
    rich_text(&[Span { content: content.to_owned(), link: None }])
}
