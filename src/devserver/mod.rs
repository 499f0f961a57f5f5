//! What a developer needs at hand without an account anywhere.

pub mod samples;
