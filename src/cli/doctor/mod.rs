//! `eventbridge doctor`: checks everything that can be wrong with a service, running or not, and reports how
//! to fix it.
//!
//! It changes nothing by default. `--fix` adds missing columns, and `--write-test` creates a page and
//! removes it.

mod database;
mod endpoints;
mod report;
mod settings;

pub(super) use settings::known_names;

use super::command_context::OfDev;
use super::delivery_context::CommandDeliveryContext;
use super::{command_context, environment, output, paragraph, prompt};
use crate::alerts::{self, AlertSettings};
use crate::app::DEFAULT_KINDS;
use crate::config::{InstanceName, Reader, SettingError, Settings, Vars};
use crate::destinations::check::{CheckReport, Finding, Level};
use crate::destinations::{self, Instance};
use crate::domain::rejection::{causes, rejection_streak};
use crate::domain::source::SourceCatalog;
use crate::health;
use crate::sources::{AccessReport, Registry};
use crate::store::{Pause, PullState, Store};
use chrono::{DateTime, TimeDelta, Utc};
use report::{Report, Section};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(super) struct DoctorArgs {
    /// Adds what is missing at the destinations, such as columns, after asking
    #[arg(long)]
    fix: bool,
    /// Writes a test entry to each destination, reads it back and removes it
    #[arg(long)]
    write_test: bool,
    /// Sends a test alert to the receiver of `ALERT_URL`
    #[arg(long)]
    alert_test: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Answers every question with yes
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut sections = Vec::new();
    let (mut vars, mut setting_findings) = read_settings();
    let of_dev = command_context::adopt_those_of_dev(&mut vars)?;
    let has_dev_stopped = command_context::stopped_dev(&vars)?.is_some();
    let mut reader = Reader::new(&vars);
    let settings = if let Some(OfDev { differing }) = &of_dev {
        setting_findings.push(Finding::note("these are the settings of the dev that runs in this folder"));
        setting_findings.extend(outdated_in_dev(differing));
        Settings::for_development(&mut reader, DEFAULT_KINDS)
    } else if has_dev_stopped {
        setting_findings.push(Finding::problem(
            "dev is not running here. It keeps its data, and no other database is set",
            "start it with \"eventbridge dev\" (or \"cargo run -- dev\"); for production, set DATABASE_URL",
        ));
        Settings::for_development(&mut reader, DEFAULT_KINDS)
    } else {
        Settings::for_production(&mut reader, DEFAULT_KINDS)
    };
    let sources = Registry::configure(&mut reader, &settings.sources);
    let instances = destinations::configure(&mut reader, &settings.instances, sources.types());
    let alerts = alerts::settings(&mut reader);
    let thresholds = health::thresholds(&mut reader);
    setting_findings.extend(reader.take_warnings().into_iter().map(doubtful_setting));
    setting_findings.extend(wrong_settings(reader, has_dev_stopped));
    setting_findings.extend(settings::names(&settings.sources, &settings.instances));
    setting_findings.extend(settings::log_level(vars.get("LOG_LEVEL").or_else(|| vars.get("RUST_LOG"))));
    if setting_findings.iter().all(|finding| finding.level == Level::Note) {
        setting_findings.push(Finding::good("all required settings are set and valid"));
    }
    sections.push(Section { name: "Settings".to_owned(), findings: setting_findings });
    let mut clocks = Vec::new();
    for source in sources.check() {
        let mut findings = source.findings;
        if let Some(access) = source.access {
            let AccessReport { findings: of_access, clock } = access.check().await;
            findings.extend(of_access);
            clocks.extend(clock.map(|heard| clock_of(source.sender, heard)));
        }
        sections.push(Section { name: source.title, findings });
    }
    let mut store = None;
    if settings.has_database() {
        let findings = match command_context::connect(&settings.database, 2) {
            Err(error) => vec![database::unusable(&error)],
            Ok(opened) => {
                let checked = database::check(&opened, settings.database_connections, local_time).await;
                clocks.extend(checked.clock);
                // Each further query would only wait for a database that cannot be used.
                store = checked.is_usable.then_some(opened);
                checked.findings
            }
        };
        sections.push(Section { name: "Database".to_owned(), findings });
    }
    if let Some(store) = &store {
        sections.push(Section {
            name: "Service".to_owned(),
            findings: service(store, &sources, thresholds.rejection_streak).await,
        });
    }

    let findings = endpoints::check(&sources, &instances, alerts.public_url.clone(), store.as_ref()).await;
    sections.push(Section { name: "Endpoint at Stripe".to_owned(), findings });

    let mut targets: Vec<(String, String)> = Vec::new();
    for instance in &instances {
        let (section, report) = destination(instance, &settings.instances, store.as_ref(), &args).await;
        let name = &instance.subscription.destination;
        sections.push(section);
        clocks.extend(report.clock.map(|heard| clock_of(name, heard)));
        targets.extend(report.target.map(|target| (target, name.clone())));
    }
    sections.extend(duplicates(&targets));
    if args.alert_test {
        sections.push(Section { name: "Alerts".to_owned(), findings: vec![test_alert(&alerts).await] });
    }
    if !clocks.is_empty() {
        sections.push(Section { name: "Clocks".to_owned(), findings: clocks });
    }
    sections.retain(|section| !section.findings.is_empty());
    if let Some(store) = store {
        store.db.close().await;
    }
    let report = Report::of(sections);
    if args.json {
        println!("{}", report.to_json());
    } else {
        // With colours; what comes from elsewhere is plain in it.
        std::print!("{}", report.to_text(report::wants_colour(), paragraph::columns()));
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// The settings; if `.env` cannot be read, only those of the environment.
fn read_settings() -> (Vars, Vec<Finding>) {
    match environment::vars() {
        Ok(vars) => (vars, Vec::new()),
        Err(error) => {
            let (vars, _) = environment::of_environment();
            let finding = Finding::problem(
                format!("{error:#}"),
                "fix that line; the checks below only use the environment",
            );
            (vars, vec![finding])
        }
    }
}

fn doubtful_setting(warning: SettingError) -> Finding {
    let SettingError { setting, message } = warning;
    Finding::warning(format!("{setting} {message}"), format!("correct {setting}; .env-model describes it"))
}

/// What the running `dev` does not know yet.
fn outdated_in_dev(differing: &[String]) -> Option<Finding> {
    if differing.is_empty() {
        return None;
    }
    let what = format!("set here, but not (or otherwise) in the running dev: {}", differing.join(", "));
    Some(Finding::note(what).with_remedy("restart dev to use them"))
}

/// The problems of settings. A `dev` that is not running would fill in those that are missing.
fn wrong_settings(reader: Reader<'_>, dev_fills_in: bool) -> Vec<Finding> {
    let Err(error) = reader.finish(()) else { return Vec::new() };
    error
        .problems
        .into_iter()
        .filter(|problem| !(dev_fills_in && problem.is_missing()))
        .map(|problem| {
            Finding::problem(
                problem.to_string(),
                "set it in the environment or in .env; .env-model describes it",
            )
        })
        .collect()
}

/// What the running service recorded about webhooks: which it rejected, and when it accepted the last one.
/// Empty without its tables, which the database section reports.
async fn service(store: &Store, sources: &Registry, streak_max: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (Ok(kept), Ok(accepted), Ok(now)) =
        (store.rejections.rejections().await, store.rejections.accepted().await, store.reports.now().await)
    {
        let streak = rejection_streak(&kept, &accepted, sources, now).map_or(0, |streak| streak.count);
        findings.extend(causes(&kept, &accepted, sources, now).into_iter().map(|found| {
            let requests = output::counted(found.count, "request");
            let what = format!("{} ({requests}, the last at {})", found.message, at(found.last_at));
            match found.cause.is_fixable() {
                // As severe as in the assessment of status, dashboard and alerts.
                true if found.is_current && streak >= streak_max => Finding::problem(what, found.remedy),
                true if found.is_current => Finding::warning(what, found.remedy),
                true if accepted.last_at.is_some_and(|at| at > found.last_at) => {
                    Finding::note(format!("{what}; events were accepted since")).with_remedy(found.remedy)
                }
                true => Finding::note(format!("{what}; none since")).with_remedy(found.remedy),
                // Anyone can call this address, so this need not be an operator's problem.
                false => Finding::note(what).with_remedy(found.remedy),
            }
        }));
        if let (true, Some(last)) = (kept.is_empty(), accepted.last_at.map(at)) {
            findings.push(Finding::good(format!(
                "no webhook was rejected, and the last event arrived at {last}"
            )));
        }
    }
    if let (Ok(states), Ok(now)) = (store.pulls.states().await, store.reports.now().await) {
        let read = states.iter().filter(|state| sources.reads_list(&state.source, &state.name));
        findings.extend(read.filter_map(|state| fetching(state, now)));
    }
    if let Ok(accounts @ 1..) = store.events.accounts().await {
        let (accounts, verb) = (
            output::counted(accounts.unsigned_abs(), "connected account"),
            if accounts == 1 { "sends" } else { "send" },
        );
        findings.push(Finding::note(format!("{accounts} {verb} events here")).with_remedy(
            "add up the column Collected for each Account. The sum over all is not the platform's income: that \
             is in Stripe's application fees and balance transactions",
        ));
    }
    findings
}

/// Whether the running service fetches the events of a list.
fn fetching(state: &PullState, now: DateTime<Utc>) -> Option<Finding> {
    /// Another process takes over sooner.
    const SILENT_FOR: TimeDelta = TimeDelta::minutes(3);
    let which = format!("events of {} with the API key {:?}", state.source, state.name);
    Some(match (&state.failing, state.read_at) {
        (Some(failing), _) => Finding::problem(
            format!("the service has not fetched {which} since {}: {}", at(failing.since), failing.message),
            failing.remedy.clone(),
        ),
        (None, Some(read_at)) if now - read_at > SILENT_FOR => Finding::warning(
            format!("the service last fetched {which} at {}", at(read_at)),
            "check that a process runs that delivers: the role web does not fetch",
        ),
        (None, Some(read_at)) => {
            Finding::good(format!("the service fetched {which}, the last time at {}", at(read_at)))
        }
        (None, None) => return None,
    })
}

/// Why the destination is paused, if it is. If `works`, no check found a problem, so the service resumes by
/// itself unless an operator paused it.
async fn pause(store: &Store, name: &str, works: bool) -> Option<Finding> {
    let paused = store.destinations.paused(&[name.to_owned()]).await.ok()?.into_iter().next()?;
    let is_manual = paused.pause.is_manual();
    let Pause { reason, remedy, by, .. } = paused.pause;
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    let what = format!("it has been paused since {}{by}: {}", at(paused.since), reason.trim_end_matches('.'));
    Some(if works && !is_manual {
        Finding::warning(
            format!("{what}. The checks find no problem any more"),
            "nothing: the service probes it every PROBE_SECONDS and resumes by itself. Restart the service if you \
             changed its settings",
        )
    } else {
        Finding::problem(what, remedy)
    })
}

/// Checks one destination, and does what the flags ask for.
async fn destination(
    instance: &Instance,
    configured: &[InstanceName],
    store: Option<&Store>,
    args: &DoctorArgs,
) -> (Section, CheckReport) {
    let name = &instance.subscription.destination;
    let context = CommandDeliveryContext::new(store.cloned(), name);
    let mut report = instance.destination.check(&context).await;
    let mut findings = std::mem::take(&mut report.findings);
    if args.fix && !report.additions.is_empty() {
        let listed = report.additions.join(", ");
        eprintln!("To be added at {name}: {}", prompt::plain(&listed));
        match prompt::agrees("Add them?", args.yes).await {
            Ok(false) => {}
            // The findings so far are reported anyway.
            Err(error) => findings.push(Finding::problem(
                format!("nothing was added: {error:#}"),
                "run eventbridge doctor --fix in a terminal, or with --yes",
            )),
            Ok(true) => match instance.destination.provision(&context).await {
                Ok(added) => {
                    report = instance.destination.check(&context).await;
                    findings = std::mem::take(&mut report.findings);
                    findings.push(Finding::good(format!("added: {}", added.join(", "))));
                }
                Err(failure) => findings.push(Finding::problem(
                    format!("they could not be added: {}", failure.message),
                    failure.remedy.unwrap_or_else(|| "add them manually".to_owned()),
                )),
            },
        }
    }
    if let Some(store) = store {
        let works = findings.iter().all(|finding| finding.level < Level::Problem);
        findings.extend(pause(store, name, works).await);
    }
    if args.write_test {
        findings.extend(instance.destination.dry_run(&context).await);
    } else if report.target.is_some() {
        findings.push(Finding::note("write access is untested").with_remedy(format!(
            "eventbridge doctor --write-test creates a {} and removes it",
            instance.kind.noun.one
        )));
    }
    let kind = configured.iter().find(|known| known.name == *name).map_or("", |known| known.kind.as_str());
    let title =
        if kind == name { format!("Destination {name}") } else { format!("Destination {name} ({kind})") };
    (Section { name: title, findings }, report)
}

/// Sends a test alert. Only a person can check whether it arrived.
async fn test_alert(alerts: &AlertSettings) -> Finding {
    match alerts::send_test_alert(alerts, local_time()).await {
        Ok(host) => Finding::good(format!("{host} accepted a test alert: check that it arrived")),
        Err(error) => Finding::problem(
            format!("no test alert was sent: {error}"),
            "set ALERT_URL to the webhook's full address, and ALERT_KIND if the address does not show its kind",
        ),
    }
}

/// Instances that write to the same place, such as a table, so that each writes every event there.
fn duplicates(targets: &[(String, String)]) -> Option<Section> {
    let findings: Vec<_> = targets
        .iter()
        .enumerate()
        .filter_map(|(place, (target, name))| {
            let (_, other) = targets.iter().take(place).find(|(earlier, _)| earlier == target)?;
            Some(Finding::warning(
                format!("{other} and {name} write to the same place, so each event is written twice"),
                "let each instance write to a place of its own",
            ))
        })
        .collect();
    (!findings.is_empty()).then(|| Section { name: "Destinations".to_owned(), findings })
}

/// Compares a clock with this machine's, by a time that it had when an answer arrived.
fn clock_of(name: &str, (theirs, heard): (DateTime<Utc>, Instant)) -> Finding {
    let since = TimeDelta::from_std(heard.elapsed()).unwrap_or_default();
    database::clock(&format!("the clock of {name}"), theirs + since - local_time())
}

fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn local_time() -> DateTime<Utc> {
    SystemTime::now().into()
}
