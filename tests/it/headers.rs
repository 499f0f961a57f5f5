//! The security headers of every response, for any caller and any result.

use crate::harness::{Answer, Service, signed};
use axum::http::Method;

const KEY: &str = "read-0123456789abcdef0123456789abcdef";

const ASSET: &str = "/assets/";

/// A path of each part, and an unknown one.
const PLACES: [&str; 11] = [
    "/",
    "/login",
    "/events",
    "/docs/",
    "/openapi.json",
    "/metrics",
    "/livez",
    "/readyz",
    "/api/v1/health",
    "/api/v1/events",
    "/nowhere",
];

async fn answers(service: &Service) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    let bearer = format!("Bearer {KEY}");
    for place in PLACES {
        for headers in [&[][..], &[("authorization", bearer.as_str())]] {
            answers.push((place.to_owned(), service.send(Method::GET, place, headers).await));
        }
    }
    let login = service.get("/login").await;
    let start = login.body.find(ASSET).expect("a page refers to its style");
    let asset: String = login.body[start..].chars().take_while(|c| *c != '"').collect();
    answers.push((asset.clone(), service.get(&asset).await));
    answers.push(("a rejected webhook".into(), service.post("/api/v1/webhooks/stripe").await));
    answers.push(("a webhook".into(), service.call(signed(r#"{"id":"evt_1"}"#)).await));
    answers.push(("another method".into(), service.send(Method::DELETE, "/livez", &[]).await));
    answers
}

#[tokio::test]
async fn no_response_may_be_sniffed_framed_or_cached() {
    let service = Service::builder().production().set("API_KEYS", &format!("ops:read:{KEY}")).start().await;
    for (place, answer) in answers(&service).await {
        let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{place}");
        assert_eq!(header("x-frame-options").as_deref(), Some("DENY"), "{place}");
        let policy = header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'none'"), "{place}: {policy}");
        // Only this origin's content runs or loads, on the pages of Swagger UI too.
        let default = if place == "/docs/" && answer.status == 200 { "'self'" } else { "'none'" };
        assert!(policy.contains(&format!("default-src {default}")), "{place}: {policy}");
        assert!(header("referrer-policy").is_some(), "{place}");
        assert_eq!(header("cross-origin-resource-policy").as_deref(), Some("same-origin"), "{place}");
        let kept = header("cache-control").unwrap_or_default();
        if place.starts_with(ASSET) {
            assert!(kept.contains("immutable"), "{place}: {kept}");
        } else {
            assert_eq!(kept, "no-store", "{place}");
        }
        assert_eq!(
            header("strict-transport-security"),
            None,
            "{place}: the request is not known to be HTTPS"
        );
    }
}

#[tokio::test]
async fn https_requests_get_strict_transport_security() {
    let service = Service::start().await;
    for (proto, expected) in [("https", true), ("HTTPS, http", true), ("http", false), ("http, https", false)]
    {
        let answer = service.send(Method::GET, "/livez", &[("x-forwarded-proto", proto)]).await;
        assert_eq!(answer.headers.contains_key("strict-transport-security"), expected, "{proto}");
    }
    let public = service.replica().set("PUBLIC_URL", "https://events.example.com").start().await;
    assert!(public.get("/livez").await.headers.contains_key("strict-transport-security"));
}

#[tokio::test]
async fn no_other_origin_is_allowed() {
    let service = Service::builder().production().set("API_KEYS", &format!("ops:read:{KEY}")).start().await;
    let bearer = format!("Bearer {KEY}");
    for place in PLACES {
        let from = [("origin", "https://elsewhere.example"), ("authorization", bearer.as_str())];
        let ask_first = [
            ("origin", "https://elsewhere.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        for answer in [
            service.send(Method::GET, place, &from).await,
            service.send(Method::OPTIONS, place, &ask_first).await,
        ] {
            let allowed = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(allowed, None, "{place}");
        }
    }
}
