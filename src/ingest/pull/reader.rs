//! How far a list of events is read, so that nothing is left out and little is read twice.
//!
//! The *position* is the time at the sender before which every event is stored. It is kept in the database, and moves
//! only after everything up to it was stored, so a kill costs some reading again and no event.
//!
//! A turn reads the newest events down to the position, less [`OVERLAP`], because an event may be listed late. If they
//! are too many for a turn, it stores what it has read, keeps in memory how far that reaches (*ahead*), and fills the
//! gap from the oldest end, in slices of time. A slice that was read to its end moves the position. Between slices
//! the newest events are read again, so that they do not wait for the old ones. A process that loses *ahead*
//! begins again at the newest events.
//!
//! All times are those of the sender's clock; only the length of a pause is measured here.

use super::{LEASE_BEYOND_INTERVAL, PullError, Puller};
use crate::domain::event::NewEvent;
use crate::ingest::WriteError;
use crate::sources::{CreatedRange, EventList, EventPage};
use crate::store::PullKey;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};
use tracing::{info, warn};
use uuid::Uuid;

/// How far back the newest events are read again: one may be listed later than its time.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);

/// The most pages of the newest events in one turn, each of up to 100 events.
const NEWEST_PAGES_MAX: usize = 10;

/// The most pages of one slice. Slices become shorter long before.
const SLICE_PAGES_MAX: usize = 100_000;

/// How long a turn fills a gap before it reads the newest events again.
const GAP_TURN: Duration = Duration::from_secs(15);

/// The shortest and the longest slice of a gap, and how many pages one should have.
const SLICE_MIN: TimeDelta = TimeDelta::minutes(1);
const SLICE_MAX: TimeDelta = TimeDelta::days(7);
const SLICE_PAGES_FEW: usize = 2;
const SLICE_PAGES_MANY: usize = 10;

/// What a turn has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Every event is stored.
    Complete,
    /// The newest events are stored, and older ones wait.
    Behind,
    /// Another process reads the list.
    NotHolder,
}

/// The newest events that were stored while older ones wait.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// Reads one list.
pub(super) struct ListReader<'a> {
    puller: &'a Puller,
    list: &'a dyn EventList,
    key: PullKey<'a>,
    lease: &'a str,
    process: Uuid,
    ahead: Option<Ahead>,
    slice: TimeDelta,
}

/// What was read of a range.
#[derive(Debug, Default)]
struct Extent {
    /// When the first page was complete, by the sender's clock.
    asked_at: Option<DateTime<Utc>>,
    /// The time of the oldest event.
    oldest: Option<DateTime<Utc>>,
    pages: usize,
    new: usize,
    /// Whether older events in the range were not read.
    has_more: bool,
}

impl<'a> ListReader<'a> {
    pub(super) fn new(
        puller: &'a Puller,
        list: &'a dyn EventList,
        key: PullKey<'a>,
        lease: &'a str,
        process: Uuid,
    ) -> Self {
        Self { puller, list, key, lease, process, ahead: None, slice: TimeDelta::days(1) }
    }

    /// Reads the newest events, then a part of a gap, if there is one.
    pub(super) async fn turn(&mut self) -> Result<Progress, PullError> {
        if !self.holds().await? {
            self.ahead = None;
            return Ok(Progress::NotHolder);
        }
        let position = match self.puller.pulls.position(self.key).await? {
            Some(position) => position,
            None => self.beginning().await?,
        };
        let reached = self.ahead.map_or(position, |ahead| ahead.to);
        let newest = CreatedRange { from: Some(self.from(reached - OVERLAP)), until: None };
        let read = self.read(newest, NEWEST_PAGES_MAX).await?;
        if read.new > 0 {
            info!(source = self.key.source, key = self.key.name, new = read.new, "events fetched");
        }
        let Some(asked_at) = read.asked_at else { return Ok(Progress::Complete) };
        let listed_from = asked_at - self.listed_for();
        if position < listed_from - OVERLAP {
            warn!(
                source = self.key.source,
                read_until = %position,
                %listed_from,
                "events between these times are not listed any more"
            );
        }
        match (&mut self.ahead, read.has_more) {
            (None, false) => {
                self.puller.pulls.advance(self.key, asked_at).await?;
                Ok(Progress::Complete)
            }
            (Some(ahead), false) => {
                ahead.to = asked_at;
                self.fill(position.max(listed_from)).await
            }
            (ahead, true) => {
                // An event of a simulated clock may be dated ahead of every true one.
                let from = read.oldest.unwrap_or(asked_at).min(asked_at);
                *ahead = Some(Ahead { from, to: asked_at });
                self.fill(position.max(listed_from)).await
            }
        }
    }

    /// Where a list begins that was never read.
    async fn beginning(&self) -> Result<DateTime<Utc>, PullError> {
        let first = self.list.read(CreatedRange::default(), 1).next().await;
        let Some(page) = first.transpose()? else { return Ok(DateTime::UNIX_EPOCH) };
        Ok(self.from(page.asked_at - self.listed_for()))
    }

