//! The settings of an instance: Notion's address, the token, and the database to fill.

use crate::config::{self, InstanceName, Reader};
use crate::destinations::Rate;
use crate::domain::execution::Mode;
use crate::http_client::is_loopback;
use chrono::NaiveDate;
use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;
use std::time::Duration;
use url::Url;

/// Slightly below the 180 calls per minute that Notion allows for one connection.
const RATE_PER_MINUTE: u32 = 170;

const API_URL: &str = "https://api.notion.com";

/// Notion's address and the token.
#[derive(Debug, Clone)]
pub struct NotionAccess {
    /// The instance, which names the settings.
    pub instance: InstanceName,
    /// The base address, without `/v1`.
    pub base: Url,
    /// The connection's token.
    pub token: SecretString,
    /// How often all instances together may use the token.
    pub rate: Rate,
}

/// The settings of one Notion instance.
#[derive(Debug, Clone)]
pub struct NotionSettings {
    /// Notion's address and the token.
    pub access: NotionAccess,
    /// The database, as plain hex.
    pub database: NotionId,
    /// The data source, if the database has several.
    pub data_source: Option<NotionId>,
    /// How long a write of unknown outcome may still land, or remain invisible to queries.
    pub settle: Duration,
    /// What its executions deliver. Executions that were created under another mode keep that mode.
    pub mode: Mode,
    /// Whether an object whose page a person removed gets a new one.
    pub recreates: bool,
    /// The time zone in which a month begins.
    pub timezone: Tz,
    /// The last day on which the token works, as the operator noted it: Notion's API does not reveal it.
    pub token_expires: Option<NaiveDate>,
}

/// A Notion id: 32 hex digits without dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotionId(String);

impl NotionId {
    /// Reads an id, dashed or not, or any link to a page or a database that was copied from Notion.
    ///
    /// In a link the id is at the end of the path; the `v` and `p` parameters name a view and a page
    /// opened over the database.
    pub fn parse(text: &str) -> Option<Self> {
        let path = match Url::parse(text) {
            Ok(url) if url.has_host() => url.path().to_owned(),
            _ => text.to_owned(),
        };
        let last = path.rsplit('/').find(|segment| !segment.is_empty())?;
        let hex: String = last.chars().filter(|c| *c != '-').collect();
        let start = hex.len().checked_sub(32)?;
        let id = hex.get(start..).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        Some(Self(id.to_ascii_lowercase()))
    }

    /// Whether two texts name the same thing, dashed or not.
    pub fn is_same(one: &str, other: &str) -> bool {
        one == other || Self::parse(one).is_some_and(|id| Self::parse(other) == Some(id))
    }

    /// As [`parse`](Self::parse), for a page: a link to one that is open over its database has the
    /// page's id in the parameter `p`.
    pub fn parse_page(text: &str) -> Option<Self> {
        let opened = Url::parse(text)
            .ok()
            .and_then(|url| url.query_pairs().find(|(name, _)| name == "p").map(|(_, id)| id.into_owned()));
        match opened {
            Some(id) => Self::parse(&id),
            None => Self::parse(text),
        }
    }

