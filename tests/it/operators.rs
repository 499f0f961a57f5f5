//! The operator commands as processes, on a database that a service has filled.

use crate::harness::rows::{Ended, Paused};
use crate::harness::{Database, NOW, Service, rows, text, within};
use axum::body::Body;
use axum::http::Request;
use eventbridge::app::Role;
use eventbridge::domain::visible::is_hidden;
use eventbridge::sources::stripe;
use notion_sandbox::{Fault, FaultRule, Route};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Runs a command on the service's database, in a folder of its own.
async fn eventbridge(service: &Service, arguments: &[&str]) -> Output {
    run(service.database.url().expose_secret(), arguments).await
}

async fn run(database: &str, arguments: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    within("the command ends", command(folder.path(), database, arguments).output()).await.unwrap()
}

fn command(folder: &Path, database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventbridge"));
    command
        .env_clear()
        .env("CARGO_MANIFEST_DIR", folder)
        .env("DATABASE_URL", database)
        .env("USER", "jane")
        .current_dir(folder)
        .args(arguments)
        .kill_on_drop(true);
    command
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

async fn post(service: &Service, id: &str) {
    let body = json!({"id": id, "type": "invoice.paid", "created": 1_700_000_000, "data": {"object": {
        "id": "in_1", "object": "invoice", "currency": "eur", "status": "paid", "amount_paid": 1_000}}});
    assert_eq!(service.post_event(&body.to_string()).await.status, 200);
}

#[tokio::test]
async fn status_reports_health_with_the_exit_codes_of_monitoring_plugins() {
    let service = Service::start().await;
    post(&service, "evt_1").await;
    service.until_finished(1).await;
    let well = eventbridge(&service, &["status"]).await;
    let report = json_of(&well);
    assert_eq!((well.status.code(), report["level"].clone()), (Some(0), json!("ok")), "{report}");
    assert_eq!(report["headline"], "All is well");
    assert!(report["sentences"][0].as_str().unwrap().starts_with("The last event arrived"), "{report}");
    assert_eq!(report["destinations"][0]["name"], "notion");

    // A running service would probe the destination, which works, and resume it.
    let database = service.database.clone();
    service.stop().await;
    let pause = Paused {
        lasts: Duration::from_mins(1),
        class: "unauthorized",
        reason: "no",
        remedy: "set a new NOTION_API_KEY",
        ..Paused::of("notion")
    };
    database.change(pause).await;
    let paused = run(database.url().expose_secret(), &["status", "--json"]).await;
    let report = json_of(&paused);
    assert_eq!((paused.status.code(), report["level"].clone()), (Some(2), json!("critical")), "{report}");
    assert!(report["sentences"][0].as_str().unwrap().contains("set a new NOTION_API_KEY"), "{report}");

    let away = run("postgres://eventbridge@localhost/eventbridge?host=%2Fnonexistent", &["status"]).await;
    assert_eq!((away.status.code(), json_of(&away)["level"].clone()), (Some(2), json!("critical")));
    let unset = run("", &["status"]).await;
    assert_eq!(unset.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unset.stderr).contains("DATABASE_URL"), "{unset:?}");
}

