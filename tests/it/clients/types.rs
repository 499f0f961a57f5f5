//! Our requests to Notion and the sandbox's responses, checked against the types of Notion's client.

use super::tools::{Tools, run};
use crate::harness::{Database, NOW, Service, eventbridge, output, signed, text};
use chrono::DateTime;
use eventbridge::http_client;
use notion_sandbox::{
    Author, DATA_SOURCE_ID, DATABASE_ID, Fault, FaultRule, LoggedRequest, NOTION_VERSION, Route, Sandbox,
    SandboxOptions, Template,
};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// A JSON value and the type that it must have.
#[derive(Debug)]
struct Typed {
    name: &'static str,
    value: Value,
}

impl Typed {
    /// A request as the argument of the client call that would send it: the path's ids join the body.
    /// `None` for a request without a body.
    fn of(method: &str, path: &str, body: &Value) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let (name, id) = match (method, segments.as_slice()) {
            ("GET", _) => return None,
            ("POST", ["v1", "search"]) => ("SearchParameters", None),
            ("POST", ["v1", "databases"]) => ("CreateDatabaseParameters", None),
            ("POST", ["v1", "views"]) => ("CreateViewParameters", None),
            ("PATCH", ["v1", "data_sources", id]) => {
                ("UpdateDataSourceParameters", Some(("data_source_id", *id)))
            }
            ("POST", ["v1", "data_sources", id, "query"]) => {
                ("QueryDataSourceParameters", Some(("data_source_id", *id)))
            }
            ("POST", ["v1", "pages"]) => ("CreatePageParameters", None),
            ("PATCH", ["v1", "pages", id]) => ("UpdatePageParameters", Some(("page_id", *id))),
            other => panic!("no type for this request: {other:?}"),
        };
        let mut value = body.clone();
        // Documented since 2026-07-15; the client's type of a query lacks it.
        if let Some(members) = value.as_object_mut().filter(|_| name == "QueryDataSourceParameters") {
            members.remove("is_archived");
        }
        // The client's types leave these open, as objects without any member.
        if let Some(members) = value.as_object_mut().filter(|_| name == "CreateViewParameters") {
            members.remove("filter");
            members.remove("sorts");
        }
        if let Some((key, id)) = id {
            value[key] = id.into();
        }
        Some(Self { name, value })
    }

    /// Our API version no longer has `archived`, which the types of responses still require.
    fn annotation(&self) -> String {
        let Self { name, .. } = self;
        if name.ends_with("ObjectResponse") {
            format!("Omit<{name}, 'archived'>")
        } else {
            (*name).to_owned()
        }
    }

    fn of_request(request: &LoggedRequest) -> Option<Self> {
        Self::of(&request.method, &request.path, &request.body)
    }
}

/// The errors of the compiler, each with the position of its value.
async fn objections(tools: &Tools, values: &[Typed]) -> Vec<(usize, String)> {
    let folder = TempDir::new_in(tools.folder()).unwrap();
    let names: BTreeSet<_> = values.iter().map(|typed| typed.name).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let mut source = format!("import type {{ {names} }} from '@notionhq/client';\n");
    for (place, typed) in values.iter().enumerate() {
        writeln!(source, "export const value{place}: {} = {};", typed.annotation(), typed.value).unwrap();
    }
    fs::write(folder.path().join("values.ts"), source).unwrap();
    let mut tsc = tools.tsc();
    tsc.args(["--noEmit", "--strict", "--skipLibCheck", "--pretty", "false", "--module", "nodenext"])
        .args(["--types", "", "values.ts"])
        .current_dir(folder.path());
    let done = run(&mut tsc, &Value::Null).await;
    let printed = text(&done.stdout);
    let objections: Vec<_> = printed.lines().filter_map(objection).collect();
    assert_eq!(done.status.success(), objections.is_empty(), "{printed}{}", text(&done.stderr));
    objections
}

/// `values.ts(3,114): error TS2322: …`, where the import stands on the first line.
fn objection(line: &str) -> Option<(usize, String)> {
    let (line_number, rest) = line.strip_prefix("values.ts(")?.split_once(',')?;
    let line_number: usize = line_number.parse().unwrap();
    Some((line_number.checked_sub(2).expect("the import has no error"), rest.to_owned()))
}

async fn assert_all_fit(tools: &Tools, values: &[Typed]) {
    let objections = objections(tools, values).await;
    let shown: Vec<_> = objections.iter().map(|(place, why)| (why, &values[*place])).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}

