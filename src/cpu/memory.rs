//! Tensors in memory, and the views that operations take of them.

use super::buffer::{Buffer, Contents, Form};
use crate::Real;
use crate::panels::{PanelScalar, Panels};
use crate::program::{Matrix, Slice, TensorId};
use ndarray::{ArrayView2, ArrayViewMut2, Ix2, ShapeBuilder, StrideShape};
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The memory of a program's tensors.
pub(crate) struct Memory<'a, F> {
    buffers: &'a [Buffer<F>],
}

impl<'a, F: Real> Memory<'a, F> {
    pub(crate) fn new(buffers: &'a [Buffer<F>]) -> Self {
        Self { buffers }
    }

    /// A slice for reading.
    pub(crate) fn read(&self, slice: Slice) -> Reading<'a, F> {
        let guard = self.buffers[slice.tensor.0].read();
        Reading { guard, slice }
    }

    /// A whole tensor for reading.
    pub(crate) fn read_whole(&self, tensor: TensorId) -> Reading<'a, F> {
        let guard = self.buffers[tensor.0].read();
        let slice = Slice {
            tensor,
            offset: 0,
            len: guard.len(),
        };
        Reading { guard, slice }
    }

    /// The lengths of sequences, or other whole numbers.
    pub(crate) fn wholes(&self, slice: Slice) -> Vec<usize> {
        let whole = |whole: &F| whole.to_whole() as usize;
        self.read(slice).iter().map(whole).collect()
    }

    /// A whole tensor for writing.
    pub(crate) fn write_whole(&self, tensor: TensorId) -> Writing<'a, F> {
        let guard = self.buffers[tensor.0].write();
        let slice = Slice {
            tensor,
            offset: 0,
            len: guard.len(),
        };
        Writing { guard, slice }
    }

    /// A slice for writing.
    pub(crate) fn write(&self, slice: Slice) -> Writing<'a, F> {
        let guard = self.buffers[slice.tensor.0].write();
        Writing { guard, slice }
    }

    /// Two slices of one tensor for writing, where they are present.
    pub(crate) fn write_two(&self, a: Option<Slice>, b: Option<Slice>) -> WritingTwo<'a, F> {
        let tensor = a.or(b).map(|slice| slice.tensor);
        WritingTwo {
            guard: tensor.map(|tensor| self.buffers[tensor.0].write()),
            slices: (a, b),
        }
    }
}

impl<F: PanelScalar> Memory<'_, F> {
    /// A matrix, packed; `keep`: until its tensor is next written to.
    pub(super) fn packed(&self, of: Matrix, form: Form, keep: bool) -> Arc<Panels<F>> {
        self.buffers[of.tensor.0].read().packed(of, form, keep)
    }
}

/// Two slices of one tensor, locked for writing.
pub(crate) struct WritingTwo<'a, F> {
    guard: Option<RwLockWriteGuard<'a, Contents<F>>>,
    slices: (Option<Slice>, Option<Slice>),
}

impl<F> WritingTwo<'_, F> {
    /// The elements of both.
    pub(crate) fn parts(&mut self) -> (Option<&mut [F]>, Option<&mut [F]>) {
        let Some(guard) = &mut self.guard else {
            return (None, None);
        };
        let range = |slice: Slice| slice.offset..slice.offset + slice.len;
        match self.slices {
            (Some(a), Some(b)) => {
                let [a, b] = guard
                    .get_disjoint_mut([range(a), range(b)])
                    .expect("the program was checked");
                (Some(a), Some(b))
            }
            (a, b) => {
                let part = guard.get_mut(range(a.or(b).expect("one is present")));
                if a.is_some() {
                    (part, None)
                } else {
                    (None, part)
                }
            }
        }
    }
}

/// A locked slice; derefs to its elements.
pub(crate) struct Reading<'a, F> {
    guard: RwLockReadGuard<'a, Contents<F>>,
    slice: Slice,
}

impl<F> Deref for Reading<'_, F> {
    type Target = [F];
    fn deref(&self) -> &[F] {
        &self.guard[self.slice.offset..self.slice.offset + self.slice.len]
    }
}

/// A slice locked for writing; derefs to its elements.
pub(crate) struct Writing<'a, F> {
    guard: RwLockWriteGuard<'a, Contents<F>>,
    slice: Slice,
}

impl<F> Deref for Writing<'_, F> {
    type Target = [F];
    fn deref(&self) -> &[F] {
        &self.guard[self.slice.offset..self.slice.offset + self.slice.len]
    }
}

impl<F> DerefMut for Writing<'_, F> {
    fn deref_mut(&mut self) -> &mut [F] {
        &mut self.guard[self.slice.offset..self.slice.offset + self.slice.len]
    }
}

fn layout(matrix: Matrix) -> StrideShape<Ix2> {
    let shape = (matrix.rows, matrix.columns);
    if matrix.rows == 0 {
        // No element for a stride to reach.
        return shape.into();
    }
    shape.strides((matrix.row_stride.max(1), 1))
}

/// The elements of a matrix's extent as the matrix.
pub(crate) fn matrix<F>(elements: &[F], matrix: Matrix) -> ArrayView2<'_, F> {
    let shape = layout(matrix);
    ArrayView2::from_shape(shape, elements).expect("the program was checked")
}

/// The elements of a matrix's extent as the matrix, for writing.
pub(crate) fn matrix_mut<F>(elements: &mut [F], matrix: Matrix) -> ArrayViewMut2<'_, F> {
    let shape = layout(matrix);
    ArrayViewMut2::from_shape(shape, elements).expect("the program was checked")
}
