//! The Notion sandbox over real HTTP, as our client sees it.

mod calls;
mod checks;
mod control;
mod faults;
mod journal;
mod table;

use notion_sandbox::{
    DATA_SOURCE_ID, NOTION_VERSION, RunningSandbox, Sandbox, SandboxHandle, SandboxOptions, TOKEN,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A running sandbox and a client that speaks to it as a well-behaved integration does.
struct Harness {
    sandbox: RunningSandbox,
    handle: SandboxHandle,
    http: reqwest::Client,
}

impl Harness {
    /// A sandbox in memory without a rate limit.
    async fn start() -> Self {
        Self::with(SandboxOptions { rate_per_minute: None, ..SandboxOptions::default() }).await
    }

    async fn with(options: SandboxOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sandbox = Sandbox::start(address, options).await.expect("the sandbox starts");
        let handle = sandbox.handle();
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("a client");
        Self { sandbox, handle, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(TOKEN).header("Notion-Version", NOTION_VERSION)
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(body)).await
    }

    /// Creates a page with these properties in the first table.
    async fn create(&self, properties: &Value) -> Answer {
        self.post("/v1/pages", &new_page(properties)).await
    }

    /// Creates a page with this title and returns its id.
    async fn create_titled(&self, title: &str) -> String {
        let answer = self.create(&titled(title)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.text("id").to_owned()
    }

    async fn query(&self, body: &Value) -> Answer {
        self.post(&format!("/v1/data_sources/{DATA_SOURCE_ID}/query"), body).await
    }

    /// How many pages have this title, by a query.
    async fn count_titled(&self, title: &str) -> usize {
        let filter = json!({ "property": "EventId", "title": { "equals": title } });
        let answer = self.query(&json!({ "filter": filter })).await;
        answer.body["results"].as_array().expect("results").len()
    }

    /// Waits until the condition holds, with a timeout.
    async fn until(&self, condition: impl Fn(&SandboxHandle) -> bool) {
        tokio::time::timeout(Duration::from_secs(10), self.handle.until(condition))
            .await
            .expect("the condition holds in time");
    }
}

/// A response, fully read.
struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, body: response.json().await.expect("JSON") }
    }

    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_default()
    }

    /// Asserts that this is the error, in Notion's format.
    fn is_error(&self, status: u16, code: &str, message: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.text("object"), "error");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.text("code"), code, "{}", self.body);
        assert!(self.text("message").contains(message), "{message:?} is not in {}", self.body);
        assert_eq!(self.text("request_id"), self.headers["x-request-id"]);
    }
}

fn new_page(properties: &Value) -> Value {
    let parent = json!({ "type": "data_source_id", "data_source_id": DATA_SOURCE_ID });
    json!({ "parent": parent, "properties": properties })
}

fn titled(title: &str) -> Value {
    json!({ "EventId": { "title": [{ "text": { "content": title } }] } })
}
