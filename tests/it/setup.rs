//! A first start with missing settings, and secrets from files.

use crate::harness::{Database, eventbridge as command, text, within};
use secrecy::ExposeSecret;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A `serve` on a free port, once it has logged its address.
async fn started(command: &mut Command) -> (Child, String) {
    let mut child = command.env("LISTEN_ADDR", "127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = within("serve logs its address", async {
        loop {
            let line = log.next_line().await.unwrap().expect("serve has ended");
            let record: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = record["fields"]["address"].as_str().or(record["address"].as_str()) {
                return address.to_owned();
            }
        }
    })
    .await;
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (child, format!("http://{address}"))
}

fn client() -> reqwest::Client {
    eventbridge::http_client::local_client(std::time::Duration::from_secs(10)).unwrap()
}

async fn end(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(within("serve ends", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn with_setup_serve_lists_missing_settings_and_accepts_nothing() {
    let folder = TempDir::new().unwrap();
    let mut serve = command(folder.path());
    serve
        .arg("serve")
        .env("SETUP", "1")
        .env("API_KEYS", format!("ops:write:{KEY}"))
        .env("PROBE_SECONDS", "soon");
    let (child, base) = started(&mut serve).await;
    let page = client().get(&base).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let page = page.text().await.unwrap();
    for name in
        ["STRIPE_WEBHOOK_SECRET", "DATABASE_URL", "NOTION_API_KEY", "NOTION_DATABASE_ID", "PROBE_SECONDS"]
    {
        assert!(page.contains(name), "{name} in {page}");
    }
    assert!(!page.contains("API_KEYS") && !page.contains("soon") && !page.contains(KEY), "{page}");
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/api/v1/health", 503), ("/login", 503)] {
        assert_eq!(client().get(format!("{base}{path}")).send().await.unwrap().status(), status, "{path}");
    }
    let webhook = client().post(format!("{base}/api/v1/webhooks/stripe")).body("{}").send().await.unwrap();
    assert_eq!(webhook.status(), 503);
    assert!(webhook.headers().contains_key("retry-after"));
    end(child).await;
}

#[tokio::test]
async fn with_setup_and_all_settings_serve_reads_secrets_from_files() {
    let (folder, database) = (TempDir::new().unwrap(), Database::new().await);
    let file = |name: &str, secret: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        path
    };
    let mut serve = command(folder.path());
    serve
        .args(["serve", "--role", "web"])
        .env("SETUP", "1")
        .env("DESTINATIONS", "")
        .env("STRIPE_WEBHOOK_SECRET_FILE", file("stripe", "whsec_from_a_file"))
        .env("API_KEYS_FILE", file("keys", &format!("ops:write:{KEY}")))
        .env("DATABASE_URL_FILE", file("database", database.url().expose_secret()));
    let (child, base) = started(&mut serve).await;
    // When the service replaces the page that waits for the database, a connection may be reset.
    let client = client();
    let readyz = || client.get(format!("{base}/readyz")).send();
    within("serve is ready", async {
        while !readyz().await.is_ok_and(|answer| answer.status() == 200) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let events = client.get(format!("{base}/api/v1/events")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(events.status(), 200);
    end(child).await;
}

async fn refused(folder: &Path, setting: (&str, &str)) -> String {
    let mut serve = command(folder);
    serve.arg("serve").env("AUTH", "off").env("DESTINATIONS", "").env(setting.0, setting.1);
    let done = crate::harness::output(&mut serve).await;
    assert_eq!(done.status.code(), Some(1));
    text(&done.stderr)
}

#[tokio::test]
async fn an_unreadable_secret_file_is_reported_and_no_command_falls_back() {
    let folder = TempDir::new().unwrap();
    let errors = refused(folder.path(), ("DATABASE_URL_FILE", "/nowhere/database")).await;
    assert!(
        errors.contains("DATABASE_URL cannot be used: its file /nowhere/database (DATABASE_URL_FILE)"),
        "{errors}"
    );
    assert!(!errors.contains("DATABASE_URL is missing"), "{errors}");
    let migrate = crate::harness::output(
        command(folder.path()).arg("status").env("DATABASE_URL_FILE", "/nowhere/database"),
    )
    .await;
    assert!(text(&migrate.stderr).contains("/nowhere/database"), "{migrate:?}");
}
