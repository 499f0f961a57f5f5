//! The tables in a browser: plain HTML without scripts and external resources.
//!
//! Everything that arrived by the API is escaped, and only `http` and `https` links are clickable. `/` shows
//! the first database, `/db/{id}` any other, `/p/{id}` one page.

use super::content::Content;
use super::html::{document, shown_count};
use super::kind::Kind;
use super::schema::Property;
use super::shared::Shared;
use super::state::{DataSource, Database, Page, State};
use axum::Router;
use axum::extract::{Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use sandbox_http::Escaped;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;
use uuid::Uuid;

/// The pages for a browser.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(first_database))
        .route("/db/{id}", get(one_database))
        .route("/p/{id}", get(one_page))
        .with_state(shared)
}

const ROWS_MAX: usize = 200;
const REFRESH_SECONDS: u32 = 3;
const TIME: &str = "%Y-%m-%d %H:%M UTC";

#[derive(Deserialize)]
struct View {
    /// Whether the page reloads itself periodically.
    live: Option<String>,
}

async fn first_database(Extract(shared): Extract<Arc<Shared>>, Query(view): Query<View>) -> Response {
    let state = shared.state();
    match state.databases().first() {
        Some(database) => database_page(&state, database, view.live.is_some()),
        None => missing("There is no database"),
    }
}

async fn one_database(
    Extract(shared): Extract<Arc<Shared>>,
    Path(id): Path<String>,
    Query(view): Query<View>,
) -> Response {
    let state = shared.state();
    match Uuid::parse_str(&id).ok().and_then(|id| state.database(id)) {
        Some(database) => database_page(&state, database, view.live.is_some()),
        None => missing("There is no such database"),
    }
}

async fn one_page(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let state = shared.state();
    let page = Uuid::parse_str(&id).ok().and_then(|id| state.page(id));
    match page.and_then(|page| Some((page, state.data_source(page.data_source)?))) {
        Some((page, source)) => page_page(source, page),
        None => missing("There is no such page"),
    }
}

fn missing(title: &str) -> Response {
    let body = format!(
        "<header><div><p class=kicker>Notion sandbox</p><h1>{title}</h1>\
         <p class=about><a href=\"/\">To the first table</a></p></div></header>"
    );
    document(StatusCode::NOT_FOUND, title, &body, None)
}

fn database_page(state: &State, database: &Database, live: bool) -> Response {
    let mut body = String::new();
    let title = if database.title.is_empty() { "Untitled" } else { database.title.as_str() };
    let _ = write!(
        body,
        "<header><div><p class=kicker>Notion sandbox</p><h1>{title}</h1>\
         <p class=about>The pages that Notion would contain, newest first.</p></div><nav aria-label=Tables>",
        title = Escaped(title)
    );
    let address = format!("/db/{}", database.id.simple());
    if state.databases().len() > 1 {
        for other in state.databases() {
            let current = if other.id == database.id { " aria-current=page" } else { "" };
            let name = if other.title.is_empty() { "Untitled" } else { other.title.as_str() };
            let _ = write!(body, "<a href=\"/db/{}\"{current}>{}</a>", other.id.simple(), Escaped(name));
        }
    }
    let toggle = if live { ("", "Pause") } else { ("?live=1", "Watch live") };
    let _ = write!(body, "<a href=\"{address}{}\">{}</a></nav></header>", toggle.0, toggle.1);

    let mut sources = state.data_sources_of(database.id).peekable();
    let several = state.data_sources_of(database.id).count() > 1;
    if sources.peek().is_none() {
        body.push_str("<div class=\"scroll empty\"><strong>No table</strong></div>");
    }
    for source in sources {
        if several {
            let _ = write!(body, "<h2>{}</h2>", Escaped(&source.name));
        }
        table(&mut body, state, source);
    }
    document(StatusCode::OK, title, &body, live.then_some(REFRESH_SECONDS))
}

