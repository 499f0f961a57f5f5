//! The person that `eventbridge forget` erases: a customer id, or an e-mail address and the customer ids
//! found with it.

use crate::cli::progress::Progress;
use crate::cli::prompt::plain;
use crate::domain::event::EventKey;
use crate::domain::search::term;
use crate::sources::Registry;
use crate::store::{Person, Store};
use anyhow::bail;

/// An address with more customers than this does not belong to one person.
const CUSTOMERS_MAX: usize = 50;

/// Parses what was typed: the sender's id of a customer, or an e-mail address. Anything else is
/// refused, because it could be in the events of other people.
pub(super) fn read(text: &str, sources: &Registry) -> anyhow::Result<Person> {
    let text = text.trim();
    if sources.is_person_id(text) {
        return Ok(Person { customers: vec![text.to_owned()], email: None });
    }
    if is_email(text) {
        return Ok(Person { customers: Vec::new(), email: Some(text.to_owned()) });
    }
    let (text, ids) = (plain(text), sources.person_ids());
    bail!("{text:?} is neither a customer id ({ids}) nor an e-mail address in ASCII");
}

/// The events that name the person. With an address, the ids of the customers in these events are
/// searched for too.
pub(super) async fn find(
    store: &Store,
    sources: &Registry,
    named: Person,
) -> anyhow::Result<(Person, Vec<i64>)> {
    let events = search(store, &named).await?;
    let Some(email) = &named.email else { return Ok((named, events)) };
    let customers = customers(store, sources, &events, email).await?;
    if customers.is_empty() {
        return Ok((named, events));
    }
    let person = Person { customers, ..named };
    let events = search(store, &person).await?;
    Ok((person, events))
}

/// How many events name whom, as a sentence without its full stop.
pub(super) fn summary(person: &Person, events: usize) -> String {
    let names: Vec<&str> = person.email.iter().chain(&person.customers).map(String::as_str).collect();
    let verb = if events == 1 { "event names" } else { "events name" };
    format!("{events} {verb} {}", names.join(" or "))
}

/// The customers of those events that have the address.
async fn customers(
    store: &Store,
    sources: &Registry,
    events: &[i64],
    email: &str,
) -> anyhow::Result<Vec<String>> {
    let address = term(email);
    let mut customers = Vec::new();
    for key in events.iter().copied().map(EventKey) {
        let (Some(event), Some(payload)) = (store.events.event(key).await?, store.events.payload(key).await?)
        else {
            continue;
        };
        let entry = sources.index_entry(&event.source, &event.facts(), &payload.body);
        let Some(customer) = entry.customer.filter(|id| sources.is_person_id(id)) else { continue };
        if entry.terms.contains(&address) && !customers.contains(&customer) {
            customers.push(customer);
        }
        if customers.len() > CUSTOMERS_MAX {
            bail!(
                "more than {CUSTOMERS_MAX} customers have this address, so it does not belong to one person; use their ids"
            );
        }
    }
    Ok(customers)
}

async fn search(store: &Store, person: &Person) -> anyhow::Result<Vec<i64>> {
    let progress = Progress::over("searching", store.retention.event_range().await?);
    let (mut found, mut position) = (Vec::new(), 0);
    loop {
        let named = store.erasure.find_person(person, position).await?;
        found.extend(named.events);
        position = named.position;
        progress.at(position);
        if named.is_last {
            return Ok(found);
        }
    }
}

/// Only ASCII, because bodies may encode other letters in more than one way.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_word = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>(),;:@".contains(&byte);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (1..=64).contains(&local.len())
        && (4..=190).contains(&domain.len())
        && local.bytes().all(is_word)
        && domain.bytes().all(is_host)
        && domain.split('.').count() > 1
        && domain.split('.').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Reader, Vars};

    #[test]
    fn only_customer_ids_and_addresses_are_accepted() {
        let sources = Registry::configure(&mut Reader::new(&Vars::default()), &[]);
        for (text, is_id) in [("cus_Jane1", true), (" gcus_1Q0a ", true), ("Jane+x@Example.co.uk", false)] {
            let person = read(text, &sources).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (person.customers.len(), person.email.is_some()),
                (usize::from(is_id), !is_id),
                "{text}"
            );
        }
        for text in [
            "",
            "cus_",
            "cus_a b",
            "in_1Q0a",
            "@example.com",
            "jane@",
            "jane@com",
            "jane@a..b",
            "a\"@b.com",
            "jané@a.com",
            "e",
            "\u{1b}[2J",
        ] {
            assert!(read(text, &sources).is_err(), "{text}");
        }
    }

    #[test]
    fn the_summary_has_every_name_of_the_person() {
        let person =
            Person { customers: vec!["cus_1".into(), "cus_2".into()], email: Some("j@x.com".into()) };
        assert_eq!(summary(&person, 1), "1 event names j@x.com or cus_1 or cus_2");
        assert_eq!(summary(&person, 3), "3 events name j@x.com or cus_1 or cus_2");
    }
}
