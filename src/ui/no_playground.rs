//! Without the feature `dev` there is no playground.

use super::Ui;
use super::auth::Visitor;
use axum::routing::MethodRouter;
use maud::Markup;

/// The parts of the dashboard that only `dev` has. It has no value.
#[derive(Clone, Copy)]
pub enum Playground {}

/// No pages.
pub(super) const fn pages() -> [(&'static str, MethodRouter<Ui>); 0] {
    []
}

/// No panel.
pub(super) const fn panel(_: &Visitor, playground: &Playground) -> Markup {
    match *playground {}
}