#[tokio::test]
async fn health_status_and_alerts_share_the_backlog_threshold() {
    for (minutes, found, code) in [("60", &["failures"][..], 1), ("15", &["backlog", "failures"], 2)] {
        let service = Service::builder()
            .set("ALERT_URL", "http://127.0.0.1:9/")
            .set("ALERT_PENDING_MINUTES", minutes)
            .start()
            .await;
        service.until_health("it works", |health| health["status"] == "ok").await;
        // The failure shows that all three have evaluated the backlog too, with any result.
        service.database.change(rows::waiting_since(Duration::from_mins(16))).await;
        service.database.change(rows::failure_group("a", "validation_error", "x")).await;
        let failed =
            Ended { class: Some("validation_error"), group: Some("a"), ..Ended::failed(Duration::ZERO) };
        service.database.change(failed).await;
        service
            .until_health("health reports it", |health| {
                let findings = health["findings"].as_array().unwrap().iter();
                findings.map(|finding| finding["kind"].as_str().unwrap()).eq(found.iter().copied())
            })
            .await;

        let folder = TempDir::new().unwrap();
        let url = service.database.url();
        let mut status = command(folder.path(), url.expose_secret(), &["status"]);
        let status =
            within("the command ends", status.env("ALERT_PENDING_MINUTES", minutes).output()).await.unwrap();
        let report = json_of(&status);
        assert_eq!(status.status.code(), Some(code), "{minutes}: {report}");
        assert_eq!(
            report["sentences"].to_string().contains("is behind"),
            found.contains(&"backlog"),
            "{report}"
        );

        within("the alerts have the same findings", async {
            while service.database.kinds_of_alerts().await != found.join(" ") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        service.stop().await;
    }
}

#[tokio::test]
async fn status_can_watch_until_it_is_stopped() {
    let (database, folder) = (Database::new().await, TempDir::new().unwrap());
    let url = database.url();
    let mut command = command(folder.path(), url.expose_secret(), &["status", "--watch"]);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = within("the command prints a line", lines.next_line())
            .await
            .unwrap()
            .expect("a line for each check");
        assert!(serde_json::from_str::<Value>(&line).unwrap()["level"].is_string(), "{line}");
    }
    let pid = watching.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    // No worker runs and no event has arrived; the exit code is that of the last assessment.
    let ended = within("the command stops", watching.wait()).await.unwrap();
    assert!(ended.code().is_some_and(|code| code <= 2), "{ended}");
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_silently() {
    let folder = TempDir::new().unwrap();
    let mut printing = command(folder.path(), "", &["openapi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(printing.stdout.take());
    let ended = within("the command ends", printing.wait_with_output()).await.unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(141), ""));
}

#[tokio::test]
async fn status_reports_rejections_and_failures_with_the_next_commands() {
    let service = Service::start().await;
    post(&service, "evt_1").await;
    let refusal = Fault::Invalid { message: "This is refused.".into() };
    service.sandbox.fault(FaultRule::always(refusal).on(Route::Create).containing("evt_2")).unwrap();
    post(&service, "evt_2").await;
    service.until_finished(2).await;
    let failing = eventbridge(&service, &["status"]).await;
    let report = json_of(&failing);
    assert_eq!(
        (failing.status.code(), report["failures"][0]["count"].clone()),
        (Some(1), json!(1)),
        "{report}"
    );
    let group = report["failures"][0]["id"].as_str().unwrap();
    let sentence = report["sentences"][0].as_str().unwrap();
    assert!(sentence.contains("eventbridge why 2 ") && sentence.contains(group), "{sentence}");

    let body = "{\n  \"id\": \"evt_3\",\n  \"object\": \"event\",\n  \"type\": \"invoice.paid\"\n}";
    let forged = Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("user-agent", "Stripe/1.0")
        .header("stripe-signature", stripe::sign("whsec_of_another", body.as_bytes(), NOW))
        .body(Body::from(body));
    assert_eq!(service.call(forged.unwrap()).await.status, 400);
    within("the rejection is stored", async {
        while json_of(&eventbridge(&service, &["status"]).await)["rejected_in_a_row"] == 0 {}
    })
    .await;
    let rejected = json_of(&eventbridge(&service, &["status"]).await);
    assert!(rejected["sentences"].to_string().contains("STRIPE_WEBHOOK_SECRET"), "{rejected}");
}

#[tokio::test]
async fn why_prints_the_timeline_in_order() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    post(&service, "evt_told").await;
    service.until_finished(1).await;
    for what in ["evt_told", "1"] {
        let story = eventbridge(&service, &["why", what]).await;
        assert_eq!(story.status.code(), Some(0), "{story:?}");
        let story = json_of(&story);
        let timeline = story[0]["timeline"].as_array().unwrap();
        let happened: Vec<_> = timeline.iter().map(|moment| moment["what"].as_str().unwrap()).collect();
        let expected = [
            "created at stripe",
            "received, signed with the secret secret-1, and stored as event 1",
            "execution 1 to notion: attempt 1: transient 409 (conflict_error) after",
            "execution 1 to notion: attempt 2: delivered 200 after",
        ];
        assert_eq!(happened.len(), expected.len(), "{happened:#?}");
        for (line, start) in happened.iter().zip(expected) {
            assert!(line.starts_with(start), "{line} / {start}");
        }
    }
    let nothing = eventbridge(&service, &["why", "evt_none"]).await;
    assert_eq!((nothing.status.code(), json_of(&nothing)), (Some(1), json!([])));
}

#[tokio::test]
async fn a_hostile_id_is_stored_and_shown_with_its_hidden_characters_visible() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let body = "{\"id\":\"evt_1\",\"type\":\"invoice\u{2067}.paid\",\"data\":{\"object\":{\"id\":\"in_1\u{202e}2\u{e0041}\",\"object\":\"invoice\",\"number\":\"A\u{202e}B\u{9b}2J\"}}}";
    assert_eq!(service.post_event(body).await.status, 200, "no event is lost");
    let event = service.get("/api/v1/events/evt_1").await;
    assert_eq!(event.json()["object_id"], r"in_1\u202e2\udb40\udc41", "{event:?}");
    let payload = service.get("/api/v1/events/evt_1/payload").await;
    assert_eq!(payload.body, body, "the body is stored byte for byte");
    for arguments in [&["why", "evt_1"][..], &["why", "evt_\u{202e}1"], &["status"]] {
        let shown = eventbridge(&service, arguments).await;
        for printed in [text(&shown.stdout), text(&shown.stderr)] {
            let hidden: Vec<_> = printed.chars().filter(|c| is_hidden(*c) && *c != '\n').collect();
            assert!(hidden.is_empty(), "{arguments:?}: {printed:?}");
        }
    }
    let rejected = service.post_event("{\"id\":\"evt_\u{202e}1\"}").await;
    assert_eq!(rejected.problem(400), "event_id_invalid", "two ids could look the same");
}

