//! Executables by shape.

use crate::device::{Device, Precision};
use crate::error::{Error, Result};
use parking_lot::Mutex;

/// How many are kept, however much memory they have.
const LEAST: usize = 1;

/// The bytes that all that are kept may have together, where they are more.
const MOST_BYTES: usize = 1 << 30;

/// What one takes besides its tensors, about: plans, bindings, room for blocks.
const BESIDES: usize = 1 << 18;

/// What was compiled.
pub(crate) trait Kept {
    /// The bytes of its own tensors.
    fn bytes(&self) -> usize;
}

impl<T> Kept for (super::Compiled, T) {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// What was compiled for shapes, at the precision that the device had: of those longest unused only what there is room for.
///
/// Batches whose shapes alternate, as where each has the length of its longest sequence, are not compiled again and again.
#[derive(Debug)]
pub(crate) struct ShapeCache<K, V> {
    /// The longest unused first.
    idle: Mutex<Vec<Entry<K, V>>>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: (Precision, K),
    value: V,
    bytes: usize,
}

impl<K, V> Default for ShapeCache<K, V> {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
        }
    }
}

impl<K: PartialEq, V: Kept> ShapeCache<K, V> {
    /// Runs a function with what was compiled for a shape, or with what `compile` makes of it. While it runs nobody else has it, and
    /// no lock is held: threads that run one shape at a time each compile their own.
    pub(crate) fn with<R>(
        &self,
        device: &Device,
        key: K,
        compile: impl Fn(&K) -> Result<V>,
        run: impl FnOnce(&V) -> Result<R>,
    ) -> Result<R> {
        let key = (device.precision(), key);
        let known = {
            let mut idle = self.idle.lock();
            // Those last used come first.
            let index = idle.iter().rposition(|entry| entry.key == key);
            index.map(|index| idle.remove(index).value)
        };
        let value = match known {
            Some(value) => value,
            None => match compile(&key.1) {
                // What is not in use makes room.
                Err(Error::OutOfMemory { .. }) if self.clear() => compile(&key.1)?,
                outcome => outcome?,
            },
        };
        let result = run(&value);
        let bytes = value.bytes().saturating_add(BESIDES);
        let dropped = {
            let mut idle = self.idle.lock();
            idle.push(Entry { key, value, bytes });
            let sizes: Vec<_> = idle.iter().map(|entry| entry.bytes).collect();
            idle.drain(..too_many(&sizes)).collect::<Vec<_>>()
        };
        drop(dropped);
        result
    }

    /// Drops all. False where there is none.
    fn clear(&self) -> bool {
        let idle = std::mem::take(&mut *self.idle.lock());
        !idle.is_empty()
    }
}

/// How many, the longest unused, are too many for the rest to have room.
fn too_many(sizes: &[usize]) -> usize {
    let mut room = MOST_BYTES;
    let fits = |bytes: &&usize| {
        let left = room.checked_sub(**bytes);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let kept = sizes.iter().rev().take_while(fits).count();
    sizes.len() - kept.max(LEAST).min(sizes.len())
}

#[cfg(test)]
mod tests {
    use super::{LEAST, MOST_BYTES, too_many};

    #[test]
    fn the_last_ones_are_kept_and_as_many_more_as_there_is_room_for() {
        assert_eq!(too_many(&[]), 0);
        assert_eq!(too_many(&[1 << 18; 1000]), 0);
        assert_eq!(too_many(&[MOST_BYTES / 100; 150]), 50);
        assert_eq!(too_many(&[MOST_BYTES; LEAST + 3]), 3);
        assert_eq!(too_many(&[MOST_BYTES + 1; 2]), 1);
        // A large one longest unused goes, others stay.
        assert_eq!(too_many(&[&[MOST_BYTES][..], &[1; 40]].concat()), 1);
    }
}
