//! The configured destination instances of this process, by name.

use crate::destinations::{Destination, Instance};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The instances. Cheap to clone.
#[derive(Clone)]
pub(super) struct DestinationMap(Arc<BTreeMap<String, Arc<dyn Destination>>>);

impl DestinationMap {
    pub(super) fn new(instances: Vec<Instance>) -> Self {
        let entry = |instance: Instance| (instance.subscription.destination, instance.destination);
        Self(Arc::new(instances.into_iter().map(entry).collect()))
    }

    /// The destination of the instance of this name.
    pub(super) fn get(&self, name: &str) -> Option<&dyn Destination> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// The names of the instances, with the rate per minute of each that has one.
    pub(super) fn rates(&self) -> impl Iterator<Item = (String, Option<NonZeroU32>)> + '_ {
        let per_minute = |destination: &dyn Destination| destination.rate().and_then(|rate| rate.per_minute);
        self.0.iter().map(move |(name, destination)| (name.clone(), per_minute(destination.as_ref())))
    }
}
