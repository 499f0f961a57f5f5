//! The hand on a running sandbox: what the user of Notion would do to it, what a test wants to see
//! of it, and how it is told to misbehave. Nothing done here counts towards the rate limit.

use super::content::Content;
use super::databases::{self, PARENT_PAGE_ID};
use super::faults::{FaultError, FaultRule};
use super::pages;
use super::refusal::Refusal;
use super::shared::Shared;
use super::state::{Author, Page, State};
use super::template::Template;
use super::traffic::LoggedRequest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Drives and watches a sandbox from within its process; cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxHandle {
    shared: Arc<Shared>,
}

/// A page as a test looks at it.
#[derive(Debug, Clone)]
pub struct SandboxPage {
    /// The id.
    pub id: Uuid,
    /// The table in which it stands.
    pub data_source_id: Uuid,
    /// Whether it was thrown away.
    pub in_trash: bool,
    /// The page as the API shows it.
    pub json: Value,
    /// The blocks of its body, as they were sent.
    pub children: Vec<Value>,
    texts: Vec<(String, String)>,
}

impl SandboxPage {
    /// What stands in a column, as a person would read it; `None` where the cell is empty.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.texts.iter().find(|(name, _)| name == column).map(|(_, text)| text.as_str())
    }
}

impl SandboxHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Makes the sandbox misbehave.
    pub fn fault(&self, rule: FaultRule) -> Result<(), FaultError> {
        self.shared.faults().add(rule)
    }

    /// The rules by which it still misbehaves.
    pub fn faults(&self) -> Vec<FaultRule> {
        self.shared.faults().rules().to_vec()
    }

    /// Lets it behave again.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Replaces the token, as the user does who revokes one: the old one is refused from now on.
    pub fn set_token(&self, token: String) {
        *self.shared.token() = token;
    }

    /// Sets the rate limit and begins a new window; `None` takes the limit off.
    pub fn set_rate(&self, per_minute: Option<u32>) {
        self.shared.limiter().set(per_minute);
    }

    /// The rate limit.
    pub fn rate(&self) -> Option<u32> {
        self.shared.limiter().per_minute()
    }

    /// Says under which address a person reaches the sandbox, for the links of its pages.
    pub fn set_public_url(&self, url: Option<String>) {
        self.shared.state().public_url = url;
    }

    /// All pages, oldest first within their table, those in the trash included.
    pub fn pages(&self) -> Vec<SandboxPage> {
        let state = self.shared.state();
        every_page(&state).filter_map(|page| view(&state, page)).collect()
    }

    /// How many pages stand in the tables; those in the trash do not count.
    pub fn page_count(&self) -> usize {
        self.shared.state().live_count()
    }

    /// The latest requests to the API, oldest first: as many as a bound on number and weight allows.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.traffic().latest().cloned().collect()
    }

    /// How many requests to the API there were in all.
    pub fn request_count(&self) -> u64 {
        self.shared.traffic().total()
    }

    /// How many requests are under way.
    pub fn requests_under_way(&self) -> usize {
        self.shared.traffic().under_way()
    }

    /// The most requests that were ever under way at once.
    pub fn peak_concurrency(&self) -> usize {
        self.shared.traffic().peak()
    }

    /// Forgets the requests and the peak; the count goes on.
    pub fn clear_requests(&self) {
        self.shared.traffic().clear();
    }

    /// Waits until the condition holds. It is looked at after every request and every change, so
    /// that nothing is missed between two looks; put a deadline around it.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The user throws a page away.
    pub fn trash(&self, page: Uuid) -> Result<(), Refusal> {
        self.change(|state| pages::edit(state, page, None, Some(true), Author::Person)).map(drop)
    }

    /// The user takes a page out of the trash.
    pub fn restore(&self, page: Uuid) -> Result<(), Refusal> {
        self.change(|state| pages::edit(state, page, None, Some(false), Author::Person)).map(drop)
    }

    /// The user edits a page; the properties are written as in the API.
    pub fn edit_page(&self, page: Uuid, properties: &Value) -> Result<Value, Refusal> {
        self.change(|state| pages::edit(state, page, Some(properties), None, Author::Person))
    }

    /// Somebody makes a page; the properties are written as in the API.
    pub fn add_page(&self, data_source: Uuid, properties: &Value, author: Author) -> Result<Value, Refusal> {
        let body = json!({ "parent": { "data_source_id": data_source }, "properties": properties });
        self.change(|state| pages::create(state, &body, Duration::ZERO, author))
    }

    /// The user adds a column of a type such as `rich_text`.
    pub fn add_column(&self, data_source: Uuid, name: &str, kind: &str) -> Result<(), Refusal> {
        self.alter(data_source, name, &json!({ kind: {} }))
    }

    /// The user renames a column.
    pub fn rename_column(&self, data_source: Uuid, name: &str, new_name: &str) -> Result<(), Refusal> {
        self.alter(data_source, name, &json!({ "name": new_name }))
    }

    /// The user removes a column.
    pub fn remove_column(&self, data_source: Uuid, name: &str) -> Result<(), Refusal> {
        self.alter(data_source, name, &Value::Null)
    }

    /// The user gives a column another type.
    pub fn retype_column(&self, data_source: Uuid, name: &str, kind: &str) -> Result<(), Refusal> {
        self.alter(data_source, name, &json!({ kind: {} }))
    }

    /// The user makes another database; its id and that of its data source.
    pub fn add_database(&self, template: Template) -> Result<(Uuid, Uuid), Refusal> {
        let (database, source) = (Uuid::new_v4(), Uuid::new_v4());
        self.change(|state| {
            databases::add(state, database, PARENT_PAGE_ID, template.title())?;
            databases::add_source(state, source, database, template.title(), template.schema())
        })?;
        Ok((database, source))
    }

    /// The user adds a data source to a database.
    pub fn add_data_source(&self, database: Uuid, template: Template) -> Result<Uuid, Refusal> {
        let source = Uuid::new_v4();
        self.change(|state| {
            databases::add_source(state, source, database, template.title(), template.schema())
        })?;
        Ok(source)
    }

    /// Removes all pages for good; the tables stay.
    pub fn wipe(&self) -> Result<(), Refusal> {
        self.change(State::wipe)
    }

    fn alter(&self, data_source: Uuid, column: &str, definition: &Value) -> Result<(), Refusal> {
        let body = json!({ "properties": { column: definition } });
        self.change(|state| databases::update_source(state, data_source, &body)).map(drop)
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Refusal>) -> Result<T, Refusal> {
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
