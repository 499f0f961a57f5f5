//! The HTML document of every page: its head, the brand, and pages without navigation.

use super::assets::{ICON, SCRIPT, STYLE};
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

/// What the script does with an open page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// It updates the page.
    Live,
    /// It opens the page again when the service works.
    Retry,
    /// Neither.
    Still,
}

/// A page without navigation, for the login and for errors.
pub(super) fn bare(title: &str, script: Script, body: &Markup) -> Html<String> {
    let whole = html! {
        header.top { div.bar { (brand()) } }
        (body)
    };
    document(title, script, &whole)
}

/// A document.
pub(super) fn document(title: &str, script: Script, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · EventBridge" }
                link rel="icon" type="image/svg+xml" href=(ICON.url);
                link rel="stylesheet" href=(STYLE.url);
                script defer src=(SCRIPT.url) {}
            }
            body data-live=[(script == Script::Live).then_some("/live")] data-retry[script == Script::Retry] { (body) }
        }
    };
    Html(markup.into_string())
}

/// The name of the service, as a link to the overview.
pub(super) fn brand() -> Markup {
    html! { a.brand href="/" { (mark()) span { "EventBridge" } } }
}

fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M3 17c0-5 4-9 9-9s9 4 9 9" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" {}
            path d="M3 17h18M8 17v-5.6M16 17v-5.6M12 17V8" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" {}
        }
    }
}
