//! The connections to the database and what every statement needs: errors, values, pages of listings.

mod address;
mod connections;
mod error;
mod idle_connections;
mod migrations;
mod page;
mod server_info;
mod values;
mod window;

pub use error::{MigrateError, StoreError};
pub use page::{Cursor, LIMIT_DEFAULT, LIMIT_MAX, Page, UnknownCursor};
pub use server_info::{Schema, Vitals};
pub use window::{ListError, WINDOW_DAYS_MAX, Window};

pub(super) use address::options;
pub(super) use connections::{Connections, show_life};
pub(super) use migrations::{
    apply as apply_migrations, newest as newest_migration, versions as migration_versions,
};
pub(super) use page::Seen;
pub(super) use values::{milliseconds, of_milliseconds, value_without_nul, whole_milliseconds, without_nul};
pub(super) use window::Span;