fn table(body: &mut String, state: &State, source: &DataSource) {
    let total = state.pages_of(source.id).count();
    if total == 0 {
        body.push_str(
            "<div class=\"scroll empty\"><strong>No pages yet</strong>\
             The first delivery shows up here.</div>",
        );
        return;
    }
    let columns = columns(source);
    body.push_str("<div class=scroll tabindex=0 role=region aria-label=Pages><table><thead><tr>");
    for property in &columns {
        let class = if property.kind == Kind::Number { " class=number" } else { "" };
        let _ = write!(body, "<th scope=col{class}>{}</th>", Escaped(&property.name));
    }
    body.push_str("</tr></thead><tbody>");
    for page in state.pages_of(source.id).rev().take(ROWS_MAX) {
        let trashed = if page.in_trash { " class=trashed title=\"In the trash\"" } else { "" };
        let _ = write!(body, "<tr{trashed}>");
        for property in &columns {
            let cell = page.cell(property);
            if property.kind == Kind::Title {
                let text = cell.as_deref().map(Content::plain).unwrap_or_default();
                let text = if text.is_empty() { "Untitled" } else { text.as_ref() };
                let link = page.id.simple();
                let _ = write!(body, "<td><a href=\"/p/{link}\">{}</a></td>", Escaped(text));
            } else {
                body.push_str(if property.kind == Kind::Number { "<td class=number>" } else { "<td>" });
                if let Some(cell) = cell {
                    show(body, property, &cell);
                }
                body.push_str("</td>");
            }
        }
        body.push_str("</tr>");
    }
    body.push_str("</tbody></table></div>");
    let trashed = state.pages_of(source.id).filter(|page| page.in_trash).count();
    let trashed = if trashed > 0 { format!(", {trashed} of them in the trash") } else { String::new() };
    let _ = write!(body, "<p class=note>{}{trashed}</p>", shown_count(total, ROWS_MAX));
}

fn page_page(source: &DataSource, page: &Page) -> Response {
    let cell = source.schema.title().and_then(|title| page.cell(title));
    let title = cell.as_deref().map(Content::plain).unwrap_or_default();
    let title = if title.is_empty() { "Untitled" } else { title.as_ref() };
    let mut body = String::new();
    let _ = write!(
        body,
        "<header><div><p class=kicker><a href=\"/db/{database}\">{name}</a></p><h1>{title}</h1>\
         <p class=about>{state}Made {created}, edited {edited}</p></div></header><dl>",
        database = source.database.simple(),
        name = Escaped(&source.name),
        title = Escaped(title),
        state = if page.in_trash { "In the trash. " } else { "" },
        created = page.created.format(TIME),
        edited = page.edited.format(TIME),
    );
    for property in columns(source) {
        let _ = write!(body, "<dt>{}</dt><dd>", Escaped(&property.name));
        match page.cell(property) {
            Some(cell) => show(&mut body, property, &cell),
            None => body.push_str("<span class=none>Empty</span>"),
        }
        body.push_str("</dd>");
    }
    let _ = write!(body, "<dt>Page id</dt><dd>{}</dd></dl>", page.id);
    if !page.children.is_empty() {
        body.push_str("<div class=body>");
        for block in &page.children {
            let _ = write!(body, "<p>{}</p>", Escaped(&block_text(block)));
        }
        body.push_str("</div>");
    }
    document(StatusCode::OK, title, &body, None)
}

/// The title first, as in Notion, then the others in their order.
fn columns(source: &DataSource) -> Vec<&Property> {
    let mut columns: Vec<&Property> = source.schema.properties().iter().collect();
    columns.sort_by_key(|property| property.kind != Kind::Title);
    columns
}

fn show(body: &mut String, property: &Property, content: &Content) {
    let _ = match content {
        Content::Choice(name) => {
            pill(body, property, name);
            Ok(())
        }
        Content::Choices(names) => {
            for name in names {
                pill(body, property, name);
            }
            Ok(())
        }
        Content::Checkbox(ticked) => body.write_str(if *ticked { "☑ yes" } else { "☐ no" }),
        Content::CutHandle(line) if property.kind == Kind::Url && is_web_link(line) => {
            write!(body, "<a href=\"{0}\" rel=\"noopener noreferrer\">{0}</a>", Escaped(line))
        }
        other => write!(body, "{}", Escaped(&other.plain())),
    };
}

fn pill(body: &mut String, property: &Property, name: &str) {
    let color = property.option(name).map_or("gray", |option| option.color.as_str());
    let _ = write!(body, "<span class=\"pill {}\">{}</span>", Escaped(color), Escaped(name));
}

fn is_web_link(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// The text of a block, without that of the blocks within.
fn block_text(block: &Value) -> String {
    let inner = block.as_object().into_iter().flat_map(|members| members.values());
    inner
        .filter_map(|inner| inner.get("rich_text")?.as_array())
        .flatten()
        .filter_map(|span| span.get("text")?.get("content")?.as_str())
        .collect()
}
