//! What both commands need: the instance, the address of its webhook, the key, and the service's database if it can
//! be reached.

use super::links;
use crate::app::DEFAULT_KINDS;
use crate::cli::{command_context, prompt, secret_files};
use crate::config::{self, InstanceName, Reader, Vars};
use crate::http_client::is_loopback;
use crate::sources::stripe::api::{Account, ApiError, ApiSettings, Client, ErrorClass, KeyMode, NamedKey};
use crate::sources::stripe::endpoints::{Endpoint, Endpoints, Listed, webhook_url};
use crate::store::Store;
use anyhow::{Context, anyhow, bail};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long the database may take to answer before the command does without it.
const DATABASE_WITHIN: Duration = Duration::from_secs(5);

/// The options of both commands.
#[derive(Debug, clap::Args)]
pub(super) struct AccessArgs {
    /// The address at which Stripe reaches the service, such as `https://events.example.com`; by default `PUBLIC_URL`
    #[arg(long, value_name = "URL", value_parser = address)]
    url: Option<Url>,
    /// A file with the API key, instead of a prompt
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The source instance whose settings to read and write
    #[arg(long, default_value = "stripe")]
    instance: String,
    /// Answers every question with yes
    #[arg(long)]
    pub(super) yes: bool,
    /// Prints JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// What a command works with.
pub(super) struct Access {
    pub(super) vars: Vars,
    pub(super) instance: InstanceName,
    /// The webhook's address.
    pub(super) url: Url,
    pub(super) key: NamedKey,
    /// The service's database, or why it cannot be used from here.
    pub(super) store: Result<Store, String>,
    client: Client,
}

impl Access {
    pub(super) async fn open(args: &AccessArgs) -> anyhow::Result<Self> {
        let vars = command_context::settings()?;
        let mut reader = Reader::new(&vars);
        let instance = instance(&mut reader, &args.instance)?;
        let base = match &args.url {
            Some(url) => url.clone(),
            None => match reader.text("PUBLIC_URL") {
                Some(text) => address(text).context("PUBLIC_URL")?,
                None => bail!(
                    "--url is missing: the address at which Stripe reaches the service, such as https://events.example.com"
                ),
            },
        };
        let key = key(args).await?;
        if key.mode == KeyMode::Live && is_loopback(&base) {
            bail!("--url: in live mode Stripe cannot reach an address of this machine");
        }
        let settings = ApiSettings::for_command(&mut reader, &instance, key.clone());
        let problem = reader.finish(settings);
        let settings = problem?.context("Stripe's address cannot be used")?;
        let client = Client::new(&settings)?;
        let url = webhook_url(&base, &instance.name);
        let store = store(&vars).await;
        Ok(Self { vars, instance, url, key, store, client })
    }

    pub(super) fn endpoints(&self) -> Endpoints<'_> {
        Endpoints::new(&self.client, Account::of(&self.key))
    }

    /// All endpoints of the account. A command that may change them must see all.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<Endpoint>> {
        let Listed { endpoints, refused } =
            self.endpoints().list().await.map_err(|error| self.failed(&error))?;
        match refused {
            Some(error) => Err(self.failed(&error)),
            None => Ok(endpoints),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.key.mode == KeyMode::Live
    }

    /// Why a request failed, and what to do.
    pub(super) fn failed(&self, error: &ApiError) -> anyhow::Error {
        let remedy = match &error.class {
            ErrorClass::KeyInvalid => {
                format!("copy the key again, or create one: {}", links::write_key(self.key.mode))
            }
            ErrorClass::Refused { .. } => format!(
                "use a key that may write webhook endpoints: {}",
                links::write_key(self.key.mode)
            ),
            ErrorClass::Throttled { .. } | ErrorClass::Unavailable => {
                "run the command again: it goes on from here. https://status.stripe.com shows whether Stripe works"
                    .to_owned()
            }
            ErrorClass::Gone | ErrorClass::TooLarge | ErrorClass::Unexpected => error.remedy.clone(),
        };
        anyhow!("{}; {remedy}", prompt::plain(&error.message))
    }
}

/// The instance of this name, which must be one of Stripe.
fn instance(reader: &mut Reader<'_>, name: &str) -> anyhow::Result<InstanceName> {
    let instances = config::sources(reader, DEFAULT_KINDS);
    let of_stripe: Vec<_> = instances.into_iter().filter(|instance| instance.kind == "stripe").collect();
    let names: Vec<_> = of_stripe.iter().map(|instance| instance.name.clone()).collect();
    of_stripe.into_iter().find(|instance| instance.name == name).with_context(|| {
        format!(
            "--instance: SOURCES has no instance {name:?} of kind stripe; there are: {}",
            names.join(", ")
        )
    })
}

/// An address of the service.
fn address(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).map_err(|_| anyhow!("must be a URL such as https://events.example.com"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => bail!("must begin with https://; plain http is only possible for this machine"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("must have no user name and no password");
    }
    Ok(url)
}

/// The key, from the file or the terminal. It is in no argument and no setting, where others could read it.
async fn key(args: &AccessArgs) -> anyhow::Result<NamedKey> {
    let text = match &args.key_file {
        Some(path) => {
            secret_files::secret(path).map_err(|why| anyhow!("--key-file: {} {why}", path.display()))?.into()
        }
        None if prompt::is_interactive() => {
            eprintln!(
                "This needs an API key that may write webhook endpoints. Create one for this command, and delete it afterwards:\n  {}",
                links::write_key_of_any_mode()
            );
            prompt::secret("API key (it is not shown):").await?
        }
        None => bail!("the input is not a terminal: name a file with the API key by --key-file"),
    };
    NamedKey::given(secrecy::ExposeSecret::expose_secret(&text)).map_err(|why| anyhow!("the key {why}"))
}

/// The service's database, if it can be used.
async fn store(vars: &Vars) -> Result<Store, String> {
    let database = command_context::database(vars).map_err(|_| "no database is set here".to_owned())?;
    let store = command_context::connect(&database, 2).map_err(|error| error.to_string())?;
    let ready = tokio::time::timeout(DATABASE_WITHIN, async {
        store.db.reach().await.map_err(|_| ())?;
        store.db.is_migrated().await.map_err(|_| ())
    });
    match ready.await {
        Ok(Ok(true)) => Ok(store),
        _ => Err("the service's database cannot be used from here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_encrypted_unless_it_is_of_this_machine_and_has_no_password() {
        for good in
            ["https://a.example", "https://a.example/app", "http://127.0.0.1:8000", "http://localhost"]
        {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["http://a.example", "a.example", "ftp://a.example", "https://u:p@a.example"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
