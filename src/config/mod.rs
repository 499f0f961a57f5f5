//! Settings of the core, read from a map of names and texts.
//!
//! Nothing here reads the process's environment: `cli` builds the map from the environment and `.env`,
//! tests and the demo build their own. All problems are reported together, each with its setting.
//! `Debug` hides secrets.

mod database;
mod instances;
mod reader;
mod secrets;
mod settings;
mod vars;

pub use database::{Database, required_database};
pub use instances::{DefaultKinds, InstanceName, instances, sources, subscription};
pub use reader::{ConfigError, Reader, SettingError};
pub use secrets::{ApiKey, Scope};
pub use settings::{
    Access, Concurrency, RETENTION_DAYS_MIN, Retention, RetrySettings, Settings, listen, report_timezone,
    retention,
};
pub use vars::Vars;

/// Whether a text may name a secret, an API key's holder or an instance.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
