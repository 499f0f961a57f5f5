//! The person that `eventbridge forget` erases: a customer id, or an e-mail address and the customer ids
//! found with it.
//!
//! An id belongs to one account and one mode of its sender: an equal id elsewhere is another customer.

use crate::cli::progress::Progress;
use crate::cli::prompt::plain;
use crate::cli::wrong_arguments;
use crate::domain::event::StoredEvent;
use crate::domain::mention::{Address, Readings, sql_pattern};
use crate::sources::Registry;
use crate::store::Store;
use anyhow::bail;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// An address with more customers than this does not belong to one person.
const CUSTOMERS_MAX: usize = 50;

/// The most names, and the most addresses, for which other texts are searched.
const WORDS_MAX: usize = 20;

/// How the account is written that has the webhook itself.
pub(super) const OWN_ACCOUNT: &str = "own";

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// The sender's id of a customer.
    Customer(String),
    /// An e-mail address.
    Address(Address),
}

/// The accounts and modes to which the search is limited.
#[derive(Debug, Clone, Default)]
pub(super) struct Within {
    pub(super) account: Option<String>,
    pub(super) livemode: Option<bool>,
}

/// A customer of one account and mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Customer {
    pub(super) id: String,
    pub(super) source: String,
    /// The connected account, or none for the account that has the webhook.
    pub(super) account: Option<String>,
    pub(super) livemode: Option<bool>,
}

/// A person, and the events that name them.
#[derive(Debug, Default)]
pub(super) struct Person {
    pub(super) customers: BTreeSet<Customer>,
    pub(super) events: Vec<i64>,
    addresses: Vec<Address>,
    names: BTreeSet<String>,
}

/// Parses what was typed. Anything but an id or an address is refused, because it could be in the events of
/// other people.
pub(super) fn read(text: &str, sources: &Registry) -> anyhow::Result<Named> {
    let text = text.trim();
    if sources.is_person_id(text) {
        return Ok(Named::Customer(text.to_owned()));
    }
    if let Some(address) = Address::parse(text) {
        return Ok(Named::Address(address));
    }
    let (text, ids) = (plain(text), sources.person_ids());
    Err(wrong_arguments(format!("{text:?} is neither a customer id ({ids}) nor an e-mail address")))
}

/// The events that name the person. With an address, the events of the customers who have it are included.
pub(super) async fn find(
    store: &Store,
    sources: &Registry,
    named: &Named,
    within: &Within,
) -> anyhow::Result<Person> {
    let mut customers = BTreeSet::new();
    search(store, within, |event, readings| {
        customers.extend(customer_in(sources, named, event, readings));
    })
    .await?;
    if customers.len() > CUSTOMERS_MAX {
        bail!(
            "more than {CUSTOMERS_MAX} customers have this address, so it does not belong to one person; use their ids"
        );
    }
    let mut person = Person { customers, ..Person::default() };
    if let Named::Address(address) = named {
        person.addresses.push(address.clone());
    }
    search(store, within, |event, readings| {
        let has_address = matches!(named, Named::Address(address) if readings.has_address(address));
        if has_address || person.customers.iter().any(|customer| customer.is_in(event, readings)) {
            person.events.push(event.key.0);
            person.learn(sources, event);
        }
    })
    .await?;
    Ok(person)
}

/// The customer of an event that names the person.
fn customer_in(
    sources: &Registry,
    named: &Named,
    event: &StoredEvent,
    readings: &Readings,
) -> Option<Customer> {
    match named {
        Named::Customer(id) => {
            Some(Customer::of(event, id)).filter(|customer| customer.is_in(event, readings))
        }
        Named::Address(address) => {
            if !readings.has_address(address) {
                return None;
            }
            let entry = sources.index_entry(&event.source, &event.facts, &event.payload);
            let has_it = entry.terms.iter().any(|term| address.is(term));
            let id = entry.customer.filter(|id| has_it && sources.is_person_id(id))?;
            Some(Customer::of(event, &id))
        }
    }
}

/// Reads all events whose body is stored.
async fn search(
    store: &Store,
    within: &Within,
    mut found: impl FnMut(&StoredEvent, &Readings),
) -> anyhow::Result<()> {
    let progress = Progress::over("searching", store.retention.event_range().await?);
    let mut position = 0;
    loop {
        let events = store.erasure.bodies(position).await?;
        let Some(last) = events.last() else { return Ok(()) };
        position = last.key.0;
        for event in events.iter().filter(|event| !event.payload.is_empty() && within.includes(event)) {
            found(event, &Readings::of(&event.payload));
        }
        progress.at(position);
    }
}

