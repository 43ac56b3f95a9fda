//! Executables by shape.

use crate::device::{Device, Precision};
use crate::error::Result;
use parking_lot::Mutex;

/// How many are kept before the one longest unused is dropped.
const CAPACITY: usize = 16;

/// What was compiled for the last few shapes, at the precision that the device had.
#[derive(Debug)]
pub(crate) struct ShapeCache<K, V> {
    idle: Mutex<Vec<((Precision, K), V)>>,
}

impl<K, V> Default for ShapeCache<K, V> {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
        }
    }
}

impl<K: PartialEq, V> ShapeCache<K, V> {
    /// Runs a function with what was compiled for a shape, or with what `compile` makes of it. While it runs nobody else has it, and
    /// no lock is held: threads that run one shape at a time each compile their own.
    pub(crate) fn with<R>(
        &self,
        device: &Device,
        key: K,
        compile: impl FnOnce(&K) -> Result<V>,
        run: impl FnOnce(&V) -> Result<R>,
    ) -> Result<R> {
        let key = (device.precision(), key);
        let known = {
            let mut idle = self.idle.lock();
            let index = idle.iter().position(|(known, _)| *known == key);
            index.map(|index| idle.remove(index).1)
        };
        let value = match known {
            Some(value) => value,
            None => compile(&key.1)?,
        };
        let result = run(&value);
        let mut idle = self.idle.lock();
        if idle.len() == CAPACITY {
            idle.remove(0);
        }
        idle.push((key, value));
        result
    }
}
