//! A tensor's memory, with what is made of it and kept until it is written to.

use super::memory::matrix;
use crate::Real;
use crate::panels::{PanelScalar, Panels};
use crate::program::Matrix;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A tensor's memory, shared between programs.
#[derive(Clone, Debug)]
pub(crate) struct Buffer<F>(Arc<RwLock<Contents<F>>>);

impl<F: Real> Buffer<F> {
    pub(crate) fn new(numbers: Vec<F>) -> Self {
        let contents = Contents {
            numbers,
            packed: Mutex::default(),
        };
        Self(Arc::new(RwLock::new(contents)))
    }
}

impl<F> Buffer<F> {
    /// Says whether both are the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What tells this memory from all other.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Locks the tensor for reading. Whoever holds one locked must not lock another: [`Memory`](super::Memory) locks several in order.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Contents<F>> {
        self.0.read()
    }

    /// Locks the tensor for writing, and forgets what was packed of it. As [`Buffer::read`], never with another one locked.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Contents<F>> {
        let mut contents = self.0.write();
        contents.numbers_mut();
        contents
    }
}

impl<F: Copy> Buffer<F> {
    /// Copies elements of another tensor, or of another part of this one.
    pub(crate) fn copy(&self, offset: usize, from: &Self, from_offset: usize, len: usize) {
        let source = from_offset..from_offset + len;
        if self.is(from) {
            return self.write().copy_within(source, offset);
        }
        // In the order that runs lock in.
        let (mut to, from) = if self.address() < from.address() {
            let to = self.write();
            (to, from.read())
        } else {
            let from = from.read();
            (self.write(), from)
        };
        to[offset..offset + len].copy_from_slice(&from[source]);
    }
}

/// How a matrix is packed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// The matrix, for products with it.
    Plain,
    /// The transpose, for products with that.
    Transposed,
    /// The transpose by units, as [`Panels::of_units`] has it for so many gates.
    OfUnits(usize),
}

/// A matrix of a tensor, whatever a program calls that, and its form: offset, rows, columns,
/// stride.
type PackingKey = ([usize; 4], Form);

/// A tensor's numbers.
#[derive(Debug)]
pub(crate) struct Contents<F> {
    numbers: Vec<F>,
    packed: Mutex<Vec<(PackingKey, Arc<Panels<F>>)>>,
}

impl<F> Contents<F> {
    /// The numbers, for writing: what was packed of them is forgotten.
    pub(super) fn numbers_mut(&mut self) -> &mut [F] {
        self.packed.get_mut().clear();
        &mut self.numbers
    }
}

impl<F: PanelScalar> Contents<F> {
    /// A matrix of the tensor, packed; `keep`: until the tensor is next written to, for whoever
    /// asks for the same.
    pub(super) fn packed(&self, of: Matrix, form: Form, keep: bool) -> Arc<Panels<F>> {
        let key = ([of.offset, of.rows, of.columns, of.row_stride], form);
        let known = |packed: &[(PackingKey, Arc<Panels<F>>)]| {
            let same = packed.iter().find(|(known, _)| *known == key);
            same.map(|(_, panels)| Arc::clone(panels))
        };
        if let Some(panels) = known(&self.packed.lock()) {
            return panels;
        }
        let extent = of.extent();
        let values = matrix(&self.numbers[extent.offset..][..extent.len], of);
        let panels = Arc::new(match form {
            Form::Plain => Panels::new(values),
            Form::Transposed => Panels::new(values.reversed_axes()),
            Form::OfUnits(gates) => Panels::of_units(values, gates),
        });
        if keep {
            let mut packed = self.packed.lock();
            // Another thread may have been faster.
            if known(&packed).is_none() {
                packed.push((key, Arc::clone(&panels)));
            }
        }
        panels
    }
}

impl<F> Deref for Contents<F> {
    type Target = [F];
    fn deref(&self) -> &[F] {
        &self.numbers
    }
}

impl<F> DerefMut for Contents<F> {
    fn deref_mut(&mut self) -> &mut [F] {
        &mut self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Program, Slice};

    #[test]
    fn what_is_packed_is_kept_until_the_next_write() {
        let mut program = Program::default();
        let tensor = program.tensor("weights", &[12]);
        let of = |offset| {
            Slice {
                offset,
                len: 6,
                tensor: tensor.tensor,
            }
            .matrix(2, 3)
        };
        let buffer = Buffer::<f32>::new(vec![0.0; 12]);
        let pack = |offset, form, keep| buffer.read().packed(of(offset), form, keep);
        let passing = pack(0, Form::Plain, false);
        let kept = pack(0, Form::Plain, true);
        assert!(!Arc::ptr_eq(&passing, &kept));
        for keep in [false, true] {
            assert!(Arc::ptr_eq(&kept, &pack(0, Form::Plain, keep)));
        }
        for (offset, form) in [
            (6, Form::Plain),
            (0, Form::Transposed),
            (0, Form::OfUnits(2)),
        ] {
            assert!(!Arc::ptr_eq(&kept, &pack(offset, form, true)));
        }
        buffer.write()[0] = 1.0;
        assert!(!Arc::ptr_eq(&kept, &pack(0, Form::Plain, true)));
    }
}
