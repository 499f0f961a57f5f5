//! Notion's official client against the sandbox.

use super::tools::{Tools, run};
use crate::harness::text;
use notion_sandbox::{
    DATA_SOURCE_ID, DATABASE_ID, PARENT_PAGE_ID, Sandbox, SandboxHandle, SandboxOptions, TOKEN,
};
use serde_json::{Value, json};

/// Runs a scenario of `notion.cjs` on a fresh sandbox. Returns `None` if the client is not installed.
async fn run_story(story: &str) -> Option<SandboxHandle> {
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
async fn notions_client_creates_reads_updates_and_finds_tables() {
    run_story("tables").await;
}

#[tokio::test]
async fn notions_client_writes_reads_and_trashes_pages() {
    let Some(sandbox) = run_story("pages").await else { return };
    let page = sandbox.pages().remove(0);
    assert_eq!(
        (page.text("EventId"), page.text("Kind"), page.text("Amount")),
        (Some("evt_1"), Some("Refunded"), None)
    );
    assert_eq!((page.in_trash, page.children.len()), (false, 2));
}

#[tokio::test]
async fn notions_client_queries_with_filters_sorts_and_cursors() {
    run_story("queries").await;
}

#[tokio::test]
async fn notions_client_reports_a_rejected_request_as_its_own_error() {
    run_story("refusals").await;
}

#[tokio::test]
async fn notions_client_recognizes_and_retries_each_fault() {
    let Some(sandbox) = run_story("faults").await else { return };
    assert_eq!(sandbox.faults().len(), 0, "each fault occurred");
    assert_eq!(sandbox.page_count(), 3, "one with a late response, one named by a 503, one retried");
}
