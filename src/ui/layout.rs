//! The layout of pages: navigation bar with tabs and search, and footer.

use super::auth::{TOKEN, Visitor};
use super::badge;
use super::document::{Script, brand, document};
use super::session::scope_word;
use axum::response::Html;
use maud::{Markup, html};

/// The parts of the dashboard, as the bar shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Failures,
    Events,
    Executions,
    Destinations,
    Audit,
    /// Search results; the bar has only the search field for it.
    Search,
}

const TABS: [(Tab, &str, &str); 6] = [
    (Tab::Overview, "/", "Overview"),
    (Tab::Failures, "/failures", "Failures"),
    (Tab::Events, "/events", "Events"),
    (Tab::Executions, "/executions", "Executions"),
    (Tab::Destinations, "/destinations", "Destinations"),
    (Tab::Audit, "/audit", "Audit"),
];

/// A complete page with navigation, which updates itself while it is open.
pub(super) fn page(visitor: &Visitor, tab: Tab, title: &str, body: &Markup) -> Html<String> {
    document(title, Script::Live, &with_navigation(visitor, tab, body))
}

/// The same without updates, because the page is expensive.
pub(super) fn static_page(visitor: &Visitor, tab: Tab, title: &str, body: &Markup) -> Html<String> {
    document(title, Script::Still, &with_navigation(visitor, tab, body))
}

fn with_navigation(visitor: &Visitor, tab: Tab, body: &Markup) -> Markup {
    html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.bar {
                (brand())
                nav.tabs aria-label="Main" {
                    @for (each, href, name) in TABS {
                        a href=(href) aria-current=[(each == tab).then_some("page")] {
                            (name)
                            @if each == Tab::Failures { (badge(visitor)) }
                        }
                    }
                }
                form.search method="get" action="/search" role="search" aria-label="Search" {
                    label.hidden for="q" { "Search" }
                    input id="q" type="search" name="q" required maxlength="1000" autocomplete="off" spellcheck="false"
                        placeholder="Id, e-mail or link  ( / )";
                }
                div.right {
                    span.link-state id="link-state" hidden role="status" { "" }
                    (account(visitor))
                }
            }
        }
        main id="main" tabindex="-1" { (body) }
        footer.foot {
            span { "EventBridge API " (env!("CARGO_PKG_VERSION")) }
            a href="/docs" { "API" }
            span.zone id="zone" { "Times are UTC" }
        }
    }
}

/// A form that changes something: it posts to `action`, with the token of the session.
pub(super) fn post_form(visitor: &Visitor, action: &str, fields: &Markup) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            input type="hidden" name=(TOKEN) value=(visitor.token);
            (fields)
        }
    }
}

/// The number of unacknowledged failure groups. The element exists even if there are none, for updates.
fn badge(visitor: &Visitor) -> Markup {
    let open = visitor.open_failures.unwrap_or_default();
    let number = if open < i64::from(badge::COUNTED_MAX) { open.to_string() } else { format!("{open}+") };
    html! {
        span data-part="open-failures" {
            @if open > 0 { span.badge { (number) span.hidden { " open" } } }
        }
    }
}

fn account(visitor: &Visitor) -> Markup {
    html! {
        @if let Some(scope) = visitor.scope {
            span.who title="The API key of this session" { (visitor.who.name()) " · " (scope_word(scope)) }
            (post_form(visitor, "/logout", &html! { button.quiet type="submit" { "Log out" } }))
        }
    }
}
