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

fn postgres_url(text: &str) -> Result<SecretString, &'static str> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(SecretString::from(text)),
        _ => Err(
            "must be a URL that begins with postgres://; percent-encode special characters of the password",
        ),
    }
}
