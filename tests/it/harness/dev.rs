//! `dev` as a process, in a folder that represents a checkout.

use super::{Database, eventbridge, within};
use eventbridge::http_client;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

/// A running `dev`.
pub struct Dev {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The webhook URL.
    pub webhook: Url,
    /// The client for requests to it.
    pub http: reqwest::Client,
    /// The data folder when run as root, which is outside the checkout and so not removed with it.
    data_dir: Option<PathBuf>,
}

impl Dev {
    pub async fn start(folder: &Path) -> Self {
        Self::start_on(folder, None).await
    }

    pub async fn start_on(folder: &Path, database: Option<&Database>) -> Self {
        Self::start_by(eventbridge(folder), database).await
    }

    pub async fn start_by(command: Command, database: Option<&Database>) -> Self {
        Self::start_with_shop(command, database, "off").await
    }

    /// With a shop of this size, whose events arrive by themselves.
    pub async fn start_with_shop(mut command: Command, database: Option<&Database>, shop: &str) -> Self {
        command
            .args(["dev", "--shop", shop])
            .env("PORT", "0")
            .env("LOG_LEVEL", "warn")
            .stdout(Stdio::piped());
        if let Some(database) = database {
            command.env("DATABASE_URL", database.url().expose_secret());
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut webhook, mut postgres) = (None, None);
        within("dev prints its addresses", async {
            while postgres.is_none() {
                let line = lines.next_line().await.unwrap().expect("dev keeps running");
                let words: Vec<_> = line.split_whitespace().collect();
                match words.as_slice() {
                    ["Webhook", url] => webhook = Some(Url::parse(url).unwrap()),
                    ["Postgres", place] => postgres = Some((*place).to_owned()),
                    _ => {}
                }
            }
        })
        .await;
        let webhook = webhook.unwrap();
        let data_dir = match postgres.as_deref() {
            Some("DATABASE_URL") | None => None,
            Some(url) => {
                use sqlx::Connection;
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let path: String = sqlx::query_scalar("select current_setting('data_directory')")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                Some(PathBuf::from(path))
            }
        };
        let http = http_client::client(&webhook, Duration::from_secs(10)).unwrap();
        Self { process, lines, webhook, http, data_dir }
    }

    /// Waits until this many executions have succeeded, and returns the address of their pages.
    pub async fn delivered(&self, count: usize) -> Vec<Value> {
        self.delivered_if(|found| found == count).await
    }

    /// Waits until at least this many executions have succeeded.
    pub async fn delivered_at_least(&self, count: usize) -> Vec<Value> {
        self.delivered_if(|found| found >= count).await
    }

    async fn delivered_if(&self, is_enough: impl Fn(usize) -> bool) -> Vec<Value> {
        let url = self.webhook.join("/api/v1/executions?limit=200").unwrap();
        within("the deliveries have succeeded", async {
            loop {
                let listing: Value = self.http.get(url.clone()).send().await.unwrap().json().await.unwrap();
                let rows = listing["data"].as_array().unwrap().iter();
                let rows: Vec<_> = rows.filter(|row| row["status"] == "success").collect();
                if is_enough(rows.len()) {
                    return rows.iter().map(|row| row["remote_url"].clone()).collect();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Kills only the process, as `kill -9` does, and returns its server's process id.
    pub async fn kill(mut self) -> String {
        let pid_file = self.data_dir.as_ref().unwrap().join("postmaster.pid");
        let postmaster = fs::read_to_string(pid_file).unwrap().lines().next().unwrap().to_owned();
        self.process.kill().await.unwrap();
        postmaster
    }

    /// Kills its private database, and first the supervisor that would start it again.
    pub async fn kill_database(&self) {
        let pid_file = self.data_dir.as_ref().unwrap().join("postmaster.pid");
        let postmaster = fs::read_to_string(pid_file).unwrap().lines().next().unwrap().to_owned();
        let parent = Command::new("ps").args(["-o", "ppid=", "-p", &postmaster]).output().await.unwrap();
        let supervisor = String::from_utf8(parent.stdout).unwrap().trim().to_owned();
        assert!(
            Command::new("kill").args(["-9", &supervisor, &postmaster]).status().await.unwrap().success()
        );
    }

    /// Kills it, and removes its data. Its database must have been killed.
    pub async fn kill_and_remove(mut self) {
        self.process.kill().await.unwrap();
        let home = self.data_dir.as_ref().and_then(|data| data.parent()).unwrap();
        fs::remove_dir_all(home).unwrap();
    }

    /// Stops it as Ctrl-C does, and removes its data.
    pub async fn stop(mut self) {
        let pid = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        let status = within("dev stops", self.process.wait()).await.unwrap();
        assert!(status.success(), "{status}");
        let mut last = String::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            last = line;
        }
        assert!(last.contains("Stopped"), "{last}");
        if let Some(home) = self.data_dir.as_ref().and_then(|data| data.parent()) {
            fs::remove_dir_all(home).unwrap();
        }
    }
}
