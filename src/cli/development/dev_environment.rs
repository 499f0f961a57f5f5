//! The development environment: a private Postgres, the service and the stand-ins for Notion and Stripe on this
//! machine.
//!
//! `dev` and `demo` both run one. They differ in what they keep and in what they print.

use super::browser_trigger;
use super::sender::{self, Sender};
use super::shop::{self, ShopChoice};
use crate::alerts;
use crate::app::{DEFAULT_KINDS, Parts, Role, Service};
use crate::cli::doctor::known_names;
use crate::cli::local_state::PRIVATE_DATABASE;
use crate::cli::{command_context, environment};
use crate::config::{InstanceName, Reader, Settings, Vars};
use crate::destinations;
use crate::domain::source::SourceCatalog;
use crate::endpoint_watch;
use crate::health;
use crate::sources::Registry;
use crate::sources::stripe::{self, NamedSecret};
use crate::store::{self, MigrateError};
use crate::ui::{Playground, SampleError, SendSample};
use anyhow::Context;
use notion_sandbox::{RunningSandbox, Sandbox, SandboxError, SandboxOptions, Template};
use private_postgres::{DataLifetime, PrivatePostgres};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use url::Url;

/// What to start.
pub(super) struct Options {
    /// The user's settings, or none.
    pub vars: Vars,
    /// Whether a private server's data is kept after it stops.
    pub data_lifetime: DataLifetime,
    /// Where the sandbox keeps its pages.
    pub sandbox_journal: Option<PathBuf>,
    /// Secrets to accept if the settings have none. The first one signs samples.
    pub fallback_secrets: Vec<NamedSecret>,
    /// Take any free ports instead of the usual ones.
    pub free_ports: bool,
    /// How much the shop sells at the stand-in for Stripe; `None` decides by the settings.
    pub shop: Option<ShopChoice>,
}

/// A started environment, ready to serve.
pub(super) struct DevEnvironment {
    service: Service,
    listener: TcpListener,
    /// The address of the service, with `localhost`.
    pub base_url: String,
    /// The secret that samples are signed with.
    pub secret: SecretString,
    /// Sends samples to the service.
    pub sender: Sender,
    /// The Notion sandbox, if no real Notion is configured.
    pub sandbox: Option<RunningSandbox>,
    /// The stand-in for Stripe, if there is a shop.
    pub shop: Option<stripe_sandbox::RunningSandbox>,
    /// The private server, if no other database is configured.
    pub postgres: Option<PrivatePostgres>,
    /// All settings, also those that were filled in, so that other commands use the same.
    pub settings: BTreeMap<String, String>,
}

/// The settings of the address: other commands find the one at which it listens.
const ADDRESS: [&str; 2] = ["LISTEN_ADDR", "PORT"];

impl DevEnvironment {
    /// Starts all parts in order. If one fails, those that were started stop.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let Options { mut vars, data_lifetime, sandbox_journal, fallback_secrets, free_ports, shop } =
            options;
        let mut settings = development_settings(&vars)?;
        if free_ports {
            settings.listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        }
        let choice = shop.unwrap_or_else(|| shop::by_settings(&vars, &settings));
        let secret = signing_secret(&mut vars, &fallback_secrets)?;

        let listener = listen(settings.listen).await?;
        let address = listener.local_addr()?;
        let postgres =
            if settings.has_database() { None } else { Some(start_postgres(data_lifetime).await?) };
        if let Some(postgres) = &postgres {
            settings.database.url = SecretString::from(postgres.url());
            vars.set("DATABASE_URL", postgres.url());
            store::database_is_private();
        }
        let sandbox = if vars.is_meant("NOTION_API_KEY") {
            None
        } else {
            Some(start_sandbox(&mut vars, address, sandbox_journal).await?)
        };
        let shop = shop::start(choice, &mut vars, address, webhook_url(address)?, &secret).await?;
        let mut reader = Reader::new(&vars);
        let sources = Registry::configure(&mut reader, &settings.sources);
        let instances = destinations::configure(&mut reader, &settings.instances, sources.types());
        let (alerts, thresholds) = (alerts::settings(&mut reader), health::thresholds(&mut reader));
        environment::log_warnings(&mut reader);
        let (instances, alerts, thresholds) = reader.finish((instances, alerts, thresholds))?;

        let names = known_names(&settings.sources, &settings.instances);
        let store = command_context::connect(&settings.database, settings.database_connections)?;
        if let Err(error) = store.db.migrate().await {
            let advice = advice(&error, postgres.as_ref());
            return Err(anyhow::Error::new(error).context(advice));
        }
        let sender = Sender::new(webhook_url(address)?, secret.clone())?;
        let service = Service::start(Parts {
            role: Role::All,
            store,
            settings,
            alerts,
            thresholds,
            sources,
            instances,
            endpoint_pace: endpoint_watch::Pace::default(),
            clock: Arc::new(|| SystemTime::now().into()),
            more_routes: browser_trigger::routes(sender.clone()),
            playground: Some(playground(sender.clone(), sandbox.as_ref())),
        });
        let base_url = format!("http://localhost:{}", address.port());
        let given = names.into_iter().filter(|name| vars.is_given(name) && !ADDRESS.contains(&name.as_str()));
        let mut settings: BTreeMap<_, _> =
            given.map(|name| (name.clone(), vars.get(&name).unwrap_or_default().to_owned())).collect();
        settings.insert("LISTEN_ADDR".to_owned(), address.to_string());
        if postgres.is_some() {
            settings.insert(PRIVATE_DATABASE.to_owned(), String::new());
        }
        Ok(Self { service, listener, base_url, secret, sender, sandbox, shop, postgres, settings })
    }

    /// Serves until `shutdown` resolves; then drains the service, and only then stops the stand-ins
    /// and the database that it drains into.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let Self { service, listener, sandbox, shop, postgres, .. } = self;
        let served = service.serve(listener, shutdown).await;
        if let Some(shop) = shop {
            shop.shutdown().await;
        }
        if let Some(sandbox) = sandbox {
            sandbox.shutdown().await;
        }
        if let Some(postgres) = postgres {
            tokio::task::spawn_blocking(|| postgres.stop()).await??;
        }
        Ok(served?)
    }
}

