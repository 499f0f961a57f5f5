//! Which of several events of one object shows its newest state.
//!
//! Stripe does not guarantee an order, and its clock counts whole seconds. So the later second wins.
//! Within a second, the previous values in the events decide (see `chain`), then how far the object has
//! come (see `rank`), then the event's id. The result depends on which events are compared and never on
//! their order, even if they contradict each other.

mod chain;
mod rank;

use super::json;
use crate::domain::event::{EventFacts, StoredEvent};
use rank::Rank;
use serde_json::Value;

/// The position of the newest of these events of one object; `None` if none has a readable state.
pub(super) fn newest_event(events: &[&StoredEvent]) -> Option<usize> {
    let (places, states): (Vec<usize>, Vec<EventState>) = events
        .iter()
        .map(|event| EventState::read(event))
        .enumerate()
        .filter(|(_, state)| state.object.is_object())
        .unzip();
    places.get(newest(&states)?).copied()
}

/// How many states of one second are compared by their previous values: those that have come furthest.
/// It bounds the work, which grows with the square.
pub const CHAIN_STATES_MAX: usize = 256;

/// The state of an object that an event carries, and what decides how new it is.
#[derive(Debug, Clone, PartialEq)]
pub struct EventState {
    event_id: String,
    second: Option<i64>,
    rank: Rank,
    object: Value,
    previous: Option<Value>,
}

impl EventState {
    /// Reads the state of a stored event's object. A body without one still has a place in the order.
    pub fn read(event: &StoredEvent) -> Self {
        let second = event.happened_at().map(|happened| happened.timestamp());
        Self { second, ..Self::from_payload(&event.event_id, &event.facts, json::value(&event.payload)) }
    }

    /// The same for a body that is parsed already.
    pub fn from_payload(event_id: &str, facts: &EventFacts, mut payload: Value) -> Self {
        let mut take = |place: &str| payload.pointer_mut(place).map(Value::take).unwrap_or_default();
        let (object, previous) = (take("/data/object"), take("/data/previous_attributes"));
        Self {
            event_id: event_id.to_owned(),
            second: facts.created.map(|created| created.timestamp()),
            rank: Rank::of(&facts.event_type, facts.object_type.as_deref(), &object),
            previous: Some(previous).filter(|previous| chain::tells_a_change(previous, &object)),
            object,
        }
    }

    /// The id of the event.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// Whether this event changed the other one's state, by its previous values, and not the other way
    /// round. A deleted object does not change: if previous values match it, that is a coincidence.
    fn follows(&self, other: &Self) -> bool {
        let changed = |before: &Self, after: &Self| {
            before.object.is_object()
                && !before.rank.is_deleted()
                && after
                    .previous
                    .as_ref()
                    .is_some_and(|previous| chain::holds(previous, Some(&before.object)))
        };
        changed(other, self) && !changed(self, other)
    }

    /// What decides if nothing else does.
    fn rank(&self) -> (Rank, &str) {
        (self.rank, &self.event_id)
    }
}

/// The position of the newest state; `None` if there are no states. Event ids must differ.
///
/// Pass all known events of the object's last second, including those that were applied or
/// superseded: then every arrival order ends with the same state.
pub fn newest(states: &[EventState]) -> Option<usize> {
    let last_second = states.iter().filter_map(|state| state.second).max();
    let mut candidates: Vec<_> = states
        .iter()
        .enumerate()
        .filter(|(_, state)| state.second.is_none() || state.second == last_second)
        .collect();
    candidates.sort_by(|(_, one), (_, other)| other.rank().cmp(&one.rank()));
    candidates.truncate(CHAIN_STATES_MAX);

    let direct: Vec<Vec<usize>> = candidates
        .iter()
        .map(|(_, state)| places(&candidates, |(_, other)| other.follows(state)).collect())
        .collect();
    let later: Vec<_> = (0..candidates.len()).map(|place| reached(place, &direct)).collect();
    // If states follow one another in a circle, none of them is older than the others.
    let is_last = |place: usize, after: &[bool]| {
        places(after, |is_after| *is_after).all(|other| is_marked(later.get(other), place))
    };
    let best = later.iter().enumerate().position(|(place, after)| is_last(place, after))?;
    candidates.get(best).map(|(place, _)| *place)
}

/// Whether `candidate` is newer than `applied` if only these two are known, as [`newest`] decides for
/// the pair. An event is not newer than itself.
pub fn is_newer(candidate: &EventState, applied: &EventState) -> bool {
    match (candidate.second, applied.second) {
        (Some(one), Some(other)) if one != other => one > other,
        _ if candidate.follows(applied) => true,
        _ if applied.follows(candidate) => false,
        _ => candidate.rank() > applied.rank(),
    }
}

fn places<T>(items: &[T], is_wanted: impl Fn(&T) -> bool) -> impl Iterator<Item = usize> {
    items.iter().enumerate().filter(move |(_, item)| is_wanted(item)).map(|(place, _)| place)
}

/// Marks all positions that can be reached from `start` over direct steps.
fn reached(start: usize, direct: &[Vec<usize>]) -> Vec<bool> {
    let mut marks = vec![false; direct.len()];
    let mut waiting = vec![start];
    while let Some(place) = waiting.pop() {
        for next in direct.get(place).into_iter().flatten() {
            if let Some(mark @ false) = marks.get_mut(*next) {
                *mark = true;
                waiting.push(*next);
            }
        }
    }
    marks
}

fn is_marked(marks: Option<&Vec<bool>>, place: usize) -> bool {
    marks.and_then(|marks| marks.get(place)).is_some_and(|mark| *mark)
}

#[cfg(test)]
mod tests;