#[tokio::test]
async fn retry_accepts_numbers_or_a_filter_and_is_audited() {
    let service = Service::start().await;
    let refusal = Fault::Invalid { message: "This is refused.".into() };
    service.sandbox.fault(FaultRule::once(refusal).on(Route::Create)).unwrap();
    post(&service, "evt_1").await;
    service.until_finished(1).await;
    post(&service, "evt_2").await;
    service.until_finished(2).await;
    let dry = json_of(&eventbridge(&service, &["retry", "--failed", "--dry-run"]).await);
    assert_eq!((dry["count"].clone(), dry["dry_run"].clone()), (json!(1), json!(true)));
    assert_eq!(service.executions().await[0]["status"], "failed");
    let unbounded = eventbridge(&service, &["retry", "--destination", "notion"]).await;
    assert!(String::from_utf8_lossy(&unbounded.stderr).contains("--created-after"), "{unbounded:?}");
    let mut notifications = service.database.listen("eventbridge_work").await;
    let done = eventbridge(&service, &["retry", "--failed"]).await;
    within("the workers are notified", async {
        while notifications.recv().await.unwrap().payload() != "" {}
    })
    .await;
    assert_eq!((done.status.code(), json_of(&done)["retried"].clone()), (Some(0), json!(1)), "{done:?}");
    service
        .until("it is delivered", |executions| {
            executions.iter().all(|execution| execution["status"] == "success")
        })
        .await;
    let audit = service.get("/api/v1/audit").await.json();
    assert_eq!(audit["data"][0]["actor"], "cli:jane", "{audit}");
    assert_eq!(audit["data"][0]["action"], "executions.retried", "{audit}");
    let task = service.get("/api/v1/tasks/task_1").await.json();
    assert_eq!((&task["status"], &task["actor"]), (&json!("succeeded"), &json!("cli:jane")));

    let none = eventbridge(&service, &["retry", "99"]).await;
    assert_eq!(
        (none.status.code(), json_of(&none)["refused"][0]["execution_id"].clone()),
        (Some(1), json!(99))
    );
    let suppressed = eventbridge(&service, &["retry"]).await;
    assert!(!suppressed.status.success() && String::from_utf8_lossy(&suppressed.stderr).contains("--failed"));
}

#[tokio::test]
async fn replay_delivers_again_and_creates_missing_executions() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        post(&service, id).await;
    }
    let replay = |arguments: &'static [&'static str]| eventbridge(&service, arguments);
    let dry = json_of(&replay(&["replay", "--type", "invoice.*", "--dry-run"]).await);
    assert_eq!(
        dry,
        json!({"dry_run": true, "events": 3, "created": 3, "again": 0, "delivery_seconds": null, "task_id": null})
    );
    assert!(service.executions().await.is_empty());
    let one = json_of(&replay(&["replay", "evt_2"]).await);
    assert_eq!(
        one,
        json!({"dry_run": false, "events": 1, "created": 1, "again": 0, "delivery_seconds": null, "task_id": "task_1"})
    );
    let all = json_of(&replay(&["replay", "--object-id", "in_1"]).await);
    assert_eq!(
        all,
        json!({"dry_run": false, "events": 3, "created": 2, "again": 0, "delivery_seconds": null, "task_id": "task_2"})
    );
    let working = service.replica().start().await;
    working.until_finished(3).await;
    let again = json_of(&replay(&["replay", "--type", "invoice.paid", "--destination", "notion"]).await);
    assert_eq!(
        again,
        json!({"dry_run": false, "events": 3, "created": 0, "again": 3, "delivery_seconds": null, "task_id": "task_3"})
    );
    for (arguments, message) in [
        (&["replay"][..], "--type"),
        (&["replay", "evt_none"], "no event with this id"),
        (&["replay", "--type", "a b"], "pattern"),
        (&["replay", "--status", "failed"], "--received-after"),
        (&["replay", "evt_1", "--destination", "elsewhere"], "notion"),
    ] {
        let refused = eventbridge(&service, arguments).await;
        assert!(!refused.status.success(), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(message), "{message}: {refused:?}");
    }
}

