//! Each call has the effect and the response that it has at Notion.

use super::{Harness, new_page, titled};
use notion_sandbox::{
    DATA_SOURCE_ID, DATABASE_ID, Fault, FaultRule, PARENT_PAGE_ID, SandboxOptions, Template,
};
use serde_json::{Value, json};

#[tokio::test]
async fn the_token_belongs_to_a_bot() {
    let answer = Harness::start().await.get("/v1/users/me").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["object"], "user");
    assert_eq!(answer.body["type"], "bot");
    assert!(answer.body["bot"]["workspace_name"].is_string());
    assert_eq!(answer.text("request_id"), answer.headers["x-request-id"]);
}

#[tokio::test]
async fn a_database_links_to_its_data_source_with_its_columns() {
    let harness = Harness::start().await;
    for id in [DATABASE_ID.hyphenated().to_string(), DATABASE_ID.simple().to_string()] {
        let database = harness.get(&format!("/v1/databases/{id}")).await;
        assert_eq!(database.status, 200);
        assert_eq!(database.body["data_sources"][0]["id"], DATA_SOURCE_ID.to_string());
    }
    let source = harness.get(&format!("/v1/data_sources/{DATA_SOURCE_ID}")).await;
    let properties = source.body["properties"].as_object().unwrap();
    assert_eq!(properties.len(), 9);
    assert_eq!(properties["EventId"]["id"], "title");
    assert_eq!(properties["CustomerEmail"]["type"], "email");
    assert_eq!(properties["Amount"]["number"], json!({ "format": "number" }));
    assert_eq!(source.body["parent"]["database_id"], DATABASE_ID.to_string());
}

#[tokio::test]
async fn a_page_reads_back_as_it_was_written() {
    let options = SandboxOptions { template: Template::Full, ..SandboxOptions::default() };
    let harness = Harness::with(options).await;
    let created = harness
        .create(&json!({
            "Name": { "title": [{ "text": { "content": "Paid " } }, { "text": { "content": "once" } }] },
            "Description": { "rich_text": [{ "text": { "content": "see", "link": { "url": "https://a.test/" } } }] },
            "Amount": { "number": 12.5 },
            "Currency": { "select": { "name": "EUR" } },
            "Status": { "status": { "name": "success" } },
            "CustomerEmail": { "email": "jenny@example.com" },
            "OccurredAt": { "date": { "start": "2026-11-23T10:00:00Z" } },
            "Livemode": { "checkbox": true },
            "InvoiceUrl": { "url": "https://pay.test/1" },
        }))
        .await;
    assert_eq!(created.status, 200, "{}", created.body);
    let id = created.text("id").to_owned();
    assert_eq!(created.text("url"), format!("https://app.notion.com/p/{}", id.replace('-', "")));

    let read = harness.get(&format!("/v1/pages/{id}")).await.body;
    assert_eq!(read["object"], "page");
    assert_eq!(read["parent"]["data_source_id"], DATA_SOURCE_ID.to_string());
    assert_eq!(read["in_trash"], false);
    let properties = &read["properties"];
    assert_eq!(properties["Name"]["title"][1]["plain_text"], "once");
    assert_eq!(properties["Description"]["rich_text"][0]["href"], "https://a.test/");
    assert_eq!(properties["Amount"]["number"], 12.5);
    assert_eq!(properties["Currency"]["select"]["name"], "EUR");
    assert_eq!(properties["Status"]["status"]["color"], "green");
    assert_eq!(properties["CustomerEmail"]["email"], "jenny@example.com");
    assert_eq!(properties["OccurredAt"]["date"]["start"], "2026-11-23T10:00:00.000+00:00");
    assert_eq!(properties["Livemode"]["checkbox"], true);
    assert_eq!(properties["Account"]["rich_text"], json!([]));
    assert_eq!(properties["ReceiptUrl"]["url"], Value::Null);

    let source = harness.get(&format!("/v1/data_sources/{DATA_SOURCE_ID}")).await.body;
    assert_eq!(source["properties"]["Currency"]["select"]["options"][0]["name"], "EUR");
}

