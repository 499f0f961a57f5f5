//! A database that an earlier program left, with data in it, is brought to the newest schema: nothing
//! is lost, and the service goes on with it.

use crate::harness::{Database, NOW, SECRET, Service, within};
use eventbridge::sources::stripe;
use eventbridge::store::{Db, MigrateError};
use notion_sandbox::Template;
use serde_json::json;
use std::sync::Arc;

/// Tables whose rows are counted before and after.
const TABLES: &[&str] = &[
    "events",
    "executions",
    "attempts",
    "leases",
    "workers",
    "destinations",
    "remote_objects",
    "rate_limits",
    "failure_groups",
    "event_facts",
    "search_terms",
    "statistics",
    "rejections",
    "audit",
    "duties",
    "alerts",
    "chores",
    "past_holds",
];

/// What each migration made room for, as a program of its time filled it. Events and executions bear the
/// same numbers: 1 is delivered, 2 waits, 3 failed, 4 was skipped, 5 is the state of an object that waits,
/// 6 ran when its process died.
const ROWS: &[(i64, &str)] = &[
    (
        1,
        "insert into eventbridge.executions (event_key, destination, status, attempts, reason, error_class,
             response_code, duration_ms, remote_id, remote_url, started_at, finished_at)
         values (1, 'notion', 'success', 1, null, null, 200, 120, 'eb000000-0000-4000-8000-00000000aaaa',
                 'https://www.notion.so/a', now(), now()),
                (2, 'notion', 'pending', 0, null, null, null, null, null, null, null, null),
                (3, 'notion', 'failed', 24, 'Notion refuses the page', 'validation_error', 400, 80, null, null,
                 now(), now()),
                (4, 'notion', 'skipped', 1, 'its page was removed in Notion', null, null, 80, null, null, now(), now());
         insert into eventbridge.executions (event_key, destination, mode, lane)
         values (5, 'notion', 'object', 'notion /test/in_5');
         insert into eventbridge.executions (event_key, destination, status, started_at)
         values (6, 'notion', 'running', now());
         insert into eventbridge.workers (id, version, beat_at)
         values ('11111111-1111-4111-8111-111111111111', '0.0.1', now() - interval '1 hour');
         insert into eventbridge.leases (key, execution_id, worker_id)
         values ('6', 6, '11111111-1111-4111-8111-111111111111');
         insert into eventbridge.attempts (execution_id, fence, started_at, duration_ms, outcome, response_code)
         values (1, nextval('eventbridge.fences'), now(), 120, 'delivered', 200),
                (3, nextval('eventbridge.fences'), now(), 80, 'permanent', 400);
         insert into eventbridge.destinations (name, memory, held_since, held_class, held_reason, held_remedy, probe_at)
         values ('former', '{\"columns\": {}}', now(), 'unauthorized', 'the token is not valid', 'set another', now());
         insert into eventbridge.remote_objects (lane, remote_id, execution_id, written)
         values ('notion /test/in_1', 'eb000000-0000-4000-8000-00000000aaaa', 1, '{}');
         insert into eventbridge.rate_limits (connection) values ('notion-0123456789abcdef')",
    ),
    (
        3,
        "update eventbridge.executions set remote_place = 'eb000000-0000-4000-8000-000000000003' where id = 1;
         update eventbridge.executions set retried_at = now() where id = 3;
         update eventbridge.destinations set held_execution = 3",
    ),
    (
        4,
        "insert into eventbridge.failure_groups (key, destination, error_class, pattern)
         values ('00ff', 'notion', 'validation_error', 'Notion refuses the page');
         update eventbridge.executions set failure_group = '00ff' where id = 3;
         insert into eventbridge.event_facts (event_key, amount_minor, currency, terms)
         values (1, 1700, 'eur', '{in_1,evt_old_1}');
         insert into eventbridge.search_terms (term, event_key) values ('in_1', 1), ('evt_old_1', 1)",
    ),
    (
        5,
        "insert into eventbridge.statistics (per, at, kind, name, le_ms, n)
         values ('hour', date_trunc('hour', now()), 'received', '', 0, 6);
         insert into eventbridge.rejections (slot, number, source, reason, header_names, by_sender, body_bytes,
             body_sha256, body_form, unseen)
         values (1, nextval('eventbridge.rejection_numbers'), 'stripe', 'signature_no_match', '{host}', true, 12,
                 '00', 'as_sent', 0)",
    ),
    (6, "insert into eventbridge.audit (who, action, subject) values ('ops', 'execution.retried', 'execution 3')"),
    (
        7,
        "insert into eventbridge.duties (name, holder, until)
         values ('alerts', '11111111-1111-4111-8111-111111111111', now());
         insert into eventbridge.alerts (key, summary, remedy, since) values ('held former', 'held', 'mend it', now())",
    ),
    (
        8,
        "insert into eventbridge.chores (name, position) values ('retention', 3);
         update eventbridge.events set payload = '', payload_removed_at = now(), payload_removed_why = 'forgotten'
          where id = 4",
    ),
    (9, "update eventbridge.executions set in_bulk = true where id = 2"),
    (14, "insert into eventbridge.past_holds (destination, since, class) values ('former', now(), 'unauthorized')"),
];

fn body(number: i64) -> String {
    json!({"id": format!("evt_old_{number}"), "object": "event", "type": "invoice.paid", "created": NOW - 60,
           "livemode": false, "data": {"object": {"id": format!("in_{number}"), "object": "invoice",
           "number": format!("INV-{number}"), "amount_paid": 1700, "currency": "eur", "status": "paid"}}})
    .to_string()
}

