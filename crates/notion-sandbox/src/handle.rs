//! Controls a running sandbox from within its process: a user's edits, observations for tests, and fault
//! injection. None of it counts towards the rate limit.

use super::api_error::ApiError;
use super::content::Content;
use super::databases::{self, PARENT_PAGE_ID};
use super::faults::{FaultError, FaultRule};
use super::limiter::{Limiter, WINDOW};
use super::pages;
use super::shared::Shared;
use super::state::{Author, DataSource, Database, Page, State};
use super::template::Template;
use super::traffic::LoggedRequest;
use super::views;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Controls and observes a sandbox; cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxHandle {
    shared: Arc<Shared>,
}

/// A page, for tests.
#[derive(Debug, Clone)]
pub struct SandboxPage {
    /// The id.
    pub id: Uuid,
    /// Its table.
    pub data_source_id: Uuid,
    /// Whether it is in the trash.
    pub in_trash: bool,
    /// The page as the API shows it.
    pub json: Value,
    /// The blocks of its body, as the client sent them.
    pub children: Vec<Value>,
    texts: Vec<(String, String)>,
}

impl SandboxPage {
    /// The text of a cell, as a person reads it; `None` if the cell is empty.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.texts.iter().find(|(name, _)| name == column).map(|(_, text)| text.as_str())
    }
}

