//! Panics are caught and counted, and end no task silently.

use crate::harness::rows::Paused;
use crate::harness::{Answer, Service, rows, within};
use async_trait::async_trait;
use eventbridge::config::{InstanceName, Reader};
use eventbridge::destinations::{Delivery, DeliveryContext, Destination, Kind, Probe};
use eventbridge::domain::delivery::Outcome;
use eventbridge::domain::preview::Preview;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

const KINDS: &[Kind] = &[Kind::new("faulty", configure)];

#[expect(clippy::unnecessary_wraps, reason = "every kind may find that it cannot be used")]
fn configure(_: &mut Reader<'_>, _: &InstanceName) -> Option<Arc<dyn Destination>> {
    Some(Arc::new(Faulty))
}

/// Notified at each probe; only one test has any.
static PROBED: Notify = Notify::const_new();

/// Panics as the event's type says: `first` on the first attempt, `always` on each, `never` on none.
struct Faulty;

#[async_trait]
impl Destination for Faulty {
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let breaks = match delivery.summary.event_type.as_str() {
            "always" => true,
            "first" => delivery.in_doubt.is_none(),
            _ => false,
        };
        assert!(!breaks, "a fault about {}", delivery.summary.event_id);
        Outcome::delivered(None, Some(200))
    }

    async fn preview(&self, _: Delivery<'_>) -> Result<Preview, Outcome> {
        panic!("a fault in a preview")
    }

    async fn probe(&self, _: &dyn DeliveryContext, _: &str) -> Probe {
        PROBED.notify_one();
        panic!("a fault in a probe")
    }
}

async fn start() -> Service {
    let breaks = async || -> &'static str { panic!("a fault in a handler") };
    let routes = OpenApiRouter::new().route("/breaks", axum::routing::get(breaks));
    let builder = Service::builder().kinds(KINDS).more_routes(routes).set("DESTINATIONS", "faulty");
    builder.set("RETRY_ATTEMPTS_MAX", "3").start().await
}

async fn panics(service: &Service, which: &str) -> u32 {
    let scrape = service.get("/metrics").await.body;
    let series = format!("eventbridge_panics_total{{where=\"{which}\"}} ");
    scrape.lines().find_map(|line| line.strip_prefix(series.as_str())).unwrap().parse().unwrap()
}

fn event(id: &str, kind: &str) -> String {
    format!(r#"{{"id":"{id}","type":"{kind}"}}"#)
}

#[tokio::test]
async fn a_delivery_that_panics_is_retried_as_in_doubt_and_affects_no_other() {
    let service = start().await;
    for (id, kind) in [("evt_1", "first"), ("evt_2", "never"), ("evt_3", "always")] {
        service.post_event(&event(id, kind)).await;
    }
    let executions = service.until_finished(3).await;
    let statuses: Vec<_> = executions.iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["success", "success", "failed"]);
    // Three attempts, and three searches for their possible writes.
    assert_eq!(panics(&service, "delivery").await, 1 + 6);
    let id = executions[2]["id"].as_i64().unwrap();
    let detail = service.get(&format!("/api/v1/executions/{id}")).await.body;
    assert!(detail.contains("a bug in this program") && !detail.contains("a fault about"), "{detail}");
    assert_eq!(service.database.count(rows::executions().crashed()).await, 0, "no worker died");
}

#[tokio::test]
async fn a_handler_that_panics_responds_500_and_the_next_request_succeeds() {
    let service = start().await;
    let broken: Answer = service.get("/breaks").await;
    assert_eq!(broken.problem(500), "internal");
    assert!(!broken.body.contains("a fault in a handler"), "{}", broken.body);
    service.post_event(&event("evt_1", "never")).await;
    let id = service.until_finished(1).await[0]["id"].as_i64().unwrap();
    assert_eq!(service.get(&format!("/api/v1/executions/{id}/preview")).await.problem(500), "internal");
    assert_eq!(panics(&service, "handler").await, 2);
    assert_eq!(service.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_probe_that_panics_leaves_the_pause_and_probing_continues() {
    let service = start().await;
    let pause = Paused {
        class: "unauthorized",
        reason: "a test",
        probed_in: Some(Duration::ZERO),
        ..Paused::of("faulty")
    };
    service.database.change(pause).await;
    for _ in 0..2 {
        within("another probe", PROBED.notified()).await;
    }
    assert!(panics(&service, "task").await >= 1, "the first of them panicked");
    assert_eq!(service.database.count(rows::paused()).await, 1);
}

#[tokio::test]
async fn the_service_stops_in_order_when_a_critical_task_panics() {
    let service = start().await;
    let database = service.database.clone();
    service.post_event(&event("evt_1", "never")).await;
    let app = service.into_app();
    let supervisor = app.supervisor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = tokio::spawn(app.serve(listener, pending()));
    supervisor.critical("part of the test", async { panic!("a fault in a task") }).await.unwrap_or(());
    let ended = within("the service stops", serving).await.unwrap();
    assert!(ended.unwrap_err().to_string().contains("part of the test"));
    let left = database.count(rows::workers()).await;
    assert_eq!(left, 0, "its worker has deregistered");
}
