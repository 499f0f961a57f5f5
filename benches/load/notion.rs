//! A stand-in for Notion that responds at once and stores nothing. The descriptions of a database and its
//! columns come from the sandbox.

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use eventbridge::http_client;
use notion_sandbox::{DATA_SOURCE_ID, DATABASE_ID, NOTION_VERSION, Sandbox, SandboxOptions, TOKEN, Template};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;

/// Its fixed responses.
struct Answers {
    database: Bytes,
    data_source: Bytes,
    /// The receiver of notifications about page requests.
    seen: Option<UnboundedSender<Instant>>,
}

/// Responds until it is stopped.
pub async fn serve(
    listener: TcpListener,
    seen: Option<UnboundedSender<Instant>>,
    end: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (database, data_source) = descriptions().await?;
    let router = Router::new()
        .route("/readyz", get(async || "ready"))
        .route(
            "/v1/databases/{id}",
            get(|State(answers): State<Arc<Answers>>| async move { json(answers.database.clone()) }),
        )
        .route(
            "/v1/data_sources/{id}",
            get(|State(answers): State<Arc<Answers>>| async move { json(answers.data_source.clone()) }),
        )
        .route("/v1/pages", post(make_page))
        .with_state(Arc::new(Answers { database, data_source, seen }));
    Ok(axum::serve(listener, router).with_graceful_shutdown(end).await?)
}

async fn make_page(State(answers): State<Arc<Answers>>, _body: Bytes) -> Response {
    if let Some(seen) = &answers.seen {
        // If the receiver is gone, the notification is not needed.
        let _unheard = seen.send(Instant::now());
    }
    let id = uuid::Uuid::from_u128(rand::random());
    let page = format!(
        r#"{{"object":"page","id":"{id}","url":"https://www.notion.so/{}","parent":{{"type":"data_source_id","data_source_id":"{DATA_SOURCE_ID}"}},"properties":{{}}}}"#,
        id.simple()
    );
    json(page.into())
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn descriptions() -> anyhow::Result<(Bytes, Bytes)> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let options = SandboxOptions { template: Template::Full, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(address, options).await?;
    let client = http_client::local_client(Duration::from_secs(5))?;
    let read = async |path: String| {
        let request = client
            .get(format!("{}{path}", sandbox.base_url()))
            .bearer_auth(TOKEN)
            .header("Notion-Version", NOTION_VERSION);
        let answer = request.send().await?.error_for_status().context("the sandbox refuses")?;
        anyhow::Ok(answer.bytes().await?)
    };
    let descriptions = (
        read(format!("/v1/databases/{DATABASE_ID}")).await?,
        read(format!("/v1/data_sources/{DATA_SOURCE_ID}")).await?,
    );
    sandbox.shutdown().await;
    Ok(descriptions)
}
