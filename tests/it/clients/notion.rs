//! Notion's official client against the sandbox: it takes the sandbox for Notion.

use super::tools::{Tools, run};
use crate::harness::text;
use notion_sandbox::{
    DATA_SOURCE_ID, DATABASE_ID, PARENT_PAGE_ID, Sandbox, SandboxHandle, SandboxOptions, TOKEN,
};
use serde_json::{Value, json};

/// Tells a story of `notion.cjs` on a fresh sandbox; nothing where the client is not installed.
async fn tell(story: &str) -> Option<SandboxHandle> {
    let tools = Tools::of_this_machine()?;
    let options = SandboxOptions { rate_per_minute: None, ..SandboxOptions::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let place = json!({"baseUrl": sandbox.base_url(), "auth": TOKEN, "page": PARENT_PAGE_ID,
        "database": DATABASE_ID, "source": DATA_SOURCE_ID});
    let done = run(tools.node("notion.cjs").arg(story).arg(place.to_string()), &Value::Null).await;
    assert!(done.status.success(), "{story}: {}", text(&done.stderr));
    Some(sandbox.handle())
}

#[tokio::test]
async fn notions_client_makes_reads_changes_and_finds_tables() {
    tell("tables").await;
}

#[tokio::test]
async fn notions_client_writes_and_reads_pages_and_throws_them_away() {
    let Some(sandbox) = tell("pages").await else { return };
    let page = sandbox.pages().remove(0);
    assert_eq!(
        (page.text("EventId"), page.text("Kind"), page.text("Amount")),
        (Some("evt_1"), Some("Refunded"), None)
    );
    assert_eq!((page.in_trash, page.children.len()), (false, 2));
}

#[tokio::test]
async fn notions_client_queries_with_filters_sorts_and_cursors() {
    tell("queries").await;
}

#[tokio::test]
async fn what_is_refused_comes_as_an_error_of_notions_client() {
    tell("refusals").await;
}

#[tokio::test]
async fn notions_client_takes_each_fault_for_what_it_is_and_retries_as_it_does_with_notion() {
    let Some(sandbox) = tell("faults").await else { return };
    assert_eq!(sandbox.faults().len(), 0, "each fault was met");
    assert_eq!(sandbox.page_count(), 3, "one answered too late, one told of by a 503, one retried");
}
