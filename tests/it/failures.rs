//! Failures: their groups, their details and their acknowledgement.

use crate::harness::rows::Ended;
use crate::harness::{Answer, Service, rows, within};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use notion_sandbox::{Fault, FaultRule, Route};
use serde_json::{Value, json};
use std::time::Duration;

fn invoice(number: usize, object: &str, currency: &str) -> String {
    json!({"id": format!("evt_{number}"), "type": "invoice.payment_failed", "data": {"object": {
        "id": object, "object": "invoice", "currency": currency, "status": "open", "total": 1_050}}})
    .to_string()
}

/// Makes Notion refuse the next page with this message, also after the columns are read again.
async fn refused(service: &Service, message: &str, body: &str, finished: usize) {
    let fault = Fault::Invalid { message: message.to_owned() };
    service.sandbox.fault(FaultRule::once(fault).on(Route::Create)).unwrap();
    assert_eq!(service.post_event(body).await.status, StatusCode::OK);
    service.until_finished(finished).await;
}

async fn groups(service: &Service, query: &str) -> Vec<Value> {
    let answer = service.get(&format!("/api/v1/failures{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["data"].as_array().unwrap().clone()
}

async fn acknowledge(service: &Service, group: &str, body: &Value) -> Answer {
    let request = Request::post(format!("/api/v1/failures/{group}/acknowledge"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    service.call(request.unwrap()).await
}

#[tokio::test]
async fn failures_of_one_cause_form_a_group_with_their_amount_and_a_remedy() {
    let service = Service::start().await;
    for (number, object, currency) in
        [(1, "in_1", "eur"), (2, "in_1", "eur"), (3, "in_2", "eur"), (4, "in_3", "jpy")]
    {
        let message = format!(
            "Page 1f2e3d4c-5b6a-4978-8695-a4b3c2d1e{number:03} has {number} things wrong with \"{object}\"."
        );
        refused(&service, &message, &invoice(number, object, currency), number).await;
    }
    refused(&service, "Something else is wrong.", &invoice(5, "in_4", "eur"), 5).await;
    let money = json!([{"currency": "EUR", "amount": "21.00"}, {"currency": "JPY", "amount": "1050"}]);
    let found = within("the money is known", async {
        loop {
            let found = groups(&service, "").await;
            if found.len() == 2 && found[1]["money"] == money {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let group = &found[1];
    assert_eq!(group["pattern"], "Notion: Page <id> has # things wrong with \"…\".");
    for (field, expected) in [
        ("destination", json!("notion")),
        ("error_class", json!("validation_error")),
        ("count", json!(4)),
        ("count_is_cut", json!(false)),
        ("acknowledged", json!(false)),
        ("sample_execution_id", json!(4)),
    ] {
        assert_eq!(group[field], expected, "{field}");
    }
    assert!(
        group["remedy"].as_str().unwrap().contains("column")
            && group["sample_message"].as_str().unwrap().contains("in_3")
    );
    let story = service.get("/executions/4").await.body;
    assert!(story.contains(group["remedy"].as_str().unwrap()), "{story}");
    assert!(group["first_seen_at"].as_str().unwrap() < group["last_seen_at"].as_str().unwrap());
    assert_eq!(
        (found[0]["count"].clone(), found[0]["pattern"].clone()),
        (json!(1), json!("Notion: Something else is wrong."))
    );
    let key = group["id"].as_str().unwrap();
    assert_eq!(service.get(&format!("/api/v1/failures/{key}")).await.json(), *group);
    let listing = service.get(&format!("/api/v1/executions?failure_group_id={key}")).await.json();
    assert_eq!(listing["data"].as_array().unwrap().len(), 4);
    assert_eq!(groups(&service, "?limit=1").await.len(), 1);
    assert!(groups(&service, "?destination=elsewhere").await.is_empty());

    service.post("/api/v1/executions/5/retry").await;
    within("a group without failures is gone", async { while groups(&service, "").await.len() > 1 {} }).await;
    assert_eq!(service.get("/api/v1/failures/unknown").await.problem(404), "not_found");
}

#[tokio::test]
async fn a_group_has_the_remedy_of_its_newest_failure() {
    let service = Service::start().await;
    refused(&service, "This is wrong.", &invoice(1, "in_1", "eur"), 1).await;
    let remedy = groups(&service, "").await[0]["remedy"].clone();
    service.database.change(rows::remedies("Correct a setting of another name.")).await;
    assert_eq!(groups(&service, "").await[0]["remedy"], "Correct a setting of another name.");
    refused(&service, "This is wrong.", &invoice(2, "in_2", "eur"), 2).await;
    let group = groups(&service, "").await.remove(0);
    assert_eq!((&group["count"], &group["remedy"]), (&json!(2), &remedy));
}

#[tokio::test]
async fn an_acknowledgement_is_audited_and_a_later_failure_reopens_the_group() {
    let service = Service::start().await;
    refused(&service, "This is wrong.", &invoice(1, "in_1", "eur"), 1).await;
    let key = groups(&service, "").await[0]["id"].as_str().unwrap().to_owned();
    for odd in
        [json!({}), json!({"note": " "}), json!({"note": "x".repeat(1001)}), json!({"note": "a", "by": "b"})]
    {
        assert_eq!(acknowledge(&service, &key, &odd).await.problem(400), "bad_request", "{odd}");
    }
    assert_eq!(acknowledge(&service, "unknown", &json!({"note": "x"})).await.problem(404), "not_found");
    let bare = service.post(&format!("/api/v1/failures/{key}/acknowledge")).await;
    assert_eq!(bare.problem(415), "not_json");

    let known = acknowledge(&service, &key, &json!({"note": " The column was\u{0} a text. "})).await;
    assert_eq!(known.status, StatusCode::OK, "{known:?}");
    let known = known.json();
    assert_eq!(
        (known["acknowledged"].clone(), known["note"].clone()),
        (json!(true), json!("The column was a text."))
    );
    assert!(known["acknowledged_at"].is_string() && known["acknowledged_by"].is_string());
    let audit = service.get(&format!("/api/v1/audit?subject_kind=failure&subject_id={key}")).await.json();
    assert_eq!(audit["data"][0]["action"], "failure.acknowledged", "{audit}");
    assert_eq!(audit["data"][0]["detail"]["note"], "The column was a text.");
    assert_eq!(groups(&service, "?acknowledged=true").await.len(), 1);
    assert!(groups(&service, "?acknowledged=false").await.is_empty());

    refused(&service, "This is wrong.", &invoice(2, "in_2", "eur"), 2).await;
    let news = groups(&service, "?acknowledged=false").await;
    assert_eq!((news[0]["id"].as_str(), news[0]["count"].clone()), (Some(key.as_str()), json!(2)));
    assert_eq!(news[0]["note"], "The column was a text.", "the earlier note is still included");
}

#[tokio::test]
async fn a_revoked_acknowledgement_is_audited_once() {
    let service = Service::start().await;
    refused(&service, "This is wrong.", &invoice(1, "in_1", "eur"), 1).await;
    let before = groups(&service, "").await[0].clone();
    let key = before["id"].as_str().unwrap();
    acknowledge(&service, key, &json!({"note": "It is known."})).await;
    let acknowledgement = format!("/api/v1/failures/{key}/acknowledge");
    for _ in 0..2 {
        let back = service.send(Method::DELETE, &acknowledgement, &[]).await;
        assert_eq!((back.status, back.json()), (StatusCode::OK, before.clone()));
    }
    let audit = service.get(&format!("/api/v1/audit?subject_kind=failure&subject_id={key}")).await.json();
    let actions: Vec<_> =
        audit["data"].as_array().unwrap().iter().map(|line| line["action"].clone()).collect();
    assert_eq!(actions, ["failure.unacknowledged", "failure.acknowledged"]);
    assert_eq!(audit["data"][0]["detail"]["was_noted"], "It is known.");
    let unknown = service.send(Method::DELETE, "/api/v1/failures/unknown/acknowledge", &[]).await;
    assert_eq!(unknown.problem(404), "not_found");
}

#[tokio::test]
async fn an_ungrouped_failure_gets_the_same_group() {
    let service = Service::start().await;
    refused(&service, "Page 123456789a is wrong.", &invoice(1, "in_1", "eur"), 1).await;
    refused(&service, "Page 123456789b is wrong.", &invoice(2, "in_2", "eur"), 2).await;
    let before = groups(&service, "").await;
    assert_eq!((before.len(), before[0]["count"].clone()), (1, json!(2)));
    service.database.change(rows::ungroup()).await;
    let after = within("they are grouped again", async {
        loop {
            let after = groups(&service, "").await;
            if after.first().is_some_and(|group| group["count"] == 2) {
                return after;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for field in ["id", "pattern", "error_class", "first_seen_at", "last_seen_at"] {
        assert_eq!(after[0][field], before[0][field], "{field}");
    }
}

#[tokio::test]
async fn groups_are_paged_by_last_seen_without_moving() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let fail = async |group: &str, minutes: u64| {
        service.database.change(rows::failure_group(group, "x", group)).await;
        let ago = Duration::from_mins(minutes);
        service.database.change(Ended { group: Some(group), ..Ended::failed(ago) }).await;
    };
    for (group, minutes) in [("a", 10), ("b", 9), ("c", 30), ("d", 8), ("a", 1)] {
        fail(group, minutes).await;
    }
    let page = async |cursor: &str| {
        let answer = service.get(&format!("/api/v1/failures?limit=2{cursor}")).await.json();
        let names = answer["data"].as_array().unwrap().iter().map(|group| group["pattern"].clone());
        (names.collect::<Vec<_>>(), answer["next_cursor"].as_str().map(str::to_owned))
    };
    let (first, next) = page("").await;
    assert_eq!(first, ["a", "d"]);
    // One of the second page is seen again, and a new one arrives: neither changes the pages already
    // begun.
    fail("c", 0).await;
    fail("e", 0).await;
    let (second, end) = page(&format!("&cursor={}", next.unwrap())).await;
    assert_eq!((second, end), (vec![json!("b"), json!("c")], None));
    assert_eq!(page("").await.0, ["e", "c"]);
}

#[tokio::test]
async fn a_retry_that_fails_again_is_no_first_failure() {
    let service = Service::start().await;
    refused(&service, "Never.", &invoice(1, "in_1", "eur"), 1).await;
    let first = groups(&service, "").await.remove(0);
    let fault = Fault::Invalid { message: "Never.".to_owned() };
    service.sandbox.fault(FaultRule::once(fault).on(Route::Create)).unwrap();
    assert_eq!(service.post("/api/v1/executions/1/retry").await.status, StatusCode::ACCEPTED);
    service.until_finished(1).await;
    let again = groups(&service, "").await.remove(0);
    assert_eq!(again["first_seen_at"], first["first_seen_at"]);
    assert!(again["last_seen_at"].as_str().unwrap() > first["last_seen_at"].as_str().unwrap(), "{again}");
}
