//! The commands as processes: their output, their exit codes, and what they leave behind.

use crate::harness::{Database, Dev, eventbridge, output, rows, text, within};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use eventbridge::http_client;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fs;
use std::future::IntoFuture;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use url::Url;

#[tokio::test]
async fn serve_reports_all_missing_settings_at_once() {
    let folder = TempDir::new().unwrap();
    let done = output(eventbridge(folder.path()).arg("serve")).await;
    assert_eq!(done.status.code(), Some(1));
    let printed = text(&done.stderr);
    for name in ["STRIPE_WEBHOOK_SECRET", "DATABASE_URL", "API_KEYS", "NOTION_API_KEY", "NOTION_DATABASE_ID"]
    {
        assert!(printed.contains(name), "{name} in {printed}");
    }
}

#[tokio::test]
async fn serve_reports_an_unknown_destination_kind_and_an_invalid_setting() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(".env"), "DESTINATIONS=slack\nPORT=many\nAUTH=off\n").unwrap();
    let done = output(eventbridge(folder.path()).arg("serve").env("NOTION_API_KEY", "")).await;
    let printed = text(&done.stderr);
    assert!(
        printed.contains("\"slack\"") && printed.contains("PORT") && !printed.contains("API_KEYS"),
        "{printed}"
    );
}

#[tokio::test]
async fn an_invalid_env_file_is_named_and_not_quoted() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(".env"), "PORT=1\nAPI KEYS=ops:write:secret words here\n").unwrap();
    let done = output(eventbridge(folder.path()).arg("migrate")).await;
    let printed = text(&done.stderr);
    assert!(!done.status.success() && printed.contains(".env") && printed.contains("PORT"), "{printed}");
    assert!(!printed.contains("secret words"), "{printed}");
}

#[tokio::test]
async fn an_env_file_may_begin_with_a_byte_order_mark_and_must_be_utf_8() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(".env");
    fs::write(&file, "\u{feff}PORT=many\n").unwrap();
    let done = output(eventbridge(folder.path()).arg("serve")).await;
    assert!(text(&done.stderr).contains("PORT"), "it was read: {}", text(&done.stderr));
    fs::write(&file, b"\xff\xfeP\0O\0R\0T\0=\x001\0").unwrap();
    let done = output(eventbridge(folder.path()).arg("serve")).await;
    assert!(text(&done.stderr).contains("UTF-16"), "{}", text(&done.stderr));
}

#[tokio::test]
async fn migrate_stops_although_the_server_is_silent() {
    let folder = TempDir::new().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://eventbridge@{}/events", silent.local_addr().unwrap());
    let mut migrate = eventbridge(folder.path());
    let child = migrate.arg("migrate").env("DATABASE_URL", url).stderr(Stdio::piped()).spawn().unwrap();
    let _connection = within("it connects", silent.accept()).await.unwrap();
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = within("it ends", child.wait_with_output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("run it again"), "{}", text(&ended.stderr));
}

#[tokio::test]
async fn migrate_is_idempotent() {
    let folder = TempDir::new().unwrap();
    let database = Database::empty().await;
    for _ in 0..2 {
        let done = output(
            eventbridge(folder.path()).arg("migrate").env("DATABASE_URL", database.url().expose_secret()),
        )
        .await;
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    assert!(database.store().db.is_migrated().await.unwrap());
}

#[tokio::test]
async fn openapi_needs_no_setting() {
    let folder = TempDir::new().unwrap();
    let done = output(eventbridge(folder.path()).arg("openapi")).await;
    let description: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn the_demo_ignores_the_users_settings() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(".env"), "this is = no 'env file\nDATABASE_URL=mysql://nowhere").unwrap();
    let mut demo = eventbridge(folder.path());
    for (name, text) in [
        ("DATABASE_URL", "postgres://nobody@192.0.2.1/none"),
        ("PGHOST", "192.0.2.1"),
        ("PGOPTIONS", "-c no_such_setting=1"),
        ("NOTION_API_KEY", "ntn_real"),
        ("NOTION_API_URL", "https://notion.invalid"),
        ("DESTINATIONS", "nowhere"),
        ("HTTP_PROXY", "http://192.0.2.1:1"),
        ("LC_ALL", "xx_YY"),
        ("PORT", "1"),
    ] {
        demo.env(name, text);
    }
    let done = output(demo.arg("demo")).await;
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{printed}\n{}", text(&done.stderr));
    assert!(
        printed.contains("exactly one page") && printed.contains("1700") && printed.contains("JPY"),
        "{printed}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the demo left something behind");
}

