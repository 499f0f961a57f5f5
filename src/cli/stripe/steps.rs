//! Does the steps of a plan, and reports what was done.
//!
//! After each step a second run goes on: what was done is recorded at the endpoint, as metadata, and in the settings.
//! The secret is stored right after Stripe showed it. If a run ends between the two, the next one repeats the request
//! with its idempotency key, and Stripe shows the secret again.

use super::access::Access;
use super::evidence;
use super::init::InitArgs;
use super::links;
use super::secret_setting::SecretSetting;
use super::time_zone;
use crate::cli::{env_file, environment, output, prompt};
use crate::endpoint_watch;
use crate::sources::stripe::api::ErrorClass;
use crate::sources::stripe::endpoints::{Created, Endpoint, Format, NewEndpoint, Step};
use anyhow::bail;
use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// The time between two pings while it waits for the service.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// What was done so far.
#[derive(Default)]
struct Done {
    /// The endpoint that is kept, or was created, and the name of its secret.
    endpoint: Option<(Endpoint, String)>,
    is_changed: bool,
    /// The text of the setting, if the operator has to set it.
    to_set: Option<SecretString>,
    is_written: bool,
    zone: Option<&'static str>,
    /// What remains to be done.
    remaining: Option<String>,
}

/// A run of the command, which does the steps of a plan.
pub(super) struct Run<'a> {
    args: &'a InitArgs,
    access: Access,
    secrets: SecretSetting,
    format: Format,
    /// The types of a new endpoint.
    events: Vec<String>,
    done: Done,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        args: &'a InitArgs,
        access: Access,
        secrets: SecretSetting,
        format: Format,
        events: Vec<String>,
    ) -> Self {
        Self { args, access, secrets, format, events, done: Done::default() }
    }

    /// Shows the steps, asks, does them and reports.
    pub(super) async fn perform(&mut self, steps: &[Step]) -> anyhow::Result<ExitCode> {
        for step in steps {
            eprintln!("- {}", self.words(step));
        }
        let changes = steps.iter().any(|step| !matches!(step, Step::Adopt { .. }));
        if self.args.dry_run {
            if changes {
                eprintln!("Nothing was changed.");
            }
            return self.report(steps);
        }
        let writes = self.writes_secret(steps).await?;
        if changes && !prompt::agrees("Do this?", self.args.access.yes).await? {
            bail!("nothing was changed");
        }
        for step in steps {
            if let Err(error) = self.step(step, writes).await {
                // Without a change there is nothing to report; otherwise the secret may be in the report.
                if !self.done.is_changed {
                    return Err(error);
                }
                self.done.remaining = Some(format!("{error:#}"));
                break;
            }
        }
        if self.done.is_changed {
            self.ask_for_check().await;
        }
        if self.done.remaining.is_none() {
            self.time_zone().await?;
        }
        self.report(steps)
    }

    /// Whether the secret goes to `.env`. It is decided and checked before Stripe shows it.
    async fn writes_secret(&self, steps: &[Step]) -> anyhow::Result<bool> {
        let has_secret = |step: &Step| matches!(step, Step::Create { .. } | Step::Recover { .. });
        if !steps.iter().any(has_secret) || self.args.place.is_some() {
            return Ok(false);
        }
        let name = &self.secrets.name;
        if let Some(why) = self.secrets.elsewhere {
            eprintln!("{name} is not written to .env: {why}.");
            return Ok(false);
        }
        let wants = self.args.access.yes
            || (prompt::is_interactive()
                && prompt::agrees(&format!("Write {name} to .env, beside the secrets in it?"), false)
                    .await?);
        if wants {
            env_file::check(Path::new(environment::FILE))?;
        }
        Ok(wants)
    }

    async fn step(&mut self, step: &Step, writes: bool) -> anyhow::Result<()> {
        match step {
            Step::Adopt { endpoint, secret } => {
                self.done.endpoint = Some((endpoint.clone(), secret.clone()));
                self.record_adopted(endpoint, secret).await;
            }
            Step::Create { replaces } => {
                let new = NewEndpoint {
                    url: self.access.url.to_string(),
                    format: self.format,
                    events: self.events.clone(),
                    replaces: (!replaces.is_empty()).then(|| replaces.join(",")),
                    request: Uuid::new_v4(),
                };
                let created =
                    self.access.endpoints().create(&new).await.map_err(|error| self.access.failed(&error))?;
                self.keep(created, writes).await?;
            }
            Step::Recover { endpoint } => self.recover(endpoint, writes).await?,
            Step::Enable { endpoint, secret } => {
                self.access
                    .endpoints()
                    .set_enabled(endpoint, true)
                    .await
                    .map_err(|error| self.access.failed(&error))?;
                self.done.is_changed = true;
                self.done.endpoint = Some((endpoint.clone(), secret.clone()));
            }
            Step::AddEvents { endpoint, added } => {
                let events: Vec<_> = endpoint.events.iter().chain(added).cloned().collect();
                let set = self.access.endpoints().set_events(endpoint, &events).await;
                set.map_err(|error| self.access.failed(&error))?;
                self.done.is_changed = true;
            }
            Step::Replace { old } => self.replace(old).await?,
        }
        Ok(())
    }

    /// Records the secret of an adopted endpoint, so that later runs know it without a ping.
    async fn record_adopted(&mut self, endpoint: &Endpoint, name: &str) {
        let Some(known) = self.secrets.secrets.iter().find(|known| known.name == name) else { return };
        if endpoint.has_secret(&known.secret) {
            return;
        }
        match self.access.endpoints().record_secret(endpoint, &known.secret).await {
            Ok(()) => self.done.is_changed = true,
            Err(error) => {
                let id = &endpoint.id;
                eprintln!("It could not be recorded at {id} that {name} is its secret: {}.", error.message);
            }
        }
    }

    /// Asks for the secret of an endpoint again that an interrupted run created.
    async fn recover(&mut self, endpoint: &Endpoint, writes: bool) -> anyhow::Result<()> {
        let Some(request) = endpoint.request() else { return Ok(()) };
        let again = NewEndpoint {
            url: endpoint.url.clone(),
            format: endpoint.format,
            events: endpoint.events.clone(),
            replaces: endpoint.replaced().map(str::to_owned),
            request,
        };
        match self.access.endpoints().create(&again).await {
            Ok(created) if created.endpoint.id == endpoint.id => self.keep(created, writes).await,
            // Stripe has forgotten the request, and has created another one.
            Ok(created) => {
                self.keep(created, writes).await?;
                self.replace(std::slice::from_ref(endpoint)).await
            }
            Err(error) if error.class == ErrorClass::Unexpected => {
                let replaced = endpoint.replaced().into_iter().chain([endpoint.id.as_str()]);
                let new = NewEndpoint {
                    replaces: Some(replaced.collect::<Vec<_>>().join(",")),
                    request: Uuid::new_v4(),
                    ..again
                };
                let created =
                    self.access.endpoints().create(&new).await.map_err(|error| self.access.failed(&error))?;
                self.keep(created, writes).await?;
                self.replace(std::slice::from_ref(endpoint)).await
            }
            Err(error) => Err(self.access.failed(&error)),
        }
    }

    /// Stores the secret of a new endpoint, then records at the endpoint which one it is.
    async fn keep(&mut self, created: Created, writes: bool) -> anyhow::Result<()> {
        let Created { endpoint, secret } = created;
        self.done.is_changed = true;
        let known = self.secrets.name_of(&secret).map(str::to_owned);
        let name = known.unwrap_or_else(|| self.store_secret(&secret, writes));
        eprintln!("{} sends to {}; its secret is named {name}.", endpoint.id, endpoint.url);
        if let Err(error) = self.access.endpoints().record_secret(&endpoint, &secret).await {
            self.done.remaining = Some(format!(
                "which secret is its own could not be recorded at {}: {}; run the command again",
                endpoint.id, error.message
            ));
        }
        self.done.endpoint = Some((endpoint, name));
        Ok(())
    }

    /// Writes a further secret to `.env`, or prints the setting. Returns the secret's name.
    fn store_secret(&mut self, secret: &SecretString, writes: bool) -> String {
        let name = self.secrets.new_name(self.access.is_live());
        let text = self.secrets.text_with(&name, secret);
        let written = if writes { self.secrets.write(&text) } else { Ok(()) };
        if let Err(error) = &written {
            eprintln!("{error:#}.");
        }
        self.done.is_written = writes && written.is_ok();
        // It must not be lost, whatever else fails.
        if !self.done.is_written {
            eprintln!("Set this where the service runs, and keep it secret:");
            if self.args.access.json {
                eprintln!("(it is in the JSON)");
            } else {
                println!("{}", self.secrets.instructions(&text, self.args.place));
            }
            self.done.to_set = Some(text);
        }
        name
    }

    /// Waits until the service accepts what the endpoint sends, then disables the old ones.
    async fn replace(&mut self, old: &[Endpoint]) -> anyhow::Result<()> {
        let Some((endpoint, secret)) = self.done.endpoint.clone() else { return Ok(()) };
        let names = old.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(", ");
        if let Err(why) = self.until_accepted(&endpoint, &secret).await? {
            self.done.remaining = Some(format!(
                "{names} stays enabled until the service accepts what {} sends ({why}): set the secret where the service runs, restart it, and run this command again there",
                endpoint.id
            ));
            return Ok(());
        }
        for one in old {
            let disabled = self.access.endpoints().set_enabled(one, false).await;
            disabled.map_err(|error| self.access.failed(&error))?;
            self.done.is_changed = true;
            eprintln!("The service accepts what {} sends. {} is disabled.", endpoint.id, one.id);
        }
        Ok(())
    }

    /// Waits until the service accepts what this endpoint sends. The error is why it does not, as far as is known.
    async fn until_accepted(&self, endpoint: &Endpoint, secret: &str) -> anyhow::Result<Result<(), String>> {
        let patience = match self.args.wait {
            // A secret that is printed at the end must not wait.
            _ if self.args.access.json && self.done.to_set.is_some() => Some(Duration::ZERO),
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None if prompt::is_interactive() => None,
            None => Some(Duration::ZERO),
        };
        let began = Instant::now();
        let mut has_said = false;
        loop {
            let why = match evidence::accepts(&self.access, endpoint, secret).await? {
                Ok(()) => return Ok(Ok(())),
                Err(why) => why,
            };
            // Waiting cannot change that.
            let is_hopeless = self.access.store.is_err();
            if is_hopeless || patience.is_some_and(|patience| began.elapsed() + PING_INTERVAL > patience) {
                return Ok(Err(why));
            }
            if !has_said {
                has_said = true;
                eprintln!(
                    "Waiting until the service accepts what {} sends: restart it with the new secret. Ctrl-C stops; a second run goes on.",
                    endpoint.id
                );
            }
            tokio::time::sleep(PING_INTERVAL).await;
        }
    }

    /// Sets the time zone if it is not set.
    async fn time_zone(&mut self) -> anyhow::Result<()> {
        let is_set = self.access.vars.is_meant(time_zone::SETTING);
        let zone = match self.args.timezone {
            Some(zone) => Some(zone),
            None if is_set => None,
            None if prompt::is_interactive() && !self.args.access.yes => time_zone::ask().await?,
            None => {
                eprintln!("{} is not set: months begin in UTC. --timezone sets it.", time_zone::SETTING);
                None
            }
        };
        let Some(zone) = zone.map(Tz::name) else { return Ok(()) };
        if self.access.vars.get(time_zone::SETTING) == Some(zone) {
            return Ok(());
        }
        let (of_environment, _) = environment::of_environment();
        if self.args.place.is_none()
            && !of_environment.is_meant(time_zone::SETTING)
            && self.writes_zone().await?
        {
            env_file::set(Path::new(environment::FILE), time_zone::SETTING, zone)?;
            eprintln!("{}={zone} is written to .env.", time_zone::SETTING);
        } else {
            eprintln!("Set this too: {}={zone}", time_zone::SETTING);
        }
        self.done.zone = Some(zone);
        Ok(())
    }

    async fn writes_zone(&self) -> anyhow::Result<bool> {
        let name = time_zone::SETTING;
        Ok(self.args.access.yes
            || prompt::is_interactive() && prompt::agrees(&format!("Write {name} to .env?"), false).await?)
    }

    fn words(&self, step: &Step) -> String {
        match step {
            Step::Adopt { endpoint, secret } => {
                format!("keep {}: the secret {secret} verifies what it sends", endpoint.id)
            }
            Step::Create { replaces } => {
                let beside = match replaces.as_slice() {
                    [] => String::new(),
                    ids => format!(", beside {}, whose secret is not known", ids.join(", ")),
                };
                format!(
                    "create an endpoint for {} that sends {} ({} events){beside}",
                    self.access.url,
                    types(&self.events),
                    self.format.as_str()
                )
            }
            Step::Recover { endpoint } => {
                format!("ask for the secret of {} again, which an earlier run created", endpoint.id)
            }
            Step::Enable { endpoint, .. } => {
                format!("enable {}; Stripe never sends what happened while it was disabled", endpoint.id)
            }
            Step::AddEvents { endpoint, added } => {
                format!("let {} also send {}", endpoint.id, types(added))
            }
            Step::Replace { old } => format!(
                "disable {} once the service accepts what the other one sends",
                old.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    async fn ask_for_check(&self) {
        if let Ok(store) = &self.access.store {
            // Without it, health and alerts only wait for the next check.
            let _soon = endpoint_watch::check_soon(&store.background_jobs).await;
        }
    }

    fn report(&self, steps: &[Step]) -> anyhow::Result<ExitCode> {
        let Done { endpoint, is_changed, to_set, is_written, zone, remaining } = &self.done;
        let id = endpoint.as_ref().map(|(endpoint, _)| endpoint.id.as_str());
        let read_key = links::read_key(self.access.key.mode);
        if self.args.access.json {
            let setting =
                to_set.as_ref().map(|text| format!("{}={}", self.secrets.name, text.expose_secret()));
            let result = json!({
                "dry_run": self.args.dry_run,
                "livemode": self.access.is_live(),
                "url": self.access.url.as_str(),
                "format": self.format.as_str(),
                "endpoint": id.or_else(|| kept(steps)),
                "secret": endpoint.as_ref().map(|(_, name)| name),
                "changed": is_changed,
                "steps": steps.iter().map(step_json).collect::<Vec<_>>(),
                "setting": setting,
                "written_to": is_written.then_some(environment::FILE),
                "report_timezone": zone,
                "read_key_url": read_key,
                "remaining": remaining,
            });
            println!("{}", serde_json::to_string_pretty(&result)?);
        } else {
            if *is_written {
                println!(
                    "{} is written to .env. Restart the service: it reads it only then.",
                    self.secrets.name
                );
            }
            if !self.args.dry_run && remaining.is_none() {
                let unchanged = if *is_changed { "" } else { " Nothing was changed." };
                println!("Everything is set up at Stripe.{unchanged}");
            }
            if !self.access.vars.is_meant(&self.access.instance.setting("API_KEY")) {
                println!(
                    "To let the service watch its endpoint and read what it needs, create a key that only reads, and set {}:\n  {read_key}",
                    self.access.instance.setting("API_KEY")
                );
            }
            if let Some(remaining) = remaining {
                println!("To be done: {remaining}.");
            }
        }
        Ok(if remaining.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The endpoint that these steps keep, if they keep one.
fn kept(steps: &[Step]) -> Option<&str> {
    steps.iter().find_map(|step| match step {
        Step::Adopt { endpoint, .. } | Step::Enable { endpoint, .. } | Step::Recover { endpoint } => {
            Some(endpoint.id.as_str())
        }
        _ => None,
    })
}

fn step_json(step: &Step) -> Value {
    match step {
        Step::Adopt { endpoint, .. } => json!({"action": "keep", "endpoint": endpoint.id}),
        Step::Create { replaces } => json!({"action": "create", "replaces": replaces}),
        Step::Recover { endpoint } => json!({"action": "recover", "endpoint": endpoint.id}),
        Step::Enable { endpoint, .. } => json!({"action": "enable", "endpoint": endpoint.id}),
        Step::AddEvents { endpoint, added } => {
            json!({"action": "add_events", "endpoint": endpoint.id, "events": added})
        }
        Step::Replace { old } => {
            let ids: Vec<_> = old.iter().map(|one| one.id.as_str()).collect();
            json!({"action": "disable", "endpoints": ids})
        }
    }
}

/// A few types by name, or how many there are.
fn types(events: &[String]) -> String {
    const NAMED_MAX: usize = 4;
    match events {
        [all] if all == "*" => "all types".to_owned(),
        few if few.len() <= NAMED_MAX => few.join(", "),
        many => output::counted(u64::try_from(many.len()).unwrap_or(u64::MAX), "type"),
    }
}
