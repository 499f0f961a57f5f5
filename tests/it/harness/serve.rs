//! `serve` as a process, with a folder of settings as an operator has one. It can be killed and started again
//! at the same address.

use super::{Database, eventbridge, output, text, within};
use eventbridge::http_client;
use eventbridge::sources::stripe;
use notion_sandbox::{RunningSandbox, Sandbox, SandboxHandle, SandboxOptions, Template};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The webhook secret, unless a test sets another one.
const SECRET: &str = "whsec_of_the_processes";

/// The slot in which `serve` runs.
pub struct Serve {
    pub database: Database,
    pub sandbox: SandboxHandle,
    _running_sandbox: RunningSandbox,
    settings: BTreeMap<&'static str, String>,
    folder: TempDir,
    address: SocketAddr,
    /// Reserves its port while no process listens there.
    _claim: UdpSocket,
    process: Option<Child>,
    http: reqwest::Client,
}

impl Serve {
    /// Starts a process on a database and a Notion of its own, and waits until it is ready.
    pub async fn start(settings: &[(&'static str, &str)]) -> Self {
        let (database, (address, claim)) = (Database::new().await, free_address());
        let options =
            SandboxOptions { template: Template::Full, rate_per_minute: None, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), options).await.unwrap();
        let mut serve = Self {
            settings: BTreeMap::from([
                ("DATABASE_URL", database.url().expose_secret().to_owned()),
                ("LISTEN_ADDR", address.to_string()),
                ("LOG_LEVEL", "warn".to_owned()),
                ("NOTION_API_URL", sandbox.base_url().to_owned()),
                ("NOTION_API_KEY", notion_sandbox::TOKEN.to_owned()),
                ("NOTION_DATABASE_ID", notion_sandbox::DATABASE_ID.to_string()),
                ("NOTION_RATE_PER_MINUTE", "0".to_owned()),
                ("STRIPE_WEBHOOK_SECRET", format!("dashboard={SECRET}")),
                ("USER", "jane".to_owned()),
            ]),
            database,
            sandbox: sandbox.handle(),
            _running_sandbox: sandbox,
            folder: TempDir::new().unwrap(),
            address,
            _claim: claim,
            process: None,
            http: http_client::local_client(Duration::from_secs(10)).unwrap(),
        };
        serve.set(settings);
        serve.start_process().await;
        serve
    }

    /// Changes settings, which the next process and the next command read.
    pub fn set(&mut self, settings: &[(&'static str, &str)]) {
        self.settings.extend(settings.iter().map(|(name, text)| (*name, (*text).to_owned())));
    }

    /// Where it listens.
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Starts a process, and waits until it is ready.
    pub async fn start_process(&mut self) {
        let mut command = self.command();
        command.arg("serve").stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        within("the process is ready", async {
            while !self.is_ready().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Stops the process as SIGTERM does, and starts another one.
    pub async fn restart(&mut self) {
        let mut process = self.process.take().unwrap();
        let pid = process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        within("the process stops", process.wait()).await.unwrap();
        self.start_process().await;
    }

    /// Kills the process, as a kernel does when memory runs out.
    pub async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// Runs a command with its settings.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        output(self.command().args(arguments)).await
    }

    /// What a command prints that does what it should.
    pub async fn prints(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments).await;
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        text(&done.stdout)
    }

    /// Posts an event as Stripe sends it, signed with the secret `dashboard`. Returns the status.
    pub async fn post_event(&self, body: &str) -> u16 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let signature = stripe::sign(SECRET, body.as_bytes(), now.try_into().unwrap());
        let url = format!("{}/api/v1/webhooks/stripe", self.origin());
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header("stripe-signature", signature)
            .body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    fn command(&self) -> Command {
        let mut command = eventbridge(self.folder.path());
        command.envs(&self.settings);
        command
    }

    async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.origin())).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

/// A port that stays free while its process is dead: no outgoing connection gets it by chance, and another run
/// on this machine finds the same UDP port in use.
fn free_address() -> (SocketAddr, UdpSocket) {
    let found = (0..100).find_map(|_| {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), rand::random_range(20_000..30_000));
        let claim = UdpSocket::bind(address).ok()?;
        TcpListener::bind(address).ok().map(|_| (address, claim))
    });
    found.expect("a free port between 20000 and 30000")
}