#[tokio::test]
async fn every_body_sent_to_notion_has_its_clients_type() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let (original, full, objects, commands) = tokio::join!(
        delivered("event", Template::Original),
        delivered("event", Template::Full),
        delivered("object", Template::Full),
        sent_by_commands()
    );
    let mut bodies: Vec<_> = [original, full, objects, commands].into_iter().flatten().collect();
    let mut seen = BTreeSet::new();
    bodies.retain(|typed| seen.insert((typed.name, typed.value.to_string())));
    let kinds: BTreeSet<_> = bodies.iter().map(|typed| typed.name).collect();
    assert_eq!(kinds.len(), 7, "one of each kind at least: {kinds:?}");
    let trashes = |typed: &Typed| typed.name == "UpdatePageParameters" && typed.value["in_trash"] == true;
    assert!(bodies.iter().any(trashes) && bodies.len() > 60, "{}", bodies.len());
    assert_all_fit(&tools, &bodies).await;
}

#[tokio::test]
async fn a_body_of_a_wrong_type_is_detected() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let parent = json!({"type": "data_source_id", "data_source_id": "1"});
    let query = |filter: Value| json!({"data_source_id": "1", "filter": filter, "page_size": 2});
    let database = |column: &str| {
        json!({"parent": {"type": "page_id", "page_id": "1"},
        "initial_data_source": {"properties": {"Name": {"title": {}}, "Amount": {column: {}}}}})
    };
    let right = |name, value| Typed { name, value };
    let wrong = right;
    let values = [
        right("CreatePageParameters", json!({"parent": parent, "properties": {"Amount": {"number": 1.5}}})),
        wrong("CreatePageParameters", json!({"parent": parent, "properties": {"Amount": {"number": "1.5"}}})),
        wrong("CreatePageParameters", json!({"parent": parent, "property": {}})),
        wrong(
            "CreatePageParameters",
            json!({"parent": parent, "properties": {"Day": {"date": {"end": null}}}}),
        ),
        right("UpdatePageParameters", json!({"page_id": "1", "in_trash": true})),
        wrong("UpdatePageParameters", json!({"page_id": "1", "archive": true})),
        right("QueryDataSourceParameters", query(json!({"property": "A", "title": {"equals": "1"}}))),
        wrong("QueryDataSourceParameters", query(json!({"property": "A", "title": {"equal": "1"}}))),
        right("CreateDatabaseParameters", database("number")),
        wrong("CreateDatabaseParameters", database("money")),
        wrong(
            "UpdateDataSourceParameters",
            json!({"data_source_id": "1", "properties": {"A": {"link": {}}}}),
        ),
        wrong("SearchParameters", json!({"filter": {"property": "object", "value": "database"}})),
    ];
    let found: BTreeSet<_> = objections(&tools, &values).await.into_iter().map(|(place, _)| place).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [1, 2, 3, 5, 7, 9, 10, 11]);
}

#[tokio::test]
async fn the_sandboxs_responses_have_the_types_of_notions_client() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let sandbox = start_sandbox(Template::Full).await;
    let handle = sandbox.handle();
    for kind in [
        "multi_select",
        "phone_number",
        "formula",
        "unique_id",
        "created_time",
        "last_edited_by",
        "files",
        "people",
    ] {
        handle.add_column(DATA_SOURCE_ID, kind, kind).unwrap();
    }
    let page = handle.add_page(DATA_SOURCE_ID, &properties_of_a_page(), Author::Bot).unwrap();
    let base = sandbox.base_url().parse().unwrap();
    let client = http_client::client(&base, Duration::from_secs(10)).unwrap();
    let answer = async |name, method: Method, path: &str, body: Value| {
        let request = client.request(method, base.join(path).unwrap()).bearer_auth(notion_sandbox::TOKEN);
        let answer = request.header("Notion-Version", NOTION_VERSION).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let mut value: Value = answer.json().await.unwrap();
        // Every response has it, and the client's types omit it.
        assert!(value.as_object_mut().unwrap().remove("request_id").unwrap().is_string());
        Typed { name, value }
    };
    let page = format!("v1/pages/{}", page["id"].as_str().unwrap());
    let new_database = json!({"parent": {"page_id": notion_sandbox::PARENT_PAGE_ID},
        "initial_data_source": {"properties": {"Name": {"title": {}}}}});
    let new_view = json!({"database_id": DATABASE_ID, "data_source_id": DATA_SOURCE_ID, "name": "All",
        "type": "table", "configuration": {"type": "table", "wrap_cells": true}});
    let answers = [
        answer("GetSelfResponse", Method::GET, "v1/users/me", json!({})).await,
        answer("DatabaseObjectResponse", Method::GET, &format!("v1/databases/{DATABASE_ID}"), json!({}))
            .await,
        answer("DatabaseObjectResponse", Method::POST, "v1/databases", new_database).await,
        answer(
            "DataSourceObjectResponse",
            Method::GET,
            &format!("v1/data_sources/{DATA_SOURCE_ID}"),
            json!({}),
        )
        .await,
        answer("PageObjectResponse", Method::GET, &page, json!({})).await,
        answer("PageObjectResponse", Method::PATCH, &page, json!({"in_trash": true})).await,
        answer(
            "QueryDataSourceResponse",
            Method::POST,
            &format!("v1/data_sources/{DATA_SOURCE_ID}/query"),
            json!({}),
        )
        .await,
        answer("SearchResponse", Method::POST, "v1/search", json!({})).await,
        answer("CreateViewResponse", Method::POST, "v1/views", new_view).await,
    ];
    assert_all_fit(&tools, &answers).await;
}

