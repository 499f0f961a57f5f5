//! Pages: how the API and the user create, read and change them, move them to the trash and append blocks.

use super::api_error::ApiError;
use super::calls::user;
use super::content::{Authorship, Content, Span, read_back, rich_text};
use super::databases::PARENT_PAGE_ID;
use super::kind::Kind;
use super::state::{Author, DataSource, Page, State, now};
use super::validate::{self, Cells};
use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// `POST /v1/pages`; a person's new page has the same form.
pub fn create(state: &mut State, body: &Value, lag: Duration, author: Author) -> Result<Value, ApiError> {
    let source = Arc::clone(parent(state, body)?);
    // Below a page in the trash, pages can be created; they are then in the trash, too.
    if state.is_table_in_trash(&source) {
        return Err(archived_ancestor());
    }
    let properties = match body.get("properties") {
        None => &Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(other) => return Err(ApiError::malformed("body.properties", "an object", Some(other))),
    };
    let cells = validate::cells(&source.schema, properties)?;
    let children = match body.get("children") {
        None => Vec::new(),
        Some(children) => validate::blocks(children, "body.children")?,
    };
    if state.blocks_max.is_some_and(|most| state.next_number() > most) {
        return Err(ApiError {
            additional_data: Some(json!({ "block_limit": "block_creation" })),
            ..ApiError::new(403, "restricted_resource", "This workspace has reached its limit of blocks.")
        });
    }
    let source = learn_options(state, source, &cells)?;
    let created = now();
    let page = Page {
        id: Uuid::new_v4(),
        number: state.next_number(),
        data_source: source.id,
        cells: cells.into_iter().filter_map(|(id, content)| Some((id, content?))).collect(),
        children,
        in_trash: false,
        is_archived: false,
        created,
        edited: created,
        created_by: author,
        edited_by: author,
        hidden_until: (!lag.is_zero()).then(|| Instant::now() + lag),
    };
    let answer = to_json(state, &source, &page);
    state.put_page(page)?;
    Ok(answer)
}

/// `GET /v1/pages/{id}`; a page in the trash can still be read.
pub fn read(state: &State, id: Uuid) -> Result<Value, ApiError> {
    if id == PARENT_PAGE_ID && !state.is_parent_hidden {
        return Ok(parent_page(state));
    }
    let (page, source) = find(state, id)?;
    Ok(to_json(state, source, page))
}

/// The page that contains the databases, as Notion shows it.
pub fn parent_page(state: &State) -> Value {
    json!({
        "object": "page",
        "id": PARENT_PAGE_ID,
        "parent": { "type": "workspace", "workspace": true },
        "in_trash": state.is_parent_in_trash,
        "is_archived": false,
        "is_locked": false,
        "properties": {
            "title": {
                "id": "title",
                "type": "title",
                "title": rich_text(&[Span { content: "Finance".to_owned(), link: None }]),
            },
        },
        "url": url_of(state, PARENT_PAGE_ID),
        "public_url": null,
    })
}

/// `PATCH /v1/pages/{id}`
pub fn update(state: &mut State, id: Uuid, body: &Value) -> Result<Value, ApiError> {
    let (page, source) = find(state, id)?;
    if state.is_container_in_trash(source) {
        return Err(archived_ancestor());
    }
    let in_trash = match body.get("in_trash") {
        None => None,
        Some(Value::Bool(in_trash)) => Some(*in_trash),
        Some(other) => return Err(ApiError::malformed("body.in_trash", "a boolean", Some(other))),
    };
    // An archived page can be moved to the trash.
    if page.in_trash && in_trash != Some(false) || page.is_archived && in_trash.is_none() {
        return Err(archived());
    }
    edit(state, id, body.get("properties"), in_trash, Author::Bot)
}

/// `PATCH /v1/blocks/{id}/children`, where the block is a page.
pub fn append(state: &mut State, id: Uuid, body: &Value) -> Result<Value, ApiError> {
    let mut page = state.page(id).ok_or_else(|| ApiError::not_found("block", id))?.clone();
    if page.in_trash {
        return Err(archived());
    }
    let children = body.get("children").unwrap_or(&Value::Null);
    let blocks = validate::blocks(children, "body.children")?;
    if page.children.len() + blocks.len() > PAGE_BLOCKS_MAX {
        return Err(ApiError::validation(format!(
            "A page of the sandbox holds {PAGE_BLOCKS_MAX} blocks at most."
        )));
    }
    page.children.extend(blocks.iter().cloned());
    (page.edited, page.edited_by) = (now(), Author::Bot);
    state.put_page(page)?;
    let results: Vec<Value> = blocks.into_iter().map(as_answered_block).collect();
    Ok(json!({
        "object": "list", "results": results, "next_cursor": null, "has_more": false,
        "type": "block", "block": {},
    }))
}

/// Changes a page's properties, or moves it to the trash or back. It does not check what the
/// integration may do: the user may change a page in the trash.
pub fn edit(
    state: &mut State,
    id: Uuid,
    properties: Option<&Value>,
    in_trash: Option<bool>,
    author: Author,
) -> Result<Value, ApiError> {
    let (page, source) = find(state, id)?;
    let (mut page, source) = (page.clone(), Arc::clone(source));
    let cells = match properties {
        None => Cells::new(),
        Some(Value::Object(properties)) => validate::cells(&source.schema, properties)?,
        Some(other) => return Err(ApiError::malformed("body.properties", "an object", Some(other))),
    };
    let source = learn_options(state, source, &cells)?;
    for (property, content) in cells {
        match content {
            Some(content) => page.cells.insert(property, content),
            None => page.cells.remove(&property),
        };
    }
    page.in_trash = in_trash.unwrap_or(page.in_trash);
    (page.edited, page.edited_by) = (now(), author);
    let answer = to_json(state, &source, &page);
    state.put_page(page)?;
    Ok(answer)
}