/// Brings a database to where a program of that time left it, and fills it as that did.
async fn left_at(version: i64) -> Arc<Database> {
    let database = Database::empty().await;
    let store = database.store();
    for step in Db::migrations().filter(|step| *step <= version) {
        store.db.migrate_until(step).await.unwrap();
        if step == 1 {
            for number in 1..=6 {
                let body = body(number);
                let signature = stripe::sign(SECRET, body.as_bytes(), NOW);
                let insert = format!(
                    "insert into eventbridge.events (source, event_id, type, object_id, object_type, livemode,
                         created, signature, secret_name, payload)
                     values ('stripe', 'evt_old_{number}', 'invoice.paid', 'in_{number}', 'invoice', false,
                             to_timestamp({}), '{signature}', 'secret-1', convert_to('{body}', 'UTF8'))",
                    NOW - 60
                );
                database.execute(&insert).await;
            }
        }
        for (_, rows) in ROWS.iter().filter(|(of, _)| *of == step) {
            database.execute(rows).await;
        }
    }
    store.db.close().await;
    Arc::new(database)
}

/// How many rows each table has; nothing for one that is not there.
async fn counts(database: &Database) -> Vec<(&'static str, i64)> {
    let mut counted = Vec::new();
    for table in TABLES {
        let is_there = format!(
            "select count(*) from pg_tables where schemaname = 'eventbridge' and tablename = '{table}'"
        );
        if database.count(&is_there).await == 1 {
            let rows = database.count(&format!("select count(*) from eventbridge.{table}")).await;
            assert!(rows > 0, "{table} has no rows, so nothing of it is tested");
            counted.push((*table, rows));
        }
    }
    counted
}

#[tokio::test]
async fn from_every_earlier_version_the_data_come_along_and_the_service_goes_on() {
    let newest = Db::migrations().last().unwrap();
    let mut newest_columns = None;
    for version in Db::migrations() {
        let database = left_at(version).await;
        let before = counts(&database).await;
        let store = database.store();
        store.db.migrate().await.unwrap();
        assert!(store.db.is_migrated().await.unwrap(), "from {version}");
        let after = counts_of(&database, &before).await;
        assert_eq!(after, before, "from {version} to {newest}");
        // Whatever the way to it, the schema is the same.
        let columns = database
            .count(
                "select sum(hashtext(table_name || column_name || data_type || is_nullable)::bigint)::bigint
                      from information_schema.columns where table_schema = 'eventbridge'",
            )
            .await;
        assert_eq!(*newest_columns.get_or_insert(columns), columns, "from {version}");
        store.db.close().await;
        goes_on(database, version).await;
    }
}

async fn counts_of(database: &Database, tables: &[(&'static str, i64)]) -> Vec<(&'static str, i64)> {
    let mut counted = Vec::new();
    for (table, _) in tables {
        counted.push((*table, database.count(&format!("select count(*) from eventbridge.{table}")).await));
    }
    counted
}

async fn goes_on(database: Arc<Database>, version: i64) {
    let service = Service::builder().template(Template::Full).on(database).await.start().await;
    let delivered = "select count(*) from eventbridge.executions where status = 'success' and id in (2, 5)";
    service.until_count(delivered, 2).await;
    assert_eq!(service.sandbox.page_count(), 2, "from {version}");

    // Lanes bear the type of their object now.
    let renamed = "select count(*) from eventbridge.executions where lane = 'notion invoice /test/in_5'";
    assert_eq!(service.database.count(renamed).await, 1, "from {version}");

    let events = service.get("/api/v1/events").await.json();
    assert_eq!(events["data"].as_array().unwrap().len(), 6, "from {version}");
    let payload = service.get("/api/v1/events/evt_old_1/payload").await;
    assert_eq!((payload.status.as_u16(), payload.body), (200, body(1)), "from {version}");
    let removed = service.get("/api/v1/events/4/payload").await.status;
    assert_eq!(removed, if version >= 8 { 410 } else { 200 }, "from {version}");
    let statuses: Vec<_> = service.executions().await.iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["success", "success", "failed", "skipped", "success", "running"], "from {version}");
    let failed = service.get("/api/v1/executions/3").await.json();
    assert_eq!(failed["error_class"], "validation_error", "{failed}");
    assert_eq!(failed["attempts"].as_array().map(Vec::len), Some(1), "{failed}");

    // A copy of an old event is still known, and what had failed can be tried again.
    let copy = service.post_event(&body(3)).await.json();
    assert_eq!(copy["accepted"], false, "from {version}: {copy}");
    assert_eq!(service.post("/api/v1/executions/3/retry").await.status, 202, "from {version}");
    service.until_count("select count(*) from eventbridge.executions where status = 'success'", 4).await;
    assert_eq!(service.get("/api/v1/health").await.json()["database"], "ok", "from {version}");
    service.stop().await;
}

#[tokio::test]
async fn a_migration_waits_behind_nobody_for_long_and_is_made_when_it_is_tried_again() {
    let database = left_at(8).await;
    let held = database.hold_lock("eventbridge.executions").await;
    let store = database.store();
    let refused = within("it gives way", store.db.migrate()).await;
    assert!(matches!(refused, Err(MigrateError::Busy(_))), "{refused:?}");
    drop(held);
    store.db.migrate().await.unwrap();
    assert!(store.db.is_migrated().await.unwrap());
}