#[tokio::test]
async fn an_update_changes_only_the_named_cells_and_null_clears_one() {
    let harness = Harness::start().await;
    let mut properties = titled("evt_1");
    properties["Amount"] = json!({ "number": 3 });
    properties["CustomerEmail"] = json!({ "email": "a@b.test" });
    let id = harness.create(&properties).await.text("id").to_owned();
    let update = json!({ "properties": { "Amount": { "number": null } } });
    assert_eq!(harness.patch(&format!("/v1/pages/{id}"), &update).await.status, 200);
    let page = &harness.handle.pages()[0];
    assert_eq!(page.text("Amount"), None);
    assert_eq!(page.text("CustomerEmail"), Some("a@b.test"));
    assert_eq!(page.text("EventId"), Some("evt_1"));
}

#[tokio::test]
async fn a_query_filters_by_text_number_time_and_combinations() {
    let harness = Harness::start().await;
    for (title, amount) in [("evt_1", 1), ("evt_2", 2), ("evt_3", 3)] {
        let mut properties = titled(title);
        properties["Amount"] = json!({ "number": amount });
        properties["Source"] = json!({ "rich_text": [{ "text": { "content": "stripe" } }] });
        assert_eq!(harness.create(&properties).await.status, 200);
    }
    let title = |wanted: &str| json!({ "property": "EventId", "title": { "equals": wanted } });
    let by_id = json!({ "property": "title", "title": { "equals": "evt_2" } });
    let source = json!({ "property": "Source", "rich_text": { "equals": "stripe" } });
    let dear = json!({ "property": "Amount", "number": { "greater_than": 1 } });
    let past = json!({ "timestamp": "created_time", "created_time": { "before": "2000-01-01" } });
    for (filter, expected) in [
        (title("evt_2"), vec!["evt_2"]),
        (title("evt_9"), vec![]),
        (by_id, vec!["evt_2"]),
        (json!({ "and": [source, dear] }), vec!["evt_3", "evt_2"]),
        (json!({ "or": [title("evt_1"), title("evt_3")] }), vec!["evt_3", "evt_1"]),
        (
            json!({ "property": "Customer", "rich_text": { "is_empty": true } }),
            vec!["evt_3", "evt_2", "evt_1"],
        ),
        (past, vec![]),
    ] {
        let answer = harness.query(&json!({ "filter": filter })).await;
        assert_eq!(titles(&answer.body), expected, "{filter}");
    }
}

#[tokio::test]
async fn a_query_is_sorted_and_paged() {
    let harness = Harness::start().await;
    for title in ["a", "b", "c"] {
        harness.create_titled(title).await;
    }
    let sorts = json!([{ "timestamp": "created_time", "direction": "ascending" }]);
    let first = harness.query(&json!({ "sorts": sorts, "page_size": 2 })).await.body;
    assert_eq!(titles(&first), ["a", "b"]);
    assert_eq!(first["has_more"], true);
    let rest = json!({ "sorts": sorts, "page_size": 2, "start_cursor": first["next_cursor"] });
    let rest = harness.query(&rest).await.body;
    assert_eq!(titles(&rest), ["c"]);
    assert_eq!((&rest["has_more"], &rest["next_cursor"]), (&json!(false), &Value::Null));
    // The cursor belongs to its query.
    let another = json!({ "page_size": 2, "start_cursor": first["next_cursor"] });
    harness.query(&another).await.is_error(400, "validation_error", "start_cursor provided is invalid");
}

