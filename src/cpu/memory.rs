//! Tensors in memory, and the views that operations take of them.

use super::buffer::{Buffer, Form};
use crate::Real;
use crate::panels::{PanelScalar, Panels};
use crate::program::{Matrix, Slice, TensorId};
use ndarray::{ArrayView2, ArrayViewMut2, Ix2, ShapeBuilder, StrideShape};
use parking_lot::{
    MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLockReadGuard, RwLockWriteGuard,
};
use std::ops::Range;
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
        RwLockReadGuard::map(guard, |contents| &contents[range(slice)])
    }

    /// A whole tensor for reading.
    pub(crate) fn read_whole(&self, tensor: TensorId) -> Reading<'a, F> {
        RwLockReadGuard::map(self.buffers[tensor.0].read(), |contents| &contents[..])
    }

    /// The lengths of sequences, or other whole numbers.
    pub(crate) fn wholes(&self, slice: Slice) -> Vec<usize> {
        let whole = |whole: &F| whole.to_whole() as usize;
        self.read(slice).iter().map(whole).collect()
    }

    /// A whole tensor for writing.
    pub(crate) fn write_whole(&self, tensor: TensorId) -> Writing<'a, F> {
        RwLockWriteGuard::map(self.buffers[tensor.0].write(), |contents| &mut contents[..])
    }

    /// A slice for writing.
    pub(crate) fn write(&self, slice: Slice) -> Writing<'a, F> {
        MappedRwLockWriteGuard::map(self.write_whole(slice.tensor), |whole| {
            &mut whole[range(slice)]
        })
    }
}

impl<F: PanelScalar> Memory<'_, F> {
    /// A matrix, packed; `keep`: until its tensor is next written to.
    pub(super) fn packed(&self, of: Matrix, form: Form, keep: bool) -> Arc<Panels<F>> {
        self.buffers[of.tensor.0].read().packed(of, form, keep)
    }
}

/// The places of a slice in its tensor.
pub(super) fn range(slice: Slice) -> Range<usize> {
    slice.offset..slice.offset + slice.len
}

/// A locked slice.
pub(crate) type Reading<'a, F> = MappedRwLockReadGuard<'a, [F]>;

/// A slice locked for writing.
pub(crate) type Writing<'a, F> = MappedRwLockWriteGuard<'a, [F]>;

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
