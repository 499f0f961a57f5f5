//! Processes of the roles web and worker over one database, which scale independently.

use crate::harness::{Service, rows, within};
use eventbridge::app::Role;
use serde_json::json;

const EVENTS: i64 = 40;

fn event(number: i64) -> String {
    json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string()
}

#[tokio::test]
async fn two_processes_of_each_role_deliver_everything_once() {
    let web = Service::builder().role(Role::Web).start().await;
    let other_web = web.replica().role(Role::Web).start().await;
    for number in 0..EVENTS {
        let one = if number % 2 == 0 { &web } else { &other_web };
        assert_eq!(one.post_event(&event(number)).await.status, 200);
    }
    assert_eq!(web.database.count(rows::workers()).await, 0);

    let worker = web.replica().role(Role::Worker).start().await;
    let other_worker = web.replica().role(Role::Worker).start().await;
    let (mut here, mut there) = (worker.progress(), other_worker.progress());
    let delivered = rows::executions().in_status("success");
    within("all are delivered", async {
        while web.database.count(&delivered).await < EVENTS {
            tokio::select! {
                changed = here.changed() => changed.unwrap(),
                changed = there.changed() => changed.unwrap(),
            }
        }
    })
    .await;
    assert_eq!(i64::try_from(web.sandbox.page_count()).unwrap(), EVENTS);
    assert_eq!(web.database.count(rows::attempts()).await, EVENTS);

    for web in [&web, &other_web] {
        let ready = web.get("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        assert_eq!(ready.json(), json!({"status": "ready", "database": "ok", "worker": "none"}));
    }
    for worker in [&worker, &other_worker] {
        within("its first heartbeat is recorded", async {
            while worker.get("/readyz").await.status != 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let ready = worker.get("/readyz").await;
        assert_eq!(ready.json(), json!({"status": "ready", "database": "ok", "worker": "ok"}));
    }
    worker.stop().await;
    other_worker.stop().await;
    assert_eq!(
        web.get("/readyz").await.status,
        200,
        "without a worker the web process still accepts webhooks"
    );
    assert_eq!(web.post_event(&event(EVENTS)).await.status, 200);
}

#[tokio::test]
async fn a_worker_does_the_bulk_tasks_that_web_processes_create() {
    let web = Service::builder().role(Role::Web).start().await;
    let worker = web.replica().role(Role::Worker).start().await;
    assert_eq!(web.post_event(&event(1)).await.status, 200);
    worker.until_count(rows::executions().in_status("success"), 1).await;
    let asked = web.post("/api/v1/events/replay?all=true").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let task = web.until_task_ended(asked.headers["location"].to_str().unwrap()).await;
    assert_eq!((&task["status"], &task["progress"]["queued"]), (&json!("succeeded"), &json!(1)));
    worker.until_count(rows::attempts(), 2).await;
}

#[tokio::test]
async fn a_worker_serves_only_health_probes_and_metrics() {
    let service = Service::builder().role(Role::Worker).start().await;
    for path in ["/livez", "/metrics", "/api/v1/health"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
    for path in ["/", "/docs", "/api/v1/events", "/api/v1/executions"] {
        assert_eq!(service.get(path).await.problem(404), "not_found", "{path}");
    }
    // Stripe sends it again, so no misdirected event is lost.
    let misdirected = service.post_event(&event(1)).await;
    assert_eq!(misdirected.problem(404), "not_found");
    assert!(misdirected.body.contains("role web"), "{misdirected:?}");
}

#[tokio::test]
async fn the_metrics_of_a_worker_require_a_key() {
    let keys = "ops:read:0123456789abcdef0123456789abcdef";
    let service = Service::builder().production().role(Role::Worker).set("API_KEYS", keys).start().await;
    assert_eq!(service.get("/metrics").await.status, 401);
    let key = [("authorization", "Bearer 0123456789abcdef0123456789abcdef")];
    assert_eq!(service.send(axum::http::Method::GET, "/metrics", &key).await.status, 200);
}
