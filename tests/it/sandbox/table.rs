//! The tables in a browser: visible to users, and safe against hostile content.

use super::Harness;
use notion_sandbox::Template;
use serde_json::json;

const ATTACK: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";

async fn seen(harness: &Harness, path: &str) -> (u16, String) {
    let response = harness.http.get(harness.url(path)).send().await.unwrap();
    let status = response.status().as_u16();
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    (status, response.text().await.unwrap())
}

#[tokio::test]
async fn content_is_escaped() {
    let harness = Harness::start().await;
    let text = json!([{ "text": { "content": ATTACK } }]);
    let paragraph = json!({ "type": "paragraph", "paragraph": { "rich_text": text } });
    harness.handle.add_column(super::DATA_SOURCE_ID, ATTACK, "select").unwrap();
    harness.handle.add_column(super::DATA_SOURCE_ID, "Link", "url").unwrap();
    let properties = json!({
        "EventId": { "title": text },
        "Customer": { "rich_text": text },
        ATTACK: { "select": { "name": ATTACK } },
        "Link": { "url": "javascript:alert(1)" },
    });
    let mut page = super::new_page(&properties);
    page["children"] = json!([paragraph]);
    let created = harness.post("/v1/pages", &page).await;
    assert_eq!(created.status, 200, "{}", created.body);
    let id = created.text("id").replace('-', "");
    for path in ["/".to_owned(), format!("/p/{id}")] {
        let (status, html) = seen(&harness, &path).await;
        assert_eq!(status, 200);
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("href=\"javascript"));
    }
}

#[tokio::test]
async fn the_table_lists_the_newest_rows_and_marks_trashed_ones() {
    let harness = Harness::start().await;
    let (_, empty) = seen(&harness, "/").await;
    assert!(empty.contains("No pages yet"));
    let id = harness.create_titled("evt_old").await;
    harness.create_titled("evt_new").await;
    harness.handle.trash(id.parse().unwrap()).unwrap();
    let (_, html) = seen(&harness, "/").await;
    assert!(html.find("evt_new").unwrap() < html.find("evt_old").unwrap());
    assert_eq!(html.matches("<tr class=trashed").count(), 1);
    assert!(html.contains("2 pages, 1 of them in the trash"));
    assert!(!html.contains("http-equiv=refresh"));
    assert!(seen(&harness, "/?live=1").await.1.contains("http-equiv=refresh"));
}

#[tokio::test]
async fn several_databases_have_a_page_each() {
    let harness = Harness::start().await;
    let (database, _) = harness.handle.add_database(Template::Full).unwrap();
    let (status, html) = seen(&harness, &format!("/db/{database}")).await;
    assert_eq!(status, 200);
    assert!(html.contains("<h1>Payments</h1>") && html.contains("Stripe events"));
    for missing in ["/db/x", "/p/00000000-0000-4000-8000-000000000000"] {
        assert_eq!(seen(&harness, missing).await.0, 404, "{missing}");
    }
}

#[tokio::test]
async fn a_cross_site_request_or_unknown_host_gets_403() {
    let harness = Harness::start().await;
    for path in ["/", "/_sandbox/pages", "/v1/users/me"] {
        let cross_site = harness.http.get(harness.url(path)).header("host", "evil.example");
        assert_eq!(cross_site.send().await.unwrap().status(), 403, "{path}");
        let of_page = harness.http.get(harness.url(path)).header("origin", "https://evil.example");
        assert_eq!(of_page.send().await.unwrap().status(), 403, "{path}");
    }
}