    /// The id as it appears in Notion's addresses.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NotionAccess {
    /// Reads Notion's address and the token. The reader collects the problems.
    pub fn read(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<Self> {
        let key = instance.setting("API_KEY");
        let token = reader.secret(&key);
        if token.is_none() {
            reader.first_problem(
                &key,
                "is missing: the token (ntn_…) of your Notion connection; DESTINATIONS= set to nothing stores events only",
            );
        }
        let base = reader.parsed(&instance.setting("API_URL"), Url::parse(API_URL).ok(), base);
        let per_minute = reader.number(&instance.setting("RATE_PER_MINUTE"), RATE_PER_MINUTE, 0, 100_000);
        let (base, token) = (base?, token?);
        let rate = Rate { connection: connection(&token), per_minute: NonZeroU32::new(per_minute) };
        Some(Self { instance: instance.clone(), base, token, rate })
    }

    /// Whether the token begins as Notion's tokens do.
    pub fn has_usual_token(&self) -> bool {
        let begins = |prefix: &str| {
            self.token.expose_secret().strip_prefix(prefix).is_some_and(|rest| !rest.is_empty())
        };
        begins("ntn_") || begins("secret_")
    }
}

impl NotionSettings {
    /// Reads the section of an instance. The reader collects the problems.
    pub fn read(reader: &mut Reader<'_>, instance: &InstanceName) -> Option<Self> {
        let access = NotionAccess::read(reader, instance);
        let name = instance.setting("DATABASE_ID");
        if reader.text(&name).is_none() {
            reader.problem(&name, "is missing: the id of your Notion database, or a link to it");
        }
        let database = reader.parsed(&name, None, id);
        let data_source = reader.parsed(&instance.setting("DATA_SOURCE_ID"), None, id);
        let settle = Duration::from_secs(reader.number(&instance.setting("SETTLE_SECONDS"), 75, 0, 3600));
        let timezone = config::report_timezone(reader);
        // `config::subscription` reports a problem of this setting.
        let mode =
            reader.text(&instance.setting("MODE")).and_then(|text| text.parse().ok()).unwrap_or_default();
        let recreates = reader.parsed(&instance.setting("REMOVED_PAGES"), false, |text| match text {
            "skip" => Ok(false),
            "recreate" => Ok(true),
            _ => Err("must be skip or recreate"),
        });
        let token_expires = reader.parsed(&instance.setting("API_KEY_EXPIRES"), None, |text| {
            text.parse().map(Some).map_err(|_| "must be a date such as 2027-01-31")
        });
        let (access, database) = (access?, database?);
        Some(Self { access, database, data_source, settle, mode, recreates, timezone, token_expires })
    }
}

/// Names a token without revealing it. Notion counts calls by token, whichever instances use it.
fn connection(token: &SecretString) -> String {
    const NAME_BYTES: usize = 8;
    let digest = Sha256::digest(token.expose_secret().as_bytes());
    format!("notion-{}", hex::encode(digest.iter().take(NAME_BYTES).copied().collect::<Vec<_>>()))
}

fn id(text: &str) -> Result<Option<NotionId>, &'static str> {
    NotionId::parse(text).map(Some).ok_or("must be an id of 32 hex digits, or a link copied from Notion")
}

/// Accepts a base address, also one that ends in `/v1` or `/v1/pages`.
fn base(text: &str) -> Result<Option<Url>, &'static str> {
    let mut url = Url::parse(text).map_err(|_| "must be a URL such as https://api.notion.com")?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err("must begin with https://; plain http is only allowed for this machine");
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/pages").unwrap_or(path);
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_id_is_found_in_whatever_people_paste() {
        for text in [
            HEX.to_owned(),
            "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
            HEX.to_uppercase(),
            format!("https://www.notion.so/acme/Payments-{HEX}?v=ffffffffffffffffffffffffffffffff"),
            format!(
                "https://www.notion.so/{HEX}?v=ffffffffffffffffffffffffffffffff&p=eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
            ),
            format!("https://acme.notion.site/{HEX}#x"),
            format!("notion.so/acme/{HEX}"),
            format!("https://app.notion.com/p/acme/Payments-{HEX}?v=ffffffffffffffffffffffffffffffff"),
        ] {
            assert_eq!(NotionId::parse(&text).map(|id| id.0).as_deref(), Some(HEX), "{text}");
        }
        let opened = format!("https://www.notion.so/{}?v={}&p={HEX}", "f".repeat(32), "e".repeat(32));
        for text in [opened, format!("https://www.notion.so/Payments-{HEX}")] {
            assert_eq!(NotionId::parse_page(&text).map(|id| id.0).as_deref(), Some(HEX), "{text}");
        }
        for text in ["", "payments", "https://www.notion.so/", "0123", "ééééééééééééééééééééééééééééééééé"]
        {
            assert_eq!(NotionId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_originals_address_and_a_bare_one_mean_the_same() {
        for text in
            ["https://api.notion.com", "https://api.notion.com/v1/", "https://api.notion.com/v1/pages"]
        {
            let url = base(text).expect("valid").expect("a URL");
            assert_eq!(
                url.join("v1/pages").expect("joins").as_str(),
                "https://api.notion.com/v1/pages",
                "{text}"
            );
        }
        assert!(base("http://api.notion.com").is_err());
        assert!(base("http://127.0.0.1:9/v1/pages").is_ok());
        assert!(base("file:///etc/passwd").is_err());
    }
}
