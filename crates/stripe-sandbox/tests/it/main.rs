//! The stand-in as its clients see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
mod receiver;

mod faults;
mod keys;
mod money;
mod page;
mod reading;
mod second_version;
mod shapes;
mod webhooks;
