//! A stand-in for Stripe's API as the CLI uses it: it opens a session over HTTP and sends events over a
//! websocket, on which the CLI reports the result of each.

use crate::harness::within;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::post;
use axum::{Form, Json, Router};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};
use tokio_util::task::AbortOnDropHandle;

/// The key that the CLI is logged in with.
pub const API_KEY: &str = "sk_test_0123456789abcdef0123456789abcdef";

/// The stand-in.
pub struct StripeApi {
    /// Its address.
    pub base: String,
    sockets: TcpListener,
    _serving: AbortOnDropHandle<()>,
}

/// The parameters of a session.
#[derive(Clone)]
struct Session {
    /// The secret that signs its events.
    secret: &'static str,
    websocket_url: String,
}

impl StripeApi {
    pub async fn start(secret: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let session = Session { secret, websocket_url: format!("ws://{}/", sockets.local_addr().unwrap()) };
        let router = Router::new().route("/v1/stripecli/sessions", post(open)).with_state(session);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, sockets, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Waits for a CLI to connect.
    pub async fn connection(&self) -> Connection {
        within("the CLI connects", async {
            let (stream, _) = self.sockets.accept().await.unwrap();
            Connection { socket: accept_async(stream).await.unwrap() }
        })
        .await
    }
}

async fn open(
    State(session): State<Session>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Json<Value> {
    assert_eq!(headers[AUTHORIZATION], format!("Bearer {API_KEY}"));
    assert!(form.contains(&("websocket_features[]".to_owned(), "webhooks".to_owned())), "{form:?}");
    Json(json!({
        "secret": session.secret, "websocket_authorized_feature": "webhooks", "websocket_id": "cliws_1",
        "websocket_url": session.websocket_url, "default_version": "2026-10-28", "latest_version": "2026-10-28",
        "reconnect_delay": 60, "device_token": "device_1",
    }))
}

/// A connected CLI.
pub struct Connection {
    socket: WebSocketStream<TcpStream>,
}

impl Connection {
    /// Sends an event with this signature, and waits until the CLI reports the result of the forwarding.
    pub async fn forward(&mut self, webhook: &str, body: &str, signature: &str) -> Value {
        let message = json!({
            "type": "webhook_event", "endpoint": {"api_version": null}, "event_payload": body,
            "http_headers": {
                "Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature,
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            },
            "webhook_conversation_id": format!("wc_{webhook}"), "webhook_id": webhook,
        });
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        let acknowledged = self.next().await;
        assert_eq!(
            (&acknowledged["type"], &acknowledged["webhook_id"]),
            (&"event_ack".into(), &webhook.into())
        );
        let response = self.next().await;
        assert_eq!(
            (&response["type"], &response["webhook_id"]),
            (&"webhook_response".into(), &webhook.into())
        );
        response
    }

    async fn next(&mut self) -> Value {
        within("the CLI sends a message", async {
            loop {
                let message = self.socket.next().await.expect("the CLI stays connected").unwrap();
                if let Message::Text(text) = message {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        })
        .await
    }
}
