//! Migrations: later ones keep the data while the service runs, and a schema from before the first
//! release is rejected.
//!
//! Only one migration was released, so the later ones here are invented for the tests.

use crate::harness::{Database, NOW, SECRET, Service, eventbridge, output, rows, text, within};
use eventbridge::sources::stripe;
use eventbridge::store::{Db, MigrateError, Migration, Store};
use notion_sandbox::Template;
use private_postgres::{DataLifetime, PrivatePostgres};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Possible later migrations: a column and a table, an index that is built concurrently, and a change of
/// rows that is committed in batches.
const LATER: &[Migration] = &[
    Migration {
        version: 2,
        name: "a column and a table",
        sql: "alter table eventbridge.executions add column later_note text;
              create table eventbridge.later (id bigint primary key);",
    },
    Migration {
        version: 4,
        name: "an index",
        sql: "-- no-transaction

-- An interrupted build leaves an index that cannot be used.
do $$
declare broken regclass;
begin
    for broken in
        select indexrelid::regclass from pg_index
         where not indisvalid and indrelid = 'eventbridge.executions'::regclass
    loop
        execute format('drop index %s', broken);
    end loop;
end
$$;

create index concurrently if not exists executions_by_later_note on eventbridge.executions (later_note);",
    },
    Migration {
        version: 5,
        name: "rows",
        sql: "-- no-transaction

do $$
declare through bigint := 0;
begin
    while through < (select coalesce(max(id), 0) from eventbridge.executions) loop
        update eventbridge.executions set later_note = 'as before'
         where id > through and id <= through + 2 and later_note is null;
        through := through + 2;
        commit;
    end loop;
end
$$;",
    },
];

/// The migrations of this program and the first of the later ones.
fn with_later(count: usize) -> Vec<Migration> {
    [Db::migrations(), &LATER[..count]].concat()
}

/// Tables whose rows are counted before and after.
const TABLES: &[&str] = &[
    "events",
    "executions",
    "attempts",
    "queue",
    "leases",
    "lane_runs",
    "workers",
    "destinations",
    "remote_objects",
    "rate_limits",
    "failure_groups",
    "event_facts",
    "search_terms",
    "search_index_progress",
    "statistics",
    "rejections",
    "audit",
    "named_leases",
    "alerts",
    "background_jobs",
    "past_pauses",
];

/// Rows as the first program leaves them. Events and executions have the same numbers: 1 is delivered, 2
/// is pending, 3 failed, 4 was skipped, 5 is a pending state of an object, 6 was running when its process
/// died.
const ROWS: &str = "
    insert into eventbridge.executions (event_key, destination, status, attempts, reason, error_class,
        response_code, duration_ms, remote_id, remote_url, remote_place, started_at, finished_at)
    values (1, 'notion', 'success', 1, null, null, 200, 120, 'eb000000-0000-4000-8000-00000000aaaa',
            'https://www.notion.so/a', 'eb000000-0000-4000-8000-000000000003', now(), now()),
           (2, 'notion', 'pending', 0, null, null, null, null, null, null, null, null, null),
           (3, 'notion', 'failed', 24, 'Notion refuses the page', 'validation_error', 400, 80, null, null, null,
            now(), now()),
           (4, 'notion', 'skipped', 1, 'its page was removed in Notion', null, null, 80, null, null, null, now(),
            now());
    insert into eventbridge.executions (event_key, destination, mode, lane)
    values (5, 'notion', 'object', 'notion invoice /test/in_5');
    insert into eventbridge.executions (event_key, destination) values (6, 'notion');
    insert into eventbridge.queue (execution_id, destination, class) values (2, 'notion', 'bulk');
    insert into eventbridge.queue (execution_id, destination, lane, mode)
    values (5, 'notion', 'notion invoice /test/in_5', 'object');
    insert into eventbridge.lane_runs (lane, run, execution_id, fence)
    values ('notion invoice /test/in_1', 1, 1, nextval('eventbridge.fences'));
    insert into eventbridge.workers (id, version, heartbeat_at)
    values ('11111111-1111-4111-8111-111111111111', '0.0.1', now() - interval '1 hour');
    insert into eventbridge.leases (execution_id, destination, worker_id, fence)
    values (6, 'notion', '11111111-1111-4111-8111-111111111111', nextval('eventbridge.fences'));
    insert into eventbridge.attempts (execution_id, fence, started_at, duration_ms, outcome, response_code)
    values (1, nextval('eventbridge.fences'), now(), 120, 'delivered', 200),
           (3, nextval('eventbridge.fences'), now(), 80, 'permanent', 400);
    insert into eventbridge.destinations (name, memory, paused_since, paused_class, paused_reason, paused_remedy,
        paused_execution, probe_at)
    values ('former', '{\"columns\": {}}', now(), 'unauthorized', 'the token is not valid', 'set another', 3, now());
    insert into eventbridge.past_pauses (destination, since, class, reason)
    values ('former', now(), 'unauthorized', 'the token is not valid');
    insert into eventbridge.remote_objects (lane, fence, remote_id, execution_id, written)
    values ('notion invoice /test/in_1', 1, 'eb000000-0000-4000-8000-00000000aaaa', 1, '{}');
    insert into eventbridge.rate_limits (connection) values ('notion-0123456789abcdef');
    insert into eventbridge.failure_groups (key, destination, error_class, pattern)
    values ('00ff', 'notion', 'validation_error', 'Notion refuses the page');
    update eventbridge.executions set failure_group = '00ff', retried_at = now() where id = 3;
    insert into eventbridge.event_facts (event_key, amount_minor, currency, terms)
    values (1, 1700, 'eur', '{in_1,evt_old_1}');
    insert into eventbridge.search_terms (term, event_key) values ('in_1', 1), ('evt_old_1', 1);
    insert into eventbridge.statistics (per, at, kind, name, le_ms, n)
    values ('hour', date_trunc('hour', now()), 'received', '', 0, 6);
    insert into eventbridge.rejections (slot, number, source, reason, header_names, by_sender, body_bytes,
        body_sha256, body_form, unseen)
    values (1, nextval('eventbridge.rejection_numbers'), 'stripe', 'signature_no_match', '{host}', true, 12,
            '00', 'as_sent', 0);
    insert into eventbridge.audit (who, action, subject_kind, subject_id)
    values ('ops', 'execution.retried', 'execution', '3');
    insert into eventbridge.named_leases (name, holder, held_until)
    values ('alerts', '11111111-1111-4111-8111-111111111111', now());
    insert into eventbridge.unanswered_events (event_id, source, type, livemode, signed, first_at, last_at)
    values ('evt_u', 'stripe', 'invoice.created', true, false, now(), now());
    insert into eventbridge.alerts (key, kind, summary, remedy, since)
    values ('paused former', 'paused', 'paused', 'mend it', now());
    insert into eventbridge.background_jobs (name, position) values ('retention', 3);
    update eventbridge.events set payload = '', payload_removed_at = now(), payload_removed_by = 'erasure'
     where id = 4;";

