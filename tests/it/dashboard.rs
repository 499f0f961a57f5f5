//! The dashboard: sessions and forms, buttons by access level, hostile text, and complete, small and live
//! pages.

use crate::harness::rows::{Rows, Set};
use crate::harness::{Answer, Database, Link, Service, rows, within};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use notion_sandbox::{Fault, FaultRule, Route};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;

pub(crate) const WRITE_KEY: &str = "write-0123456789abcdef0123456789abcdef";
pub(crate) const READ_KEY: &str = "read-0123456789abcdef0123456789abcdef";

fn successes() -> Rows {
    rows::executions().in_status("success")
}

async fn in_production() -> Service {
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    Service::builder().production().set("API_KEYS", &keys).start().await
}

/// A browser with its session cookie.
pub(crate) struct Browser<'a> {
    service: &'a Service,
    cookie: String,
}

impl<'a> Browser<'a> {
    pub async fn logged_in(service: &'a Service, key: &str) -> Self {
        let answer = login(service, key, "/").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        Self { service, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    pub async fn open(&self, path: &str) -> Answer {
        self.service.send(Method::GET, path, &[("cookie", &self.cookie)]).await
    }

    pub async fn submit(&self, path: &str, form: &str) -> Answer {
        self.submit_from(path, form, "same-origin").await
    }

    pub async fn submit_from(&self, path: &str, form: &str, site: &str) -> Answer {
        post_form(self.service, path, form, &[("cookie", &self.cookie), ("sec-fetch-site", site)]).await
    }

    /// The token of the forms of a page.
    pub async fn token(&self, path: &str) -> String {
        let page = self.open(path).await.body;
        let (_, rest) = page.split_once(r#"name="token" value=""#).expect("a form with a token");
        rest.split('"').next().unwrap().to_owned()
    }
}

async fn login(service: &Service, key: &str, next: &str) -> Answer {
    let form = format!("key={key}&next={next}");
    post_form(service, "/login", &form, &[("sec-fetch-site", "same-origin")]).await
}

async fn post_form(service: &Service, path: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.call(request.body(Body::from(form.to_owned())).unwrap()).await
}

/// A service with one permanently failed execution.
async fn with_a_failure(builder: crate::harness::ServiceBuilder) -> (Service, i64) {
    let service = builder.start().await;
    service.post_event(&json!({"id": "evt_1", "type": "invoice.paid"}).to_string()).await;
    service.until_count(successes(), 1).await;
    let failed = [Set::Status("failed"), Set::Reason("Notion said no"), Set::FinishedAgo(Duration::ZERO)];
    service.database.change(rows::executions().set(&failed)).await;
    let id = service.database.first_id(rows::executions()).await;
    (service, id)
}

#[tokio::test]
async fn without_a_session_every_page_redirects_to_the_login() {
    let service = in_production().await;
    let mut seen = 0;
    for path in eventbridge::ui::protected_paths() {
        let path = path.replace("{id}", "1").replace("{name}", "notion").replace("{group}", "1");
        for cookie in ["", "__Host-eventbridge=", "__Host-eventbridge=1.ops.99999999999.x.AAAA"] {
            let shown = service.send(Method::GET, &path, &[("cookie", cookie)]).await;
            let headers = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
            let done = post_form(&service, &path, "token=x.y", &headers).await;
            match (shown.status, done.status) {
                (StatusCode::SEE_OTHER, StatusCode::METHOD_NOT_ALLOWED) => {
                    assert!(shown.headers["location"].to_str().unwrap().starts_with("/login?next=%2F"));
                }
                (StatusCode::METHOD_NOT_ALLOWED | StatusCode::SEE_OTHER, StatusCode::UNAUTHORIZED) => {}
                other => panic!("{path}: {other:?}"),
            }
        }
        seen += 1;
    }
    assert!(seen >= 10);
}

#[tokio::test]
async fn a_login_redirects_to_the_requested_page_until_the_logout() {
    let service = in_production().await;
    let answer = login(&service, READ_KEY, "%2Fevents%3Ftype%3Dinvoice.paid").await;
    assert_eq!(answer.headers["location"], "/events?type=invoice.paid");
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(!cookie.contains(READ_KEY));
    for attribute in ["__Host-", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert_eq!(login(&service, READ_KEY, "https%3A%2F%2Fevil.example").await.headers["location"], "/");

    let browser = Browser::logged_in(&service, READ_KEY).await;
    let page = browser.open("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("board"), "the page names the key");
    let form = format!("token={}", browser.token("/").await);
    let out = browser.submit("/logout", &form).await;
    assert_eq!(out.headers["location"], "/login");
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn after_a_logout_a_copy_of_the_cookie_is_worth_nothing_at_any_replica() {
    let service = in_production().await;
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    let replica = service.replica().production().set("API_KEYS", &keys).start().await;
    let (here, other) =
        (Browser::logged_in(&service, WRITE_KEY).await, Browser::logged_in(&service, WRITE_KEY).await);
    let there = Browser { service: &replica, cookie: here.cookie.clone() };
    let token = here.token("/").await;
    assert_eq!(
        (there.open("/").await.status, there.open("/docs/").await.status),
        (StatusCode::OK, StatusCode::OK)
    );

    let out = there.submit("/logout", &format!("token={token}")).await;
    assert_eq!(out.headers["location"], "/login");
    for browser in [&here, &there] {
        assert!(browser.open("/events").await.headers["location"].to_str().unwrap().starts_with("/login"));
        assert_eq!(browser.open("/docs/").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(browser.open("/live").await.status, StatusCode::SEE_OTHER);
        let retry = browser.submit("/executions/1/retry", &format!("token={token}")).await;
        assert_eq!(retry.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(other.open("/events").await.status, StatusCode::OK, "another session of the key stays");
    let restarted = service.replica().production().set("API_KEYS", &keys).start().await;
    let copy = Browser { service: &restarted, cookie: here.cookie.clone() };
    assert_eq!(copy.open("/events").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn one_session_cannot_take_all_live_streams_and_another_page_none() {
    let service = in_production().await;
    let open = async |cookie: &str, site: &str| {
        let request = Request::get("/live").header("host", "localhost").header("cookie", cookie);
        let request = request.header("sec-fetch-site", site).body(Body::empty()).unwrap();
        service.router.clone().oneshot(request).await.unwrap()
    };
    let (one, other) =
        (Browser::logged_in(&service, READ_KEY).await, Browser::logged_in(&service, READ_KEY).await);
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(open(&one.cookie, "same-origin").await);
    }
    assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
    assert_eq!(open(&one.cookie, "same-origin").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(open(&other.cookie, "same-origin").await.status(), StatusCode::OK);
    streams.pop();
    assert_eq!(open(&one.cookie, "same-origin").await.status(), StatusCode::OK);
    for site in ["cross-site", "same-site"] {
        assert_eq!(open(&other.cookie, site).await.status(), StatusCode::FORBIDDEN, "{site}");
    }

    let dev = Service::builder().set("DESTINATIONS", "").start().await;
    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let answer = dev.send(Method::GET, "/live", &[foreign]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{foreign:?}");
    }
}

#[tokio::test]
async fn the_right_key_opens_the_dashboard_after_many_wrong_ones() {
    let service = in_production().await;
    let flood = futures_util::future::join_all((0..40).map(|_| login(&service, "wrong", "/")));
    let person = async {
        // Until wrong keys are rate limited.
        while login(&service, "wrong", "/").await.status != StatusCode::SERVICE_UNAVAILABLE {}
        login(&service, WRITE_KEY, "/").await
    };
    let (tried, answer) = tokio::join!(flood, person);
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert!(tried.iter().all(|answer| !answer.headers.contains_key("set-cookie")));
}

#[tokio::test]
async fn a_wrong_key_and_a_foreign_login_form_are_rejected() {
    let service = in_production().await;
    let wrong = login(&service, "wrong", "/").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers.contains_key("set-cookie"));
    assert!(wrong.body.contains("not one of API_KEYS"));
    let form = format!("key={WRITE_KEY}&next=/");
    for headers in [vec![("sec-fetch-site", "cross-site")], vec![("origin", "https://evil.example")], vec![]]
    {
        let foreign = post_form(&service, "/login", &form, &headers).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert!(!foreign.headers.contains_key("set-cookie"));
    }
    let headers = [("sec-fetch-site", "same-origin"), ("origin", "http://events.example")];
    let plain = post_form(&service, "/login", &form, &headers).await;
    assert!(plain.status == StatusCode::BAD_REQUEST && plain.body.contains("https://"), "{plain:?}");
}

#[tokio::test]
async fn only_a_form_with_the_sessions_token_changes_anything() {
    let keys = format!("ops:write:{WRITE_KEY}, second:write:{READ_KEY}");
    let (service, id) = with_a_failure(Service::builder().production().set("API_KEYS", &keys)).await;
    let (ops, second) =
        (Browser::logged_in(&service, WRITE_KEY).await, Browser::logged_in(&service, READ_KEY).await);
    let (page, retry) = (format!("/executions/{id}"), format!("/executions/{id}/retry"));
    let token = format!("token={}", ops.token(&page).await);
    for (form, site) in [
        (String::new(), "same-origin"),
        ("token=x.y".to_owned(), "same-origin"),
        (format!("token={}", second.token(&page).await), "same-origin"),
        (token.clone(), "cross-site"),
        (token.clone(), "same-site"),
    ] {
        let refused = ops.submit_from(&retry, &form, site).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{form} {site}");
    }
    let failed = rows::executions().in_status("failed");
    assert_eq!(service.database.count(failed).await, 1, "nothing has changed");
    let done = ops.submit(&retry, &token).await;
    assert_eq!(done.headers["location"], format!("/executions/{id}?done=retried").as_str());
    service.until_count(successes(), 1).await;
    assert!(ops.open(&page).await.body.contains(">delivered<"));
}

#[tokio::test]
async fn a_read_key_sees_every_page_but_no_button_and_is_rejected() {
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    let (service, id) = with_a_failure(Service::builder().production().set("API_KEYS", &keys)).await;
    let page = format!("/executions/{id}");
    let writer = Browser::logged_in(&service, WRITE_KEY).await.open(&page).await.body;
    assert!(writer.contains("Retry now"));
    let board = Browser::logged_in(&service, READ_KEY).await;
    let reader = board.open(&page).await.body;
    assert!(reader.contains("Notion said no") && !reader.contains("Retry now"));
    for path in ["/", "/events", "/events/evt_1", "/executions", &page] {
        let shown = board.open(path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}");
        let forms = shown.body.matches(r#"method="post""#).count();
        assert_eq!(forms, 1, "{path}: only the log out");
    }
    let form = format!("token={}", board.token(&page).await);
    let refused = board.submit(&format!("{page}/retry"), &form).await;
    assert!(refused.status == StatusCode::FORBIDDEN && refused.body.contains("is read-only"));
}

#[tokio::test]
async fn a_session_opens_the_api_docs_but_not_the_api() {
    let service = in_production().await;
    let browser = Browser::logged_in(&service, WRITE_KEY).await;
    for path in ["/docs/", "/openapi.json"] {
        assert_eq!(service.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(browser.open(path).await.status, StatusCode::OK, "{path}");
        let forged =
            service.send(Method::GET, path, &[("cookie", "__Host-eventbridge=1.ops.9.x.AAAA")]).await;
        assert_eq!(forged.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(browser.open("/api/v1/events").await.status, StatusCode::UNAUTHORIZED);
    let retried = browser.submit("/api/v1/executions/1/retry", "").await;
    assert_eq!(retried.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_overview_shows_the_health_and_the_requested_range() {
    let (service, id) = with_a_failure(Service::builder()).await;
    for change in [
        rows::executions().set(&[Set::Group("g1")]),
        rows::failure_group("g1", "validation_error", "no"),
        rows::statistic("minute", "received", "", 41),
        rows::statistic("hour", "received", "", 4321),
        rows::statistic("hour", "pending", "notion", 7),
    ] {
        service.database.change(change).await;
    }
    let page = service.get("/?range=1h").await.body;
    assert!(page.contains("Executions have failed") && page.contains("href=\"/failures/g1\""), "{page}");
    assert!(page.contains(&format!("href=\"/executions/{id}\"")), "{page}");
    assert!(page.contains("The last hour") && page.contains("Received: 41."), "{page}");
    let page = service.get("/?range=30d").await.body;
    assert!(page.contains("The last 30 days") && page.contains("Received: 4,321."), "{page}");
    assert!(page.contains("Maximum: 7.") && page.contains("version"), "{page}");
    assert!(service.get("/?range=forever").await.body.contains("The last 24 hours"));
}

/// Every kind of page, for one execution and its event.
fn pages_of(id: i64, event: &str) -> Vec<String> {
    let mut pages: Vec<String> =
        ["/", "/events", "/executions", "/audit", "/search?q=nobody"].map(str::to_owned).to_vec();
    pages.push(format!("/executions/{id}"));
    pages.push(format!("/events/{event}"));
    pages
}

#[tokio::test]
async fn hostile_text_in_any_field_is_escaped() {
    let service = Service::start().await;
    let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}";
    let event = json!({
        "id": "evt_<script>alert(3)</script>", "type": hostile, "account": hostile, "api_version": hostile,
        "created": 1_700_000_000, "livemode": true,
        "data": {"object": {"id": hostile, "object": hostile, hostile: hostile, "customer_email": hostile}},
    });
    assert_eq!(service.post_event(&event.to_string()).await.status, 200);
    service.until_finished(1).await;
    let hostile =
        [Set::Status("failed"), Set::Reason("<script>alert(4)</script>"), Set::Link("javascript:alert(5)")];
    service.database.change(rows::executions().set(&hostile)).await;
    service.database.change(rows::set_messages("<script>alert(6)</script>")).await;
    let id = service.database.first_id(rows::executions()).await;
    let event = service.database.first_id(rows::events()).await.to_string();
    for path in pages_of(id, &event) {
        let page = service.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {page:?}");
        assert!(
            page.body.contains("alert(") || path.starts_with("/audit") || path.starts_with("/search"),
            "{path}"
        );
        assert_eq!(page.body.matches("<script").count(), 1, "{path}: the page's own script alone");
        for markup in ["<img", " onerror=alert", "href=\"javascript:"] {
            let found = page.body.replace("&lt;img src=x onerror=alert(2)&gt;", "");
            assert!(!found.contains(markup), "{path}: {markup}");
        }
    }
    let found = service.get("/events?type=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert_eq!(found.body.matches("<script").count(), 1);
}

#[tokio::test]
async fn every_response_forbids_external_content_and_links_none() {
    let (service, id) = with_a_failure(Service::builder()).await;
    let mut pages = pages_of(id, "evt_1");
    pages.extend(
        ["/events/none", "/executions/7000", "/executions/x", "/events?cursor=forged"].map(str::to_owned),
    );
    let overview = service.get("/").await.body;
    let assets = overview.split('"').filter(|text| text.starts_with("/assets/")).map(str::to_owned);
    pages.extend(assets);
    assert!(pages.len() >= 12);
    for path in pages {
        let page = service.get(&path).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(page.headers["referrer-policy"], "same-origin", "{path}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff", "{path}");
        let kind = page.headers["content-type"].to_str().unwrap();
        if kind.starts_with("text/html") {
            assert_eq!(page.headers["cache-control"], "no-store", "{path}");
            for forbidden in [
                "src=\"http",
                "<style",
                " style=",
                " onclick",
                "@import",
                "<link rel=\"stylesheet\" href=\"http",
            ] {
                assert!(!page.body.contains(forbidden), "{path}: {forbidden}");
            }
        } else {
            assert!(page.headers["cache-control"].to_str().unwrap().contains("immutable"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_list_pages_through_every_event_once() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for number in 0..120 {
        service
            .post_event(&json!({"id": format!("evt_{number:03}"), "type": "invoice.paid"}).to_string())
            .await;
    }
    let (mut path, mut seen) = ("/events?type=invoice.paid".to_owned(), Vec::new());
    loop {
        let page = service.get(&path).await.body;
        let rows = page.split(r#"<td class="mono">evt_"#).skip(1).map(|rest| rest[..3].to_owned());
        seen.extend(rows);
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit("href=\"").next().unwrap().replace("&amp;", "&");
        assert!(path.contains("type=invoice.paid"), "{path}");
    }
    let all: Vec<_> = (0..120).rev().map(|number| format!("{number:03}")).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn an_event_is_found_by_its_customers_address_and_links_to_its_object() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for (id, kind) in [("evt_1", "invoice.finalized"), ("evt_2", "invoice.paid")] {
        let event = json!({"id": id, "type": kind, "data": {"object": {
            "id": "in_1", "object": "invoice", "number": "A-0042", "total": 12_000, "amount_paid": 12_000,
            "currency": "eur", "customer": "cus_1", "customer_email": "jane@example.com"}}});
        service.post_event(&event.to_string()).await;
    }
    let found = within("it is indexed", async {
        loop {
            let found = service.get("/search?q=Jane%40Example.com").await;
            if found.body.matches(r#"<td><a href="/events/"#).count() == 2 {
                return found.body;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(found.contains("EUR 120.00") && found.contains("A-0042"), "{found}");
    // An id that an operator has at hand leads directly to the event.
    let found = service.get("/search?q=%20evt_2").await;
    assert_eq!(
        (found.status, found.headers["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/events/2")
    );
    let page = service.get("/events/evt_2").await.body.replace("<wbr>", "");
    assert!(page.contains("invoice.finalized") && page.contains("/events?object=in_1"), "{page}");
    assert!(page.contains("EUR 120.00") && page.contains("href=\"/search?q=cus_1\""), "{page}");
    assert_eq!(service.get("/search?q=nobody%40example.com").await.status, StatusCode::OK);
    assert_eq!(service.get("/search?q=%20").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_events_page_shows_each_attempt_and_why_it_waited() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service
        .post_event(&json!({"id": "evt_1", "type": "invoice.paid", "created": 1_700_000_000}).to_string())
        .await;
    service.until_count(successes(), 1).await;
    // The first attempt waited for an hour, most of it while the destination was paused, and the next for
    // a minute.
    for change in [
        rows::age_events(Duration::from_mins(61)),
        rows::age_executions(Duration::from_mins(61)),
        rows::age_failed_attempts(Duration::from_mins(1)),
        rows::past_pause("the <b>token</b> is refused"),
    ] {
        service.database.change(change).await;
    }
    let request = service.database.delivering_request().await;
    let page = service.get("/events/evt_1").await.body;
    let mut rest = page.as_str();
    for part in [
        "Created at stripe",
        "signed with the secret <strong>secret-1",
        "Waited 1 h while its destination was paused: the &lt;b&gt;token&lt;/b&gt; is refused",
        "Attempt 1: ",
        "HTTP 409",
        "Waited 1 min",
        " for its next attempt",
        "Attempt 2: ",
        &request,
        "The page",
    ] {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part} in its order: {page}"));
        rest = after;
    }
}

#[tokio::test]
async fn the_events_of_an_object_or_a_customer_share_a_timeline() {
    let service = Service::start().await;
    for (id, kind, object) in [
        ("evt_1", "customer.created", "cus_1"),
        ("evt_2", "invoice.created", "in_1"),
        ("evt_3", "invoice.paid", "in_1"),
    ] {
        let event = json!({"id": id, "type": kind, "data": {"object": {
            "id": object, "object": kind.split('.').next(), "customer": "cus_1", "email": "jane@example.com", "customer_email": "jane@example.com"}}});
        service.post_event(&event.to_string()).await;
    }
    service.until_count(successes(), 3).await;
    within("they are indexed", async { while service.database.count(rows::event_facts()).await < 3 {} })
        .await;
    for (sought, kind, events) in
        [("in_1", "Invoice", 2), ("Cus_1", "Customer", 3), ("jane%40example.com", "Customer", 3)]
    {
        let page = service.get(&format!("/search?q={sought}")).await.body;
        assert!(page.contains(&format!(r#"<p class="kicker">{kind}</p>"#)), "{sought}: {page}");
        let (_, story) = page.split_once("What happened").expect("a story");
        assert_eq!(story.matches("signed with the secret").count(), events, "{sought}: {story}");
        assert_eq!(story.matches("Attempt 1: ").count(), events, "{sought}: {story}");
        let position = |what| story.find(what).unwrap_or_else(|| panic!("{what}: {story}"));
        assert!(position("invoice.created</bdi>") < position("invoice.paid</bdi>"), "{sought}");
    }
}

#[tokio::test]
async fn an_action_is_audited_with_the_name_of_the_key() {
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    let (service, id) = with_a_failure(Service::builder().production().set("API_KEYS", &keys)).await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let form = format!("token={}", ops.token(&format!("/executions/{id}")).await);
    ops.submit(&format!("/executions/{id}/retry"), &form).await;
    let audit = Browser::logged_in(&service, READ_KEY).await.open("/audit").await.body;
    assert!(audit.contains("<td>Retried</td>") && audit.contains(">ops<"), "{audit}");
}

#[tokio::test]
async fn a_page_with_its_assets_is_small_on_the_wire() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for number in 0..60 {
        let event = json!({"id": format!("evt_{number}"), "type": "invoice.paid", "data": {"object": {"id": format!("in_{number}")}}});
        service.post_event(&event.to_string()).await;
    }
    // A month in which every step of every chart has a number.
    service.database.change(rows::busy_month()).await;
    for (path, bytes_max) in [("/events", 40_000), ("/?range=30d", 40_000)] {
        let bytes = bytes_with_assets(&service, path).await;
        assert!(bytes < bytes_max, "{path}: {bytes} bytes");
    }
}

/// The bytes that a browser loads for a page, compressed as it requests.
async fn bytes_with_assets(service: &Service, path: &str) -> usize {
    let page = service.get(path).await.body;
    let mut paths: Vec<_> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(paths.len(), 3);
    paths.push(path);
    let mut bytes = 0;
    for path in paths {
        let request = Request::get(path)
            .header("host", "localhost")
            .header("accept-encoding", "gzip")
            .body(Body::empty());
        let response = service.router.clone().oneshot(request.unwrap()).await.unwrap();
        if !path.starts_with("/assets/icon") {
            assert_eq!(response.headers()["content-encoding"], "gzip", "{path}");
        }
        bytes += response.into_body().collect().await.unwrap().to_bytes().len();
    }
    bytes
}

async fn live(service: &Service) -> Body {
    let request = Request::get("/live").header("host", "localhost").body(Body::empty()).unwrap();
    let response = service.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

async fn next_frame(stream: &mut Body) -> String {
    let frame = within("the page is notified", stream.frame()).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().into()).unwrap()
}

const CHANGED: &str = "event: changed\ndata: now\n\n";

#[tokio::test]
async fn an_open_page_is_notified_of_changes_and_does_not_delay_a_stop() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let mut stream = live(&service).await;
    // The first check finds everything new.
    assert_eq!(next_frame(&mut stream).await, CHANGED);
    service.post_event(r#"{"id": "evt_1", "type": "invoice.paid"}"#).await;
    assert_eq!(next_frame(&mut stream).await, CHANGED);
    // It may have changed after its page was rendered.
    assert_eq!(next_frame(&mut live(&service).await).await, CHANGED);
    service.stop().await;
    within("the stream ends", async { while stream.frame().await.is_some() {} }).await;
}

#[tokio::test]
async fn an_open_page_learns_within_five_seconds_that_the_database_is_unreachable() {
    let database = Arc::new(Database::new().await);
    let link = Link::to(&database);
    let user = database.options().get_username().to_owned();
    let builder = Service::builder().set("DESTINATIONS", "").on(database.clone()).await;
    let service = builder.reaching_its_database_by(link.store(&user)).start().await;
    let mut stream = live(&service).await;
    assert_eq!(next_frame(&mut stream).await, CHANGED);
    link.go_silent();
    let silent_at = Instant::now();
    while next_frame(&mut stream).await != "event: unreachable\ndata: now\n\n" {}
    assert!(silent_at.elapsed() < Duration::from_secs(5), "{:?}", silent_at.elapsed());
    // A page that opens now has the state of before.
    assert_eq!(next_frame(&mut live(&service).await).await, "event: unreachable\ndata: now\n\n");
    link.restore();
    assert_eq!(next_frame(&mut stream).await, CHANGED);
}

#[tokio::test]
async fn an_open_page_is_assessed_again_even_if_nothing_changes() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let mut stream = live(&service).await;
    assert_eq!(next_frame(&mut stream).await, CHANGED);
    let began = Instant::now();
    // Proxies are told by a comment that the stream is alive.
    while next_frame(&mut stream).await != CHANGED {}
    assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_page_reports_an_unavailable_database() {
    let service = Service::builder().without_database().start().await;
    let page = service.get("/").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.body.contains("The database is not available") && !page.body.contains("nonexistent"));
    assert!(page.body.contains("data-retry"), "it opens again by itself");
}

#[tokio::test]
async fn an_unknown_address_is_a_page_for_a_browser_and_a_problem_for_a_program() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let open = Request::get("/nosuch").header("host", "localhost").header("accept", "text/html,*/*;q=0.8");
    let page = service.call(open.body(Body::empty()).unwrap()).await;
    assert!(page.status == 404 && page.body.contains("There is nothing at this address"), "{page:?}");
    assert!(page.headers.contains_key("content-security-policy"), "{page:?}");
    assert_eq!(service.get("/nosuch").await.problem(404), "not_found");
}

#[tokio::test]
async fn a_form_that_could_not_be_sent_is_not_repeated_by_the_page() {
    let service = Service::builder().without_database().start().await;
    let answer = post_form(&service, "/executions/1/retry", "", &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert!(answer.body.contains("not known whether the change was made"), "{}", answer.body);
    assert!(!answer.body.contains("data-retry") && answer.headers.contains_key("content-security-policy"));
}

#[tokio::test]
async fn a_page_that_is_too_slow_is_not_asked_for_again_by_itself() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    // Only this page reads the table.
    let _lock = service.database.hold_lock(rows::audit()).await;
    let page = service.get("/audit").await;
    assert!(page.body.contains("narrow the filter") && page.body.contains("Try again"), "{}", page.body);
    assert!(!page.body.contains("data-retry"));
}
