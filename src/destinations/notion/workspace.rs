//! Calls for the operator's commands: the owner of the token, what it can see, and new databases.

use super::answer::Answer;
use super::call_error::CallError;
use super::classify::Effect;
use super::client::{Calls, Client, NotionClientError};
use super::design;
use super::field::Field;
use super::request::Request;
use super::settings::{NotionAccess, NotionId};
use super::trash::is_put_away;
use crate::config::{InstanceName, Reader};
use crate::destinations::DeliveryContext;
use crate::domain::delivery::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Instant;

/// The most objects of one type in a list.
const LISTED_MAX: usize = 500;

/// The most objects in one answer of a search.
const PAGE_SIZE: usize = 100;

/// Notion as one token can see it.
pub struct Workspace {
    client: Client,
}

/// The owner of a token.
#[derive(Debug, Clone, Default)]
pub struct Bearer {
    /// The connection's name, or the person's.
    pub name: String,
    /// The workspace's name.
    pub workspace: String,
    /// Whether it is a connection, not a person.
    pub is_bot: bool,
    /// The largest file that can be uploaded, in bytes. It tells Free workspaces from others.
    pub file_bytes_max: Option<u64>,
}

/// A page or a table that the token can see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkspaceItem {
    /// Its id; a table's is that of its database, which is what the setting takes.
    pub id: String,
    /// Its title; empty if it has none.
    pub title: String,
    /// The link to it, if Notion names one.
    pub url: Option<String>,
}

/// A new database.
#[derive(Debug)]
pub struct MadeDatabase {
    /// The database.
    pub database: WorkspaceItem,
    /// Why it has no view of what customers paid, if it has none. It can be used without.
    pub without_view: Option<Failure>,
}

/// What the token can see.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Shared {
    /// Pages under which a database can be created: all except the rows of tables.
    pub pages: Vec<WorkspaceItem>,
    /// Databases.
    pub databases: Vec<WorkspaceItem>,
}

impl Workspace {
    /// Notion with the token and address of an instance's settings. If they cannot be used, the reader
    /// holds the problem.
    pub fn configure(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<Self> {
        let access = NotionAccess::read(reader, instance)?;
        match Client::new(&access) {
            Ok(client) => Some(Self { client }),
            Err(error @ (NotionClientError::Token | NotionClientError::Http(_))) => {
                reader.problem(&instance.setting("API_KEY"), error);
                None
            }
        }
    }

    /// The owner of the token.
    pub async fn bearer(&self, context: &dyn DeliveryContext) -> Result<Bearer, Failure> {
        let calls = self.calls(context);
        Ok(calls.bearer().await.map_err(|error| calls.failure(error))?.value)
    }

    /// Everything that the token can see, up to a limit.
    pub async fn shared(&self, context: &dyn DeliveryContext) -> Result<Shared, Failure> {
        let calls = self.calls(context);
        let pages = calls.search("page").await.map_err(|error| calls.failure(error))?;
        let tables = calls.search("data_source").await.map_err(|error| calls.failure(error))?;
        Ok(Shared {
            pages: pages.iter().filter(|page| !is_row(page)).filter_map(page_item).collect(),
            databases: tables.iter().filter_map(database_of).collect(),
        })
    }

    /// The page with this id, if the token can see it and it can hold a database.
    pub async fn page(
        &self,
        context: &dyn DeliveryContext,
        id: &NotionId,
    ) -> Result<Option<WorkspaceItem>, Failure> {
        let calls = self.calls(context);
        match calls.page(id.as_str()).await {
            Ok(answer) => Ok(page_item(&answer.value)),
            Err(CallError::Refused(refusal)) if matches!(refusal.status, 400 | 404) => Ok(None),
            Err(error) => Err(calls.failure(error)),
        }
    }

    /// Creates a database with a column for every property except `Status`, and a view of what customers paid. Notion
    /// may answer that it failed after the database was created; then its answer names it.
    pub async fn make_database(
        &self,
        context: &dyn DeliveryContext,
        page: &str,
        title: &str,
    ) -> Result<MadeDatabase, Failure> {
        let body = json!({
            "parent": { "type": "page_id", "page_id": page },
            "title": [{ "type": "text", "text": { "content": title } }],
            "initial_data_source": { "properties": design::whole_table() },
        });
        let calls = self.calls(context);
        let mut made: Result<Answer<Value>, _> = calls.call(&Request::create_database(body)).await;
        if let Err(CallError::Refused(refusal)) = &made
            && let Some(id) = &refusal.committed_page
        {
            made = calls.call(&Request::database(id)).await;
        }
        let made = made.map_err(|error| calls.failure(error))?;
        let unclear =
            || Failure::local("no_answer", "the answer does not have the form that Notion documents");
        let database = item(&made.value, title.to_owned()).ok_or_else(unclear)?;
        let source = made.value.pointer("/data_sources/0/id").and_then(Value::as_str);
        let view = match source {
            Some(source) => self.make_view(context, &database.id, source).await,
            None => Err(unclear()),
        };
        Ok(MadeDatabase { database, without_view: view.err() })
    }

    /// Creates the view of what customers paid in a new database.
    async fn make_view(
        &self,
        context: &dyn DeliveryContext,
        database: &str,
        source: &str,
    ) -> Result<(), Failure> {
        let calls = self.calls(context);
        let read: Answer<Value> =
            calls.call(&Request::data_source(source)).await.map_err(|error| calls.failure(error))?;
        let currency = format!("/properties/{}/id", Field::Currency.name());
        let currency = read.value.pointer(&currency).and_then(Value::as_str).unwrap_or_default();
        let view = Request::create_view(design::collected_view(database, source, currency));
        let _made: Answer<Value> = calls.call(&view).await.map_err(|error| calls.failure(error))?;
        Ok(())
    }

    fn calls<'a>(&'a self, context: &'a dyn DeliveryContext) -> Calls<'a> {
        self.client.with(context, Instant::now())
    }
}

impl Calls<'_> {
    /// The owner of the token.
    pub(super) async fn bearer(&self) -> Result<Answer<Bearer>, CallError> {
        let answer: Answer<Value> = self.call(&Request::me()).await?;
        let text = |path: &str| answer.value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let bearer = Bearer {
            name: text("/name").to_owned(),
            workspace: text("/bot/workspace_name").to_owned(),
            is_bot: text("/type") == "bot",
            file_bytes_max: answer
                .value
                .pointer("/bot/workspace_limits/max_file_upload_size_in_bytes")
                .and_then(Value::as_u64),
        };
        Ok(Answer { value: bearer, status: answer.status, request_id: answer.request_id })
    }