    /// Reads a gap from its oldest end, for a while.
    async fn fill(&mut self, position: DateTime<Utc>) -> Result<Progress, PullError> {
        let began = Instant::now();
        let mut position = position;
        while let Some(ahead) = self.ahead {
            if position >= ahead.from {
                self.puller.pulls.advance(self.key, ahead.to).await?;
                self.ahead = None;
                return Ok(Progress::Complete);
            }
            if began.elapsed() > GAP_TURN {
                break;
            }
            let end = (position + self.slice).min(ahead.from);
            // Times are whole seconds, so the events of the last one belong to both sides.
            let until = end + TimeDelta::seconds(1);
            let slice = CreatedRange { from: Some(self.from(position - OVERLAP)), until: Some(until) };
            let read = self.read(slice, SLICE_PAGES_MAX).await?;
            position = end;
            self.puller.pulls.advance(self.key, position).await?;
            info!(
                source = self.key.source,
                key = self.key.name,
                new = read.new,
                until = %position,
                "older events fetched"
            );
            self.slice = match read.pages {
                ..=SLICE_PAGES_FEW => (self.slice * 2).min(SLICE_MAX),
                SLICE_PAGES_MANY.. => (self.slice / 2).max(SLICE_MIN),
                _ => self.slice,
            };
        }
        Ok(Progress::Behind)
    }

    /// Reads a range and stores what is missing, page by page.
    async fn read(&self, range: CreatedRange, pages_max: usize) -> Result<Extent, PullError> {
        let mut extent = Extent::default();
        let mut pages = self.list.read(range, pages_max);
        while let Some(page) = pages.next().await {
            let page = page?;
            if !self.holds().await? {
                return Err(PullError::LeaseLost);
            }
            extent.asked_at.get_or_insert(page.asked_at);
            extent.pages += 1;
            extent.has_more = page.has_more;
            let oldest = page.events.iter().filter_map(|event| event.facts.created).min();
            extent.oldest = [extent.oldest, oldest].into_iter().flatten().min();
            extent.new += self.store(page).await?;
        }
        Ok(extent)
    }

    /// Stores the events of a page that are missing, oldest first. Returns how many there were.
    async fn store(&self, page: EventPage) -> Result<usize, PullError> {
        for (event_id, reason) in &page.unreadable {
            warn!(event_id, reason, "a listed event cannot be stored");
        }
        let ids: Vec<&str> = page.events.iter().map(|event| event.event_id.as_str()).collect();
        let stored = self.puller.pulls.stored(self.key.source, &ids).await?;
        let first = self.list.settings().webhook_first;
        let end = if first.is_zero() { page.asked_at } else { page.asked_at + OVERLAP };
        let webhooks_turn = page.asked_at - delta(first)..end;
        let missing = missing(page.events, &stored, &webhooks_turn, self.list.settings().since);
        let ids: Vec<String> = missing.iter().map(|event| event.event_id.clone()).collect();
        let written = join_all(missing.into_iter().map(|event| self.puller.submit(event))).await;
        let mut new = 0;
        for (event_id, written) in ids.iter().zip(written) {
            match written {
                Ok(is_new) => new += usize::from(is_new),
                // It would be rejected again, and must not hold up the others.
                Err(WriteError::Refused) => warn!(event_id, "the database rejects a listed event"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(new)
    }

    /// Acquires the lease, or renews it.
    async fn holds(&self) -> Result<bool, PullError> {
        let length = self.list.settings().interval + LEASE_BEYOND_INTERVAL;
        Ok(self.puller.leases.acquire(self.lease, self.process, length).await?)
    }

    /// A time, but none before the events that the operator wants.
    fn from(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        self.list.settings().since.map_or(time, |since| time.max(since))
    }

    fn listed_for(&self) -> TimeDelta {
        delta(self.list.settings().listed_for)
    }
}

/// The events of a page that are to be stored, oldest first: those that are not stored, and were not created before
/// `since` or so recently that their webhook has precedence. One of a simulated clock may be dated ahead of that.
fn missing(
    events: Vec<NewEvent>,
    stored: &HashSet<String>,
    webhooks_turn: &Range<DateTime<Utc>>,
    since: Option<DateTime<Utc>>,
) -> Vec<NewEvent> {
    let is_wanted = |event: &NewEvent| {
        let created = event.facts.created;
        let is_left = created.is_some_and(|created| {
            since.is_some_and(|since| created < since) || webhooks_turn.contains(&created)
        });
        !is_left && !stored.contains(&event.event_id)
    };
    events.into_iter().rev().filter(is_wanted).collect()
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventFacts, EventOrigin};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn event(id: &str, created: Option<i64>) -> NewEvent {
        NewEvent {
            source: "stripe".into(),
            event_id: id.to_owned(),
            facts: EventFacts { created: created.map(at), ..EventFacts::default() },
            carries_state: true,
            origin: EventOrigin::Api,
            signature: String::new(),
            secret_name: String::new(),
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn what_is_stored_too_old_or_left_to_its_webhook_is_not_fetched() {
        let page = || {
            vec![
                event("simulated", Some(9_000)),
                event("young", Some(95)),
                event("ready", Some(50)),
                event("stored", Some(40)),
                event("old", Some(10)),
                event("timeless", None),
            ]
        };
        let ids = |turn: Range<i64>, since: Option<i64>| {
            let stored = HashSet::from(["stored".to_owned()]);
            let found = missing(page(), &stored, &(at(turn.start)..at(turn.end)), since.map(at));
            found.into_iter().map(|event| event.event_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(80..700, Some(20)), ["timeless", "ready", "simulated"]);
        assert_eq!(ids(100..100, None), ["timeless", "old", "ready", "young", "simulated"]);
    }
}
