//! Notion: one page per event, written in the types that the data source's own columns have.

pub mod column;
pub mod facts;
pub mod field;
pub mod mapping;
pub mod schema;
