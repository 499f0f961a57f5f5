//! The sandbox rejects what Notion rejects, with the same status, code and message.

use super::{Answer, Harness, new_page, titled};
use notion_sandbox::{DATABASE_ID, NOTION_VERSION, SandboxOptions, TOKEN, Template};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_wrong_or_missing_token_is_unauthorized() {
    let harness = Harness::start().await;
    for token in [None, Some("ntn_wrong")] {
        let mut request = harness.http.get(harness.url("/v1/users/me"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = Answer::of(request.header("Notion-Version", NOTION_VERSION)).await;
        answer.is_error(401, "unauthorized", "API token is invalid.");
    }
}

#[tokio::test]
async fn the_version_must_be_given_and_known() {
    let harness = Harness::start().await;
    let request = || harness.http.get(harness.url("/v1/users/me")).bearer_auth(TOKEN);
    Answer::of(request()).await.is_error(400, "missing_version", "instead was `undefined`");
    let unknown = Answer::of(request().header("Notion-Version", "2020-01-01")).await;
    unknown.is_error(400, "validation_error", "2020-01-01");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_rejected() {
    let harness = Harness::start().await;
    for (kind, body) in [("application/json", "{\"a\""), ("application/json", "[]"), ("text/plain", "{}")] {
        let request = harness.request(Method::POST, "/v1/pages").header("Content-Type", kind).body(body);
        Answer::of(request).await.is_error(400, "invalid_json", "Error parsing JSON body.");
    }
}

#[tokio::test]
async fn a_request_over_500_kb_is_rejected() {
    let harness = Harness::start().await;
    let mut page = new_page(&titled("evt_1"));
    page["padding"] = json!("x".repeat(600_000));
    harness.post("/v1/pages", &page).await.is_error(400, "validation_error", "500000 bytes at most");
    assert_eq!(harness.handle.page_count(), 0);
}

#[tokio::test]
async fn unknown_urls_and_unknown_ids_have_different_errors() {
    let harness = Harness::start().await;
    harness.get("/v1/nowhere").await.is_error(400, "invalid_request_url", "Invalid request URL.");
    harness.get("/v1/pages/42").await.is_error(
        400,
        "validation_error",
        "path.page_id should be a valid uuid",
    );
    let id = "00000000-0000-4000-8000-000000000000";
    for (path, message) in [
        (format!("/v1/databases/{id}"), format!("Could not find database with ID: {id}.")),
        (format!("/v1/data_sources/{id}"), format!("Could not find data source with ID: {id}.")),
        (format!("/v1/pages/{id}"), format!("Could not find page with ID: {id}.")),
    ] {
        harness.get(&path).await.is_error(404, "object_not_found", &message);
    }
    // A database's id in place of a data source's is the most frequent mistake.
    let mistaken = harness.get(&format!("/v1/data_sources/{DATABASE_ID}")).await;
    mistaken.is_error(404, "object_not_found", "shared with your integration");
    let orphan = json!({ "parent": { "database_id": id }, "properties": {} });
    harness.post("/v1/pages", &orphan).await.is_error(404, "object_not_found", "Could not find database");
    let parentless = harness.post("/v1/pages", &json!({ "properties": {} })).await;
    parentless.is_error(400, "validation_error", "body.parent should be defined");
}

#[tokio::test]
async fn invalid_values_are_rejected_with_notions_messages() {
    let options = SandboxOptions { template: Template::Full, ..SandboxOptions::default() };
    let harness = Harness::with(SandboxOptions { rate_per_minute: None, ..options }).await;
    harness.handle.add_column(super::DATA_SOURCE_ID, "Tags", "multi_select").unwrap();
    harness.handle.add_column(super::DATA_SOURCE_ID, "Phone", "phone_number").unwrap();
    harness.handle.add_column(super::DATA_SOURCE_ID, "Edited", "last_edited_time").unwrap();
    let text = |length: usize| json!([{ "text": { "content": "x".repeat(length) } }]);
    let spans = |count: usize| vec![json!({ "text": { "content": "x" } }); count];
    let tags = |count: usize| (0..count).map(|n| json!({ "name": n.to_string() })).collect::<Vec<_>>();
    let at = "@example.com";
    for (property, value, message) in [
        ("Nope", json!({ "number": 1 }), "Nope is not a property that exists."),
        ("Amount", json!({ "rich_text": text(1) }), "Amount is expected to be number."),
        ("Amount", json!({ "number": "12" }), "body.properties.Amount.number should be a number"),
        ("Amount", json!(12), "body.properties.Amount should be an object"),
        ("Account", json!({ "rich_text": text(2001) }), "length should be ≤ `2000`, instead was `2001`."),
        ("Account", json!({ "rich_text": spans(101) }), "length should be ≤ `100`, instead was `101`."),
        ("Account", json!({ "rich_text": [{ "text": {} }] }), "text.content should be defined"),
        ("Tags", json!({ "multi_select": tags(101) }), "length should be ≤ `100`, instead was `101`."),
        ("CustomerEmail", json!({ "email": "x".repeat(201) + at }), "length should be ≤ `200`"),
        ("Phone", json!({ "phone_number": "1".repeat(201) }), "length should be ≤ `200`"),
        ("InvoiceUrl", json!({ "url": "h".repeat(2001) }), "length should be ≤ `2000`"),
        ("Currency", json!({ "select": { "name": "a,b" } }), "commas not allowed: a,b"),
        ("Status", json!({ "status": { "name": "lost" } }), "Status option \"lost\" does not exist."),
        ("Edited", json!({ "last_edited_time": "2026-11-23" }), "cannot be written"),
        ("OccurredAt", json!({ "date": { "start": "yesterday" } }), "should be a valid ISO 8601 date string"),
        ("Livemode", json!({ "checkbox": "yes" }), "should be a boolean"),
    ] {
        let answer = harness.create(&json!({ property: value })).await;
        answer.is_error(400, "validation_error", message);
    }
    assert_eq!(harness.handle.page_count(), 0);
}

#[tokio::test]
async fn a_page_has_notions_block_limit() {
    let harness = Harness::start().await;
    let leaf = json!({ "type": "paragraph", "paragraph": { "rich_text": [] } });
    let full =
        json!({ "type": "toggle", "toggle": { "rich_text": [], "children": vec![leaf.clone(); 100] } });
    for (children, message) in [
        (json!(vec![leaf; 101]), "length should be ≤ `100`"),
        (json!(vec![full; 10]), "length should be ≤ `1000`, instead was `1010`."),
    ] {
        let mut page = new_page(&titled("evt_1"));
        page["children"] = children;
        harness.post("/v1/pages", &page).await.is_error(400, "validation_error", message);
    }
}

#[tokio::test]
async fn a_query_that_does_not_match_the_columns_is_rejected() {
    let harness = Harness::start().await;
    for (body, message) in [
        (
            json!({ "filter": { "property": "EventId", "rich_text": { "equals": "x" } } }),
            "database property title does not match filter rich_text",
        ),
        (
            json!({ "filter": { "property": "Nope", "title": { "equals": "x" } } }),
            "Could not find property with name or id: Nope",
        ),
        (
            json!({ "filter": { "property": "Amount", "number": { "equals": "x" } } }),
            "should be a known condition",
        ),
        (json!({ "page_size": 101 }), "should be a number from 1 to 100"),
        (json!({ "start_cursor": "x" }), "start_cursor provided is invalid"),
        (json!({ "sorts": [{ "timestamp": "created_time", "direction": "up" }] }), "direction"),
    ] {
        harness.query(&body).await.is_error(400, "validation_error", message);
    }
}

#[tokio::test]
async fn calls_over_the_rate_limit_get_429_with_retry_after() {
    let harness = Harness::with(SandboxOptions { rate_per_minute: Some(2), ..Default::default() }).await;
    assert_eq!(harness.get("/v1/users/me").await.status, 200);
    // A call that fails counts too; the control API and the table do not.
    assert_eq!(harness.get("/v1/nowhere").await.status, 400);
    let stats: Value =
        harness.http.get(harness.url("/_sandbox/stats")).send().await.unwrap().json().await.unwrap();
    assert_eq!(stats["rate_per_minute"], 2);
    let limited = harness.get("/v1/users/me").await;
    limited.is_error(429, "rate_limited", "rate limited");
    let seconds: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    harness.handle.set_rate(None);
    assert_eq!(harness.get("/v1/users/me").await.status, 200);
}

#[tokio::test]
async fn a_full_sandbox_rejects_more_pages() {
    let harness = Harness::with(SandboxOptions { pages_max: 1, ..Default::default() }).await;
    harness.create_titled("evt_1").await;
    harness.create(&titled("evt_2")).await.is_error(400, "validation_error", "The sandbox is full");
}
