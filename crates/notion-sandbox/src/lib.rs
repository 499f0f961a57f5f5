//! A stand-in for Notion's API, for `dev`, the demo and tests. It covers the calls that the service makes.
//!
//! It checks what Notion checks (token, version, parents, column names and types, lengths, the rate
//! limit) and answers with Notion's JSON and messages. It is an independent check of what the service
//! sends, so it shares no code with it. It can also show Notion's faults, up to a connection that
//! closes without an answer and whose write happens later. A browser shows the tables at `/`.
//!
//! A sandbox keeps its pages in memory, or in a journal that outlives the process. It holds
//! [`SandboxOptions::pages_max`] pages and answers 400 to more.
//!
//! # Control
//!
//! [`SandboxHandle`] controls a sandbox within its process; other processes send JSON over HTTP.
//! Control requests do not count towards the rate limit.
//!
//! | request | effect |
//! |---|---|
//! | `GET /_sandbox/stats` | counts of pages and requests, peak concurrency, rate |
//! | `GET /_sandbox/wait?pages=N&requests=N&timeout_ms=N` | answers 200 once there are as many, 408 after the timeout |
//! | `GET`, `DELETE /_sandbox/faults` | lists or removes the rules |
//! | `POST /_sandbox/faults` `{"kind":"slow","delay_ms":200,"route":"create","times":null,"probability":0.5}` | adds a [`FaultRule`], with `"containing":"evt_…"` only for bodies with that text; the kinds are those of [`Fault`] in lower case with underscores |
//! | `PUT /_sandbox/rate` `{"per_minute":180}` | sets the connection's limit; `null` removes it |
//! | `PUT /_sandbox/workspace_rate` `{"requests":500,"window_seconds":60,"used_by_others":490}` | sets the limit that all connections of the workspace share, and begins its window with the requests of the others; `null` removes it |
//! | `PUT /_sandbox/block_limit` `{"pages":1000}` | sets how many pages can ever be created, as in a Free workspace; `null` removes the limit |
//! | `PUT /_sandbox/token` `{"token":"ntn_new"}` | revokes the token; from now on this one is accepted |
//! | `GET`, `DELETE /_sandbox/requests` | lists or clears the latest requests |
//! | `GET`, `DELETE /_sandbox/pages` | lists all pages, or removes them for good |
//! | `PUT /_sandbox/pages/{id}` `{"properties":{…}}` | edits a page as the user would |
//! | `DELETE /_sandbox/pages/{id}`, `PUT /_sandbox/pages/{id}/restore` | moves a page to the trash, restores it |
//! | `PUT /_sandbox/pages/{id}/archive` `{"archived":true}` | archives a page, or restores it |
//! | `PUT /_sandbox/pages/{id}/move` `{"data_source_id":"…"}` | moves a page to another table |
//! | `PUT /_sandbox/parent_page` `{"in_trash":true,"hidden":true}` | moves the page above the databases to the trash, hides it from the connection |
//! | `PUT /_sandbox/databases/{id}/trash`, `PUT /_sandbox/data_sources/{id}/trash` `{"in_trash":true}` | moves a database or a data source to the trash, or restores it |
//! | `GET /_sandbox/views` | lists the views that were created |
//! | `POST /_sandbox/databases` `{"template":"original"}` | creates a database (`original`, `plain`, `full`) |
//! | `PUT /_sandbox/data_sources/{id}/columns/{name}` `{"type":"url"}` | adds a column, or gives it another type |
//! | `PATCH /_sandbox/data_sources/{id}/columns/{name}` `{"name":"…"}` | renames it |
//! | `DELETE /_sandbox/data_sources/{id}/columns/{name}` | removes it |

mod api;
mod api_error;
mod calls;
mod content;
mod control;
mod databases;
mod faults;
mod filter;
mod handle;
mod html;
mod journal;
mod kind;
mod limiter;
mod options;
mod pages;
mod property_filter;
mod queries;
mod schema;
mod search;
mod shared;
mod state;
mod table;
mod template;
mod traffic;
mod validate;
mod views;

pub use api::NOTION_VERSION;
pub use api_error::ApiError;
pub use databases::PARENT_PAGE_ID;
pub use faults::{Fault, FaultError, FaultRule, Route};
pub use handle::{SandboxHandle, SandboxPage};
pub use journal::JournalError;
pub use state::Author;
pub use template::Template;
pub use traffic::LoggedRequest;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::any;
use journal::Journal;
use sandbox_http::{CutHandle, CuttableListener, reject_foreign_requests};
use shared::Shared;
use state::State;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The database with which every sandbox begins.
pub const DATABASE_ID: Uuid = Uuid::from_u128(0xeb00_0000_0000_4000_8000_0000_0000_0002);