fn properties_of_a_page() -> Value {
    let texts = |text: &str| json!([{"text": {"content": text, "link": {"url": "https://example.com/"}}}]);
    json!({
        "Name": {"title": texts("one")}, "Description": {"rich_text": texts("two")}, "Amount": {"number": 1.5},
        "Outcome": {"select": {"name": "Paid"}}, "Status": {"status": {"name": "success"}},
        "multi_select": {"multi_select": [{"name": "a"}]}, "OccurredAt": {"date": {"start": "2026-11-23"}},
        "CustomerEmail": {"email": "jane@example.com"}, "phone_number": {"phone_number": "+49 30 1"},
        "InvoiceUrl": {"url": "https://example.com/"}, "Livemode": {"checkbox": true},
    })
}

/// The requests and previews for every sample and for values that are hard to write.
async fn delivered(mode: &str, template: Template) -> Vec<Typed> {
    let service = Service::builder().set("NOTION_MODE", mode).template(template).start().await;
    let mut events: Vec<_> =
        stripe_samples::names().map(|name| stripe_samples::make(name, 7, at(NOW)).unwrap().body).collect();
    events.extend(stripe_samples::invoice_life(8, at(NOW)).into_iter().map(|sample| sample.body));
    let invoice = |id: &str, name: &str, amount: i64| {
        json!({"id": id, "object": "event", "type": "invoice.paid", "created": NOW, "livemode": true, "account": "acct_1",
            "data": {"object": {"id": format!("in_{id}"), "object": "invoice", "total": amount, "currency": "kwd",
            "customer_name": name, "customer_email": "no address", "description": name.repeat(30),
            "hosted_invoice_url": format!("https://example.com/?q={}", "x".repeat(3000))}}})
        .to_string()
    };
    events.push(invoice("evt_long", &"Zoë 山田 🧾 ".repeat(40), 12_345));
    events.push(invoice("evt_odd", "a,b\u{0}\n", -1));
    // One whose write is lost, so that its page is searched for and found twice.
    for body in [invoice("evt_lost", "", 0), invoice("evt_lost_too", "", 0)] {
        let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
        let fault =
            FaultRule { containing: Some(id), ..FaultRule::once(Fault::DropAfterWrite).on(Route::Create) };
        service.sandbox.fault(fault).unwrap();
        events.push(body);
    }
    for body in &events {
        assert_eq!(service.call(signed(body)).await.status, 200, "{body}");
    }
    let executions = service.until_finished(events.len()).await;
    let mut typed: Vec<_> = service.sandbox.requests().iter().filter_map(Typed::of_request).collect();
    for execution in executions {
        let preview = service.get(&format!("/api/v1/executions/{}/preview", execution["id"])).await;
        assert_eq!(preview.status, 200, "{preview:?}");
        for request in preview.json()["requests"].as_array().unwrap() {
            let url = request["url"].as_str().unwrap();
            let path = &url[url.find("/v1/").unwrap()..];
            typed.extend(Typed::of(request["method"].as_str().unwrap(), path, &request["body"]));
        }
    }
    typed
}

/// The requests of `notion init` and `doctor`.
async fn sent_by_commands() -> Vec<Typed> {
    let (plain, full) = tokio::join!(start_sandbox(Template::Plain), start_sandbox(Template::Full));
    let database = Database::new().await;
    for (sandbox, args) in [
        (&plain, vec!["notion", "init", "--yes", "--title", "Takings"]),
        (&plain, vec!["doctor", "--fix", "--yes"]),
        (&full, vec!["doctor", "--write-test"]),
    ] {
        let folder = TempDir::new().unwrap();
        let mut command = eventbridge(folder.path());
        command.args(&args).envs([
            ("NOTION_API_URL", sandbox.base_url()),
            ("NOTION_API_KEY", notion_sandbox::TOKEN),
            ("NOTION_RATE_PER_MINUTE", "0"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_0123456789abcdefghijklmnopqrstuv"),
            ("AUTH", "off"),
            ("LISTEN_ADDR", "127.0.0.1:8000"),
            ("DATABASE_URL", database.url().expose_secret()),
        ]);
        if args[0] == "doctor" {
            command.env("NOTION_DATABASE_ID", DATABASE_ID.to_string());
        }
        let done = output(&mut command).await;
        assert!(done.status.success(), "{args:?}: {}{}", text(&done.stdout), text(&done.stderr));
    }
    let requests = [plain.handle().requests(), full.handle().requests()];
    requests.iter().flatten().filter_map(Typed::of_request).collect()
}

async fn start_sandbox(template: Template) -> notion_sandbox::RunningSandbox {
    let options = SandboxOptions { template, rate_per_minute: None, ..SandboxOptions::default() };
    Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

fn at(seconds: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}
