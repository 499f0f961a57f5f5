//! `stripe init` and `stripe enable` as commands, against the stand-in for Stripe and a service that listens.

use crate::harness::{Database, Listening, NOW, Service, eventbridge, output, text, within};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use stripe_sandbox::{
    ApiKey, Endpoint, Fault, FaultRule, READ_PERMISSIONS, RESTRICTED_KEY, RunningSandbox, SECRET_KEY,
    Sandbox, SandboxHandle, SandboxOptions, ShopSize,
};
use tempfile::TempDir;
use tokio::process::Command;

const OTHER_SECRET: &str = "whsec_0123456789abcdefghijklmnopqrstuv";

/// A folder with settings and a key, a stand-in for Stripe without a shop, and the address of the service.
struct SetUp {
    folder: TempDir,
    stripe: RunningSandbox,
    port: u16,
    /// The service's database, if the command knows it.
    database: Option<String>,
    more: Vec<(&'static str, String)>,
}

/// The result of a command.
struct Ran {
    code: Option<i32>,
    json: Value,
    said: String,
}

impl SetUp {
    async fn new() -> Self {
        // The stand-in's client has no TLS, but in this build its library wants a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = SandboxOptions {
            keys: vec![ApiKey::secret(SECRET_KEY), ApiKey::restricted(RESTRICTED_KEY, READ_PERMISSIONS)],
            size: ShopSize::Empty,
            ..SandboxOptions::default()
        };
        let stripe = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("key"), format!("{SECRET_KEY}\n")).unwrap();
        Self { folder, stripe, port: 9, database: None, more: Vec::new() }
    }

    /// The same beside this service, which listens and accepts what is signed now.
    async fn beside(service: &Service) -> (Self, Listening) {
        let mut set_up = Self::new().await;
        let listening = service.listen(0).await;
        set_up.port = listening.port;
        set_up.database = Some(service.database.url().expose_secret().to_owned());
        set_up.sign_by_the_services_clock();
        (set_up, listening)
    }

    fn sign_by_the_services_clock(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.handle().set_skew(NOW - i64::try_from(now).unwrap());
    }

    fn handle(&self) -> SandboxHandle {
        self.stripe.handle()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/webhooks/stripe", self.port)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = eventbridge(self.folder.path());
        command
            .args(["stripe"])
            .args(args)
            .args(["--url", &format!("http://127.0.0.1:{}", self.port), "--key-file", "key"])
            .env("STRIPE_API_URL", self.stripe.base_url())
            .envs(self.database.iter().map(|url| ("DATABASE_URL", url)))
            .envs(self.more.iter().map(|(name, text)| (*name, text)));
        command
    }

    /// Runs it and checks that it shows neither the key nor a secret outside of the setting.
    async fn run(&self, args: &[&str]) -> Ran {
        let done = output(self.command(args).arg("--json")).await;
        let (printed, said) = (text(&done.stdout), text(&done.stderr));
        assert!(!printed.contains(SECRET_KEY) && !said.contains(SECRET_KEY), "{printed}{said}");
        assert!(!said.contains("whsec_"), "{said}");
        Ran { code: done.status.code(), json: serde_json::from_str(&printed).unwrap_or_default(), said }
    }

    async fn init(&self, args: &[&str]) -> Ran {
        self.run(&[&["init", "--yes"], args].concat()).await
    }

    fn env(&self) -> String {
        fs::read_to_string(self.folder.path().join(".env")).unwrap_or_default()
    }

    /// The text of the setting in `.env`.
    fn secrets(&self) -> String {
        let env = self.env();
        let line = env.lines().find_map(|line| line.strip_prefix("STRIPE_WEBHOOK_SECRET="));
        line.unwrap_or_else(|| panic!("no secret in {env:?}")).to_owned()
    }

    fn set_secrets(&self, text: &str) {
        fs::write(self.folder.path().join(".env"), format!("A=1\nSTRIPE_WEBHOOK_SECRET={text}\n")).unwrap();
    }

    fn writes(&self) -> usize {
        self.handle().requests().iter().filter(|request| request.method != "GET").count()
    }

    /// Creates a snapshot endpoint of the service, as a person in the dashboard does.
    async fn create(&self) -> String {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("url", self.url().as_str()), ("enabled_events[]", "*")])
            .finish();
        self.post("/v1/webhook_endpoints", "application/x-www-form-urlencoded", body).await
    }

    /// The same for thin events.
    async fn create_thin(&self) -> String {
        let body = json!({"name": "mine", "type": "webhook_endpoint", "event_payload": "thin",
            "enabled_events": ["v1.invoice.paid"], "webhook_endpoint": {"url": self.url()}});
        self.post("/v2/core/event_destinations", "application/json", body.to_string()).await
    }

    async fn post(&self, path: &str, content_type: &str, body: String) -> String {
        let http = eventbridge::http_client::local_client(Duration::from_secs(10)).unwrap();
        let request = http.post(format!("{}{path}", self.stripe.base_url())).bearer_auth(SECRET_KEY);
        let created = request.header("content-type", content_type).body(body).send().await.unwrap();
        let created: Value = created.json().await.unwrap();
        created["id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned()
    }

    fn publish(&self, id: &str) {
        self.handle().publish(
            &json!({"id": id, "object": "event", "type": "invoice.paid", "livemode": false,
            "created": self.handle().now(), "api_version": "2026-10-28.endive",
            "data": {"object": {"id": "in_1", "object": "invoice"}}}),
        );
    }
}