/// The secret that samples are signed with: the first one of the settings. If they name none, `fallback`
/// becomes the setting.
fn signing_secret(vars: &mut Vars, fallback: &[NamedSecret]) -> anyhow::Result<SecretString> {
    let instance = InstanceName::of_kind(stripe::KIND.name);
    let setting = instance.setting("WEBHOOK_SECRET");
    if !vars.is_meant(&setting) {
        let texts: Vec<_> =
            fallback.iter().map(|one| format!("{}={}", one.name, one.secret.expose_secret())).collect();
        vars.set(&setting, texts.join(","));
    }
    let mut reader = Reader::new(vars);
    let secrets = stripe::webhook_secrets(&mut reader, &instance);
    let secrets = reader.finish(secrets)?;
    secrets.into_iter().next().map(|first| first.secret).context("there is no webhook secret")
}

/// What to do if the schema of the database cannot be migrated.
fn advice(error: &MigrateError, private: Option<&PrivatePostgres>) -> String {
    match (error, private.and_then(|postgres| postgres.data_dir().parent())) {
        (MigrateError::BeforeRelease { .. }, Some(folder)) => format!(
            "the private database cannot be used; to start over without its data, remove the folder {}",
            folder.display()
        ),
        (_, Some(_)) => "the private database cannot be used".to_owned(),
        (_, None) => {
            "the database of DATABASE_URL or POSTGRES_HOST cannot be used; without them dev runs a private one"
                .to_owned()
        }
    }
}

/// The dashboard's test events, and where the sandbox shows its table.
fn playground(sender: Sender, sandbox: Option<&RunningSandbox>) -> Playground {
    let send: SendSample = Arc::new(move |sample| {
        let sender = sender.clone();
        Box::pin(async move {
            let samples = sender::samples_of(&sample, rand::random());
            let mut last = None;
            for sample in samples.map_err(|error| SampleError(format!("{error:#}")))? {
                let sent = sender.send(sample).await.map_err(|error| SampleError(format!("{error:#}")))?;
                if !sent.is_accepted() {
                    return Err(SampleError(format!("the webhook answered {}", sent.status)));
                }
                last = Some(sent.event_id);
            }
            last.ok_or_else(|| SampleError("the sample has no events".to_owned()))
        })
    });
    let table_url = sandbox.map(|sandbox| sandbox.base_url().replace("127.0.0.1", "localhost"));
    Playground { samples: sender::names().collect(), send, table_url }
}

fn development_settings(vars: &Vars) -> anyhow::Result<Settings> {
    let mut reader = Reader::new(vars);
    let settings = Settings::for_development(&mut reader, DEFAULT_KINDS);
    environment::log_warnings(&mut reader);
    Ok(reader.finish(settings)?)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another dev running? Set PORT=… to use another port")
    })
}

pub(super) async fn start_postgres(data_lifetime: DataLifetime) -> anyhow::Result<PrivatePostgres> {
    /// An existing database is ready sooner than this.
    const SAY_SO_AFTER: Duration = Duration::from_millis(1500);
    let waits_for = match &data_lifetime {
        DataLifetime::Persistent { .. } => "it is being created, or another dev in this folder uses it",
        // A new one each time, which no other process can use.
        DataLifetime::Temporary => "it is being created",
    };
    let program = std::env::current_exe().context("the path of this program cannot be found")?;
    let mut starting = tokio::task::spawn_blocking(move || PrivatePostgres::start(&program, data_lifetime));
    if let Ok(started) = tokio::time::timeout(SAY_SO_AFTER, &mut starting).await {
        return Ok(started??);
    }
    eprintln!("The private database is not ready yet: {waits_for}. Waiting …");
    Ok(starting.await??)
}

/// Starts the sandbox beside the service and points the settings at it.
async fn start_sandbox(
    vars: &mut Vars,
    service: SocketAddr,
    journal: Option<PathBuf>,
) -> anyhow::Result<RunningSandbox> {
    let options = SandboxOptions { template: Template::Init, journal, ..SandboxOptions::default() };
    // The port next to the service's, so that links to pages stay valid between runs.
    let beside = SocketAddr::new(service.ip(), service.port().checked_add(1).unwrap_or_default());
    let running = match Sandbox::start(beside, options.clone()).await {
        Err(SandboxError::Bind { .. }) => Sandbox::start(SocketAddr::new(service.ip(), 0), options).await?,
        other => other?,
    };
    let port = Url::parse(running.base_url())?.port().unwrap_or_default();
    running.handle().set_public_url(Some(format!("http://localhost:{port}")));
    vars.set("NOTION_API_URL", format!("http://127.0.0.1:{port}"));
    vars.set("NOTION_API_KEY", notion_sandbox::TOKEN);
    vars.set("NOTION_DATABASE_ID", notion_sandbox::DATABASE_ID.to_string());
    vars.set("NOTION_DATA_SOURCE_ID", "");
    Ok(running)
}

fn webhook_url(service: SocketAddr) -> anyhow::Result<Url> {
    let ip = if service.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { service.ip() };
    let reachable = SocketAddr::new(ip, service.port());
    Ok(Url::parse(&format!("http://{reachable}/api/v1/webhooks/stripe"))?)
}