impl SandboxHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Adds a fault rule.
    pub fn fault(&self, rule: FaultRule) -> Result<(), FaultError> {
        self.shared.faults().add(rule)
    }

    /// The remaining fault rules.
    pub fn faults(&self) -> Vec<FaultRule> {
        self.shared.faults().rules().to_vec()
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Replaces the token, as a user does who revokes one: the old token is rejected from now on.
    pub fn set_token(&self, token: String) {
        *self.shared.token() = token;
    }

    /// Makes the token one of a person, or one of a connection. A personal one expires: then nothing accepts it, as
    /// after [`set_token`](Self::set_token).
    pub fn set_personal_token(&self, is_personal: bool) {
        self.shared.state().is_token_personal = is_personal;
    }

    /// Sets the rate limit and starts a new window; `None` removes the limit.
    pub fn set_rate(&self, per_minute: Option<u32>) {
        self.shared.limits().connection = Limiter::new(per_minute, WINDOW);
    }

    /// Sets the number of requests that all connections of the workspace together may make in each window,
    /// and begins a window in which the others have made some already. `None` removes the limit.
    pub fn set_workspace_rate(&self, requests: Option<u32>, window: Duration, used_by_others: u32) {
        let mut limiter = Limiter::new(requests, window);
        limiter.count(used_by_others);
        self.shared.limits().workspace = limiter;
    }

    /// The rate limit.
    pub fn rate(&self) -> Option<u32> {
        self.shared.limits().connection.most()
    }

    /// Sets how many pages can ever be created, as in a Free workspace; pages that are deleted count. `None`
    /// removes the limit, as an upgrade does.
    pub fn set_block_limit(&self, pages: Option<u64>) {
        self.shared.state().blocks_max = pages;
    }

    /// Sets the address at which a person reaches the sandbox, for the links of its pages.
    pub fn set_public_url(&self, url: Option<String>) {
        self.shared.state().public_url = url;
    }

    /// All pages, oldest first within their table, including those in the trash.
    pub fn pages(&self) -> Vec<SandboxPage> {
        let state = self.shared.state();
        every_page(&state).filter_map(|page| view(&state, page)).collect()
    }

    /// The number of pages in the tables, without those in the trash.
    pub fn page_count(&self) -> usize {
        self.shared.state().live_count()
    }

    /// The latest requests to the API, oldest first. Their number and total size are limited.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.traffic().latest().cloned().collect()
    }

    /// The total number of requests to the API.
    pub fn request_count(&self) -> u64 {
        self.shared.traffic().total()
    }

    /// The number of running requests.
    pub fn requests_under_way(&self) -> usize {
        self.shared.traffic().running()
    }

    /// The largest number of concurrent requests so far.
    pub fn peak_concurrency(&self) -> usize {
        self.shared.traffic().peak()
    }

    /// Clears the request log and the peak; the total is kept.
    pub fn clear_requests(&self) {
        self.shared.traffic().clear();
    }

    /// Waits until the condition holds. It is evaluated after every request and every change, so that
    /// no state is missed. The caller sets a deadline.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The user moves a page to the trash.
    pub fn trash(&self, page: Uuid) -> Result<(), ApiError> {
        self.change(|state| pages::edit(state, page, None, Some(true), Author::Person)).map(drop)
    }

    /// The user restores a page from the trash.
    pub fn restore(&self, page: Uuid) -> Result<(), ApiError> {
        self.change(|state| pages::edit(state, page, None, Some(false), Author::Person)).map(drop)
    }

    /// The user archives a page.
    pub fn archive(&self, page: Uuid) -> Result<(), ApiError> {
        self.set_archived(page, true)
    }

    /// The user archives a page, or restores it from there.
    pub fn set_archived(&self, page: Uuid, is_archived: bool) -> Result<(), ApiError> {
        self.change(|state| {
            let found = state.page(page).cloned().ok_or_else(|| ApiError::not_found("page", page))?;
            state.put_page(Page { is_archived, ..found })
        })
    }

    /// The user moves a page to another table.
    pub fn move_page(&self, page: Uuid, data_source: Uuid) -> Result<(), ApiError> {
        self.change(|state| {
            let found = state.page(page).cloned().ok_or_else(|| ApiError::not_found("page", page))?;
            if state.data_source(data_source).is_none() {
                return Err(ApiError::not_found("data source", data_source));
            }
            state.put_page(Page { data_source, ..found })
        })
    }

    /// The user moves a data source to the trash, or restores it.
    pub fn trash_data_source(&self, id: Uuid, in_trash: bool) -> Result<(), ApiError> {
        self.change(|state| {
            let found =
                state.data_source(id).cloned().ok_or_else(|| ApiError::not_found("data source", id))?;
            state.put_data_source(Arc::new(DataSource { in_trash, ..DataSource::clone(&found) }))
        })
    }

    /// The user moves a database to the trash, or restores it.
    pub fn trash_database(&self, id: Uuid, in_trash: bool) -> Result<(), ApiError> {
        self.change(|state| {
            let found = state.database(id).cloned().ok_or_else(|| ApiError::not_found("database", id))?;
            state.put_database(Database { in_trash, ..found })
        })
    }

    /// The user moves the page that contains the databases to the trash, or restores it.
    pub fn trash_parent_page(&self, in_trash: bool) {
        self.shared.state().is_parent_in_trash = in_trash;
        self.shared.changed();
    }

    /// The user shares that page with the integration, or only the databases in it.
    pub fn hide_parent_page(&self, is_hidden: bool) {
        self.shared.state().is_parent_hidden = is_hidden;
        self.shared.changed();
    }

    /// The views that were created, as the API shows them, oldest first.
    pub fn views(&self) -> Vec<Value> {
        let state = self.shared.state();
        state.views().iter().map(|view| views::to_json(&state, view)).collect()
    }

    /// The user edits a page; the properties have the API's form.
    pub fn edit_page(&self, page: Uuid, properties: &Value) -> Result<Value, ApiError> {
        self.change(|state| pages::edit(state, page, Some(properties), None, Author::Person))
    }

    /// The author creates a page; the properties have the API's form.
    pub fn add_page(&self, data_source: Uuid, properties: &Value, author: Author) -> Result<Value, ApiError> {
        let body = json!({ "parent": { "data_source_id": data_source }, "properties": properties });
        self.change(|state| pages::create(state, &body, Duration::ZERO, author))
    }

    /// The user adds a column of a type such as `rich_text`.
    pub fn add_column(&self, data_source: Uuid, name: &str, kind: &str) -> Result<(), ApiError> {
        self.alter(data_source, name, &json!({ kind: {} }))
    }

    /// The user renames a column.
    pub fn rename_column(&self, data_source: Uuid, name: &str, new_name: &str) -> Result<(), ApiError> {
        self.alter(data_source, name, &json!({ "name": new_name }))
    }

    /// The user removes a column.
    pub fn remove_column(&self, data_source: Uuid, name: &str) -> Result<(), ApiError> {
        self.alter(data_source, name, &Value::Null)
    }

    /// The user gives a column another type.
    pub fn retype_column(&self, data_source: Uuid, name: &str, kind: &str) -> Result<(), ApiError> {
        self.alter(data_source, name, &json!({ kind: {} }))
    }

    /// The user creates another database. Returns its id and that of its data source.
    pub fn add_database(&self, template: Template) -> Result<(Uuid, Uuid), ApiError> {
        let (database, source) = (Uuid::new_v4(), Uuid::new_v4());
        self.change(|state| {
            databases::add(state, database, PARENT_PAGE_ID, template.title())?;
            databases::add_source(state, source, database, template.title(), template.schema())
        })?;
        Ok((database, source))
    }

    /// The user adds a data source to a database.
    pub fn add_data_source(&self, database: Uuid, template: Template) -> Result<Uuid, ApiError> {
        let source = Uuid::new_v4();
        self.change(|state| {
            databases::add_source(state, source, database, template.title(), template.schema())
        })?;
        Ok(source)
    }

    /// Removes all pages for good; the tables stay.
    pub fn wipe(&self) -> Result<(), ApiError> {
        self.change(State::wipe)
    }

    fn alter(&self, data_source: Uuid, column: &str, definition: &Value) -> Result<(), ApiError> {
        let body = json!({ "properties": { column: definition } });
        self.change(|state| databases::update_source(state, data_source, &body)).map(drop)
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let result = act(&mut self.shared.state());
        self.shared.changed();
        result
    }
}

fn every_page(state: &State) -> impl Iterator<Item = &Page> {
    state
        .databases()
        .iter()
        .flat_map(|database| state.data_sources_of(database.id))
        .flat_map(|source| state.pages_of(source.id))
}

fn view(state: &State, page: &Page) -> Option<SandboxPage> {
    let source = state.data_source(page.data_source)?;
    let texts = source.schema.properties().iter().filter_map(|property| {
        let cell = page.cell(property)?;
        Some((property.name.clone(), Content::plain(&cell).into_owned()))
    });
    Some(SandboxPage {
        id: page.id,
        data_source_id: source.id,
        in_trash: page.in_trash,
        json: pages::to_json(state, source, page),
        children: page.children.clone(),
        texts: texts.collect(),
    })
}