/// The ids of those that are enabled.
fn enabled(endpoints: &[Endpoint]) -> Vec<&str> {
    endpoints.iter().filter(|one| one.is_enabled).map(|one| one.id.as_str()).collect()
}

fn actions(json: &Value) -> Vec<&str> {
    json["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect()
}

async fn until_rejected(service: &Service) {
    within("the service rejects what it cannot verify", async {
        while service.get("/api/v1/rejections").await.json()["data"].as_array().is_none_or(Vec::is_empty) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn until_stored(database: &Database, event: &str) -> String {
    within("the event is stored", async {
        loop {
            let secret = database.store().endpoint_checks.secret_of("stripe", event).await.unwrap();
            if let Some(secret) = secret {
                return secret;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn init_creates_the_endpoint_and_a_second_run_changes_nothing() {
    let set_up = SetUp::new().await;
    let first = set_up.init(&["--timezone", "Europe/Berlin"]).await;
    assert_eq!(first.code, Some(0), "{}{:#}", first.said, first.json);
    let endpoints = set_up.handle().endpoints();
    let [endpoint] = endpoints.as_slice() else { panic!("{endpoints:?}") };
    assert_eq!((&endpoint.url, &endpoint.enabled_events), (&set_up.url(), &vec!["*".to_owned()]));
    assert_eq!(endpoint.api_version.as_deref(), Some(stripe_sandbox::API_VERSION));
    assert_eq!((&first.json["endpoint"], &first.json["written_to"]), (&json!(endpoint.id), &json!(".env")));
    assert_eq!(first.json["setting"], Value::Null, "a secret that was written is not printed");
    assert!(first.json["read_key_url"].as_str().unwrap().contains("rak_event_read"));
    let secret = set_up.handle().secret_of(&endpoint.id).unwrap();
    assert_eq!(set_up.secrets(), format!("test={secret}"));
    assert!(set_up.env().contains("REPORT_TIMEZONE=Europe/Berlin\n"));

    let (env, writes) = (set_up.env(), set_up.writes());
    let second = set_up.init(&[]).await;
    assert_eq!((second.code, &second.json["changed"]), (Some(0), &json!(false)), "{}", second.said);
    assert_eq!(actions(&second.json), ["keep"]);
    assert_eq!((set_up.env(), set_up.writes()), (env, writes));
    assert_eq!(format!("{:?}", set_up.handle().endpoints()), format!("{endpoints:?}"));
}

#[tokio::test]
async fn init_subscribes_to_what_filters_name_and_adds_what_is_missing_later() {
    let mut set_up = SetUp::new().await;
    set_up.more.push(("NOTION_EVENT_TYPES", "invoice.pa*,v1.payout.paid".to_owned()));
    let first = set_up.init(&["--thin"]).await;
    assert_eq!(first.code, Some(0), "{}", first.said);
    let events = &set_up.handle().endpoints()[0].enabled_events;
    assert!(events.contains(&"v1.invoice.paid".to_owned()) && events.len() < 10, "{events:?}");
    set_up.more[0].1 = "invoice.paid,charge.refunded".to_owned();
    let second = set_up.init(&[]).await;
    assert_eq!(actions(&second.json), ["keep", "add_events"], "{}", second.said);
    let more = &set_up.handle().endpoints()[0].enabled_events;
    assert!(more.len() == events.len() + 1 && more.contains(&"v1.charge.refunded".to_owned()), "{more:?}");
    set_up.more[0].1 = "nothing.of.stripes".to_owned();
    let none = set_up.init(&["--snapshot"]).await;
    assert!(none.code == Some(1) && none.said.contains("EVENT_TYPES"), "{}", none.said);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_shows_the_steps() {
    let set_up = SetUp::new().await;
    let dry = set_up.run(&["init", "--dry-run"]).await;
    assert_eq!((dry.code, &dry.json["dry_run"]), (Some(0), &json!(true)), "{}", dry.said);
    assert_eq!(actions(&dry.json), ["create"]);
    assert!(set_up.writes() == 0 && set_up.env().is_empty() && dry.said.contains("Nothing was changed"));
}

#[tokio::test]
async fn without_a_terminal_or_yes_nothing_is_changed() {
    let set_up = SetUp::new().await;
    let asked = set_up.run(&["init"]).await;
    assert!(asked.code == Some(1) && asked.said.contains("--yes"), "{}", asked.said);
    assert!(set_up.writes() == 0 && set_up.env().is_empty());
}

#[tokio::test]
async fn an_endpoint_whose_secret_is_configured_is_adopted() {
    let (mut set_up, database) = (SetUp::new().await, Arc::new(Database::new().await));
    // The endpoint's secret must be known before the service starts, and its port before that.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    set_up.port = listener.local_addr().unwrap().port();
    drop(listener);
    let id = set_up.create().await;
    let secret = set_up.handle().secret_of(&id).unwrap();
    let builder = Service::builder().on(database.clone()).await;
    let service = builder.set("STRIPE_WEBHOOK_SECRET", &format!("mine={secret}")).start().await;
    let listening = service.listen(set_up.port).await;
    set_up.sign_by_the_services_clock();
    set_up.set_secrets(&format!("old={OTHER_SECRET},mine={secret}"));
    let undecided = set_up.init(&[]).await;
    assert_eq!(
        (undecided.code, &undecided.json["changed"]),
        (Some(1), &json!(false)),
        "nothing is known yet"
    );

    set_up.publish("evt_1");
    assert_eq!(until_stored(&database, "evt_1").await, "mine");
    set_up.database = Some(database.url().expose_secret().to_owned());
    let adopted = set_up.init(&[]).await;
    assert_eq!(adopted.code, Some(0), "{}", adopted.said);
    assert_eq!((actions(&adopted.json), &adopted.json["secret"]), (vec!["keep"], &json!("mine")));
    assert_eq!(set_up.secrets(), format!("old={OTHER_SECRET},mine={secret}"));
    // It was recorded, so it is known without the service.
    set_up.database = None;
    let again = set_up.init(&[]).await;
    assert_eq!((again.code, &again.json["changed"]), (Some(0), &json!(false)), "{}", again.said);
    listening.end().await;
    service.stop().await;
}

/// A first endpoint has a secret that the service does not know: a second one is created, and the first is disabled
/// once the service accepts what the second sends.
async fn replaces_a_foreign_one(args: &[&str], is_thin: bool) {
    let service = Service::start().await;
    let (set_up, listening) = SetUp::beside(&service).await;
    set_up.set_secrets(crate::harness::SECRET);
    let old = if is_thin { set_up.create_thin().await } else { set_up.create().await };
    if !is_thin {
        set_up.publish("evt_foreign");
        until_rejected(&service).await;
    }
    let first = set_up.init(args).await;
    assert_eq!(first.code, Some(1), "{}", first.said);
    assert_eq!(actions(&first.json), ["create", "disable"]);
    let new = first.json["endpoint"].as_str().unwrap().to_owned();
    assert!(first.json["remaining"].as_str().unwrap().contains(&old), "{:#}", first.json);
    assert_eq!(enabled(&set_up.handle().endpoints()).len(), 2, "both until the service accepts the second");
    let secret = set_up.handle().secret_of(&new).unwrap();
    assert_eq!(set_up.secrets(), format!("secret-1={},test={secret}", crate::harness::SECRET));

    let again = set_up.init(args).await;
    assert_eq!((again.code, actions(&again.json)), (Some(1), vec!["keep", "disable"]), "{}", again.said);
    assert_eq!(enabled(&set_up.handle().endpoints()).len(), 2);

    // The service restarts with both secrets.
    listening.end().await;
    let restarted = service.replica().set("STRIPE_WEBHOOK_SECRET", &set_up.secrets()).start().await;
    let listening = restarted.listen(set_up.port).await;
    if !is_thin {
        set_up.publish("evt_after");
        assert_eq!(until_stored(&restarted.database, "evt_after").await, "test");
    }
    let last = set_up.init(args).await;
    assert_eq!((last.code, &last.json["changed"]), (Some(0), &json!(true)), "{}", last.said);
    let endpoints = set_up.handle().endpoints();
    assert_eq!((enabled(&endpoints), endpoints.len()), (vec![new.as_str()], 2), "none is deleted");
    let over = set_up.init(args).await;
    assert_eq!((over.code, &over.json["changed"]), (Some(0), &json!(false)), "{}", over.said);
    listening.end().await;
    restarted.stop().await;
    service.stop().await;
}

#[tokio::test]
async fn an_endpoint_with_a_foreign_secret_is_replaced_without_a_gap() {
    replaces_a_foreign_one(&[], false).await;
}

#[tokio::test]
async fn a_ping_shows_that_the_secret_of_a_thin_endpoint_is_foreign() {
    replaces_a_foreign_one(&["--thin"], true).await;
}

#[tokio::test]
async fn what_is_not_known_is_left_alone_unless_the_operator_decides() {
    let set_up = SetUp::new().await;
    let old = set_up.create().await;
    set_up.set_secrets(OTHER_SECRET);
    let writes = set_up.writes();
    let undecided = set_up.init(&[]).await;
    assert_eq!((undecided.code, set_up.writes()), (Some(1), writes), "{}", undecided.said);
    assert!(undecided.json["remaining"].as_str().unwrap().contains("--replace"), "{:#}", undecided.json);
    let replaced = set_up.init(&["--replace"]).await;
    assert_eq!(actions(&replaced.json), ["create", "disable"], "{}", replaced.said);
    assert_eq!(enabled(&set_up.handle().endpoints()).len(), 2, "{old} stays until the new one is accepted");
}

#[tokio::test]
async fn after_an_interruption_a_second_run_goes_on_with_the_same_endpoint() {
    // Stripe creates the endpoint, and its answer is lost.
    let set_up = SetUp::new().await;
    let lost = FaultRule::always(Fault::ErrorAfterWrite { status: 500 }).on("webhook_endpoints").after(1);
    set_up.handle().fault(lost).unwrap();
    let first = set_up.init(&[]).await;
    assert!(first.code == Some(1) && first.said.contains("run the command again"), "{}", first.said);
    set_up.handle().clear_faults();
    let id = set_up.handle().endpoints()[0].id.clone();
    let second = set_up.init(&[]).await;
    assert_eq!((second.code, actions(&second.json)), (Some(0), vec!["recover"]), "{}", second.said);
    let secret = set_up.handle().secret_of(&id).unwrap();
    assert_eq!((set_up.secrets(), set_up.handle().endpoints().len()), (format!("test={secret}"), 1));

    // The secret is stored, and Stripe is down when it is to be recorded.
    let set_up = SetUp::new().await;
    let down = Fault::Error { status: 503, should_retry: Some(false) };
    set_up.handle().fault(FaultRule::always(down).on("webhook_endpoints").after(2)).unwrap();
    let first = set_up.init(&[]).await;
    assert_eq!((first.code, first.json["remaining"].is_string()), (Some(1), true), "{}", first.said);
    set_up.handle().clear_faults();
    let secrets = set_up.secrets();
    let second = set_up.init(&[]).await;
    assert_eq!(second.code, Some(0), "{}", second.said);
    assert_eq!((set_up.secrets(), set_up.handle().endpoints().len()), (secrets, 1));
    assert_eq!(set_up.init(&[]).await.json["changed"], json!(false));
}

#[tokio::test]
async fn a_key_that_cannot_be_used_changes_nothing_and_is_not_shown() {
    let set_up = SetUp::new().await;
    for (key, said) in [
        (RESTRICTED_KEY, "rak_webhook_write"),
        ("sk_test_unknown", "does not accept"),
        ("whsec_0123456789", "signing secret"),
        ("", "is empty"),
    ] {
        fs::write(set_up.folder.path().join("key"), key).unwrap();
        let refused = set_up.init(&[]).await;
        assert!(refused.code == Some(1) && refused.said.contains(said), "{key}: {}", refused.said);
        assert!(key.is_empty() || !refused.said.contains(key), "{}", refused.said);
    }
    assert!(set_up.handle().endpoints().is_empty() && set_up.env().is_empty());
}

#[tokio::test]
async fn the_secret_is_printed_for_the_place_where_the_service_runs() {
    let set_up = SetUp::new().await;
    let done = output(set_up.command(&["init", "--yes", "--for", "fly"]).env_remove("DATABASE_URL")).await;
    let secret = set_up.handle().secret_of(&set_up.handle().endpoints()[0].id).unwrap();
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(printed.contains(&format!("fly secrets set STRIPE_WEBHOOK_SECRET='test={secret}'")), "{printed}");
    assert!(set_up.env().is_empty() && !text(&done.stderr).contains(&secret));

    // A setting of the environment takes precedence over .env, so it is printed too.
    let mut set_up = SetUp::new().await;
    set_up.more.push(("STRIPE_WEBHOOK_SECRET", format!("a={OTHER_SECRET}")));
    let done = set_up.init(&[]).await;
    let secret = set_up.handle().secret_of(&set_up.handle().endpoints()[0].id).unwrap();
    let expected = format!("STRIPE_WEBHOOK_SECRET=a={OTHER_SECRET},test={secret}");
    assert_eq!((&done.json["setting"], set_up.env().as_str()), (&json!(expected), ""), "{}", done.said);
}

#[tokio::test]
async fn enable_says_what_was_lost_and_enables_the_endpoint() {
    let set_up = SetUp::new().await;
    set_up.init(&[]).await;
    let id = set_up.handle().endpoints()[0].id.clone();
    let nothing = set_up.run(&["enable"]).await;
    assert_eq!((nothing.code, &nothing.json["changed"]), (Some(0), &json!(false)), "{}", nothing.said);
    set_up.handle().disable_endpoint(&id);
    let asked = set_up.run(&["enable"]).await;
    assert!(asked.code == Some(1) && asked.said.contains("never sends"), "{}", asked.said);
    assert!(enabled(&set_up.handle().endpoints()).is_empty());
    let done = set_up.run(&["enable", "--yes"]).await;
    assert_eq!((done.code, &done.json["endpoint"]), (Some(0), &json!(id)), "{}", done.said);
    assert_eq!(enabled(&set_up.handle().endpoints()), [id.as_str()]);

    // init does it too, because the secret is configured.
    set_up.handle().disable_endpoint(&id);
    let init = set_up.init(&[]).await;
    assert_eq!((init.code, actions(&init.json)), (Some(0), vec!["enable"]), "{}", init.said);
}