#[tokio::test]
async fn a_trashed_page_can_be_read_but_not_edited_or_found() {
    let harness = Harness::start().await;
    let id = harness.create_titled("evt_1").await;
    let path = format!("/v1/pages/{id}");
    let trashed = harness.patch(&path, &json!({ "in_trash": true })).await;
    assert_eq!(trashed.body["in_trash"], true);
    assert_eq!(harness.count_titled("evt_1").await, 0);
    assert_eq!(harness.get(&path).await.body["in_trash"], true);
    let archived = "Can't edit block that is archived. You must unarchive the block before editing.";
    let edit = harness.patch(&path, &json!({ "properties": titled("evt_2") })).await;
    edit.is_error(400, "validation_error", archived);
    let blocks = harness.patch(&format!("/v1/blocks/{id}/children"), &json!({ "children": [] })).await;
    blocks.is_error(400, "validation_error", archived);
    assert_eq!(harness.patch(&path, &json!({ "in_trash": false })).await.status, 200);
    assert_eq!(harness.count_titled("evt_1").await, 1);
}

#[tokio::test]
async fn options_are_the_same_in_any_case_and_an_emptied_status_has_its_default() {
    let options = SandboxOptions { template: Template::Full, ..SandboxOptions::default() };
    let harness = Harness::with(options).await;
    for name in ["EUR", "eur"] {
        let page = harness.create(&json!({ "Currency": { "select": { "name": name } } })).await;
        assert_eq!(page.body["properties"]["Currency"]["select"]["name"], "EUR");
    }
    let id = harness.create(&json!({ "Status": { "status": { "name": "SUCCESS" } } })).await;
    assert_eq!(id.body["properties"]["Status"]["status"]["name"], "success");
    let path = format!("/v1/pages/{}", id.text("id"));
    let emptied = harness.patch(&path, &json!({ "properties": { "Status": { "status": null } } })).await;
    assert_eq!(emptied.body["properties"]["Status"]["status"]["name"], "pending");
}

#[tokio::test]
async fn an_archived_page_is_found_only_by_a_query_that_asks_for_it() {
    let harness = Harness::start().await;
    let id = harness.create_titled("evt_1").await;
    harness.handle.archive(id.parse().unwrap()).unwrap();
    assert_eq!(titles(&harness.query(&json!({})).await.body), Vec::<&str>::new());
    assert_eq!(titles(&harness.query(&json!({ "is_archived": true })).await.body), ["evt_1"]);
    let page = harness.get(&format!("/v1/pages/{id}")).await.body;
    assert_eq!((&page["is_archived"], &page["in_trash"]), (&json!(true), &json!(false)));
    let edit = json!({ "properties": titled("evt_2") });
    harness.patch(&format!("/v1/pages/{id}"), &edit).await.is_error(400, "validation_error", "is archived");
}

#[tokio::test]
async fn pages_are_in_the_trash_with_what_contains_them() {
    let harness = Harness::start().await;
    let page = format!("/v1/pages/{}", harness.create_titled("evt_1").await);
    let (source, database) =
        (format!("/v1/data_sources/{DATA_SOURCE_ID}"), format!("/v1/databases/{DATABASE_ID}"));
    let parent = format!("/v1/pages/{PARENT_PAGE_ID}");
    let put = |which: usize, in_trash: bool| match which {
        0 => harness.handle.trash_data_source(DATA_SOURCE_ID, in_trash).unwrap(),
        1 => harness.handle.trash_database(DATABASE_ID, in_trash).unwrap(),
        _ => harness.handle.trash_parent_page(in_trash),
    };
    for which in 0..3 {
        put(which, true);
        assert_eq!(harness.get(&page).await.body["in_trash"], true);
        for (place, path) in [&source, &database, &parent].into_iter().enumerate() {
            assert_eq!(harness.get(path).await.body["in_trash"], place == which, "{path}, {which}");
        }
        let edit = harness.patch(&page, &json!({ "properties": titled("evt_2") })).await;
        edit.is_error(400, "validation_error", "archived ancestor");
        assert_eq!(harness.count_titled("evt_1").await, 0);
        let made = harness.create(&titled("evt_3")).await;
        if which == 2 {
            assert_eq!(made.body["in_trash"], true, "below a page, it is created in the trash");
        } else {
            made.is_error(400, "validation_error", "archived ancestor");
        }
        put(which, false);
    }
    assert_eq!(harness.get(&page).await.body["in_trash"], false);
}

