//! The address of the database.

use super::reader::Reader;
use secrecy::SecretString;
use std::net::IpAddr;

/// The address of the database.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Its URL.
    pub url: SecretString,
    /// The server itself, for what needs a session, if `url` leads to a pooler that assigns a connection
    /// for each transaction.
    pub direct_url: Option<SecretString>,
}

/// The address of the database; a problem if no setting gives it.
pub fn required_database(reader: &mut Reader<'_>) -> Database {
    database(reader).unwrap_or_else(|| {
        reader.first_problem(
            "DATABASE_URL",
            "is missing: postgres://user:password@host:5432/database, or set POSTGRES_HOST, POSTGRES_DB, …",
        );
        Database::default()
    })
}

/// The address of the database, if a setting gives it.
pub(super) fn database(reader: &mut Reader<'_>) -> Option<Database> {
    let direct_url = reader.parsed("DATABASE_DIRECT_URL", None, |text| postgres_url(text).map(Some));
    Some(Database { url: database_url(reader)?, direct_url })
}

/// `DATABASE_URL` wins over the original service's `POSTGRES_*`.
fn database_url(reader: &mut Reader<'_>) -> Option<SecretString> {
    let url = reader.parsed("DATABASE_URL", None, |text| postgres_url(text).map(Some));
    if url.is_some() || reader.has_problem("DATABASE_URL") {
        return Some(url.unwrap_or_default());
    }
    let host = reader.text("POSTGRES_HOST");
    let database = reader.text("POSTGRES_DB");
    if host.is_none() && database.is_none() {
        return None;
    }
    let port = reader.number("POSTGRES_PORT", 5432_u16, 1, u16::MAX);
    let host = host.unwrap_or("localhost");
    if host.contains(',') {
        reader.problem("POSTGRES_HOST", SEVERAL_HOSTS);
    }
    let mut url = url::Url::parse("postgres://localhost/").ok()?;
    let is_host = match host.parse::<IpAddr>() {
        Ok(address) => url.set_ip_host(address).is_ok(),
        // A URL cannot have a socket's folder as its host.
        Err(_) if host.starts_with('/') => {
            url.query_pairs_mut().append_pair("host", host);
            true
        }
        Err(_) => url.set_host(Some(host)).is_ok(),
    };
    let is_complete = is_host
        && url.set_port(Some(port)).is_ok()
        && url.set_username(reader.text("POSTGRES_USER").unwrap_or("postgres")).is_ok()
        && url.set_password(reader.text("POSTGRES_PASSWORD")).is_ok();
    if !is_complete {
        reader.problem("POSTGRES_HOST", "is neither a host name, nor an address, nor the folder of a socket");
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().push(database.unwrap_or("postgres"));
    }
    Some(SecretString::from(url.to_string()))
}

const SEVERAL_HOSTS: &str = "names several hosts, and the service connects to one: give the address of the primary, or a name or a proxy that always leads to it";

fn postgres_url(text: &str) -> Result<SecretString, &'static str> {
    if has_several_hosts(text) {
        return Err(SEVERAL_HOSTS);
    }
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(SecretString::from(text)),
        _ => Err(
            "must be a URL that begins with postgres://; percent-encode special characters of the password",
        ),
    }
}

/// Whether a URL lists hosts, as clients on libpq accept it. Not every parser can read such a URL.
fn has_several_hosts(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    hosts.contains(',')
        || parameters.any(|(name, text)| matches!(&*name, "host" | "hostaddr" | "port") && text.contains(','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vars;

    fn problem(name: &str, text: &str) -> Option<String> {
        let vars: Vars = [(name, text)].into_iter().collect();
        let mut reader = Reader::new(&vars);
        required_database(&mut reader);
        reader.finish(()).err().map(|error| error.to_string())
    }

    #[test]
    fn several_hosts_are_refused_by_their_true_reason() {
        for (name, text) in [
            ("DATABASE_URL", "postgres://u:secret@db1:5432,db2:5432/events"),
            ("DATABASE_URL", "postgres://u:secret@db1,db2/events?target_session_attrs=read-write"),
            ("DATABASE_URL", "postgresql:///events?host=db1,db2&user=u"),
            ("DATABASE_URL", "postgres://db/events?host=db1%2Cdb2"),
            ("POSTGRES_HOST", "db1,db2"),
        ] {
            let error = problem(name, text).expect(text);
            assert!(error.contains(name) && error.contains("several hosts"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for one in
            ["postgres://u:p,w@db/events", "postgres://db/a,b", "postgres://u@db/e?options=-c%20a%3D1,2"]
        {
            assert_eq!(problem("DATABASE_URL", one), None, "{one}");
        }
    }
}
