//! A journal outlives its sandbox, and a crash costs at most the last line.

use super::{Harness, titled};
use notion_sandbox::{DATA_SOURCE_ID, JournalError, Sandbox, SandboxError, SandboxOptions};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

fn options(journal: &Path) -> SandboxOptions {
    SandboxOptions { journal: Some(journal.to_owned()), ..SandboxOptions::default() }
}

/// A journal of a sandbox with two pages, one of them in the trash, and a new column.
async fn left_behind(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("kept").join("notion.jsonl");
    let harness = Harness::with(options(&path)).await;
    let first = harness.create_titled("evt_1").await;
    harness.create_titled("evt_2").await;
    harness.patch(&format!("/v1/pages/{first}"), &json!({ "in_trash": true })).await;
    harness.handle.add_column(DATA_SOURCE_ID, "Link", "url").unwrap();
    harness.sandbox.shutdown().await;
    path
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = left_behind(&folder).await;
    let harness = Harness::with(options(&path)).await;
    let pages = harness.handle.pages();
    assert_eq!(pages.iter().map(|page| page.in_trash).collect::<Vec<_>>(), [true, false]);
    assert_eq!(harness.count_titled("evt_2").await, 1);
    let source = harness.get(&format!("/v1/data_sources/{DATA_SOURCE_ID}")).await.body;
    assert_eq!(source["properties"]["Link"]["type"], "url");
    // Compacted: one database, one data source, two pages.
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
}

#[tokio::test]
async fn an_incomplete_last_line_is_dropped_and_later_lines_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = left_behind(&folder).await;
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"page\":{\"id\":\"0").unwrap();
    let harness = Harness::with(options(&path)).await;
    assert_eq!(harness.handle.pages().len(), 2);
    harness.create_titled("evt_3").await;
    harness.sandbox.shutdown().await;
    assert_eq!(Harness::with(options(&path)).await.handle.pages().len(), 3);
}

#[tokio::test]
async fn a_damaged_earlier_line_prevents_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = left_behind(&folder).await;
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{{}}\n{whole}")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let error = Sandbox::start(address, options(&path)).await.expect_err("damaged");
    assert!(matches!(error, SandboxError::Journal(JournalError::Damaged { line: 1, .. })), "{error}");
}

#[tokio::test]
async fn two_sandboxes_cannot_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notion.jsonl");
    let _first = Harness::with(options(&path)).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let error = Sandbox::start(address, options(&path)).await.expect_err("in use");
    assert!(matches!(error, SandboxError::Journal(JournalError::InUse { .. })), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_reads_the_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notion.jsonl");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let harness = Harness::with(options(&path)).await;
    harness.create(&titled("evt_1")).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
