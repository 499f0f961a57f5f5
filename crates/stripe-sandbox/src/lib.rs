//! A stand-in for Stripe's API and its webhooks, for `dev` and tests: a shop in operation.
//!
//! The shop of `shop-simulator` sells, refunds, is disputed, bills subscriptions and is paid out, from before
//! the clock starts and as long as it runs. The stand-in answers the calls that read this account, keeps
//! webhook endpoints and event destinations, and sends them events, signed as Stripe signs. It is an
//! independent check of what the service sends, so it shares no code with it. It can also show Stripe's
//! faults. Everything follows from the seed, except for the order of concurrent requests. A browser shows the
//! shop at `/`, with buttons for the faults.
//!
//! It keeps everything in memory, up to the limits of [`SandboxOptions`], and sends events only to this machine.
//! Signatures carry this machine's time, since receivers compare it with their own clock; everything else has
//! the stand-in's time. All objects have the shapes of [`API_VERSION`], whatever version a request or an
//! endpoint has.
//!
//! # Control
//!
//! [`SandboxHandle`] controls a stand-in within its process; other processes send JSON over HTTP.
//!
//! | request | effect |
//! |---|---|
//! | `GET /_sandbox/stats` | the time, and counts of events, requests and deliveries |
//! | `GET /_sandbox/wait?events=N&requests=N&succeeded=N&timeout_ms=N` | answers 200 once there are as many (deliveries that succeeded), 408 after the timeout |
//! | `GET`, `PUT /_sandbox/clock` `{"speed":60,"advance_seconds":3600,"skew_seconds":-400}` | shows or sets the clock |
//! | `GET`, `POST`, `DELETE /_sandbox/faults` `{"kind":"rate_limited","route":"events","after":1,"times":2}` | rules for requests: see [`FaultRule`]; the kinds are those of [`Fault`] in lower case with underscores |
//! | `GET`, `POST`, `DELETE /_sandbox/delivery_faults` `{"kind":"drop","times":50,"event_type":"charge.succeeded"}` | rules for events and deliveries: see [`DeliveryRule`] |
//! | `GET`, `DELETE /_sandbox/requests` | lists or clears the latest requests |
//! | `POST /_sandbox/keys` `{"key":"rk_test_…","permissions":["rak_charge_read"],"account":"acct_…"}`, `DELETE /_sandbox/keys/{key}` | adds or revokes a key |
//! | `POST /_sandbox/events` | an event happens: a snapshot as a webhook carries it |
//! | `POST /_sandbox/sales` `{}` | the shop begins a sale |
//! | `PUT /_sandbox/objects`, `DELETE /_sandbox/objects/{id}` | puts an object in, or deletes it |
//! | `GET /_sandbox/endpoints`, `PUT /_sandbox/endpoints/{id}` `{"enabled":false,"api_version":"…","rotate_secret_seconds":3600}` | lists endpoints with their secrets, or changes one as Stripe or the owner does |
//! | `GET /_sandbox/deliveries`, `PUT /_sandbox/deliveries/retry` | lists the latest deliveries, or sends at once what waits |
//! | `PUT /_sandbox/account` `{"api_version":"…","deliver_to":"http://127.0.0.1:8000"}` | the account's API version; the origin that events are sent to |

mod account;
mod acts;
mod api;
mod api_error;
mod calls;
mod clock;
mod control;
mod cut_body;
mod deliveries;
mod delivery_faults;
mod endpoints;
mod events;
mod expand;
mod faults;
mod handle;
mod idempotency;
mod keys;
mod lists;
mod objects;
mod options;
mod page;
mod params;
mod resources;
mod sender;
mod shared;
mod signature;
mod state;
mod traffic;
mod v2;
mod webhook_endpoints;

pub use api_error::ApiError;
pub use deliveries::{Delivery, Stage};
pub use delivery_faults::{DeliveryFault, DeliveryRule};
pub use endpoints::{Endpoint, Kind, Payload, Secret};
pub use faults::{Fault, FaultError, FaultRule};
pub use handle::SandboxHandle;
pub use keys::ApiKey;
pub use options::{Forward, SandboxOptions, ShopSize};
pub use resources::READ_PERMISSIONS;
pub use shop_simulator::{Books, Pace};
pub use traffic::LoggedRequest;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::any;
use sandbox_http::{CutHandle, CuttableListener, reject_foreign_requests};
use shared::Shared;
use state::State;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The shop's account by default.
pub const ACCOUNT: &str = "acct_1SandboxShop00000";

/// The secret key of test mode that exists by default.
pub const SECRET_KEY: &str = "sk_test_sandbox";

/// The restricted key of test mode that exists by default. It may read everything and write nothing.
pub const RESTRICTED_KEY: &str = "rk_test_sandbox";

/// The API version of the shapes.
pub const API_VERSION: &str = "2026-10-28.endive";

/// Why a stand-in did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address cannot be bound.
    #[error("the stand-in for Stripe cannot listen at {address}; choose another port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

/// Starts stand-ins.
#[derive(Debug)]
pub struct Sandbox;

/// A stand-in that answers until it is shut down or dropped.
#[derive(Debug)]
pub struct RunningSandbox {
    base_url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    sender: JoinHandle<()>,
}

impl Sandbox {
    /// Binds the address (port 0 takes any free port) and starts to serve and to send.
    pub async fn start(address: SocketAddr, options: SandboxOptions) -> Result<RunningSandbox, SandboxError> {
        let listener =
            CuttableListener::bind(address).await.map_err(|source| SandboxError::Bind { address, source })?;
        let bound = listener.address().map_err(|source| SandboxError::Bind { address, source })?;
        let shared = Arc::new(Shared::new(State::new(options)));
        let app = router(&shared).into_make_service_with_connect_info::<CutHandle>();
        let stopped = shared.stopped.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the stand-in for Stripe stopped serving");
            }
        });
        let sender = tokio::spawn(sender::run(Arc::clone(&shared)));
        Ok(RunningSandbox { base_url: format!("http://{bound}"), shared, server, sender })
    }
}

impl RunningSandbox {
    /// Its address, without a slash at the end. The API is below `/v1/` and `/v2/`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The handle that controls it.
    pub fn handle(&self) -> SandboxHandle {
        SandboxHandle::new(Arc::clone(&self.shared))
    }

    /// Ends the running requests and deliveries, and releases the port.
    pub async fn shutdown(mut self) {
        const GRACE: Duration = Duration::from_secs(5);
        self.shared.stopped.cancel();
        self.shared.attempts.close();
        self.shared.attempts.wait().await;
        if tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
        self.sender.abort();
    }
}

impl Drop for RunningSandbox {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

/// The stand-in serves only this machine, since its pages and its control need no key.
fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/{*call}", any(api::answer))
        .route("/v2/{*call}", any(api::answer))
        .with_state(Arc::clone(shared))
        .merge(control::router(SandboxHandle::new(Arc::clone(shared))))
        .merge(page::router(Arc::clone(shared)))
        .layer(from_fn(reject_foreign_requests))
}