#[tokio::test]
async fn pause_and_resume_stop_and_start_deliveries_and_are_audited() {
    let service = Service::start().await;
    let paused = eventbridge(&service, &["pause", "notion", "--note", " moving house "]).await;
    assert_eq!(paused.status.code(), Some(0), "{paused:?}");
    assert_eq!(json_of(&paused), json!({"destination": "notion", "state": "paused", "waiting": 0}));
    post(&service, "evt_1").await;
    let listed = service.get("/api/v1/destinations").await.json();
    let pause = &listed["data"][0]["pause"];
    assert_eq!(
        (&pause["origin"], &pause["reason"], &pause["paused_by"]),
        (&json!("operator"), &json!("moving house"), &json!("cli:jane"))
    );
    let status = json_of(&eventbridge(&service, &["status"]).await);
    let sentence = status["sentences"][0].as_str().unwrap();
    assert!(
        sentence.ends_with("Paused by cli:jane: moving house. Run eventbridge resume notion to continue."),
        "{sentence}"
    );
    let story = json_of(&eventbridge(&service, &["why", "evt_1"]).await).to_string();
    assert!(
        story.contains("its destination is paused by cli:jane: moving house. What to do: run"),
        "{story}"
    );
    let going_on = eventbridge(&service, &["resume", "notion"]).await;
    assert_eq!(json_of(&going_on)["was_paused"], true, "{going_on:?}");
    service.until_finished(1).await;
    assert_eq!(json_of(&eventbridge(&service, &["resume", "notion"]).await)["was_paused"], false);
    let audit = service.get("/api/v1/audit?subject_kind=destination&subject_id=notion").await.json();
    let lines: Vec<_> =
        audit["data"].as_array().unwrap().iter().map(|line| (&line["action"], &line["actor"])).collect();
    let jane = json!("cli:jane");
    assert_eq!(
        lines,
        [(&json!("destination.resumed"), &jane), (&json!("destination.paused"), &jane)],
        "a resume without effect is not audited"
    );
    for (arguments, code, message) in [
        (&["pause", "elsewhere", "--note", "x"][..], 1, "there are: notion"),
        (&["resume", "elsewhere"], 1, "there are: notion"),
        (&["pause", "notion"], 2, "--note"),
        (&["pause", "notion", "--note", " "], 2, "1 to 500"),
    ] {
        let refused = eventbridge(&service, arguments).await;
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(message), "{message}: {refused:?}");
    }
}

