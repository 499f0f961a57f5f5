//! The setup page, which `serve` shows with `SETUP=1` while settings are missing.
//!
//! A first deploy then starts and lists what it needs, instead of crashing again and again. Anyone who has
//! the address can read the page, so it shows names of settings and no values. The service accepts nothing:
//! it answers a webhook with 503, and the sender repeats it.

use crate::config::{ConfigError, InstanceName, Reader};
use crate::destinations;
use crate::problem::Problem;
use crate::server::{self, Limits};
use crate::sources::KINDS;
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
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const STYLE: &str = "body{font:16px/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;\
                     color:#1a1a1a;background:#fff}code,pre{font-family:ui-monospace,monospace;font-size:.9em}\
                     pre{padding:.8rem 1rem;background:#f3f3f3;overflow-x:auto}\
                     @media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}\
                     pre{background:#242424}a{color:#8ab4f8}}";

/// After how many seconds a sender should try again.
const RETRY_AFTER_SECONDS: u64 = 60;

/// Where the operator finds each required setting, those of sources and destinations aside.
const ORIGINS: &[(&str, &str)] = &[
    ("DATABASE_URL", "the address of your Postgres: postgres://user:password@host:5432/database"),
    ("API_KEYS", "you:write: and then what this prints: openssl rand -hex 32"),
];

/// A setting that is missing or cannot be used.
#[derive(Debug)]
struct Missing {
    name: String,
    /// Where the operator finds its value.
    origin: Option<&'static str>,
    /// What to do at the sender, if a source needs the setting, and the name that ends the source's address.
    set_up: Option<(&'static str, String)>,
}

impl Missing {
    fn of(name: &str, sources: &[InstanceName], destinations: &[InstanceName]) -> Self {
        let of_core = ORIGINS.iter().find(|(known, _)| *known == name).map(|(_, origin)| *origin);
        let of_destination = |instance: &InstanceName| {
            let kind = destinations::kind_of(instance)?;
            let mut required = kind.required_settings.iter();
            required.find(|(suffix, _)| instance.setting(suffix) == name).map(|(_, origin)| *origin)
        };
        let of_source = |instance: &InstanceName| {
            let kind = KINDS.iter().find(|kind| kind.name == instance.kind)?;
            let (_, origin) = kind.secrets.iter().find(|(suffix, _)| instance.setting(suffix) == name)?;
            Some((*origin, (kind.set_up, instance.name.clone())))
        };
        let (of_source, set_up) = sources.iter().find_map(of_source).unzip();
        let origin = of_core.or(of_source).or_else(|| destinations.iter().find_map(of_destination));
        Self { name: name.to_owned(), origin, set_up }
    }
}

/// Whether the operator wants the page.
pub(super) fn is_wanted(reader: &mut Reader<'_>) -> bool {
    reader.parsed("SETUP", false, |text| match text {
        "1" | "on" => Ok(true),
        "0" | "off" => Ok(false),
        _ => Err("must be 1 or 0"),
    })
}

/// Serves the page until `stop` is cancelled.
pub(super) async fn run(
    listener: TcpListener,
    stop: CancellationToken,
    wrong: &ConfigError,
    sources: &[InstanceName],
    destinations: &[InstanceName],
) -> anyhow::Result<ExitCode> {
    let problems: Vec<_> = wrong.problems.iter().map(ToString::to_string).collect();
    warn!(
        address = %listener.local_addr()?,
        ?problems,
        "not set up: the page at / lists the missing settings; until then webhooks get 503"
    );
    let missing = |name| Missing::of(name, sources, destinations);
    let router = router(wrong.names().into_iter().map(missing).collect());
    let (limits, metrics) = (Limits::default(), Metrics::new(None::<String>));
    server::serve(listener, router, limits, limits.limiter(), metrics, stop.cancelled_owned()).await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn router(missing: Arc<[Missing]>) -> Router {
    let alive = || async { ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "alive" }))) };
    let shown = move |headers: HeaderMap| async move { answer(&page(&missing, &host(&headers))) };
    Router::new().route("/", get(shown)).route("/livez", get(alive)).fallback(|| async {
        Problem::unavailable(
            "The service is not set up yet; the page at / lists the missing settings.",
            RETRY_AFTER_SECONDS,
        )
        .into_response()
    })
}

/// The host by which the browser reached the page.
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

fn page(missing: &[Missing], host: &str) -> Markup {
    let assignments: Vec<_> = missing.iter().map(|setting| format!("{}='…'", setting.name)).collect();
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
                        "The service runs but accepts no webhooks. These settings are missing or invalid; \
                         its log has the details:"
                    }
                    ul {
                        @for setting in missing {
                            li { code { (setting.name) } @if let Some(origin) = setting.origin { ": " (origin) } }
                        }
                    }
                    @for (set_up, source) in missing.iter().filter_map(|setting| setting.set_up.as_ref()) {
                        p { (set_up) }
                        pre { "https://" (host) "/api/v1/webhooks/" (source) }
                    }
                    p { "Then set them in the service's environment, and start it again:" }
                    pre {
                        "# Fly.io\nfly secrets set " (assignments.join(" "))
                        "\n\n# Docker compose: write them to .env, then\ndocker compose up -d"
                        "\n\n# systemd: write them to /etc/eventbridge/env, then\nsystemctl restart eventbridge"
                    }
                    p {
                        "Until then, webhooks are answered with 503, and the sender retries them. Afterwards, run "
                        code { "eventbridge doctor" } " to check the service."
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
        let missing = ["STRIPE_WEBHOOK_SECRET", "RETRY_CAP_SECONDS"]
            .map(|name| Missing::of(name, &[InstanceName::of_kind("stripe")], &[]));
        let page = page(&missing, "a.example\"><script>").into_string();
        assert!(page.contains("/api/v1/webhooks/stripe</pre>"), "{page}");
        assert!(page.contains("fly secrets set STRIPE_WEBHOOK_SECRET='…' RETRY_CAP_SECONDS='…'"), "{page}");
        assert!(page.contains("https://a.example") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn a_setting_of_a_destination_is_explained_by_its_kind() {
        let instance = InstanceName { name: "team-b".to_owned(), kind: "notion".to_owned() };
        let missing = Missing::of("TEAM_B_API_KEY", &[], &[instance]);
        assert!(missing.origin.is_some_and(|origin| origin.contains("Notion connection")), "{missing:?}");
        assert!(Missing::of("NOTION_API_KEY", &[], &[]).origin.is_none());
    }
}