#[tokio::test]
async fn a_database_is_created_with_its_columns() {
    let harness = Harness::start().await;
    let body = json!({
        "parent": { "type": "page_id", "page_id": PARENT_PAGE_ID },
        "title": [{ "text": { "content": "Payments" } }],
        "initial_data_source": { "properties": {
            "Name": { "title": {} },
            "Outcome": { "select": { "options": [{ "name": "Paid", "color": "green" }] } },
            "Amount": { "number": { "format": "euro" } },
        } },
    });
    let database = harness.post("/v1/databases", &body).await;
    assert_eq!(database.status, 200, "{}", database.body);
    let source = database.body["data_sources"][0]["id"].as_str().unwrap();
    let source = harness.get(&format!("/v1/data_sources/{source}")).await.body;
    assert_eq!(source["properties"]["Outcome"]["select"]["options"][0]["color"], "green");
    assert_eq!(source["properties"]["Amount"]["number"]["format"], "euro");

    let mut untitled = body.clone();
    untitled["initial_data_source"]["properties"] = json!({ "Amount": { "number": {} } });
    harness.post("/v1/databases", &untitled).await.is_error(400, "validation_error", "Title is not provided");
    let mut elsewhere = body;
    elsewhere["parent"]["page_id"] = json!(DATABASE_ID);
    harness.post("/v1/databases", &elsewhere).await.is_error(404, "object_not_found", "Could not find page");
}

#[tokio::test]
async fn columns_are_added_renamed_and_removed_with_stable_ids() {
    let harness = Harness::start().await;
    let path = format!("/v1/data_sources/{DATA_SOURCE_ID}");
    let amount_id = harness.get(&path).await.body["properties"]["Amount"]["id"].clone();
    let change = json!({ "properties": {
        "Amount": { "name": "Betrag" }, "Currency": null, "Hosted URL": { "url": {} },
    } });
    let changed = harness.patch(&path, &change).await.body;
    assert_eq!(changed["properties"]["Betrag"]["id"], amount_id);
    assert_eq!(changed["properties"]["Hosted URL"]["type"], "url");
    assert!(changed["properties"].get("Currency").is_none());

    let by_name = json!({ "Betrag": { "number": 7 } });
    assert_eq!(harness.create(&by_name).await.body["properties"]["Betrag"]["number"], 7);
    let by_old_name = harness.create(&json!({ "Amount": { "number": 7 } })).await;
    by_old_name.is_error(400, "validation_error", "Amount is not a property that exists.");
    let both = json!({ "properties": { "New": { "url": {} }, "Nowhere": null } });
    harness.patch(&path, &both).await.is_error(400, "validation_error", "Nowhere");
    assert!(harness.get(&path).await.body["properties"].get("New").is_none());
}

#[tokio::test]
async fn an_id_in_its_encoded_form_is_no_key_of_a_page() {
    let harness = Harness::start().await;
    for number in 0..12 {
        harness.handle.add_column(DATA_SOURCE_ID, &format!("Column {number}"), "number").unwrap();
    }
    let source = harness.get(&format!("/v1/data_sources/{DATA_SOURCE_ID}")).await.body;
    let mut ids = source["properties"].as_object().unwrap().values().map(|property| &property["id"]);
    let encoded = ids.find_map(|id| id.as_str().filter(|id| id.contains('%'))).expect("one with a sign");
    let by_id = json!({ encoded: { "number": 7 } });
    harness.create(&by_id).await.is_error(400, "validation_error", "is not a property that exists.");
}