fn body(number: i64) -> String {
    json!({"id": format!("evt_old_{number}"), "object": "event", "type": "invoice.paid", "created": NOW - 60,
           "livemode": false, "data": {"object": {"id": format!("in_{number}"), "object": "invoice",
           "number": format!("INV-{number}"), "amount_paid": 1700, "currency": "eur", "status": "paid"}}})
    .to_string()
}

/// A database after this many later migrations, with data in it.
async fn left_at(later: usize) -> Arc<Database> {
    let database = Database::empty().await;
    let store = database.store();
    store.db.apply(Db::migrations()).await.unwrap();
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
    database.execute(ROWS).await;
    store.db.apply(&with_later(later)).await.unwrap();
    store.db.close().await;
    Arc::new(database)
}

/// How many rows each table has.
async fn counts(database: &Database) -> Vec<(&'static str, i64)> {
    let mut counted = Vec::new();
    for table in TABLES {
        let rows = database.number(&format!("select count(*) from eventbridge.{table}")).await;
        assert!(rows > 0, "{table} has no rows, so it is not tested");
        counted.push((*table, rows));
    }
    counted
}

#[tokio::test]
async fn every_earlier_version_can_be_upgraded_with_its_data() {
    let all = with_later(LATER.len());
    let mut newest_columns = None;
    for later in 0..=LATER.len() {
        let database = left_at(later).await;
        let before = counts(&database).await;
        let store = database.store();
        store.db.apply(&all).await.unwrap();
        assert!(store.db.is_migrated().await.unwrap(), "from {later}");
        assert_eq!(counts(&database).await, before, "from {later}");
        // The schema is the same for every upgrade path.
        let columns = database
            .number(
                "select sum(hashtext(table_name || column_name || data_type || is_nullable)::bigint)::bigint
                      from information_schema.columns where table_schema = 'eventbridge'",
            )
            .await;
        assert_eq!(*newest_columns.get_or_insert(columns), columns, "from {later}");
        let changed = "select count(*) from eventbridge.executions where later_note = 'as before'";
        assert_eq!(database.number(changed).await, 6, "from {later}");
        // This program keeps what a later one has added.
        store.db.migrate().await.unwrap();
        assert_eq!(database.number("select max(version) from eventbridge.migrations").await, 5);
        store.db.close().await;
        still_works(database, later).await;
    }
}

