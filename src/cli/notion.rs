//! `eventbridge notion init`: lists what the token can see, and creates a database to fill.

use super::delivery_context::CommandDeliveryContext;
use super::{env_file, environment, prompt, signals};
use crate::config::{InstanceName, Reader, Vars};
use crate::destinations::notion::{NotionId, Shared, Workspace, WorkspaceItem};
use crate::domain::delivery::Failure;
use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// How often to check whether something has been shared.
const POLL_INTERVAL: Duration = Duration::from_secs(4);

/// The most pages in the list. `--page` names any other.
const PAGES_SHOWN_MAX: usize = 30;

#[derive(Debug, clap::Args)]
pub(super) struct NotionArgs {
    #[command(subcommand)]
    command: NotionCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NotionCommand {
    /// Create a database in Notion with a column for every property except `Status`
    ///
    /// It needs only the connection's token (`NOTION_API_KEY`). On a terminal it waits until a page
    /// is shared with the connection, and asks under which page to create the database. Then it prints the
    /// setting for the database and, if you agree, writes it to .env.
    Init(InitArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The page under which to create it: a link that was copied from Notion, or its id
    #[arg(long, value_name = "LINK")]
    page: Option<String>,
    /// The title of the database
    #[arg(long, default_value = "Stripe payments")]
    title: String,
    /// The instance whose settings to read and write
    #[arg(long, default_value = "notion")]
    instance: String,
    /// How long to wait until a page is shared; by default without limit on a terminal, otherwise not at all
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Answers every question with yes, including whether to write the setting to .env
    #[arg(long)]
    yes: bool,
    /// Prints JSON on stdout
    #[arg(long)]
    json: bool,
}

/// The result, for programs.
#[derive(Debug, Serialize)]
struct Done<'a> {
    database_id: &'a str,
    title: &'a str,
    url: Option<&'a str>,
    page: &'a WorkspaceItem,
    setting: &'a str,
    /// The file that the setting was written to.
    written_to: Option<&'static str>,
}

pub(super) async fn run(args: NotionArgs) -> anyhow::Result<ExitCode> {
    let NotionCommand::Init(args) = args.command;
    let stop = signals::stop_requested()?;
    tokio::select! {
        done = init(args) => done,
        () = stop.cancelled() => {
            eprintln!("\nStopped; nothing was created.");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn init(args: InitArgs) -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    let instance = args.instance();
    eprintln!("The token is that of {}.", bearer_of(&vars, &instance).await?);
    let Made { database, page } = make(&vars, &args).await?;
    let id = database.id.replace('-', "");
    let name = instance.setting("DATABASE_ID");
    let is_wanted = args.yes
        || (prompt::is_interactive() && prompt::agrees(&format!("Write {name} to .env?"), false).await?);
    if is_wanted {
        env_file::set(Path::new(environment::FILE), &name, &id)?;
        eprintln!("Written to .env.");
    } else {
        eprintln!("Set this in .env or in the environment:");
    }
    let setting = format!("{name}={id}");
    if args.json {
        let written_to = is_wanted.then_some(environment::FILE);
        let done = Done {
            database_id: &id,
            title: &database.title,
            url: database.url.as_deref(),
            page: &page,
            setting: &setting,
            written_to,
        };
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else {
        println!("{setting}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose the token of the settings is, and of which workspace. Fails if it does not work.
#[cfg(feature = "dev")]
pub(super) async fn bearer(vars: &Vars) -> anyhow::Result<String> {
    bearer_of(vars, &InstanceName::of_kind("notion")).await
}

/// Creates a table with the token of the settings. Returns the id of its database.
#[cfg(feature = "dev")]
pub(super) async fn create_table(vars: &Vars, args: &InitArgs) -> anyhow::Result<String> {
    Ok(make(vars, args).await?.database.id.replace('-', ""))
}

async fn bearer_of(vars: &Vars, instance: &InstanceName) -> anyhow::Result<String> {
    let context = CommandDeliveryContext::new(None, &instance.name);
    let bearer = workspace(vars, instance)?.bearer(&context).await.map_err(|failure| error(&failure))?;
    Ok(format!("{} in the workspace {}", prompt::plain(&bearer.name), prompt::plain(&bearer.workspace)))
}

fn workspace(vars: &Vars, instance: &InstanceName) -> anyhow::Result<Workspace> {
    let mut reader = Reader::new(vars);
    let workspace = Workspace::configure(&mut reader, instance);
    reader.finish(workspace)?.context("the token cannot be used")
}

/// A database that was created, and the page above it.
struct Made {
    database: WorkspaceItem,
    page: WorkspaceItem,
}

/// Finds the page, asks, and creates the database under it.
async fn make(vars: &Vars, args: &InitArgs) -> anyhow::Result<Made> {
    let instance = args.instance();
    let workspace = workspace(vars, &instance)?;
    let context = CommandDeliveryContext::new(None, &instance.name);
    let page = match &args.page {
        Some(link) => named_page(&workspace, &context, link).await?,
        None => chosen_page(&workspace, &context, &instance, args).await?,
    };
    let title = prompt::plain(&page.title);
    if args.page.is_none()
        && !prompt::agrees(&format!("Create the database {:?} under {title:?}?", args.title), args.yes)
            .await?
    {
        bail!("nothing was created");
    }
    let made =
        workspace.make_database(&context, &page.id, &args.title).await.map_err(|failure| error(&failure))?;
    if let Some(failure) = &made.without_view {
        eprintln!(
            "It has no view of Collected: {:#}. Make one in Notion that shows live mode only and groups by Currency.",
            error(failure)
        );
    }
    eprintln!(
        "To add up: in that view, choose Calculate › Sum below the column Collected. Notion's API cannot set it."
    );
    let database = made.database;
    let shown = database.url.as_deref().unwrap_or(&database.id);
    eprintln!("Created the database {:?}: {shown}", args.title);
    Ok(Made { database, page })
}

impl InitArgs {
    /// What `try` wants: a table of the default instance.
    #[cfg(feature = "dev")]
    pub(super) fn of_table(page: Option<String>, title: String, yes: bool) -> Self {
        Self { page, title, instance: "notion".to_owned(), wait: None, yes, json: false }
    }

    fn instance(&self) -> InstanceName {
        InstanceName { name: self.instance.clone(), kind: "notion".to_owned() }
    }
}

/// The page behind a link.
async fn named_page(
    workspace: &Workspace,
    context: &CommandDeliveryContext,
    link: &str,
) -> anyhow::Result<WorkspaceItem> {
    let id = NotionId::parse_page(link)
        .context("--page: this is neither a link to a page, as copied from Notion, nor an id")?;
    let page = workspace.page(context, &id).await.map_err(|failure| error(&failure))?;
    page.ok_or_else(|| {
        if has_view(link) {
            anyhow!("--page: this link leads to a database; copy the link to the page that contains it")
        } else {
            anyhow!(
                "--page: no such page is shared with the connection: open it in Notion, ••• › Connections, \
                 and choose the connection"
            )
        }
    })
}

/// Whether a link opens a view, which only databases have.
fn has_view(link: &str) -> bool {
    Url::parse(link).is_ok_and(|url| url.query_pairs().any(|(name, _)| name == "v"))
}

/// The page that the operator chooses among those shared, after waiting for one.
async fn chosen_page(
    workspace: &Workspace,
    context: &CommandDeliveryContext,
    instance: &InstanceName,
    args: &InitArgs,
) -> anyhow::Result<WorkspaceItem> {
    let mut shared = something_shared(workspace, context, args).await?;
    show_databases(&shared, instance);
    if shared.pages.is_empty() {
        bail!(
            "the token can see only databases: share the page under which to create a new one (••• › \
             Connections), or use one of these"
        );
    }
    let more = shared.pages.len().saturating_sub(PAGES_SHOWN_MAX);
    shared.pages.truncate(PAGES_SHOWN_MAX);
    eprintln!("Pages under which a database can be created:");
    for (number, page) in (1..).zip(&shared.pages) {
        eprintln!(
            "  {number:>2}  {}  {}",
            shown_title(page),
            prompt::plain(page.url.as_deref().unwrap_or(&page.id))
        );
    }
    if more > 0 {
        eprintln!("  … and {more} more; use --page <link> for one of them");
    }
    let place = match shared.pages.len() {
        1 => 0,
        _ if !prompt::is_interactive() => bail!("several pages are shared: choose one with --page <link>"),
        count => prompt::choice("Which one?", count).await?,
    };
    shared.pages.into_iter().nth(place).context("there is no such page")
}

/// What the token can see, once something is shared.
async fn something_shared(
    workspace: &Workspace,
    context: &CommandDeliveryContext,
    args: &InitArgs,
) -> anyhow::Result<Shared> {
    let patience = match args.wait {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None if prompt::is_interactive() => None,
        None => Some(Duration::ZERO),
    };
    let began = Instant::now();
    let mut has_said = false;
    loop {
        let shared = workspace.shared(context).await.map_err(|failure| error(&failure))?;
        if !shared.pages.is_empty() || !shared.databases.is_empty() {
            return Ok(shared);
        }
        if !has_said {
            has_said = true;
            eprintln!(
                "Nothing is shared with the connection yet. In Notion, open the page under which the \
                 database is to stand, ••• (top right) › Connections, and choose the connection."
            );
        }
        if patience.is_some_and(|patience| began.elapsed() + POLL_INTERVAL > patience) {
            bail!("nothing is shared with the connection; --wait <seconds> waits for it");
        }
        eprintln!("Checking again in {} s; press Ctrl-C to stop.", POLL_INTERVAL.as_secs());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn show_databases(shared: &Shared, instance: &InstanceName) {
    if shared.databases.is_empty() {
        return;
    }
    eprintln!("Databases that it can see already (without linked views, which the API does not list):");
    for database in &shared.databases {
        let setting = instance.setting("DATABASE_ID");
        eprintln!("  {}  {setting}={}", shown_title(database), database.id.replace('-', ""));
    }
}

fn shown_title(item: &WorkspaceItem) -> String {
    if item.title.is_empty() { "(no title)".to_owned() } else { prompt::plain(&item.title) }
}

fn error(failure: &Failure) -> anyhow::Error {
    anyhow!("{}", prompt::plain(&failure.to_string()))
}
