//! The calls of the API, and what each does to the state. This file knows nothing about connections,
//! rate limits and faults: it turns a call and its body into Notion's answer or error.

use super::api_error::ApiError;
use super::faults::Route;
use super::state::{Author, State};
use super::{databases, pages, queries, search, views};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// One of the calls that the sandbox answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `GET /v1/users/me`
    Me,
    /// `POST /v1/search`
    Search,
    /// `GET /v1/databases/{id}`
    Database(Uuid),
    /// `POST /v1/databases`
    CreateDatabase,
    /// `GET /v1/data_sources/{id}`
    DataSource(Uuid),
    /// `PATCH /v1/data_sources/{id}`
    UpdateDataSource(Uuid),
    /// `POST /v1/data_sources/{id}/query`
    Query(Uuid),
    /// `POST /v1/pages`
    CreatePage,
    /// `GET /v1/pages/{id}`
    Page(Uuid),
    /// `PATCH /v1/pages/{id}`
    UpdatePage(Uuid),
    /// `PATCH /v1/blocks/{id}/children`
    AppendChildren(Uuid),
    /// `POST /v1/views`
    CreateView,
    /// `GET /v1/views/{id}`
    View(Uuid),
}

/// The id of the integration's own user.
pub const BOT_ID: Uuid = Uuid::from_u128(0xeb00_0000_0000_4000_8000_0000_0000_0b07);

/// The id of the one person.
pub const PERSON_ID: Uuid = Uuid::from_u128(0xeb00_0000_0000_4000_8000_0000_0000_0bee);

impl Call {
    /// The call for a method and the path after `/v1/`.
    pub fn parse(method: &Method, path: &str) -> Result<Self, ApiError> {
        let segments: Vec<&str> = path.split('/').collect();
        match (method, segments.as_slice()) {
            (&Method::GET, ["users", "me"]) => Ok(Self::Me),
            (&Method::POST, ["search"]) => Ok(Self::Search),
            (&Method::POST, ["databases"]) => Ok(Self::CreateDatabase),
            (&Method::POST, ["views"]) => Ok(Self::CreateView),
            (&Method::GET, ["views", id]) => Ok(Self::View(uuid(id, "view_id")?)),
            (&Method::GET, ["databases", id]) => Ok(Self::Database(uuid(id, "database_id")?)),
            (&Method::GET, ["data_sources", id]) => Ok(Self::DataSource(uuid(id, "data_source_id")?)),
            (&Method::PATCH, ["data_sources", id]) => Ok(Self::UpdateDataSource(uuid(id, "data_source_id")?)),
            (&Method::POST, ["data_sources", id, "query"]) => Ok(Self::Query(uuid(id, "data_source_id")?)),
            (&Method::POST, ["pages"]) => Ok(Self::CreatePage),
            (&Method::GET, ["pages", id]) => Ok(Self::Page(uuid(id, "page_id")?)),
            (&Method::PATCH, ["pages", id]) => Ok(Self::UpdatePage(uuid(id, "page_id")?)),
            (&Method::PATCH, ["blocks", id, "children"]) => Ok(Self::AppendChildren(uuid(id, "block_id")?)),
            _ => Err(ApiError::new(400, "invalid_request_url", "Invalid request URL.")),
        }
    }

    /// Its kind, for fault rules.
    pub fn route(self) -> Route {
        match self {
            Self::Me => Route::Me,
            Self::Search => Route::Search,
            Self::Database(_) | Self::CreateDatabase | Self::DataSource(_) | Self::UpdateDataSource(_) => {
                Route::Schema
            }
            Self::Query(_) => Route::Query,
            Self::CreatePage => Route::Create,
            Self::Page(_) => Route::Read,
            Self::UpdatePage(_) => Route::Update,
            Self::AppendChildren(_) => Route::Children,
            Self::CreateView | Self::View(_) => Route::Views,
        }
    }

    /// Notion's answer if the object is not shared with the integration.
    pub fn unshared(self, body: &Value) -> ApiError {
        let (what, id) = match self {
            // Searching for what is not shared is no error: it finds nothing (see `gate`).
            Self::Me | Self::Search => return ApiError::of_status(401),
            Self::Database(id) => ("database", id),
            Self::DataSource(id) | Self::UpdateDataSource(id) | Self::Query(id) => ("data source", id),
            Self::Page(id) | Self::UpdatePage(id) => ("page", id),
            Self::AppendChildren(id) => ("block", id),
            Self::View(id) => ("view", id),
            Self::CreateView => {
                let id = body.get("database_id").and_then(Value::as_str);
                ("database", id.and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_default())
            }
            Self::CreatePage | Self::CreateDatabase => {
                let parent = body.get("parent");
                let id = |key| parent?.get(key)?.as_str().and_then(|id| Uuid::parse_str(id).ok());
                match (id("data_source_id"), id("database_id")) {
                    (Some(id), _) => ("data source", id),
                    (None, Some(id)) => ("database", id),
                    (None, None) => ("page", id("page_id").unwrap_or_default()),
                }
            }
        };
        ApiError::not_found(what, id)
    }