#[tokio::test]
async fn a_column_with_a_changed_type_keeps_convertible_values() {
    let harness = Harness::start().await;
    let mut properties = titled("evt_1");
    properties["Amount"] = json!({ "number": 7 });
    harness.create(&properties).await;
    harness.handle.retype_column(DATA_SOURCE_ID, "Amount", "rich_text").unwrap();
    let filter = json!({ "property": "Amount", "rich_text": { "equals": "7" } });
    assert_eq!(titles(&harness.query(&json!({ "filter": filter })).await.body), ["evt_1"]);
    let page = harness.create(&json!({ "Amount": { "number": 7 } })).await;
    page.is_error(400, "validation_error", "Amount is expected to be rich_text.");
}

#[tokio::test]
async fn blocks_are_kept_with_their_page() {
    let harness = Harness::start().await;
    let paragraph = |text: &str| json!({ "type": "paragraph", "paragraph": { "rich_text": [{ "text": { "content": text } }] } });
    let mut page = new_page(&titled("evt_1"));
    page["children"] = json!([paragraph("one")]);
    let id = harness.post("/v1/pages", &page).await.text("id").to_owned();
    let more = json!({ "children": [paragraph("two")], "position": { "type": "end" } });
    let answer = harness.patch(&format!("/v1/blocks/{id}/children"), &more).await;
    assert_eq!(answer.body["results"][0]["object"], "block");
    assert_eq!(harness.handle.pages()[0].children.len(), 2);
}

#[tokio::test]
async fn a_page_created_in_the_database_is_in_its_only_data_source() {
    let harness = Harness::start().await;
    let page = json!({ "parent": { "database_id": DATABASE_ID }, "properties": titled("evt_1") });
    assert_eq!(harness.post("/v1/pages", &page).await.status, 200);
    harness.handle.add_data_source(DATABASE_ID, Template::Plain).unwrap();
    let ambiguous = harness.post("/v1/pages", &page).await;
    ambiguous.is_error(400, "validation_error", "multiple data sources");
}

#[tokio::test]
async fn the_link_of_a_page_points_to_the_sandboxs_address() {
    let public_url = Some("http://localhost:8765/".to_owned());
    let harness = Harness::with(SandboxOptions { public_url, ..SandboxOptions::default() }).await;
    let page = harness.create(&titled("evt_1")).await;
    let id = page.text("id").replace('-', "");
    assert_eq!(page.text("url"), format!("http://localhost:8765/p/{id}"));
    harness.handle.set_public_url(Some(harness.sandbox.base_url().to_owned()));
    let read = harness.get(&format!("/v1/pages/{id}")).await;
    assert_eq!(harness.http.get(read.text("url")).send().await.unwrap().status(), 200);
}