#[tokio::test]
async fn without_its_database_every_command_names_the_same_cause_and_remedy() {
    let away = "postgres://eventbridge@127.0.0.1:1/eventbridge";
    let (cause, remedy) =
        ("127.0.0.1, port 1", "check whether the database runs at the address in DATABASE_URL");
    for arguments in [
        &["status", "--json"][..],
        &["doctor", "--json"],
        &["why", "evt_1"],
        &["retry", "--failed"],
        &["replay", "evt_1"],
        &["cancel", "1"],
        &["pause", "notion", "--note", "x"],
        &["resume", "notion"],
        &["acknowledge", "a", "--note", "x"],
        &["prune", "--before", "2020-01-01", "--yes"],
    ] {
        let done = run(away, arguments).await;
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(said.contains(cause) && said.contains(remedy), "{arguments:?}: {said}");
        assert!(!said.contains("pool timed out"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn why_shows_every_retry_and_how_the_execution_ended_before_it() {
    let service = Service::start().await;
    let refusal = Fault::Invalid { message: "This is refused.".into() };
    service.sandbox.fault(FaultRule::once(refusal).on(Route::Create).times(3)).unwrap();
    post(&service, "evt_1").await;
    for retry in [&["retry", "--failed"][..], &["retry", "1"], &["retry", "--failed"]] {
        service.until_count(rows::executions().in_status("failed"), 1).await;
        assert_eq!(eventbridge(&service, retry).await.status.code(), Some(0));
    }
    service.until_count(rows::executions().in_status("success"), 1).await;
    let story = json_of(&eventbridge(&service, &["why", "evt_1"]).await);
    let told: Vec<_> =
        story[0]["timeline"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    let count = |end: &str| told.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(count("retried by cli:jane"), 3, "each, and of one execution alone: {told:#?}");
    assert_eq!(count("execution 1 to notion: failed"), 3, "{told:#?}");
}

#[tokio::test]
async fn why_says_when_the_turn_of_an_execution_comes() {
    let service = Service::builder().role(Role::Web).set("NOTION_RATE_PER_MINUTE", "60").start().await;
    for number in 0..121 {
        post(&service, &format!("evt_{number}")).await;
    }
    let folder = TempDir::new().unwrap();
    let url = service.database.url();
    let mut why = command(folder.path(), url.expose_secret(), &["why", "evt_120"]);
    for (name, text) in [
        ("NOTION_API_KEY", "ntn_x"),
        ("NOTION_DATABASE_ID", "eb000000-0000-4000-8000-000000000002"),
        ("NOTION_RATE_PER_MINUTE", "60"),
    ] {
        why.env(name, text);
    }
    let story = within("the command ends", why.output()).await.unwrap();
    let said = String::from_utf8_lossy(&story.stdout).into_owned();
    assert!(said.contains("120 others go first: its turn comes in about 2 min"), "{said}");
}

#[tokio::test]
async fn cancel_affects_only_pending_executions() {
    let service = Service::start().await;
    post(&service, "evt_1").await;
    service.until_finished(1).await;
    eventbridge(&service, &["pause", "notion", "--note", "not now"]).await;
    post(&service, "evt_2").await;
    let dry = json_of(&eventbridge(&service, &["cancel", "2", "--dry-run"]).await);
    assert_eq!(dry, json!({"dry_run": true, "count": 1, "tasks": [], "refused": []}));
    assert_eq!(service.executions().await[1]["status"], "pending");
    for arguments in [&["cancel", "1", "2", "99", "--dry-run"][..], &["cancel", "1", "2", "99"]] {
        let done = eventbridge(&service, arguments).await;
        let report = json_of(&done);
        let count = if report["dry_run"] == true { "count" } else { "cancelled" };
        assert_eq!((done.status.code(), &report[count]), (Some(1), &json!(1)), "{report}");
        let refused: Vec<_> =
            report["refused"].as_array().unwrap().iter().map(|one| one["execution_id"].clone()).collect();
        assert_eq!(refused, [1, 99], "{report}");
    }
    let cancelled = &service.executions().await[1];
    assert_eq!(
        (&cancelled["status"], &cancelled["reason"]),
        (&json!("cancelled"), &json!("cancelled by cli:jane"))
    );
    let audit = service.get("/api/v1/audit?subject_kind=execution&subject_id=2").await.json();
    assert_eq!(audit["data"][0]["action"], "execution.cancelled", "{audit}");
}

#[tokio::test]
async fn acknowledge_silences_a_failure_group_until_revoked() {
    let service = Service::start().await;
    let refusal = Fault::Invalid { message: "This is refused.".into() };
    service.sandbox.fault(FaultRule::once(refusal).on(Route::Create)).unwrap();
    post(&service, "evt_1").await;
    service.until_finished(1).await;
    let status = async || json_of(&eventbridge(&service, &["status"]).await);
    let group = status().await["failures"][0]["id"].as_str().unwrap().to_owned();
    let acknowledge = async |more: &[&str]| {
        let arguments: Vec<_> = ["acknowledge", &group].into_iter().chain(more.iter().copied()).collect();
        let done = eventbridge(&service, &arguments).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        json_of(&done)
    };
    let dry = acknowledge(&["--note", "It is known.", "--dry-run"]).await;
    assert_eq!((&dry["changed"], &dry["failure"]["acknowledged"]), (&json!(false), &json!(false)), "{dry}");
    let known = acknowledge(&["--note", "It is known."]).await;
    assert_eq!(known["failure"]["note"], "It is known.");
    assert_eq!(known["failure"], service.get(&format!("/api/v1/failures/{group}")).await.json());
    assert_eq!(status().await["level"], "ok");
    let back = acknowledge(&["--revoke"]).await;
    assert_eq!((&back["changed"], &back["failure"]["acknowledged"]), (&json!(true), &json!(false)), "{back}");
    assert_eq!(status().await["level"], "warning");
    assert_eq!(acknowledge(&["--revoke"]).await["changed"], false);
    for (arguments, code) in [
        (&["acknowledge", "unknown", "--note", "x"][..], 1),
        (&["acknowledge", &group], 2),
        (&["acknowledge", &group, "--note", "x", "--revoke"], 2),
    ] {
        assert_eq!(eventbridge(&service, arguments).await.status.code(), Some(code), "{arguments:?}");
    }
}