#[tokio::test]
async fn dev_keeps_its_data_after_a_kill_and_leaves_no_server_behind() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path()).await;
    let mut trigger = eventbridge(folder.path());
    trigger.args(["trigger", "invoice.paid", "--count", "2"]);
    let done = output(&mut trigger).await;
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{printed}{}", text(&done.stderr));
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["accepted"], 2, "{report}");
    for sent in report["sent"].as_array().unwrap() {
        assert_eq!((&sent["status"], &sent["answer"]["accepted"]), (&json!(200), &json!(true)), "{report}");
        let page = dev.http.get(sent["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(page.status(), 200, "{report}");
    }
    let delivered = dev.delivered(2).await;
    let secret = folder.path().join(".eventbridge/stripe-webhook-secret");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);

    // It finds the same database and the same settings as dev.
    for arguments in [&["doctor"][..], &["status"], &["why", "in_none"], &["health"]] {
        let done = output(eventbridge(folder.path()).args(arguments)).await;
        let said = format!("{}{}", text(&done.stdout), text(&done.stderr));
        assert!(done.status.code() < Some(2) && !said.contains('✗'), "{arguments:?}: {said}");
    }

    let postmaster = dev.kill().await;
    within("the server is gone", async {
        while is_alive(&postmaster).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // The file with its settings is still there.
    assert!(folder.path().join(".eventbridge/settings.json").exists());
    for arguments in [&["doctor"][..], &["status"], &["why", "in_none"]] {
        let done = output(eventbridge(folder.path()).args(arguments)).await;
        let said = format!("{}{}", text(&done.stdout), text(&done.stderr)).replace('\n', " ");
        assert!(!done.status.success() && said.contains("is not running"), "{arguments:?}: {said}");
        assert!(!said.contains("is missing"), "only what matters is shown: {said}");
    }

    let dev = Dev::start(folder.path()).await;
    assert_eq!(dev.delivered(2).await, delivered);
    dev.stop().await;
}

#[tokio::test]
async fn dev_has_a_shop_whose_events_make_pages() {
    let folder = TempDir::new().unwrap();
    let dev = Dev::start_with_shop(eventbridge(folder.path()), None, "busy").await;
    let pages = dev.delivered_at_least(3).await;
    assert!(pages.iter().all(Value::is_string), "{pages:?}");
    dev.stop().await;
}

#[tokio::test]
async fn a_second_dev_in_one_folder_reports_that_it_waits() {
    let folder = TempDir::new().unwrap();
    let first = Dev::start(folder.path()).await;
    let mut second = eventbridge(folder.path());
    let mut second = second.arg("dev").env("PORT", "0").stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(second.stderr.take().unwrap()).lines();
    within("it logs that it waits", async {
        while !printed.next_line().await.unwrap().unwrap().contains("another dev in this folder") {}
    })
    .await;
    second.kill().await.unwrap();
    first.stop().await;
}

#[tokio::test]
async fn serve_is_live_but_not_ready_until_its_database_is_up() {
    let database = Database::new().await;
    let url = Url::parse(database.url().expose_secret()).unwrap();
    let Some((_, sockets)) = url.query_pairs().find(|(name, _)| name == "host") else {
        return; // The server of TEST_DATABASE_URL has no socket that could appear later.
    };
    let folder = TempDir::new().unwrap();
    let mut away = url.clone();
    let here = folder.path().to_str().unwrap();
    away.query_pairs_mut().clear().append_pair("host", here).append_pair("sslmode", "disable");
    let mut serve = eventbridge(folder.path());
    serve
        .args(["serve"])
        .envs([("DATABASE_URL", away.as_str()), ("LISTEN_ADDR", "127.0.0.1:0"), ("AUTH", "off")])
        .envs([("STRIPE_WEBHOOK_SECRET", "whsec_x"), ("DESTINATIONS", "")])
        .stdout(Stdio::piped());
    let mut process = serve.spawn().unwrap();
    let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut line_with = async |word: &str| loop {
        let line = within(word, log.next_line()).await.unwrap().expect("serve keeps running");
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["message"].as_str().unwrap().contains(word) {
            return line;
        }
    };
    let listening = line_with("listening").await;
    let base = Url::parse(&format!("http://{}", listening["address"].as_str().unwrap())).unwrap();
    line_with("waiting for the database").await;
    let http = http_client::client(&base, Duration::from_secs(10)).unwrap();
    assert_eq!(http.get(base.join("/livez").unwrap()).send().await.unwrap().status(), 200);
    let webhook = http.post(base.join("/api/v1/webhooks/stripe").unwrap()).body("{}").send().await.unwrap();
    assert_eq!(webhook.status(), 503);
    assert!(webhook.headers().contains_key("retry-after"));
    let detail = webhook.text().await.unwrap();
    assert!(detail.contains("its database cannot be reached") && !detail.contains(here), "{detail}");

    let socket = ".s.PGSQL.5432";
    std::os::unix::fs::symlink(Path::new(sockets.as_ref()).join(socket), folder.path().join(socket)).unwrap();
    line_with("serving").await;
    let health = http.get(base.join("/api/v1/health").unwrap()).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let pid = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(within("serve stops", process.wait()).await.unwrap().success());
}

#[tokio::test]
async fn dev_sends_samples_and_rejects_unknown_names() {
    let folder = TempDir::new().unwrap();
    let database = Database::new().await;
    let dev = Dev::start_on(folder.path(), Some(&database)).await;
    let trigger = dev.webhook.join("/api/v1/dev/trigger").unwrap();
    let send = |body: &str| {
        dev.http.post(trigger.clone()).header("content-type", "application/json").body(body.to_owned()).send()
    };
    let answer: Value = send(r#"{"type":"invoice:life"}"#).await.unwrap().json().await.unwrap();
    let answers = answer.as_array().unwrap();
    assert!(answers.len() == 4 && answers.iter().all(|sent| sent["status"] == 200), "{answer}");
    for body in [r#"{"type":"no.such"}"#, r#"{"type":"invoice.paid","count":101}"#, "{}", "no"] {
        let answer = send(body).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (400, "application/problem+json")
        );
    }
    let description: Value =
        dev.http.get(dev.webhook.join("/openapi.json").unwrap()).send().await.unwrap().json().await.unwrap();
    assert!(description["paths"]["/api/v1/dev/trigger"].is_object());
    dev.delivered(4).await;
    dev.stop().await;
}

#[tokio::test]
async fn without_its_private_database_dev_is_named_and_no_setting_of_an_address() {
    const REMEDY: &str = "runs this database itself";
    let folder = TempDir::new().unwrap();
    let dev = Dev::start(folder.path()).await;
    dev.kill_database().await;
    for arguments in [&["status"][..], &["why", "in_none"], &["doctor"]] {
        let done = output(eventbridge(folder.path()).args(arguments)).await;
        let said = format!("{}{}", text(&done.stdout), text(&done.stderr)).replace('\n', " ");
        assert!(!done.status.success(), "{arguments:?}: {said}");
        assert!(said.contains(REMEDY) && !said.contains("DATABASE_URL"), "{arguments:?}: {said}");
    }
    let page = dev.webhook.join("/").unwrap();
    within("the dashboard names dev", async {
        while !dev.http.get(page.clone()).send().await.unwrap().text().await.unwrap().contains(REMEDY) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    dev.kill_and_remove().await;
}

#[tokio::test]
async fn doctor_next_to_dev_has_all_of_its_settings() {
    let folder = TempDir::new().unwrap();
    let database = Database::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = format!("http://{}/alerts", listener.local_addr().unwrap());
    let router = Router::new().fallback(|| async { StatusCode::OK });
    let serving = tokio::spawn(axum::serve(listener, router).into_future());
    let mut command = eventbridge(folder.path());
    command.env("ALERT_URL", &receiver).env("STRIPE_WEBHOOK_SECRET", "whsec_of_the_shell");
    let dev = Dev::start_by(command, Some(&database)).await;
    let run = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = eventbridge(folder.path());
        command.env("DATABASE_URL", database.url().expose_secret()).args(arguments).envs(variables.to_vec());
        output(&mut command).await
    };
    let checked = run(&["doctor", "--alert-test", "--json"], &[]).await;
    let report = text(&checked.stdout);
    assert!(report.contains("accepted a test alert") && !report.contains("\"problem\""), "{report}");
    // A shell without its secret signs with it all the same.
    assert!(run(&["trigger", "invoice.paid"], &[]).await.status.success());
    let other = run(&["doctor", "--json"], &[("ALERT_PAUSED_MINUTES", "7")]).await;
    let report = text(&other.stdout);
    assert!(report.contains("running dev: ALERT_PAUSED_MINUTES"), "{report}");
    serving.abort();
    dev.stop().await;
}

#[tokio::test]
async fn dev_accepts_the_secret_of_a_logged_in_stripe_cli() {
    let folder = TempDir::new().unwrap();
    let database = Database::new().await;
    let cli = folder.path().join("stripe");
    fs::write(&cli, "#!/bin/sh\n[ \"$1 $2\" = 'listen --print-secret' ] && echo whsec_of_the_cli\n").unwrap();
    fs::set_permissions(&cli, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = eventbridge(folder.path());
    command.env("PATH", format!("{}:{path}", folder.path().display()));
    let dev = Dev::start_by(command, Some(&database)).await;
    for (secret, accepted) in [("whsec_of_the_cli", true), ("whsec_of_nobody", false)] {
        let mut trigger = eventbridge(folder.path());
        let trigger = trigger.args(["trigger", "invoice.paid"]).env("STRIPE_WEBHOOK_SECRET", secret);
        let done = output(trigger).await;
        assert_eq!(done.status.success(), accepted, "{}", text(&done.stdout));
    }
    assert_eq!(database.count(rows::events().verified_with("stripe-cli")).await, 1);
    dev.stop().await;
}

#[tokio::test]
async fn trigger_lists_the_samples_and_reports_an_unreachable_service() {
    let folder = TempDir::new().unwrap();
    let done = output(eventbridge(folder.path()).arg("trigger")).await;
    assert!(done.status.success() && text(&done.stdout).contains("checkout.session.completed"));
    let file = folder.path().join("secret");
    fs::write(&file, "whsec_x\n").unwrap();
    let file = file.to_str().unwrap();
    let unreachable = ["trigger", "invoice.paid", "--secret-file", file, "--url", "http://127.0.0.1:9/x"];
    let done = output(eventbridge(folder.path()).args(unreachable)).await;
    assert!(
        !done.status.success() && text(&done.stderr).contains("start the service, or give another address")
    );
    let done = output(eventbridge(folder.path()).args(["trigger", "no.such"])).await;
    assert!(!done.status.success() && text(&done.stderr).contains("invoice.paid"));
}

#[tokio::test]
async fn no_secret_is_accepted_as_an_argument() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["--secret", "whsec_shown"][..], &["--secret=whsec_shown"], &["--secret"]] {
        let trigger = [&["trigger", "invoice.paid", "--url", "http://127.0.0.1:9/x"], arguments].concat();
        let done = output(eventbridge(folder.path()).args(trigger)).await;
        let why = text(&done.stderr);
        assert!(!done.status.success() && why.contains("STRIPE_WEBHOOK_SECRET"), "{why}");
        assert!(why.contains("--secret-file") && !why.contains("whsec_shown"), "{why}");
    }
}

#[tokio::test]
async fn a_secret_in_place_of_its_file_is_not_quoted() {
    let folder = TempDir::new().unwrap();
    let secret = "ops:write:0123456789abcdef0123456789abcdef";
    let done = output(eventbridge(folder.path()).arg("serve").env("API_KEYS_FILE", secret)).await;
    let why = text(&done.stderr) + &text(&done.stdout);
    assert!(why.contains("API_KEYS_FILE") && !why.contains("0123456789"), "{why}");
}

async fn is_alive(process: &str) -> bool {
    Command::new("kill").args(["-0", process]).stderr(Stdio::null()).status().await.unwrap().success()
}

#[tokio::test]
async fn the_exit_code_of_ready_follows_the_local_service() {
    let folder = TempDir::new().unwrap();
    let ready = |port: u16| {
        let mut command = eventbridge(folder.path());
        command.arg("health").env("PORT", port.to_string());
        command
    };
    for (status, code) in [(200, 0), (503, 1)] {
        let answer = move || async move { (StatusCode::from_u16(status).unwrap(), "because") };
        let router = Router::new().route("/readyz", get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(axum::serve(listener, router).into_future());
        let done = output(&mut ready(port)).await;
        assert_eq!(done.status.code(), Some(code), "{done:?}");
        assert_eq!(text(&done.stderr).contains("because"), status != 200);
        serving.abort();
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(output(&mut ready(closed)).await.status.code(), Some(1));
    // A service that listens only on its network address is asked there. No process has this address.
    let elsewhere = output(ready(closed).env_remove("PORT").env("LISTEN_ADDR", "192.0.2.1:1")).await;
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(text(&elsewhere.stderr).contains("no answer from"), "{elsewhere:?}");
}
