//! Stripe's API, read with the keys of an instance's `…_API_KEY`.
//!
//! - `settings`: the address and the keys
//! - `keys`: which key may read what
//! - `client`: requests, with retries by Stripe's rules
//! - `retry`: these rules
//! - `page`: lists, page by page
//! - `permissions`: what the keys may do, for `doctor`
//! - `events`: the list of events, for fetching what no webhook brought
//! - `error`: why a request failed, in plain words
//!
//! Without a key nothing here runs.

mod client;
mod error;
mod events;
mod keys;
mod page;
mod permissions;
mod retry;
mod settings;

pub use client::{Account, Answer, Client, Request, VERSION};
pub use error::{ApiError, ErrorClass};
pub use events::StripeEvents;
pub use keys::{KeyMode, Keys, NamedKey, NoKey};
pub use page::{Item, ListPage};
pub use permissions::{KeyAccount, KeyCheck, read_permissions};
pub use retry::RetryPolicy;
pub use settings::ApiSettings;

use crate::config::{InstanceName, Reader};

/// The access to Stripe's API that an instance has. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// Sends the requests.
    pub client: Client,
    /// The keys; at least one.
    pub keys: Keys,
}

impl Api {
    /// Reads the instance's settings. The reader collects the problems. `None` without a key, or if the settings
    /// cannot be used.
    pub fn configure(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<Self> {
        let settings = ApiSettings::read(reader, instance)?;
        match Client::new(&settings) {
            Ok(client) => Some(Self { client, keys: settings.keys }),
            Err(error) => {
                reader.problem(&settings.address_setting, error);
                None
            }
        }
    }
}
