//! A lane's turn: which state of its object to write, and what becomes of the others.

use crate::domain::event::StoredEvent;
use crate::domain::execution::ExecutionId;
use crate::domain::lane::{WithoutState, is_thin};
use crate::domain::version::{EventState, newest};
use crate::store::{Claimed, LaneState, Queue, RemoteObject, StoreError};
use serde_json::Value;
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
    /// The open executions for which it stands, itself left out.
    pub(super) superseded: Vec<ExecutionId>,
    /// What is shown of the object now.
    pub(super) shown: Option<RemoteObject>,
    /// Whether a person asked for one of these: what is shown is then written whole.
    pub(super) is_asked_for: bool,
    /// The other states that were compared with it.
    pub(super) others: Vec<StoredEvent>,
}

/// Looks at all states of the execution's object.
pub(super) async fn plan(queue: &Queue, head: Head<'_>) -> Result<Plan, StoreError> {
    let payload: Value = serde_json::from_slice(&head.event.payload).unwrap_or_default();
    if let Some(reason) = WithoutState::of(&head.event.facts, &payload) {
        return Ok(Plan::Decline(reason));
    }
    let Some(lane) = head.lane else {
        return Ok(Plan::Decline(WithoutState::NoObjectId));
    };
    // Thin events wait in the lane of their object and have their own turn, in which they are declined.
    let (mut states, compared): (Vec<_>, Vec<_>) = queue
        .lane_states(lane, head.destination, head.execution)
        .await?
        .into_iter()
        .filter_map(with_its_state)
        .unzip();
    let Some(place) = newest(&compared).filter(|place| *place < states.len()) else {
        return Ok(Plan::Decline(WithoutState::Thin));
    };
    let is_asked_for = head.is_asked_for || states.iter().any(|state| state.is_asked_for);
    let newest = states.swap_remove(place);
    let superseded = states.iter().filter(|state| state.is_open).map(|state| state.execution).collect();
    let shown = queue.remote_object(lane).await?;
    // A state can turn out to be the newest after it was superseded: a late event may tell how those
    // of one second follow one another. So it is what is shown that decides.
    // Where another state's write is in doubt, it may have landed over the one that was shown.
    let is_certain = head.in_doubt.is_none() && !newest.is_open && !is_asked_for;
    if is_certain && shown.as_ref().is_some_and(|shown| shown.execution == newest.execution) {
        return Ok(Plan::NothingNew { newest: newest.execution, superseded });
    }
    let others = states.into_iter().map(|state| state.event).collect();
    Ok(Plan::Write(Box::new(Turn { newest, superseded, shown, is_asked_for, others })))
}

/// The event with the state of its object, where it carries one.
fn with_its_state(state: LaneState) -> Option<(LaneState, EventState)> {
    let payload: Value = serde_json::from_slice(&state.event.payload).unwrap_or_default();
    if is_thin(&payload) {
        return None;
    }
    let read = EventState::from_payload(&state.event.event_id, &state.event.facts, payload);
    Some((state, read))
}
