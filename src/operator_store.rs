//! The parts of the store that operators use, through the API or the dashboard.

use crate::health::HealthStore;
use crate::store::{
    Destinations, Events, FailureGroups, Interventions, RateLimits, Rejections, Reports, RevokedSessions,
    Statistics, Store,
};

/// The parts of the store that operators use, through the API or the dashboard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OperatorStore {
    /// To read events.
    pub events: Events,
    /// To read executions, backlogs and workers.
    pub reports: Reports,
    /// To read and acknowledge failure groups.
    pub failure_groups: FailureGroups,
    /// To retry, cancel and replay executions.
    pub interventions: Interventions,
    /// To read, pause and resume destination instances.
    pub destinations: Destinations,
    /// To read the state of rate limits.
    pub rate_limits: RateLimits,
    /// To read samples of rejected requests.
    pub rejections: Rejections,
    /// To read counts over time.
    pub statistics: Statistics,
    /// To end sessions of the dashboard.
    pub revoked_sessions: RevokedSessions,
    /// To read the health snapshot.
    pub health: HealthStore,
}

impl From<&Store> for OperatorStore {
    fn from(store: &Store) -> Self {
        Self {
            events: store.events.clone(),
            reports: store.reports.clone(),
            failure_groups: store.failure_groups.clone(),
            interventions: store.interventions.clone(),
            destinations: store.destinations.clone(),
            rate_limits: store.rate_limits.clone(),
            rejections: store.rejections.clone(),
            statistics: store.statistics.clone(),
            revoked_sessions: store.revoked_sessions.clone(),
            health: HealthStore::from(store),
        }
    }
}
