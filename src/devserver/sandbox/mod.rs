//! A stand-in for Notion's API, faithful for the calls that we make, for `dev`, the demo and tests.
//!
//! It checks what Notion checks (token, version, parents, column names and types, lengths, the rate
//! limit) and answers in Notion's shapes and words. It is an independent check of what we send, and
//! shares no code with the client. It can be told to misbehave in the ways in which Notion does,
//! down to a connection closed without an answer whose write is done later. A browser shows the
//! tables at `/`.
//!
//! A sandbox lives in memory, or in a journal that outlives the process. It holds
//! [`SandboxOptions::pages_max`] pages and refuses more with a 400.
//!
//! # Driving it
//!
//! Within the process by [`SandboxHandle`]; from another one by JSON over HTTP. None of it counts
//! towards the rate limit.
//!
//! | request | effect |
//! |---|---|
//! | `GET /_sandbox/stats` | counts of pages and requests, peak concurrency, rate |
//! | `GET /_sandbox/wait?pages=N&requests=N&timeout_ms=N` | answers as soon as there are as many: 200; else 408 |
//! | `GET`, `DELETE /_sandbox/faults` | lists or lifts the rules |
//! | `POST /_sandbox/faults` `{"kind":"slow","delay_ms":200,"route":"create","times":null,"probability":0.5}` | adds a [`FaultRule`], with `"containing":"evt_…"` about bodies with that text alone; the kinds are those of [`Fault`] in lower case with underscores |
//! | `PUT /_sandbox/rate` `{"per_minute":180}` | sets the limit; `null` takes it off |
//! | `PUT /_sandbox/token` `{"token":"ntn_new"}` | revokes the token; from now on this one is taken |
//! | `GET`, `DELETE /_sandbox/requests` | lists or forgets the latest requests |
//! | `GET`, `DELETE /_sandbox/pages` | lists all pages, or removes them for good |
//! | `PUT /_sandbox/pages/{id}` `{"properties":{…}}` | edits a page as the user would |
//! | `DELETE /_sandbox/pages/{id}`, `PUT /_sandbox/pages/{id}/restore` | throws a page away, takes it back |
//! | `POST /_sandbox/databases` `{"template":"original"}` | makes a database (`original`, `plain`, `full`) |
//! | `PUT /_sandbox/data_sources/{id}/columns/{name}` `{"type":"url"}` | adds a column, or gives it another type |
//! | `PATCH /_sandbox/data_sources/{id}/columns/{name}` `{"name":"…"}` | renames it |
//! | `DELETE /_sandbox/data_sources/{id}/columns/{name}` | removes it |

mod calls;
mod connection;
mod content;
mod control;
mod databases;
mod faults;
mod filter;
mod gate;
mod handle;
mod html;
mod journal;
mod kind;
mod limiter;
mod options;
mod pages;
mod queries;
mod refusal;
mod schema;
mod search;
mod shared;
mod state;
mod table;
mod template;
mod traffic;
mod validate;

pub use databases::PARENT_PAGE_ID;
pub use faults::{Fault, FaultError, FaultRule, Route};
pub use gate::NOTION_VERSION;
pub use handle::{SandboxHandle, SandboxPage};
pub use journal::JournalError;
pub use refusal::Refusal;
pub use state::Author;
pub use template::Template;
pub use traffic::LoggedRequest;

use crate::domain::local::is_local;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use connection::{CuttableListener, Line};
use journal::Journal;
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

/// The token that a sandbox takes unless told otherwise.
pub const TOKEN: &str = "ntn_sandbox";

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The token that the integration must show.
    pub token: String,
    /// The columns of the first database; a journal that has the database already wins.
    pub template: Template,
    /// Requests in 60 seconds; `None` sets no limit.
    pub rate_per_minute: Option<u32>,
    /// The file that keeps the pages; `None` keeps them in memory alone.
    pub journal: Option<PathBuf>,
    /// The address under which a person reaches the sandbox, for the links of its pages; `None`
    /// gives them links of Notion's own form, which lead nowhere. Where the port is not known
    /// beforehand, [`SandboxHandle::set_public_url`] tells it later.
    pub public_url: Option<String>,
    /// The most pages that it holds.
    pub pages_max: usize,
    /// What chance follows from, where a fault has a probability.
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
    /// The address is taken or not ours.
    #[error("the sandbox cannot listen at {address}; choose another port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The journal is of no use.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The first database could not be made.
    #[error("the sandbox cannot make its first database")]
    Setup(#[source] Refusal),
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
    /// Binds the address (port 0 takes any free one) and begins to answer.
    pub async fn start(address: SocketAddr, options: SandboxOptions) -> Result<RunningSandbox, SandboxError> {
        let listener =
            CuttableListener::bind(address).await.map_err(|source| SandboxError::Bind { address, source })?;
        let bound = listener.address().map_err(|source| SandboxError::Bind { address, source })?;
        let state = prepare(&options)?;
        let shared = Arc::new(Shared::new(options.token, state, options.rate_per_minute, options.seed));
        let app = router(Arc::clone(&shared)).into_make_service_with_connect_info::<Line>();
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
    /// Where it answers, without a slash at the end; the API lies under `/v1/`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The hand on it.
    pub fn handle(&self) -> SandboxHandle {
        SandboxHandle::new(Arc::clone(&self.shared))
    }

    /// Ends what is under way, without waiting for delays that it was told to make, and frees the
    /// port and the journal. Writes that were to come later are given up.
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

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/{*call}", any(gate::answer))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&shared))
        .merge(control::router(SandboxHandle::new(Arc::clone(&shared))))
        .merge(table::router(shared))
        .layer(from_fn(refuse_strangers))
}

/// What stands here is for this machine alone, and no token guards the table.
async fn refuse_strangers(request: Request, next: Next) -> Response {
    if is_from_here(request.headers()) {
        next.run(request).await
    } else {
        let refusal = "The sandbox answers only requests to localhost or a loopback address.\n";
        (StatusCode::FORBIDDEN, refusal).into_response()
    }
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    is_local(text(header::HOST), text(header::ORIGIN))
}
