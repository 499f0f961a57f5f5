//! The plan of an attempt in object mode: which state of the object to write, and what happens to the other
//! states that wait in its lane.

use crate::domain::event::StoredEvent;
use crate::domain::execution::ExecutionId;
use crate::domain::lane::{WithoutState, lane};
use crate::sources::Registry;
use crate::store::{Claimed, LaneState, Queue, RemoteObject, StoreError};
use std::time::Duration;

/// The execution for which to plan: the head of its lane, or one that is previewed.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneHead<'a> {
    /// The execution.
    pub(super) execution: ExecutionId,
    /// Its lane.
    pub(super) lane: Option<&'a str>,
    /// Its event.
    pub(super) event: &'a StoredEvent,
    /// How long ago a write of unknown outcome began in its lane.
    pub(super) in_doubt: Option<Duration>,
    /// Whether an operator asks for it now; its row has only earlier requests.
    pub(super) is_asked_for: bool,
}

impl<'a> LaneHead<'a> {
    /// A claimed execution of this event.
    pub(super) fn of(claimed: &'a Claimed, event: &'a StoredEvent) -> Self {
        Self {
            execution: claimed.id,
            lane: claimed.lane.as_deref(),
            event,
            in_doubt: claimed.in_doubt,
            is_asked_for: false,
        }
    }
}

/// What to do with an execution of an object.
#[derive(Debug)]
pub(super) enum Plan {
    /// Skip it: it brings no state of an object, for this reason.
    Decline(WithoutState),
    /// Write nothing: the newest state was written before.
    NothingNew {
        /// The lane.
        lane: String,
        /// The execution that wrote it.
        newest: ExecutionId,
        /// The open executions whose states are older.
        superseded: Vec<ExecutionId>,
    },
    /// Write the newest state.
    Write(Box<Write>),
}

/// The newest state of an object, with what its destination needs to write it.
#[derive(Debug)]
pub(super) struct Write {
    /// The lane.
    pub(super) lane: String,
    /// The newest state, which need not be that of the claimed execution.
    pub(super) newest: LaneState,
    /// The other open executions, whose states are older.
    pub(super) superseded: Vec<ExecutionId>,
    /// What the destination shows of the object now.
    pub(super) shown: Option<RemoteObject>,
    /// Whether an operator asked for one of these; then all of it is written.
    pub(super) is_asked_for: bool,
    /// The other states that were compared with it.
    pub(super) others: Vec<StoredEvent>,
}

/// Compares the states of the execution's object.
pub(super) async fn plan(queue: &Queue, sources: &Registry, head: LaneHead<'_>) -> Result<Plan, StoreError> {
    let (Some(_), Some(in_lane)) = (lane(&head.event.facts), head.lane) else {
        return Ok(Plan::Decline(WithoutState::NoObjectId));
    };
    let Some(source) = sources.get(&head.event.source) else {
        return Ok(Plan::Decline(WithoutState::NoSource));
    };
    if !head.event.carries_state {
        return Ok(Plan::Decline(WithoutState::NotCarried));
    }
    let mut states = queue.lane_states(in_lane, head.execution).await?;
    // Events without a state wait in the lane of their object and are declined at their turn.
    states.retain(|state| state.event.carries_state);
    let events: Vec<&StoredEvent> = states.iter().map(|state| &state.event).collect();
    let Some(place) = source.newest(&events).filter(|place| *place < states.len()) else {
        return Ok(Plan::Decline(WithoutState::NotCarried));
    };
    let is_asked_for = head.is_asked_for || states.iter().any(|state| state.is_asked_for);
    let newest = states.swap_remove(place);
    let superseded = states.iter().filter(|state| state.is_open).map(|state| state.execution).collect();
    let shown = queue.remote_object(in_lane).await?;
    // A state can turn out to be the newest after it was superseded: a late event may reveal the order of
    // states of one second. So the shown state decides. If another state's write is in doubt, it may have
    // landed over the shown one.
    let is_certain = head.in_doubt.is_none() && !newest.is_open && !is_asked_for;
    if is_certain && shown.as_ref().is_some_and(|shown| shown.execution == newest.execution) {
        return Ok(Plan::NothingNew { lane: in_lane.to_owned(), newest: newest.execution, superseded });
    }
    let others = states.into_iter().map(|state| state.event).collect();
    let lane = in_lane.to_owned();
    Ok(Plan::Write(Box::new(Write { lane, newest, superseded, shown, is_asked_for, others })))
}