async fn still_works(database: Arc<Database>, later: usize) {
    let service = Service::builder().template(Template::Full).on(database).await.start().await;
    service.until_count(rows::executions().in_status("success").ids(&[2, 5]), 2).await;
    assert_eq!(service.sandbox.page_count(), 2, "from {later}");

    let events = service.get("/api/v1/events").await.json();
    assert_eq!(events["data"].as_array().unwrap().len(), 6, "from {later}");
    let payload = service.get("/api/v1/events/evt_old_1/payload").await;
    assert_eq!((payload.status.as_u16(), payload.body), (200, body(1)), "from {later}");
    assert_eq!(service.get("/api/v1/events/4/payload").await.status, 410, "from {later}");
    let statuses: Vec<_> = service.executions().await.iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["success", "success", "failed", "skipped", "success", "running"], "from {later}");
    let failed = service.get("/api/v1/executions/3").await.json();
    assert_eq!(failed["error_class"], "validation_error", "{failed}");
    assert_eq!(failed["attempts"].as_array().map(Vec::len), Some(1), "{failed}");

    // A copy of an old event is still recognized, and a failed execution can be retried.
    let copy = service.post_event(&body(3)).await.json();
    assert_eq!(copy["accepted"], false, "from {later}: {copy}");
    assert_eq!(service.post("/api/v1/executions/3/retry").await.status, 202, "from {later}");
    service.until_count(rows::executions().in_status("success"), 4).await;
    assert_eq!(service.get("/api/v1/health").await.json()["database"], "ok", "from {later}");
    service.stop().await;
}

#[tokio::test]
async fn a_later_program_migrates_while_replicas_of_this_one_run() {
    let service = Service::start().await;
    let store = service.database.store();
    let all = with_later(LATER.len());
    let post = async {
        for number in 1..=6 {
            assert_eq!(service.post_event(&body(number)).await.json()["accepted"], true);
        }
    };
    let (migrated, ()) = tokio::join!(store.db.apply(&all), post);
    migrated.unwrap();
    service.until_finished(6).await;
    assert_eq!(service.post_event(&body(7)).await.json()["accepted"], true);
    service.until_finished(7).await;
    service.stop().await;
}

#[tokio::test]
async fn a_blocked_migration_fails_fast_and_succeeds_when_retried() {
    let database = left_at(0).await;
    let held = database.hold_lock(rows::executions()).await;
    let store = database.store();
    let all = with_later(LATER.len());
    let refused = within("the migration fails", store.db.apply(&all)).await;
    assert!(matches!(refused, Err(MigrateError::Busy(_))), "{refused:?}");
    drop(held);
    store.db.apply(&all).await.unwrap();
    assert!(store.db.is_migrated().await.unwrap());
}

