//! The objects of the account, each in its newest state, by path and in lists.

use crate::resources;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Where an object stands in its list: by its creation, then by when the stand-in got to know it.
pub type Place = (i64, u64);

#[derive(Debug)]
struct Stored {
    value: Arc<Value>,
    collection: Arc<str>,
    place: Place,
}

/// All objects.
#[derive(Debug, Default)]
pub struct Objects {
    by_path: HashMap<String, Stored>,
    paths: HashMap<String, String>,
    lists: HashMap<Arc<str>, BTreeMap<Place, String>>,
    count: u64,
}

impl Objects {
    /// Stores an object at its own path. Returns whether it has one.
    pub fn put(&mut self, value: Arc<Value>) -> bool {
        match resources::path_of(&value) {
            Some(path) => {
                self.put_at(path, value);
                true
            }
            None => false,
        }
    }

    /// Stores an object at a path such as `/v1/charges/ch_1`.
    pub fn put_at(&mut self, path: String, value: Arc<Value>) {
        if let Some(stored) = self.by_path.get_mut(&path) {
            stored.value = value;
            return;
        }
        self.count += 1;
        let created = value.get("created").and_then(Value::as_i64).unwrap_or(0);
        let place = (created, self.count);
        let collection: Arc<str> = path.rsplit_once('/').map_or("", |(collection, _)| collection).into();
        self.lists.entry(Arc::clone(&collection)).or_default().insert(place, path.clone());
        if let Some(id) = value.get("id").and_then(Value::as_str) {
            self.paths.insert(id.to_owned(), path.clone());
        }
        self.by_path.insert(path, Stored { value, collection, place });
    }

    /// Removes the object with this id. Returns whether it existed.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(stored) = self.paths.remove(id).and_then(|path| self.by_path.remove(&path)) else {
            return false;
        };
        if let Some(list) = self.lists.get_mut(&stored.collection) {
            list.remove(&stored.place);
        }
        true
    }

    /// The object at a path.
    pub fn at(&self, path: &str) -> Option<&Arc<Value>> {
        self.by_path.get(path).map(|stored| &stored.value)
    }

    /// The object with an id.
    pub fn get(&self, id: &str) -> Option<&Arc<Value>> {
        self.at(self.paths.get(id)?)
    }

    /// Where the object with an id is found.
    pub fn path(&self, id: &str) -> Option<&str> {
        self.paths.get(id).map(String::as_str)
    }

    /// The objects of a list such as `/v1/charges`, newest first.
    pub fn list(&self, collection: &str) -> impl DoubleEndedIterator<Item = &Arc<Value>> {
        let list = self.lists.get(collection);
        list.into_iter().flat_map(|list| list.values().rev()).filter_map(|path| self.at(path))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_newest_first_and_keeps_the_newest_state() {
        let mut objects = Objects::default();
        for (id, created) in [("ch_1", 5), ("ch_2", 9), ("ch_3", 5)] {
            assert!(objects.put(Arc::new(json!({"object": "charge", "id": id, "created": created}))));
        }
        objects.put(Arc::new(json!({"object": "charge", "id": "ch_1", "created": 5, "paid": true})));
        let ids: Vec<_> = objects.list("/v1/charges").map(|charge| charge["id"].clone()).collect();
        assert_eq!(ids, ["ch_2", "ch_3", "ch_1"]);
        assert_eq!(objects.get("ch_1").unwrap()["paid"], true);
        assert!(objects.remove("ch_2") && !objects.remove("ch_2"));
        assert_eq!((objects.len(), objects.list("/v1/charges").count()), (2, 2));
    }
}
