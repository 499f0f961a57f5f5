//! What the commands of operators share: the service's own database and settings, and how they print.

use super::environment;
use super::local::LocalState;
use crate::config::{self, InstanceName, Reader, Vars};
use crate::domain::audit::Caller;
use crate::domain::subscription::Subscription;
use crate::store::Store;
use secrecy::SecretString;
use std::io::IsTerminal;
use std::time::Duration;

/// The connections of a command.
const CONNECTIONS: u32 = 4;

/// The service, as a command sees it: its database and the instances that it has.
pub(super) struct Operator {
    pub(super) store: Store,
    pub(super) instances: Vec<String>,
    /// What each of them wants now.
    pub(super) subscriptions: Vec<Subscription>,
}

impl Operator {
    /// Reads the service's own settings: its database, or that of the `dev` of this folder.
    pub(super) fn open() -> anyhow::Result<Self> {
        let vars = environment::vars()?;
        let mut reader = Reader::new(&vars);
        let instances: Vec<InstanceName> = config::instances(&mut reader);
        let subscriptions = instances.iter().map(|of| config::subscription(&mut reader, of)).collect();
        let (instances, subscriptions) = reader.finish((instances, subscriptions))?;
        Ok(Self {
            store: Store::connect_lazily(&database(&vars)?, CONNECTIONS)?,
            instances: instances.into_iter().map(|instance| instance.name).collect(),
            subscriptions,
        })
    }
}

fn database(vars: &Vars) -> anyhow::Result<SecretString> {
    let mut reader = Reader::new(vars);
    let url = config::required_database_url(&mut reader);
    let is_set = ["DATABASE_URL", "POSTGRES_HOST", "POSTGRES_DB"].iter().any(|name| vars.get(name).is_some());
    match reader.finish(url) {
        Err(missing) if !is_set => Ok(LocalState::here()?.known_database()?.ok_or(missing)?),
        read => Ok(read?),
    }
}

/// Who gives the command, for the audit.
pub(super) fn caller() -> Caller {
    let user = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    Caller::at_command_line(user.as_deref().unwrap_or("unknown"))
}

/// Whether to print JSON: where it is asked for, and where no person reads.
pub(super) fn prints_json(asked: bool) -> bool {
    asked || !std::io::stdout().is_terminal()
}

/// A stretch of time in its largest unit: `12 s`, `5 min`, `3 h`, `2 days`.
pub(super) fn roughly(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6_000 => format!("{} min", seconds / 60),
        seconds @ 6_000..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_its_largest_unit() {
        let told = [0, 99, 100, 5_999, 6_000, 172_799, 172_800].map(|s| roughly(Duration::from_secs(s)));
        assert_eq!(told, ["0 s", "99 s", "1 min", "99 min", "1 h", "47 h", "2 days"]);
    }
}
