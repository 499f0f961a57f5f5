//! The shop in a browser.

use crate::harness::{Stripe, options};
use stripe_sandbox::SandboxOptions;

#[tokio::test]
async fn the_page_shows_the_shop_and_its_buttons_work() {
    let stripe = Stripe::start(SandboxOptions { history_days: 3, ..options() }).await;
    let base = stripe.sandbox.base_url();
    stripe.post("/v1/webhook_endpoints", "url=http://127.0.0.1:1/<b>&enabled_events[]=*").await;
    let page = async || stripe.http.get(format!("{base}/")).send().await.unwrap().text().await.unwrap();
    let shown = page().await;
    for part in [
        "The shop is open.",
        "payment_intent.created",
        "Drop the next 50 deliveries",
        "http://127.0.0.1:1/&lt;b&gt;",
    ] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(!shown.contains("<b>") && !shown.contains(&stripe.key));
    let act = async |path: &str, form: String| {
        let request = stripe.http.post(format!("{base}/do/{path}")).body(form);
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap().status()
    };
    assert_eq!(act("drop", String::new()).await, 200);
    assert_eq!(stripe.handle.delivery_faults()[0].times, Some(50));
    let id = stripe.handle.endpoints()[0].id.clone();
    assert_eq!(act("disable", format!("endpoint={id}")).await, 200);
    assert!(page().await.contains("disabled"));
    assert_eq!(act("nonsense", String::new()).await, 404);
    let foreign = stripe.http.post(format!("{base}/do/drop")).header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
}
