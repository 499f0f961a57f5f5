//! The events of a month, from the sender's list to the terminal.

use crate::cli::output::counted;
use crate::cli::prompt;
use crate::domain::event::{EventKey, NewEvent, StoredEvent};
use crate::sources::{CreatedRange, EventList, ListError, Registry};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures_util::StreamExt;
use std::time::{Duration, Instant};

/// How many events are printed, and for how long the list is read.
const PRINTED_MAX: usize = 500;
const READ_FOR: Duration = Duration::from_secs(90);

/// The most pages that are read, each of up to 100 events.
const PAGES_MAX: usize = 1_000;

/// The events that were listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Month {
    /// When the list was read, by the sender's clock.
    pub asked_at: DateTime<Utc>,
    /// The zone in which times are shown.
    pub zone: Tz,
}

impl Month {
    /// Prints the events since a time, newest first. A long list is cut; its rest is delivered all the same.
    pub(super) async fn print(
        list: &dyn EventList,
        sources: &Registry,
        since: DateTime<Utc>,
        zone: Tz,
    ) -> Result<Self, ListError> {
        let began = Instant::now();
        println!("The events since {}, newest first:\n", since.with_timezone(&zone).format("%Y-%m-%d"));
        let mut pages = list.read(CreatedRange { from: Some(since), until: None }, PAGES_MAX);
        let (mut asked_at, mut count, mut is_cut) = (None, 0_usize, false);
        while let Some(page) = pages.next().await {
            let page = page?;
            let received_at = *asked_at.get_or_insert(page.asked_at);
            for event in page.events {
                count += 1;
                if count <= PRINTED_MAX {
                    println!("{}", line(&stored(event, received_at), sources, zone));
                }
            }
            is_cut = page.has_more;
            if began.elapsed() > READ_FOR {
                break;
            }
        }
        let total = counted(u64::try_from(count).unwrap_or(u64::MAX), "event");
        println!(
            "{}",
            match (count, is_cut) {
                (0, _) => "  none: the account has no events in this month yet".to_owned(),
                (_, true) => format!("\nMore than {total}; the list was cut here, the delivery is not."),
                (count, false) if count > PRINTED_MAX => {
                    format!("\n{total}; the {} oldest are not shown here.", count - PRINTED_MAX)
                }
                (_, false) => format!("\n{total}."),
            }
        );
        let asked_at = asked_at.unwrap_or(since);
        Ok(Self { asked_at, zone })
    }
}

/// An event on one line: when it happened, and what.
pub(super) fn line(event: &StoredEvent, sources: &Registry, zone: Tz) -> String {
    let at = event.happened_at().unwrap_or(event.received_at).with_timezone(&zone);
    let summary = sources.summarize(event, &[]);
    format!("  {}  {:<32} {}", at.format("%m-%d %H:%M"), summary.event_type, prompt::plain(&summary.title))
}

/// The event as it will be stored, without our number of it.
fn stored(event: NewEvent, received_at: DateTime<Utc>) -> StoredEvent {
    StoredEvent {
        key: EventKey(0),
        source: event.source.to_string(),
        event_id: event.event_id,
        facts: event.facts,
        carries_state: event.carries_state,
        received_at,
        payload: event.payload,
    }
}
