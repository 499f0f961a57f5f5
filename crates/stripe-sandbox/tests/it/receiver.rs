//! A webhook endpoint of a test.

use crate::harness::within;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// What was received.
#[derive(Debug)]
pub struct Received {
    headers: HeaderMap,
    body: Bytes,
}

pub struct Receiver {
    url: String,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    shared: Arc<Shared>,
}

struct Shared {
    sender: mpsc::UnboundedSender<Received>,
    statuses: Mutex<VecDeque<u16>>,
    count: AtomicUsize,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, received) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { sender, statuses: Mutex::default(), count: AtomicUsize::new(0) });
        let app = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, received: received.into(), shared }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The next answers; afterwards 200.
    pub fn answer_with(&self, statuses: &[u16]) {
        self.shared.statuses.lock().unwrap().extend(statuses);
    }

    pub async fn next(&self) -> Received {
        within("a webhook", async { self.received.lock().await.recv().await.unwrap() }).await
    }

    pub fn count(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = shared.statuses.lock().unwrap().pop_front().unwrap_or(200);
    shared.count.fetch_add(1, Ordering::SeqCst);
    let _ = shared.sender.send(Received { headers, body });
    StatusCode::from_u16(status).unwrap()
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whether one of the signatures is of this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let header = self.header("stripe-signature");
        let time = header.split(',').find_map(|part| part.strip_prefix("t=")).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        let wanted = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
        header.split(',').any(|part| part == wanted)
    }
}
