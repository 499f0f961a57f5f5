//! Where events are delivered to: one folder per kind of destination.

pub mod notion;