impl Within {
    fn includes(&self, event: &StoredEvent) -> bool {
        let is_account = self.account.as_deref().is_none_or(|account| match event.facts.account.as_deref() {
            None => account == OWN_ACCOUNT,
            Some(of_event) => of_event == account,
        });
        is_account && (self.livemode.is_none() || self.livemode == event.facts.livemode)
    }
}

impl Customer {
    /// The customer with this id in the account and mode of an event.
    fn of(event: &StoredEvent, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            source: event.source.clone(),
            account: event.facts.account.clone(),
            livemode: event.facts.livemode,
        }
    }

    /// Whether an event of this account and mode names the customer.
    fn is_in(&self, event: &StoredEvent, readings: &Readings) -> bool {
        self.is_of(event) && (event.facts.object_id.as_ref() == Some(&self.id) || readings.has_id(&self.id))
    }

    fn is_of(&self, event: &StoredEvent) -> bool {
        self.source == event.source
            && self.account == event.facts.account
            && self.livemode == event.facts.livemode
    }
}

impl fmt::Display for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.account.as_ref().map_or("own account".to_owned(), |id| format!("account {id}"));
        let mode = match self.livemode {
            Some(true) => "live mode",
            Some(false) => "test mode",
            None => "mode unknown",
        };
        write!(f, "{} ({}, {account}, {mode})", self.id, self.source)
    }
}

impl Person {
    /// Notes the names and addresses that an event gives the person, by which other texts may name them.
    fn learn(&mut self, sources: &Registry, event: &StoredEvent) {
        let found = sources.summarize(event, &[]).object.person;
        let is_customer =
            |id: &String| self.customers.iter().any(|customer| customer.id == *id && customer.is_of(event));
        let email = found.email.as_deref().and_then(Address::parse);
        let is_known = email.as_ref().is_some_and(|email| self.addresses.contains(email));
        if !is_known && !found.id.as_ref().is_some_and(is_customer) {
            return;
        }
        if let Some(email) = email.filter(|_| !is_known && self.addresses.len() < WORDS_MAX) {
            self.addresses.push(email);
        }
        if let Some(name) = found.name.filter(|_| self.names.len() < WORDS_MAX) {
            self.names.insert(name);
        }
    }

    /// A pattern for the person's addresses and names in other texts; `None` if none is known.
    pub(super) fn pattern(&self) -> Option<String> {
        sql_pattern(&self.addresses, self.names.iter().map(String::as_str))
    }

    /// The customers in words.
    pub(super) fn listed(&self, separator: &str) -> String {
        self.customers.iter().map(|customer| plain(&customer.to_string())).collect::<Vec<_>>().join(separator)
    }
}

/// How many events name whom, as a sentence without its full stop.
pub(super) fn summary(typed: &str, named: &Named, person: &Person) -> String {
    let address = matches!(named, Named::Address(_)).then(|| plain(typed.trim()));
    let customers = Some(person.listed(" or ")).filter(|customers| !customers.is_empty());
    let parts: Vec<String> = address.into_iter().chain(customers).collect();
    let whom = if parts.is_empty() { plain(typed.trim()) } else { parts.join(" or ") };
    let events = person.events.len();
    let verb = if events == 1 { "event names" } else { "events name" };
    format!("{events} {verb} {whom}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Reader, Vars};

    #[test]
    fn only_customer_ids_and_addresses_are_accepted() {
        let sources = Registry::configure(&mut Reader::new(&Vars::default()), &[]);
        for (text, is_id) in [
            ("cus_Jane1", true),
            (" gcus_1Q0a ", true),
            ("Jane+x@Example.co.uk", false),
            ("jané@a.com", false),
        ] {
            let named = read(text, &sources).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(matches!(named, Named::Customer(_)), is_id, "{text}");
        }
        for text in ["", "cus_", "cus_a b", "in_1Q0a", "e", "\u{1b}[2J"] {
            assert!(read(text, &sources).is_err(), "{text}");
        }
    }

    #[test]
    fn the_summary_has_every_name_of_the_person_with_account_and_mode() {
        let customer = |id: &str, account: Option<&str>, livemode| Customer {
            id: id.to_owned(),
            source: "stripe".to_owned(),
            account: account.map(str::to_owned),
            livemode,
        };
        let customers =
            BTreeSet::from([customer("cus_1", None, Some(true)), customer("cus_1", Some("acct_2"), None)]);
        let named = Named::Address(Address::parse("j@x.com").expect("an address"));
        let person = Person { customers, events: vec![7], ..Person::default() };
        assert_eq!(
            summary("j@x.com", &named, &person),
            "1 event names j@x.com or cus_1 (stripe, own account, live mode) or cus_1 (stripe, account acct_2, mode unknown)"
        );
        let unknown = Named::Customer("cus_9".to_owned());
        assert_eq!(summary("cus_9", &unknown, &Person::default()), "0 events name cus_9");
    }
}