/// The data source of [`DATABASE_ID`].
pub const DATA_SOURCE_ID: Uuid = Uuid::from_u128(0xeb00_0000_0000_4000_8000_0000_0000_0003);

/// The token that a sandbox accepts by default.
pub const TOKEN: &str = "ntn_sandbox";

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The token that the integration must send.
    pub token: String,
    /// The columns of the first database. A journal that already has the database takes precedence.
    pub template: Template,
    /// Requests in 60 seconds; `None` sets no limit.
    pub rate_per_minute: Option<u32>,
    /// The file that keeps the pages; `None` keeps them only in memory.
    pub journal: Option<PathBuf>,
    /// The address at which a person reaches the sandbox, for the links of its pages. `None` gives
    /// them links of Notion's own form, which lead nowhere. If the port is not known beforehand,
    /// [`SandboxHandle::set_public_url`] sets it later.
    pub public_url: Option<String>,
    /// The largest number of pages that it holds.
    pub pages_max: usize,
    /// The seed of the random numbers for faults that have a probability.
    pub seed: u64,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            token: TOKEN.to_owned(),
            template: Template::Original,
            rate_per_minute: Some(180),
            journal: None,
            public_url: None,
            pages_max: 50_000,
            seed: 0,
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address cannot be bound.
    #[error("the sandbox cannot listen at {address}; choose another port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The first database could not be created.
    #[error("the sandbox cannot make its first database")]
    Setup(#[source] ApiError),
}

/// Starts sandboxes.
#[derive(Debug)]
pub struct Sandbox;

/// A sandbox that answers until it is shut down or dropped.
#[derive(Debug)]
pub struct RunningSandbox {
    base_url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Binds the address (port 0 takes any free port) and starts to serve.
    pub async fn start(address: SocketAddr, options: SandboxOptions) -> Result<RunningSandbox, SandboxError> {
        let listener =
            CuttableListener::bind(address).await.map_err(|source| SandboxError::Bind { address, source })?;
        let bound = listener.address().map_err(|source| SandboxError::Bind { address, source })?;
        let state = prepare(&options)?;
        let shared = Arc::new(Shared::new(options.token, state, options.rate_per_minute, options.seed));
        let app = router(Arc::clone(&shared)).into_make_service_with_connect_info::<CutHandle>();
        let stopped = shared.stopped.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the sandbox stopped serving");
            }
        });
        Ok(RunningSandbox { base_url: format!("http://{bound}"), shared, server })
    }
}

impl RunningSandbox {
    /// Its address, without a slash at the end. The API is below `/v1/`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The handle that controls it.
    pub fn handle(&self) -> SandboxHandle {
        SandboxHandle::new(Arc::clone(&self.shared))
    }

    /// Finishes the running requests without their artificial delays, and releases the port and the
    /// journal. Delayed writes are dropped.
    pub async fn shutdown(mut self) {
        const GRACE: Duration = Duration::from_secs(5);
        self.shared.stopped.cancel();
        self.shared.late.close();
        self.shared.late.wait().await;
        if tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
        self.shared.state().detach();
    }
}

impl Drop for RunningSandbox {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

fn prepare(options: &SandboxOptions) -> Result<State, SandboxError> {
    let mut state = State::new(options.pages_max, options.public_url.clone());
    let journal = match &options.journal {
        None => None,
        Some(path) => Some(Journal::open(path, &mut state)?),
    };
    if let Some(journal) = journal {
        state.attach(journal);
    }
    if state.database(DATABASE_ID).is_none() {
        let (title, schema) = (options.template.title(), options.template.schema());
        databases::add(&mut state, DATABASE_ID, PARENT_PAGE_ID, title)
            .and_then(|_| databases::add_source(&mut state, DATA_SOURCE_ID, DATABASE_ID, title, schema))
            .map_err(SandboxError::Setup)?;
    }
    Ok(state)
}

/// The sandbox serves only this machine, since the table needs no token.
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/{*call}", any(api::answer))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&shared))
        .merge(control::router(SandboxHandle::new(Arc::clone(&shared))))
        .merge(table::router(shared))
        .layer(from_fn(reject_foreign_requests))
}