/// A page as Notion shows it.
pub fn to_json(state: &State, source: &DataSource, page: &Page) -> Value {
    let authorship = Authorship {
        created_time: shown_time(page.created),
        last_edited_time: shown_time(page.edited),
        created_by: user(page.created_by),
        last_edited_by: user(page.edited_by),
        number: page.number,
    };
    let properties: Map<String, Value> = source
        .schema
        .properties()
        .iter()
        .map(|property| {
            let cell = page.cell(property);
            (property.name.clone(), read_back(property, cell.as_deref(), &authorship))
        })
        .collect();
    json!({
        "object": "page",
        "id": page.id,
        "created_time": authorship.created_time,
        "last_edited_time": authorship.last_edited_time,
        "created_by": authorship.created_by,
        "last_edited_by": authorship.last_edited_by,
        "cover": null,
        "icon": null,
        "parent": {
            "type": "data_source_id",
            "data_source_id": source.id,
            "database_id": source.database,
        },
        "in_trash": page.in_trash || state.is_container_in_trash(source),
        "is_archived": page.is_archived,
        "is_locked": false,
        "properties": properties,
        "url": url_of(state, page.id),
        "public_url": null,
    })
}

/// A time as Notion shows it: whole minutes.
pub fn shown_time(time: DateTime<Utc>) -> String {
    time.trunc_subsecs(0).format("%Y-%m-%dT%H:%M:00.000Z").to_string()
}

/// The address at which a person sees a page.
pub fn url_of(state: &State, id: Uuid) -> String {
    match &state.public_url {
        Some(base) => format!("{}/p/{}", base.trim_end_matches('/'), id.simple()),
        None => format!("https://app.notion.com/p/{}", id.simple()),
    }
}

const PAGE_BLOCKS_MAX: usize = 10_000;

fn find(state: &State, id: Uuid) -> Result<(&Page, &Arc<DataSource>), ApiError> {
    state
        .page(id)
        .and_then(|page| Some((page, state.data_source(page.data_source)?)))
        .ok_or_else(|| ApiError::not_found("page", id))
}

fn archived() -> ApiError {
    ApiError::validation("Can't edit block that is archived. You must unarchive the block before editing.")
}

fn archived_ancestor() -> ApiError {
    ApiError::validation(
        "Can't edit page on block with an archived ancestor. You must unarchive the ancestor before editing \
         the page.",
    )
}

fn parent<'a>(state: &'a State, body: &Value) -> Result<&'a Arc<DataSource>, ApiError> {
    let Some(parent) = body.get("parent").filter(|parent| parent.is_object()) else {
        return Err(ApiError::malformed("body.parent", "defined", body.get("parent")));
    };
    let id = |key: &str| match parent.get(key) {
        None => Ok(None),
        Some(value) => {
            value.as_str().and_then(|id| Uuid::parse_str(id).ok()).map(Some).ok_or_else(|| {
                ApiError::malformed(&format!("body.parent.{key}"), "a valid uuid", Some(value))
            })
        }
    };
    if let Some(id) = id("data_source_id")? {
        return state.data_source(id).ok_or_else(|| ApiError::not_found("data source", id));
    }
    if let Some(id) = id("database_id")? {
        state.database(id).ok_or_else(|| ApiError::not_found("database", id))?;
        let mut sources = state.data_sources_of(id);
        return match (sources.next(), sources.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(ApiError::validation(
                "Databases with multiple data sources are not supported as a parent; name the data source.",
            )),
        };
    }
    if parent.get("page_id").is_some() {
        return Err(ApiError::validation("The sandbox makes pages in data sources only."));
    }
    Err(ApiError::malformed("body.parent.data_source_id", "defined", None))
}

/// Creates the options that the cells name for the first time. A status never has a new one here.
fn learn_options(
    state: &mut State,
    mut source: Arc<DataSource>,
    cells: &Cells,
) -> Result<Arc<DataSource>, ApiError> {
    let mut unknown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, content) in cells {
        let Some(property) = source.schema.properties().iter().find(|property| property.id == *id) else {
            continue;
        };
        let names: &[String] = match content {
            Some(Content::Choice(name)) => std::slice::from_ref(name),
            Some(Content::Choices(names)) => names,
            _ => continue,
        };
        for name in names {
            let listed = unknown.get(id.as_str()).is_some_and(|names| names.contains(name));
            if matches!(property.kind, Kind::Select | Kind::MultiSelect)
                && property.option(name).is_none()
                && !listed
            {
                unknown.entry(id).or_default().push(name.clone());
            }
        }
    }
    if unknown.is_empty() {
        return Ok(source);
    }
    let changed = Arc::make_mut(&mut source);
    for (id, names) in unknown {
        changed.schema.learn_options(id, &names)?;
    }
    state.put_data_source(Arc::clone(&source))?;
    Ok(source)
}

fn as_answered_block(mut block: Value) -> Value {
    if let Some(members) = block.as_object_mut() {
        members.insert("object".to_owned(), json!("block"));
        members.insert("id".to_owned(), json!(Uuid::new_v4()));
        members.insert("in_trash".to_owned(), json!(false));
    }
    block
}