    /// Reads a page.
    pub(super) async fn page(&self, id: &str) -> Result<Answer<Value>, CallError> {
        self.call(&Request::page(id)).await
    }

    /// Reads a page without its values: whether it is in the trash, and its parent.
    pub(super) async fn page_state(&self, id: &str) -> Result<Answer<Value>, CallError> {
        self.read(&Request::page_state(id)).await
    }

    /// Reads a database in full.
    pub(super) async fn whole_database(&self, id: &NotionId) -> Result<Answer<Value>, CallError> {
        self.call(&Request::database(id.as_str())).await
    }

    /// Adds columns to a data source.
    pub(super) async fn add_columns(
        &self,
        data_source: &str,
        columns: &Map<String, Value>,
    ) -> Result<Answer<Value>, CallError> {
        self.call(&Request::add_columns(data_source, columns)).await
    }

    /// The failure of a call that an operator's command made.
    pub(super) fn failure(&self, error: CallError) -> Failure {
        failure_of(self.outcome(Effect::Look, error))
    }

    /// Everything of one type that the token can see: `page` or `data_source`.
    async fn search(&self, kind: &str) -> Result<Vec<Value>, CallError> {
        #[derive(Deserialize)]
        struct Found {
            results: Vec<Value>,
            next_cursor: Option<String>,
        }
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        while all.len() < LISTED_MAX {
            let mut body = json!({
                "filter": { "property": "object", "value": kind },
                "sort": { "timestamp": "last_edited_time", "direction": "descending" },
                "page_size": PAGE_SIZE,
            });
            if let (Some(cursor), Some(members)) = (cursor.take(), body.as_object_mut()) {
                members.insert("start_cursor".to_owned(), cursor.into());
            }
            let found: Answer<Found> = self.call(&Request::search(body)).await?;
            all.extend(found.value.results);
            match found.value.next_cursor {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(all)
    }
}

/// The failure of an outcome that is not a success.
pub(super) fn failure_of(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::NeedsOperator(failure)
        | Outcome::Permanent(failure)
        | Outcome::Gone(failure)
        | Outcome::Transient { failure, .. }
        | Outcome::Throttled { failure, .. }
        | Outcome::Ambiguous { failure, .. }
        | Outcome::Blocked { failure, .. } => failure,
        Outcome::Delivered { .. } | Outcome::Skipped { .. } | Outcome::InDoubt { .. } => {
            Failure::local("no_answer", "Notion executed the request but answered with an error")
        }
    }
}

/// The plain text of the title of a database or a page.
pub(super) fn title(thing: &Value) -> String {
    let of_page = || {
        let properties = thing.get("properties")?.as_object()?;
        properties.values().find_map(|property| property.get("title")?.as_array())
    };
    let spans = thing.get("title").and_then(Value::as_array).or_else(of_page);
    let text = |span: &Value| {
        let plain = span.get("plain_text").or_else(|| span.pointer("/text/content"))?;
        plain.as_str().map(str::to_owned)
    };
    spans.into_iter().flatten().filter_map(text).collect()
}

fn is_row(page: &Value) -> bool {
    page.pointer("/parent/data_source_id").is_some_and(Value::is_string)
        || page.pointer("/parent/database_id").is_some_and(Value::is_string)
}

fn page_item(page: &Value) -> Option<WorkspaceItem> {
    if is_put_away(page) { None } else { item(page, title(page)) }
}

/// The database of a data source. A search finds those in the trash, too.
fn database_of(source: &Value) -> Option<WorkspaceItem> {
    if is_put_away(source) {
        return None;
    }
    let id = source.pointer("/parent/database_id")?.as_str()?.to_owned();
    Some(WorkspaceItem { id, ..item(source, title(source))? })
}

fn item(thing: &Value, title: String) -> Option<WorkspaceItem> {
    let text = |name: &str| thing.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(WorkspaceItem { id: text("id")?, title, url: text("url") })
}
