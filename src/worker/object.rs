//! A lane's turn: which state of its object to write, and what becomes of the others.

use crate::domain::event::StoredEvent;
use crate::domain::execution::ExecutionId;
use crate::domain::lane::{WithoutState, lane};
use crate::domain::summary::EventSummary;
use crate::sources::Registry;
use crate::store::{Claimed, LaneState, Queue, RemoteObject, StoreError};
use std::time::Duration;

/// The execution of an object that is worked on, or would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    /// The execution.
    pub(super) execution: ExecutionId,
    /// The destination instance.
    pub(super) destination: &'a str,
    /// Its lane.
    pub(super) lane: Option<&'a str>,
    /// Its event.
    pub(super) event: &'a StoredEvent,
    /// How long ago a write of unknown outcome began in its lane.
    pub(super) in_doubt: Option<Duration>,
    /// Whether a person asks for it, beside what its row says of that.
    pub(super) is_asked_for: bool,
}

impl<'a> From<&'a Claimed> for Head<'a> {
    fn from(claimed: &'a Claimed) -> Self {
        Self {
            execution: claimed.id,
            destination: &claimed.destination,
            lane: claimed.lane.as_deref(),
            event: &claimed.event,
            in_doubt: claimed.in_doubt,
            is_asked_for: false,
        }
    }
}

/// What to do with an execution of an object.
#[derive(Debug)]
pub(super) enum Plan {
    /// It brings no state of an object, for this reason.
    Decline(WithoutState),
    /// Its newest state was written before.
    NothingNew {
        /// By this execution.
        newest: ExecutionId,
        /// These are older.
        superseded: Vec<ExecutionId>,
    },
    /// Its newest state is to be written.
    Write(Box<Turn>),
}

/// A state to be written.
#[derive(Debug)]
pub(super) struct Turn {
    /// The newest state, which need not be the one that was claimed.
    pub(super) newest: LaneState,
    /// What its event says.
    pub(super) summary: EventSummary,
    /// The open executions for which it stands, itself left out.
    pub(super) superseded: Vec<ExecutionId>,
    /// What is shown of the object now.
    pub(super) shown: Option<RemoteObject>,
    /// Whether a person asked for one of these: what is shown is then written whole.
    pub(super) is_asked_for: bool,
    /// The other states that were compared with it.
    pub(super) others: Vec<EventSummary>,
}

/// Looks at all states of the execution's object.
pub(super) async fn plan(queue: &Queue, sources: &Registry, head: Head<'_>) -> Result<Plan, StoreError> {
    let (Some(_), Some(in_lane)) = (lane(&head.event.facts), head.lane) else {
        return Ok(Plan::Decline(WithoutState::NoObjectId));
    };
    let Some(source) = sources.get(&head.event.source) else {
        return Ok(Plan::Decline(WithoutState::NoSource));
    };
    if !head.event.carries_state {
        return Ok(Plan::Decline(WithoutState::NotCarried));
    }
    let mut states = queue.lane_states(in_lane, head.destination, head.execution).await?;
    // Events that carry no state wait in the lane of their object and are declined when it is their turn.
    states.retain(|state| state.event.carries_state);
    let events: Vec<&StoredEvent> = states.iter().map(|state| &state.event).collect();
    let Some(place) = source.newest(&events).filter(|place| *place < states.len()) else {
        return Ok(Plan::Decline(WithoutState::NotCarried));
    };
    let is_asked_for = head.is_asked_for || states.iter().any(|state| state.is_asked_for);
    let newest = states.swap_remove(place);
    let superseded = states.iter().filter(|state| state.is_open).map(|state| state.execution).collect();
    let shown = queue.remote_object(in_lane).await?;
    // A state can turn out to be the newest after it was superseded: a late event may say how those of
    // one second follow one another. So what is shown decides. If another state's write is in doubt, it
    // may have landed over the one that was shown.
    let is_certain = head.in_doubt.is_none() && !newest.is_open && !is_asked_for;
    if is_certain && shown.as_ref().is_some_and(|shown| shown.execution == newest.execution) {
        return Ok(Plan::NothingNew { newest: newest.execution, superseded });
    }
    let summary = source.summarize(&newest.event);
    let others = states.iter().map(|state| source.summarize(&state.event)).collect();
    Ok(Plan::Write(Box::new(Turn { newest, summary, superseded, shown, is_asked_for, others })))
}
