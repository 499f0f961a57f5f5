//! Webhook endpoints at Stripe: v1 webhook endpoints, and the event destinations of v2 that are webhooks.
//!
//! - `endpoint`: an endpoint as either API shows it
//! - `calls`: lists, creates, changes and pings them
//! - `event_types`: which types there are, and which of them the destinations need
//! - `check`: what is wrong with those of this service, for the watch and `doctor`
//! - `plan`: what `stripe init` has to do

mod calls;
mod check;
mod endpoint;
mod event_types;
mod plan;

pub use calls::{Endpoints, Listed, NewEndpoint, Ping};
pub use check::EndpointChecker;
pub use endpoint::{Created, Endpoint, Format, is_same_url, webhook_url};
pub use event_types::{Needs, enabled_events};
pub use plan::{Candidate, Evidence, Plan, Situation, Step, plan};
