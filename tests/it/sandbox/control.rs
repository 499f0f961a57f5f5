//! The HTTP control API offers other processes what the handle offers within one.

use super::{Harness, titled};
use notion_sandbox::DATA_SOURCE_ID;
use reqwest::Method;
use serde_json::{Value, json};

async fn control(harness: &Harness, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = harness.http.request(method, harness.url(&format!("/_sandbox/{path}")));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn faults_are_set_listed_and_removed() {
    let harness = Harness::start().await;
    let rule = json!({ "kind": "slow", "delay_ms": 1, "route": "create", "times": null, "probability": 0.5 });
    let (status, rules) = control(&harness, Method::POST, "faults", Some(rule.clone())).await;
    assert_eq!((status, &rules[0]), (200, &rule));
    for bad in [json!({ "kind": "earthquake" }), json!({ "kind": "drop", "probability": 2 })] {
        let (status, error) = control(&harness, Method::POST, "faults", Some(bad)).await;
        assert_eq!((status, &error["object"]), (400, &json!("error")));
    }
    assert_eq!(control(&harness, Method::DELETE, "faults", None).await.0, 204);
    assert_eq!(control(&harness, Method::GET, "faults", None).await.1, json!([]));

    control(&harness, Method::POST, "faults", Some(json!({ "kind": "conflict" }))).await;
    assert_eq!(harness.get("/v1/users/me").await.status, 409);
    assert_eq!(harness.get("/v1/users/me").await.status, 200);
}

#[tokio::test]
async fn a_wait_ends_with_its_condition_or_its_timeout() {
    let harness = Harness::start().await;
    let (created, waited) = tokio::join!(
        harness.create_titled("evt_1"),
        control(&harness, Method::GET, "wait?pages=1&requests=1&timeout_ms=10000", None)
    );
    assert!(!created.is_empty());
    assert_eq!((waited.0, &waited.1["pages"]), (200, &json!(1)));
    assert_eq!(control(&harness, Method::GET, "wait?pages=2&timeout_ms=1", None).await.0, 408);
}

#[tokio::test]
async fn pages_columns_and_requests_are_seen_and_changed() {
    let harness = Harness::start().await;
    let id = harness.create_titled("evt_1").await;
    let columns = format!("data_sources/{DATA_SOURCE_ID}/columns");
    let statuses = [
        control(&harness, Method::PUT, &format!("{columns}/Link"), Some(json!({ "type": "url" }))).await.0,
        control(&harness, Method::PATCH, &format!("{columns}/Amount"), Some(json!({ "name": "Sum" })))
            .await
            .0,
        control(&harness, Method::DELETE, &format!("{columns}/Currency"), None).await.0,
        control(&harness, Method::DELETE, &format!("pages/{id}"), None).await.0,
        control(&harness, Method::PUT, &format!("pages/{id}/restore"), None).await.0,
        control(&harness, Method::PUT, "rate", Some(json!({ "per_minute": null }))).await.0,
        control(&harness, Method::PUT, "token", Some(json!({ "token": "ntn_other" }))).await.0,
    ];
    assert_eq!(statuses, [204, 204, 204, 204, 204, 200, 204]);
    assert_eq!(harness.get("/v1/users/me").await.status, 401, "the old token is revoked");
    let edit = json!({ "properties": { "Sum": { "number": 5 }, "Link": { "url": "https://a.test" } } });
    assert_eq!(control(&harness, Method::PUT, &format!("pages/{id}"), Some(edit)).await.0, 200);
    let (_, pages) = control(&harness, Method::GET, "pages", None).await;
    assert_eq!(pages[0]["properties"]["Sum"]["number"], 5);
    assert!(pages[0]["properties"].get("Currency").is_none());
    let (_, requests) = control(&harness, Method::GET, "requests", None).await;
    assert_eq!((&requests[0]["path"], &requests[0]["status"]), (&json!("/v1/pages"), &json!(200)));
    let (_, made) = control(&harness, Method::POST, "databases", Some(json!({ "template": "plain" }))).await;
    assert!(made["data_source_id"].is_string());
    assert_eq!(control(&harness, Method::DELETE, "pages", None).await.0, 204);
    assert_eq!(harness.handle.page_count(), 0);
}

#[tokio::test]
async fn what_a_user_does_to_pages_and_tables_can_be_done() {
    let harness = Harness::start().await;
    let id = harness.create_titled("evt_1").await;
    let page = format!("/v1/pages/{id}");
    let put = async |path: &str, body: Value| control(&harness, Method::PUT, path, Some(body)).await.0;
    let shown = async |name: &str| harness.get(&page).await.body[name].clone();
    for archived in [true, false] {
        assert_eq!(put(&format!("pages/{id}/archive"), json!({ "archived": archived })).await, 204);
        assert_eq!(shown("is_archived").await, archived);
    }
    let table = format!("data_sources/{DATA_SOURCE_ID}/trash");
    let database = format!("databases/{}/trash", notion_sandbox::DATABASE_ID);
    for path in [table.as_str(), &database, "parent_page"] {
        for in_trash in [true, false] {
            assert_eq!(put(path, json!({ "in_trash": in_trash })).await, 204, "{path}");
            assert_eq!(shown("in_trash").await, in_trash, "{path}");
        }
    }
    assert_eq!(put("parent_page", json!({ "hidden": true })).await, 204);
    let parent = format!("/v1/pages/{}", notion_sandbox::PARENT_PAGE_ID);
    harness.get(&parent).await.is_error(404, "object_not_found", "Could not find page");
    let (_, other) = control(&harness, Method::POST, "databases", Some(json!({ "template": "plain" }))).await;
    let to = |id: &Value| json!({ "data_source_id": id });
    assert_eq!(put(&format!("pages/{id}/move"), to(&other["data_source_id"])).await, 204);
    assert_eq!(shown("parent").await["data_source_id"], other["data_source_id"]);
    assert_eq!(put(&format!("pages/{id}/move"), to(&json!(id))).await, 404, "no table has this id");
    assert_eq!(put("block_limit", json!({ "pages": 1 })).await, 204);
    harness.create(&titled("evt_2")).await.is_error(403, "restricted_resource", "limit of blocks");
}

#[tokio::test]
async fn all_connections_of_a_workspace_share_a_limit() {
    let harness = Harness::start().await;
    let limit = json!({ "requests": 5, "window_seconds": 90, "used_by_others": 4 });
    assert_eq!(control(&harness, Method::PUT, "workspace_rate", Some(limit)).await.0, 204);
    assert_eq!(harness.get("/v1/users/me").await.status, 200);
    let limited = harness.get("/v1/users/me").await;
    limited.is_error(429, "rate_limited", "rate limited");
    let data = &limited.body["additional_data"];
    assert_eq!(data["rate_limit_reason"], "public_api_space_request_rate_limit");
    let seconds = data["retry_after"].as_u64().unwrap();
    assert!((61..=90).contains(&seconds), "it may exceed a minute: {seconds}");
    assert_eq!(limited.headers["retry-after"], seconds.to_string().as_str());
    let none = json!({ "requests": null });
    assert_eq!(control(&harness, Method::PUT, "workspace_rate", Some(none)).await.0, 204);
    assert_eq!(harness.get("/v1/users/me").await.status, 200);
}
