//! The plan of the claim: it reads by index whatever the tables contain, and does not step over what was
//! claimed before.

use crate::harness::rows::{ClaimFrom, Planner, claim_statement};
use crate::harness::{Database, rows};
use eventbridge::config::RetrySettings;
use eventbridge::domain::delivery::Outcome;
use eventbridge::store::{Ask, ClaimRequest, Claimed, CompletedLane, Position, RemoteObject, WorkClass};
use eventbridge::worker::conclude;
use std::time::Duration;

#[test]
fn the_claim_fits_on_one_screen() {
    let lines = claim_statement().trim_end().lines().count();
    assert!(lines <= 60, "{lines}");
}

#[tokio::test]
async fn the_claim_reads_by_index_on_empty_and_on_full_tables() {
    for count in [0, 20_000] {
        let database = Database::new().await;
        let worker = database.store().queue.register_worker().await.unwrap();
        let lanes = "case when n % 2 = 0 then 'lane ' || n / 20 end";
        database.change(rows::queued(count, "notion", lanes)).await;
        database.vacuum().await;
        let plan = Planner::new(&database, worker).await.claim(ClaimFrom::Start).await;
        for table in ["queue", "executions", "events", "leases", "lane_runs", "destinations", "workers"] {
            assert!(!plan.scans(table), "{count} rows, {table}: {plan:#?}");
        }
    }
}

#[tokio::test]
async fn beside_an_old_snapshot_a_claim_from_the_front_visits_no_row_that_was_claimed() {
    let database = Database::new().await;
    let store = database.store();
    let worker = store.queue.register_worker().await.unwrap();
    database.change(rows::queued(3_000, "notion", "null")).await;
    let (_held, _pid) = database.hold_snapshot().await;
    for _ in 0..26 {
        let (destination, class, from) = ("notion".to_owned(), WorkClass::Fresh, Position::START);
        let asks = [Ask { destination, class, from, until: None, most: 100 }];
        let request = ClaimRequest { limit: 100, ..ClaimRequest::one(&asks) };
        assert_eq!(store.queue.claim(worker, request).await.unwrap().len(), 100);
    }
    database.vacuum().await;
    let mut planner = Planner::new(&database, worker).await;
    let from_start = planner.claim(ClaimFrom::Start).await.visited_entries();
    let from_front = planner.claim(ClaimFrom::Front).await.visited_entries();
    assert!(from_front <= 500, "{from_front} for a hundred");
    assert!(from_start >= 2_000, "{from_start}: what was claimed is still there");
}

#[tokio::test]
async fn with_many_dead_rows_in_tables_that_look_empty_each_row_is_found_by_itself() {
    let database = Database::new().await;
    let store = database.store();
    let worker = store.queue.register_worker().await.unwrap();
    let asks = [Ask {
        destination: "notion".to_owned(),
        class: WorkClass::Fresh,
        from: Position::START,
        until: None,
        most: 200,
    }];
    let request = ClaimRequest { limit: 200, ..ClaimRequest::one(&asks) };
    database.change(rows::queued(6_000, "notion", "null")).await;
    let (_held, _pid) = database.hold_snapshot().await;
    for _ in 0..30 {
        let claimed = store.queue.claim(worker, request).await.unwrap();
        let skipped = || Outcome::Skipped { reason: String::new() };
        let all: Vec<_> = claimed
            .iter()
            .map(|one| conclude(one, skipped(), Duration::ZERO, &RetrySettings::default(), 0.0))
            .collect();
        assert_eq!(store.queue.complete(&all).await.unwrap().len(), 200);
    }
    // The statistics say that no row is there.
    database.vacuum().await;
    database.change(rows::queued(100, "notion", "null")).await;
    let mut planner = Planner::new(&database, worker).await;
    let claim = planner.claim(ClaimFrom::Front).await;
    assert!(claim.touched_pages() < 40 * 100, "{}: {claim:#?}", claim.touched_pages());
    assert_eq!(store.queue.claim(worker, request).await.unwrap().len(), 100);
    let completion = planner.completion().await;
    assert!(completion.touched_pages() < 40 * 100, "{}: {completion:#?}", completion.touched_pages());
}

/// The state of this execution is shown, and supersedes nothing.
fn shown(head: &Claimed) -> CompletedLane {
    let skipped = Outcome::Skipped { reason: String::new() };
    let completed = conclude(head, skipped, Duration::ZERO, &RetrySettings::default(), 0.0);
    CompletedLane {
        head: completed.attempt,
        lane: head.lane.clone().unwrap(),
        newest: head.id,
        superseded: Vec::new(),
        shown: Some(RemoteObject { execution: head.id, remote: None, written: None }),
    }
}

#[tokio::test]
async fn with_many_dead_rows_of_busy_lanes_each_row_is_found_by_itself() {
    const LANES: u32 = 100;
    let database = Database::new().await;
    let store = database.store();
    let worker = store.queue.register_worker().await.unwrap();
    let (destination, class, from) = ("notion".to_owned(), WorkClass::Fresh, Position::START);
    let asks = [Ask { destination, class, from, until: None, most: LANES }];
    let request = ClaimRequest { limit: LANES, ..ClaimRequest::one(&asks) };
    let lanes = "'lane ' || n % 100";
    database.change(rows::queued(2_500, "notion", lanes)).await;
    let (_held, _pid) = database.hold_snapshot().await;
    for _ in 0..25 {
        let claimed = store.queue.claim(worker, request).await.unwrap();
        let all: Vec<_> = claimed.iter().map(shown).collect();
        assert_eq!(store.queue.complete_lanes(&all).await.unwrap().len(), 100);
    }
    database.vacuum().await;
    database.change(rows::queued(100, "notion", lanes)).await;
    assert_eq!(store.queue.claim(worker, request).await.unwrap().len(), 100);
    let completion = Planner::new(&database, worker).await.lane_completion().await;
    assert!(completion.touched_pages() < 100 * 100, "{}: {completion:#?}", completion.touched_pages());
    assert!(!completion.scans("executions") && !completion.scans("queue"), "{completion:#?}");
}
