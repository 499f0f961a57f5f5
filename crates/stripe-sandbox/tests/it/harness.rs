//! A stand-in whose clock stands still, and a client.

use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use stripe_sandbox::{RunningSandbox, SECRET_KEY, Sandbox, SandboxHandle, SandboxOptions};

/// When the clock starts: 15 November 2026, noon.
pub const NOON: i64 = 1_794_744_000;

/// A stand-in and a client with a key.
pub struct Stripe {
    pub sandbox: RunningSandbox,
    pub handle: SandboxHandle,
    pub http: reqwest::Client,
    pub key: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// The ids of a list.
    pub fn ids(&self) -> Vec<String> {
        let data = self.body["data"].as_array().unwrap_or_else(|| panic!("no list: {self:?}"));
        data.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn options() -> SandboxOptions {
    SandboxOptions { now: Some(NOON), speed: 0.0, seed: 7, ..SandboxOptions::default() }
}

/// A stand-in without a shop.
pub fn empty() -> SandboxOptions {
    SandboxOptions { now: Some(NOON), speed: 0.0, ..SandboxOptions::empty() }
}

impl Stripe {
    pub async fn start(options: SandboxOptions) -> Self {
        // Fails if another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let handle = sandbox.handle();
        Self { sandbox, handle, http: reqwest::Client::new(), key: SECRET_KEY.to_owned() }
    }

    pub fn with_key(&self, method: &str, path: &str, key: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.sandbox.base_url());
        self.http.request(method.parse().unwrap(), url).bearer_auth(key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.with_key("GET", path, &self.key)).await
    }

    /// A write of the first version, with a form.
    pub async fn post(&self, path: &str, form: &str) -> Answer {
        let request = self.with_key("POST", path, &self.key).body(form.to_owned());
        answer(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    /// A write of the second version, with JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        answer(self.with_key("POST", path, &self.key).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.with_key("DELETE", path, &self.key)).await
    }

    /// All objects of a list, page by page.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::<Value>::new(), String::new());
        let separator = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{separator}limit=100{cursor}")).await;
            assert_eq!(page.status, 200, "{page:?}");
            let data = page.body["data"].as_array().unwrap();
            all.extend(data.iter().cloned());
            if page.body["has_more"] == false {
                return all;
            }
            cursor = format!("&starting_after={}", data.last().unwrap()["id"].as_str().unwrap());
        }
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = within("an answer", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
    Answer { status, headers, body }
}

/// Fails instead of waiting for ever.
pub async fn within<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, wanted).await.unwrap_or_else(|_| panic!("not within {deadline:?}: {what}"))
}
