//! The configured destination instances of this process, by name.

use crate::destinations::{Destination, Instance};
use std::collections::BTreeMap;
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

    /// The names of the instances.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.0.keys().cloned()
    }
}
