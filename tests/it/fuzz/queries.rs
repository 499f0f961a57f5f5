//! Addresses of the API and the dashboard with arbitrary queries.

use super::Fuzz;
use crate::harness::Service;
use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use proptest::sample::select;
use url::form_urlencoded::byte_serialize;

/// One address on each line.
const CORPUS: &str = include_str!("queries.txt");

/// Boundary values of filters, times, numbers and cursors.
const VALUES: &[&str] = &[
    "",
    " ",
    "0",
    "-1",
    "1",
    "200",
    "201",
    "5000",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "1e3",
    "0x10",
    "true",
    "TRUE",
    "null",
    "failed",
    "pending",
    "superseded",
    "nonsense",
    "stripe",
    "notion",
    "evt_1",
    "in_1",
    "acct_1",
    "invoice.*",
    "@payments",
    "@",
    "*",
    "*.*",
    "a,b,,c",
    "invoice.*,@payments,-charge.*",
    "2026-11-01",
    "2026-11-01T00:00:00Z",
    "2026-11-01T00:00:00+23:59",
    "2026-02-30",
    "0000-01-01",
    "9999-12-31T23:59:60Z",
    "-262144-01-01",
    "+262142-12-31T23:59:59Z",
    "infinity",
    "minute",
    "hour",
    "%",
    "_",
    "\\",
    "'",
    "\"",
    "';--",
    "$1",
    "jane@example.com",
    "@@",
    "<b>",
    "\u{0}",
    "\u{202e}",
    "🧾",
    "3f2a9c01d4e5b678",
    "execution",
    "42.1700000000000000.",
    "MTo0Mg.1700000000000000.",
    "MTo0Mg..99999999999999999",
];

/// The addresses that accept a query, each with its parameter names.
fn targets() -> Vec<(String, Vec<String>)> {
    let described = serde_json::to_value(eventbridge::app::openapi()).unwrap();
    let mut targets = Vec::new();
    for (path, operations) in described["paths"].as_object().unwrap() {
        let Some(parameters) = operations["get"]["parameters"].as_array() else { continue };
        let in_the_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let names: Vec<_> =
            in_the_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
        if path.contains('{') || names.is_empty() {
            continue;
        }
        // The dashboard's pages accept the same parameters as the API's lists.
        targets.extend(path.strip_prefix("/api/v1").map(|page| (page.to_owned(), names.clone())));
        targets.push((path.clone(), names));
    }
    assert!(targets.len() > 10, "{targets:?}");
    for page in ["/", "/events/replay", "/executions/retry"] {
        targets.push((page.to_owned(), targets.iter().flat_map(|(_, names)| names.clone()).collect()));
    }
    targets
}

fn address() -> impl Strategy<Value = String> {
    select(targets()).prop_flat_map(|(path, names)| {
        let name = prop_oneof![8 => select(names), 1 => ".{0,8}"];
        let value = prop_oneof![
            6 => select(VALUES).prop_map(|value| value.as_bytes().to_vec()),
            2 => ".{0,40}".prop_map(String::into_bytes),
            1 => "[0-9TZ:+.-]{0,30}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ];
        let pair = (name, value).prop_map(|(name, value)| {
            format!(
                "{}={}",
                byte_serialize(name.as_bytes()).collect::<String>(),
                byte_serialize(&value).collect::<String>()
            )
        });
        let query = prop_oneof![
            9 => prop::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&")),
            1 => "[a-z%=&;+0-9]{0,40}",
        ];
        query.prop_map(move |query| format!("{path}?{query}"))
    })
}

async fn is_answered_or_rejected(service: &Service, address: &str) {
    let request = Request::get(address).header("host", "localhost").body(Body::empty()).unwrap();
    let answer = service.call(request).await;
    assert!(matches!(answer.status.as_u16(), 200 | 303 | 400 | 404), "{address}: {answer:?}");
    if address.starts_with("/api/") {
        match answer.status.as_u16() {
            200 => drop(answer.json()),
            refused => drop(answer.problem(refused)),
        }
    }
}

#[test]
fn any_query_is_answered_or_rejected() {
    let fuzz = Fuzz::new(async || {
        let service = Service::start().await;
        for event in ["evt_1", "evt_2"] {
            let body = format!(
                r#"{{"id":"{event}","type":"invoice.paid","data":{{"object":{{"id":"in_1","object":"invoice"}}}}}}"#
            );
            assert_eq!(service.post_event(&body).await.status, 200);
        }
        service.until_finished(2).await;
        service
    });
    let corpus = CORPUS.lines().map(str::to_owned);
    fuzz.check(file!(), corpus, &address(), async |service, address| {
        is_answered_or_rejected(service, address).await;
    });
}