fn titles(list: &Value) -> Vec<&str> {
    assert_eq!(list["object"], "list", "{list}");
    let results = list["results"].as_array().unwrap();
    results
        .iter()
        .map(|page| page["properties"]["EventId"]["title"][0]["plain_text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_search_filters_by_kind_and_title_and_is_paged() {
    let harness = Harness::start().await;
    harness.create_titled("evt_1").await;
    let search = async |body: Value| {
        let answer = harness.post("/v1/search", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let ids = |found: &Value| {
        let results = found["results"].as_array().unwrap().iter();
        results.map(|thing| thing["object"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&search(json!({})).await), ["data_source", "page", "page"]);
    let pages = json!({ "filter": { "property": "object", "value": "page" }, "page_size": 1 });
    let first = search(pages).await;
    assert_eq!(
        (first["results"][0]["parent"]["type"].as_str(), &first["has_more"]),
        (Some("workspace"), &json!(true))
    );
    let rest = search(json!({ "query": "EVT_1", "start_cursor": null })).await;
    assert_eq!((ids(&rest).len(), &rest["next_cursor"]), (1, &Value::Null));
    let wrong = json!({ "filter": { "property": "object", "value": "database" } });
    harness.post("/v1/search", &wrong).await.is_error(400, "validation_error", "data_source");
    harness.handle.fault(FaultRule::once(Fault::Unshared)).unwrap();
    assert_eq!(ids(&search(json!({})).await).len(), 0);
}

#[tokio::test]
async fn an_answer_shows_the_columns_that_are_asked_for() {
    let harness = Harness::start().await;
    let columns = harness.get(&format!("/v1/data_sources/{DATA_SOURCE_ID}")).await.body["properties"].clone();
    let shown = |page: &Value| page["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // Ids are shown as they are encoded in an address.
    let amount = columns["Amount"]["id"].as_str().unwrap();
    let query = format!("filter_properties={amount}&filter_properties=title");
    let created = harness.post(&format!("/v1/pages?{query}"), &new_page(&titled("evt_1"))).await;
    assert_eq!(shown(&created.body), ["Amount", "EventId"], "{}", created.body);
    let page = format!("/v1/pages/{}?{query}", created.text("id"));
    assert_eq!(shown(&harness.get(&page).await.body), ["Amount", "EventId"]);
    let edit = json!({ "properties": { "Amount": { "number": 1 } } });
    assert_eq!(shown(&harness.patch(&page, &edit).await.body), ["Amount", "EventId"]);
    let table = format!("/v1/data_sources/{DATA_SOURCE_ID}");
    let found = harness.post(&format!("{table}/query?filter_properties=title"), &json!({})).await;
    assert_eq!(shown(&found.body["results"][0]), ["EventId"]);

    let unknown = harness.post("/v1/pages?filter_properties=a%253Ab", &new_page(&titled("evt_2"))).await;
    unknown.is_error(400, "validation_error", "a%3Ab is not a property that exists.");
    let many = vec!["filter_properties=title"; 101].join("&");
    let many = harness.post(&format!("{table}/query?{many}"), &json!({})).await;
    many.is_error(400, "validation_error", "should be ≤ `100`, instead was `101`");
    let schema = harness.get(&format!("{table}?filter_properties=title")).await;
    schema.is_error(400, "validation_error", "should be not present");
    assert_eq!(harness.handle.page_count(), 1, "a refused one creates nothing");
}

#[tokio::test]
async fn a_view_is_kept_as_it_was_sent() {
    let harness = Harness::start().await;
    let view = json!({ "database_id": DATABASE_ID, "data_source_id": DATA_SOURCE_ID, "name": "All",
        "type": "table", "sorts": [{ "property": "Amount", "direction": "descending" }],
        "configuration": { "type": "table", "wrap_cells": true } });
    let made = harness.post("/v1/views", &view).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let read = harness.get(&format!("/v1/views/{}", made.text("id"))).await.body;
    for name in ["data_source_id", "name", "type", "sorts", "configuration"] {
        assert_eq!(read[name], view[name], "{name}");
    }
    assert_eq!(harness.handle.views().len(), 1);
    let unknown = harness.get(&format!("/v1/views/{DATABASE_ID}")).await;
    unknown.is_error(404, "object_not_found", "Could not find view");
}

#[tokio::test]
async fn a_page_above_that_is_not_shared_can_be_neither_read_nor_found() {
    let harness = Harness::start().await;
    harness.create_titled("evt_1").await;
    harness.handle.hide_parent_page(true);
    let parent = harness.get(&format!("/v1/pages/{PARENT_PAGE_ID}")).await;
    parent.is_error(404, "object_not_found", "Could not find page");
    let found = harness.post("/v1/search", &json!({ "query": "Finance" })).await.body;
    assert_eq!(found["results"], json!([]));
    let database = harness.get(&format!("/v1/databases/{DATABASE_ID}")).await.body;
    assert_eq!(database["parent"]["page_id"], PARENT_PAGE_ID.to_string(), "the database still names it");
}
