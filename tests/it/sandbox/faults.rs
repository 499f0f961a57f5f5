//! The sandbox injects the configured faults, and reports truthfully afterwards what was written.

use super::{Harness, new_page, titled};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, Route};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn an_error_before_the_write_writes_nothing() {
    let harness = Harness::start().await;
    for (fault, status, code) in [
        (Fault::RateLimited { retry_after: Some(7), blocked: false }, 429, "rate_limited"),
        (Fault::Overloaded { retry_after: None }, 529, "service_overload"),
        (Fault::Conflict, 409, "conflict_error"),
        (Fault::Error { status: 500 }, 500, "internal_server_error"),
        (Fault::Error { status: 502 }, 502, "bad_gateway"),
        (Fault::Error { status: 503 }, 503, "service_unavailable"),
        (Fault::Error { status: 504 }, 504, "gateway_timeout"),
        (Fault::Unauthorized, 401, "unauthorized"),
        (Fault::Restricted, 403, "restricted_resource"),
        (Fault::Invalid { message: "no".to_owned() }, 400, "validation_error"),
    ] {
        harness.handle.fault(FaultRule::once(fault)).unwrap();
        let answer = harness.create(&titled("evt_1")).await;
        answer.is_error(status, code, "");
        if status == 429 {
            assert_eq!(answer.headers["retry-after"], "7");
        }
    }
    assert_eq!(harness.handle.page_count(), 0);
    assert!(harness.handle.faults().is_empty());
    harness.create_titled("evt_1").await;
}

#[tokio::test]
async fn a_blocked_integration_gets_the_reason() {
    let harness = Harness::start().await;
    let fault = Fault::RateLimited { retry_after: None, blocked: true };
    harness.handle.fault(FaultRule::once(fault)).unwrap();
    let answer = harness.get("/v1/users/me").await;
    assert_eq!(answer.body["additional_data"]["rate_limit_reason"], "public_api_request_blocked");
}

#[tokio::test]
async fn an_unshared_database_cannot_be_found() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::always(Fault::Unshared)).unwrap();
    let message = format!("Could not find data source with ID: {DATA_SOURCE_ID}");
    harness.create(&titled("evt_1")).await.is_error(404, "object_not_found", &message);
    harness.query(&json!({})).await.is_error(404, "object_not_found", &message);
    harness.handle.clear_faults();
    harness.create_titled("evt_1").await;
}

#[tokio::test]
async fn an_error_after_the_write_leaves_a_page() {
    let harness = Harness::start().await;
    for status in [500, 503] {
        harness.handle.fault(FaultRule::once(Fault::ErrorAfterWrite { status }).on(Route::Create)).unwrap();
        assert_eq!(harness.create(&titled("evt_1")).await.status, status);
    }
    assert_eq!(harness.count_titled("evt_1").await, 2);
}

#[tokio::test]
async fn a_503_may_name_the_page_that_was_written() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::Committed)).unwrap();
    let answer = harness.create(&titled("evt_1")).await;
    answer.is_error(503, "service_unavailable", "");
    let id = answer.body["additional_data"]["committed_resource_id"].as_str().unwrap();
    assert_eq!(harness.get(&format!("/v1/pages/{id}")).await.status, 200);
    assert!(answer.body["additional_data"]["retry_guidance"].is_array());
}

#[tokio::test]
async fn the_edge_responds_with_html() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::Html)).unwrap();
    let response = harness.request(Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(response.status(), 502);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(response.text().await.unwrap().contains("<html>"));
}

#[tokio::test]
async fn a_dropped_connection_may_leave_a_page() {
    let harness = Harness::start().await;
    for (fault, pages) in [(Fault::Drop, 0), (Fault::DropAfterWrite, 1)] {
        harness.handle.fault(FaultRule::once(fault)).unwrap();
        let request = harness.request(Method::POST, "/v1/pages").json(&new_page(&titled("evt_1")));
        let error = request.send().await.expect_err("no answer");
        assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
        assert_eq!(harness.handle.page_count(), pages);
    }
    let unanswered = harness.handle.requests();
    assert!(unanswered.iter().all(|request| request.status.is_none()));
    assert_eq!(harness.count_titled("evt_1").await, 1);
}

#[tokio::test]
async fn a_write_can_land_long_after_its_connection_was_lost() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::DropThenWrite { delay_ms: 400 })).unwrap();
    let request = harness.request(Method::POST, "/v1/pages").json(&new_page(&titled("evt_1")));
    assert!(request.send().await.is_err());
    assert_eq!(harness.handle.page_count(), 0);
    harness.until(|sandbox| sandbox.page_count() == 1).await;
    assert_eq!(harness.count_titled("evt_1").await, 1);
}

#[tokio::test]
async fn a_slow_response_is_late_but_its_write_is_immediate() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::Slow { delay_ms: 600_000 }).on(Route::Create)).unwrap();
    let request = harness.request(Method::POST, "/v1/pages").json(&new_page(&titled("evt_1")));
    let stalled = tokio::spawn(request.send());
    harness.until(|sandbox| sandbox.page_count() == 1 && sandbox.requests_under_way() == 1).await;
    stalled.abort();
    // A client that disconnects is no longer under way.
    harness.until(|sandbox| sandbox.requests_under_way() == 0).await;

    harness.handle.fault(FaultRule::once(Fault::Slow { delay_ms: 30 })).unwrap();
    let asked = Instant::now();
    assert_eq!(harness.get("/v1/users/me").await.status, 200);
    assert!(asked.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_new_page_may_be_hidden_from_queries_for_a_while() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::QueryLag { delay_ms: 600_000 })).unwrap();
    let hidden = harness.create_titled("evt_1").await;
    assert_eq!(harness.count_titled("evt_1").await, 0);
    assert_eq!(harness.get(&format!("/v1/pages/{hidden}")).await.status, 200);
    harness.handle.fault(FaultRule::once(Fault::QueryLag { delay_ms: 1 })).unwrap();
    harness.create_titled("evt_2").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while harness.count_titled("evt_2").await == 0 {
        assert!(Instant::now() < deadline, "the page never becomes visible");
    }
}

#[tokio::test]
async fn the_peak_counts_concurrent_requests() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::Slow { delay_ms: 600_000 }).times(3)).unwrap();
    let requests: Vec<_> =
        (0..3).map(|_| tokio::spawn(harness.request(Method::GET, "/v1/users/me").send())).collect();
    harness.until(|sandbox| sandbox.requests_under_way() == 3).await;
    assert_eq!(harness.handle.peak_concurrency(), 3);
    for request in requests {
        request.abort();
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_delayed_responses() {
    let harness = Harness::start().await;
    harness.handle.fault(FaultRule::once(Fault::Slow { delay_ms: 600_000 }).on(Route::Me)).unwrap();
    harness
        .handle
        .fault(FaultRule::once(Fault::DropThenWrite { delay_ms: 600_000 }).on(Route::Create))
        .unwrap();
    let request = harness.request(Method::POST, "/v1/pages").json(&new_page(&titled("evt_1")));
    assert!(request.send().await.is_err());
    let stalled = tokio::spawn(harness.request(Method::GET, "/v1/users/me").send());
    harness.until(|sandbox| sandbox.requests_under_way() == 1).await;
    let began = Instant::now();
    harness.sandbox.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(4), "it hung for {:?}", began.elapsed());
    assert_eq!(stalled.await.unwrap().unwrap().status(), 200);
    assert_eq!(harness.handle.page_count(), 0);
}