    /// Executes it. A page that it creates stays hidden from queries for `lag`.
    pub fn execute(self, state: &mut State, body: &Value, lag: Duration) -> Result<Value, ApiError> {
        match self {
            Self::Me => Ok(me(state)),
            Self::Search => search::run(state, body),
            Self::Database(id) => databases::read(state, id),
            Self::CreateDatabase => databases::create(state, body),
            Self::DataSource(id) => databases::read_source(state, id),
            Self::UpdateDataSource(id) => databases::update_source(state, id, body),
            Self::Query(id) => queries::run(state, id, body),
            Self::CreatePage => pages::create(state, body, lag, Author::Bot),
            Self::Page(id) => pages::read(state, id),
            Self::UpdatePage(id) => pages::update(state, id, body),
            Self::AppendChildren(id) => pages::append(state, id, body),
            Self::CreateView => views::create(state, body),
            Self::View(id) => views::read(state, id),
        }
    }
}

/// A user as other objects refer to it.
pub fn user(author: Author) -> Value {
    let id = match author {
        Author::Bot => BOT_ID,
        Author::Person => PERSON_ID,
    };
    json!({ "object": "user", "id": id })
}

fn me(state: &State) -> Value {
    if state.is_token_personal {
        return json!({
            "object": "user",
            "id": PERSON_ID,
            "name": "Sandbox person",
            "avatar_url": null,
            "type": "person",
            "person": { "email": "person@example.com" },
        });
    }
    json!({
        "object": "user",
        "id": BOT_ID,
        "name": "Sandbox connection",
        "avatar_url": null,
        "type": "bot",
        "bot": {
            "owner": { "type": "workspace", "workspace": true },
            "workspace_id": Uuid::from_u128(0xeb00_0000_0000_4000_8000_0000_0000_05ac),
            "workspace_limits": { "max_file_upload_size_in_bytes": 5 * 1024 * 1024 },
            "workspace_name": "Sandbox",
        },
    })
}

fn uuid(text: &str, name: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| {
        ApiError::validation(format!(
            "path failed validation: path.{name} should be a valid uuid, instead was `{}`.",
            json!(text)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::now;
    use crate::template::Template;
    use proptest::prelude::*;

    const WORDS: &[&str] = &[
        "parent",
        "data_source_id",
        "properties",
        "children",
        "filter",
        "and",
        "or",
        "sorts",
        "property",
        "timestamp",
        "created_time",
        "title",
        "rich_text",
        "text",
        "content",
        "link",
        "url",
        "number",
        "select",
        "status",
        "date",
        "start",
        "end",
        "name",
        "id",
        "equals",
        "type",
        "paragraph",
        "page_size",
        "start_cursor",
        "initial_data_source",
        "options",
        "Name",
        "Amount",
        "OccurredAt",
        "Status",
        "Currency",
    ];

    /// Random JSON with the names that the calls expect, so that it passes the first checks.
    fn body() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            proptest::sample::select(WORDS).prop_map(Value::from),
            Just(json!(Uuid::nil())),
        ];
        leaf.prop_recursive(6, 64, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(proptest::sample::select(WORDS), inner, 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_body_makes_a_call_panic(body in body(), part in body()) {
            let mut state = State::new(100, None);
            databases::add(&mut state, Uuid::nil(), Uuid::nil(), "t").unwrap();
            databases::add_source(&mut state, Uuid::nil(), Uuid::nil(), "t", Template::Full.schema()).unwrap();
            let created = json!({ "parent": { "data_source_id": Uuid::nil() }, "properties": {} });
            let page = pages::create(&mut state, &created, Duration::ZERO, Author::Bot).unwrap();
            let page = Uuid::parse_str(page["id"].as_str().unwrap()).unwrap();
            let parent = json!({ "data_source_id": Uuid::nil() });
            let aimed = json!({ "parent": parent, "properties": part, "children": part, "filter": part, "sorts": part });
            for body in [body, aimed] {
                for call in [
                    Call::CreatePage, Call::UpdatePage(page), Call::AppendChildren(page), Call::CreateDatabase,
                    Call::UpdateDataSource(Uuid::nil()), Call::Query(Uuid::nil()), Call::Page(page),
                    Call::CreateView,
                ] {
                    let _ = call.execute(&mut state, &body, Duration::ZERO);
                    let _ = call.unshared(&body);
                }
            }
            prop_assert!(state.page(page).is_some_and(|page| page.created <= now()));
        }
    }
}