#[tokio::test]
async fn a_start_behind_another_ones_migrations_names_that_one_and_can_be_stopped() {
    const LOCK: i64 = 0x6576_656e_7462;
    let database = Database::empty().await;
    let mut other =
        PgConnection::connect_with(&database.options().application_name("another one")).await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut other).await.unwrap();
    let (store, stop) = (database.store(), CancellationToken::new());
    let (waiting, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let starting = store.db.migrate_when_there(&stop, move |error| waiting.send(error.to_string()).unwrap());
    let stopping = async {
        let reason = reasons.recv().await.unwrap();
        assert!(reason.contains("another one"), "{reason}");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(within("the start ends", starting), stopping);
    ended.unwrap();
    assert!(!store.db.is_migrated().await.unwrap());
}

#[tokio::test]
async fn indexes_are_built_concurrently_by_one_process_and_again_after_an_abort() {
    let database = left_at(LATER.len()).await;
    database
        .execute(
            "delete from eventbridge.migrations where version = 4;
             update pg_index set indisvalid = false
              where indexrelid = 'eventbridge.executions_by_later_note'::regclass",
        )
        .await;
    let all = with_later(LATER.len());
    let stores: Vec<_> = (0..3).map(|_| database.store()).collect();
    let done = futures_util::future::join_all(stores.iter().map(|store| store.db.apply(&all))).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let valid = "select count(*) from pg_index
                  where indisvalid and indexrelid = 'eventbridge.executions_by_later_note'::regclass";
    assert_eq!(database.number(valid).await, 1);
    assert_eq!(database.number("select count(*) from eventbridge.migrations where success").await, 4);
}

/// The schema of a version from before the first release.
const BEFORE_RELEASE: &str = "create schema eventbridge;
    create table eventbridge._sqlx_migrations (version bigint primary key, success boolean not null);
    insert into eventbridge._sqlx_migrations values (19, true);
    create table eventbridge.events (id bigint primary key)";

const TABLES_LEFT: &str = "select string_agg(tablename::text, ' ' order by tablename)
    from pg_tables where schemaname = 'eventbridge'";

#[tokio::test]
async fn a_schema_from_before_the_first_release_is_reported_and_unchanged() {
    let folder = TempDir::new().unwrap();
    let database = Database::empty().await;
    database.execute(BEFORE_RELEASE).await;
    let url = database.url();
    let settings = [
        ("DATABASE_URL", url.expose_secret()),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("PORT", "0"),
        ("AUTH", "off"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_x"),
        ("DESTINATIONS", ""),
    ];
    let options = database.options();
    let name = options.get_database().unwrap();
    for command in ["serve", "migrate", "dev"] {
        let done = output(eventbridge(folder.path()).arg(command).envs(settings)).await;
        assert!(!done.status.success(), "{command}");
        let errors = text(&done.stderr);
        for words in [name, "before the first release", "drop schema eventbridge cascade", "another database"]
        {
            assert!(errors.contains(words), "{command} does not print {words:?}: {errors}");
        }
        assert_eq!(database.text(TABLES_LEFT).await, "_sqlx_migrations events", "{command}");
    }
    assert!(!database.store().db.is_migrated().await.unwrap());
}

#[tokio::test]
async fn dev_names_the_folder_of_an_outdated_private_database() {
    let folder = TempDir::new().unwrap();
    let checkout = folder.path().to_owned();
    let start = move || {
        let lifetime = DataLifetime::Persistent { checkout: checkout.clone() };
        PrivatePostgres::start(Path::new(env!("CARGO_BIN_EXE_eventbridge")), lifetime).unwrap()
    };
    let private = tokio::task::spawn_blocking(start).await.unwrap();
    let mut connection = PgConnection::connect(private.url()).await.unwrap();
    sqlx::raw_sql(BEFORE_RELEASE).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let home = private.data_dir().parent().unwrap().to_owned();
    tokio::task::spawn_blocking(|| private.stop()).await.unwrap().unwrap();
    let done = output(eventbridge(folder.path()).arg("dev").env("PORT", "0")).await;
    assert!(!done.status.success());
    let errors = text(&done.stderr);
    assert!(errors.contains("before the first release"), "{errors}");
    assert!(errors.contains(&format!("remove the folder {}", home.display())), "{errors}");
    fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_in_utf_8_is_refused_at_the_start() {
    let database = Database::empty().await;
    let name = format!("{}_latin1", database.options().get_database().unwrap());
    database
        .execute(&format!("create database \"{name}\" encoding 'LATIN1' locale 'C' template template0"))
        .await;
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    url.set_path(&name);
    let store = Store::connect_lazily(&SecretString::from(url.to_string()), 2).unwrap();
    let refused = store.db.migrate().await.unwrap_err();
    assert!(matches!(refused, MigrateError::Encoding { .. }), "{refused:?}");
    assert!(refused.to_string().contains("LATIN1") && refused.to_string().contains(&name), "{refused}");
    store.db.close().await;
    database.execute(&format!("drop database \"{name}\"")).await;
}

#[tokio::test]
async fn a_role_without_the_right_to_create_and_a_missing_database_are_told_what_to_do() {
    let database = Database::empty().await;
    let name = database.options().get_database().unwrap().to_owned();
    let role = format!("{name}_reader");
    database.execute(&format!("create role \"{role}\"")).await;
    let url = Url::parse(database.url().expose_secret()).unwrap();
    let (mut of_reader, mut elsewhere) = (url.clone(), url);
    of_reader.query_pairs_mut().append_pair("options", &format!("-c role={role}"));
    elsewhere.set_path("no_such_database");
    for (url, expected) in [
        (of_reader, format!("grant create on database {name} to ")),
        (elsewhere, "create database no_such_database owner".to_owned()),
    ] {
        let store = Store::connect_lazily(&SecretString::from(url.to_string()), 2).unwrap();
        let refused = within("it is refused", store.db.migrate()).await.unwrap_err();
        let MigrateError::Refused { remedy, .. } = &refused else { panic!("{refused:?}") };
        assert!(remedy.replace('"', "").contains(&expected), "{refused}");
        store.db.close().await;
    }
    database.execute(&format!("drop role \"{role}\"")).await;
}

#[tokio::test]
async fn an_edited_first_migration_is_rejected_as_one_from_before_the_release() {
    let database = Database::new().await;
    database.execute("update eventbridge.migrations set checksum = '\\x00'").await;
    let refused = database.store().db.migrate().await;
    assert!(matches!(refused, Err(MigrateError::BeforeRelease { .. })), "{refused:?}");
}

#[tokio::test]
async fn every_table_and_index_has_a_comment() {
    let database = Database::new().await;
    let without = "select coalesce(string_agg(relname::text, ' '), '')
        from pg_class
        left join pg_index on indexrelid = pg_class.oid
       where relnamespace = 'eventbridge'::regnamespace and relkind in ('r', 'i', 'S')
         and indisprimary is not true and relname not like '%\\_id\\_seq'
         and obj_description(pg_class.oid, 'pg_class') is null";
    assert_eq!(database.text(without).await, "");
}
