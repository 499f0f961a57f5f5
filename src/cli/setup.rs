//! What `serve` shows with `SETUP=1` while settings are missing: a page that names them.
//!
//! So a first deploy comes up and says what it waits for, instead of crashing again and again. The page
//! is open to whoever finds the address, so it tells names and never what is set. Nothing is taken:
//! a webhook is answered 503, and its sender comes again.

use super::serve::bind;
use super::signals;
use crate::config::{ConfigError, Reader};
use crate::problem::Problem;
use crate::server::{self, Limits};
use crate::telemetry::Metrics;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::{info, warn};

const STYLE: &str = "body{font:16px/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;\
                     color:#1a1a1a;background:#fff}code,pre{font-family:ui-monospace,monospace;font-size:.9em}\
                     pre{padding:.8rem 1rem;background:#f3f3f3;overflow-x:auto}\
                     @media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}\
                     pre{background:#242424}a{color:#8ab4f8}}";

/// How soon a sender should come again.
const RETRY_AFTER_SECONDS: u64 = 60;

/// Where each of the settings that are needed comes from.
const SOURCES: &[(&str, &str)] = &[
    ("DATABASE_URL", "the address of your Postgres: postgres://user:password@host:5432/database"),
    (
        "STRIPE_WEBHOOK_SECRET",
        "the signing secret (whsec_…) of the endpoint that you add at Stripe, see below",
    ),
    ("NOTION_API_KEY", "the token (ntn_…) of your Notion integration"),
    ("NOTION_DATABASE_ID", "the link to your Notion database, or its id"),
    ("API_KEYS", "you:write: and then what this prints: openssl rand -hex 32"),
];

/// Whether the page is wanted.
pub(super) fn is_wanted(reader: &mut Reader<'_>) -> bool {
    reader.parsed("SETUP", false, |text| match text {
        "1" | "on" => Ok(true),
        "0" | "off" => Ok(false),
        _ => Err("must be 1 or 0"),
    })
}

/// Shows the page until told to stop.
pub(super) async fn run(listen: SocketAddr, wrong: &ConfigError) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_requested()?;
    let listener = bind(listen).await?;
    let problems: Vec<_> = wrong.problems.iter().map(ToString::to_string).collect();
    warn!(
        address = %listener.local_addr()?,
        ?problems,
        "not set up: a page at / says what is missing, and nothing is taken before it is there"
    );
    let router = router(wrong.names().into_iter().map(str::to_owned).collect());
    let (limits, metrics) = (Limits::default(), Metrics::new(None::<String>));
    server::serve(listener, router, limits, limits.crowd(), metrics, stop.cancelled_owned()).await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn router(names: Arc<[String]>) -> Router {
    let alive = || async { ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "alive" }))) };
    let shown = move |headers: HeaderMap| async move { answer(&page(&names, &host(&headers))) };
    Router::new().route("/", get(shown)).route("/livez", get(alive)).fallback(|| async {
        Problem::unavailable(
            "The service is not set up yet; the page at / says what is missing.",
            RETRY_AFTER_SECONDS,
        )
        .into_response()
    })
}

/// Where the reader found the page, as far as their browser tells.
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.unwrap_or("<your host>").to_owned()
}

fn answer(page: &Markup) -> Response {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut headers = HeaderMap::new();
    for (name, text) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(text));
    }
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    (headers, page.0.clone()).into_response()
}

fn page(names: &[String], host: &str) -> Markup {
    let known = |name: &str| SOURCES.iter().find(|(of, _)| *of == name).map(|(_, source)| *source);
    let assignments: Vec<_> = names.iter().map(|name| format!("{name}='…'")).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "EventBridge is not set up yet" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Not set up yet" }
                    p {
                        "The service runs and takes nothing. These settings are missing or cannot be used; \
                         its log says what is the matter with each:"
                    }
                    ul {
                        @for name in names {
                            li { code { (name) } @if let Some(source) = known(name) { ": " (source) } }
                        }
                    }
                    @if names.iter().any(|name| name == "STRIPE_WEBHOOK_SECRET") {
                        p {
                            "At Stripe, under Developers › Webhooks, add an endpoint with this URL, and copy its \
                             signing secret:"
                        }
                        pre { "https://" (host) "/api/v1/webhooks/stripe" }
                    }
                    p { "Then set them where the service runs, and start it again:" }
                    pre {
                        "# Fly.io\nfly secrets set " (assignments.join(" "))
                        "\n\n# Docker compose: write them to .env, then\ndocker compose up -d"
                        "\n\n# systemd: write them to /etc/eventbridge/env, then\nsystemctl restart eventbridge"
                    }
                    p {
                        "What Stripe sends meanwhile is answered 503, and Stripe sends it again. Afterwards "
                        code { "eventbridge doctor" } " says whether all is well."
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_what_is_missing_and_escapes_what_it_was_asked_by() {
        let names = ["STRIPE_WEBHOOK_SECRET".to_owned(), "RETRY_CAP_SECONDS".to_owned()];
        let page = page(&names, "a.example\"><script>").into_string();
        assert!(page.contains("fly secrets set STRIPE_WEBHOOK_SECRET='…' RETRY_CAP_SECONDS='…'"), "{page}");
        assert!(page.contains("https://a.example") && !page.contains("<script>"), "{page}");
    }
}
