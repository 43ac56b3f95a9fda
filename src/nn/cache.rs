//! Executables by shape.

use crate::error::Result;
use std::sync::{Arc, Mutex, PoisonError};

/// How many shapes are kept before the one longest unused is dropped.
const CAPACITY: usize = 16;

/// What was compiled for the last few shapes.
#[derive(Debug)]
pub(crate) struct ShapeCache<K, V> {
    entries: Mutex<Vec<(K, Arc<V>)>>,
}

impl<K, V> Default for ShapeCache<K, V> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<K: PartialEq, V> ShapeCache<K, V> {
    /// What was compiled for a shape, or what `compile` makes of it.
    pub(crate) fn get(&self, key: K, compile: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.iter().position(|(known, _)| *known == key) {
            Some(index) => entries.remove(index),
            None => (key, Arc::new(compile()?)),
        };
        if entries.len() == CAPACITY {
            entries.remove(0);
        }
        let value = Arc::clone(&entry.1);
        entries.push(entry);
        Ok(value)
    }
}
