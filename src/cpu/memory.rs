//! Tensors in memory, and the views that operations take of them.

use super::buffer::{Buffer, Contents, Form};
use crate::Real;
use crate::panels::{PanelScalar, Panels};
use crate::program::{Matrix, Slice, TensorId};
use atomic_refcell::{AtomicRef, AtomicRefCell, AtomicRefMut};
use ndarray::{ArrayView2, ArrayViewMut2, Ix2, ShapeBuilder, StrideShape};
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use std::ops::{Deref, Range};
use std::slice::SliceIndex;
use std::sync::Arc;

/// In which order a run locks the memory of its tensors, each once: by address, so that no two runs wait for each other.
#[derive(Clone, Debug)]
pub(crate) struct LockOrder {
    /// For each piece of memory a tensor that lies there, and whether the run writes to it.
    pieces: Vec<(usize, bool)>,
    /// For each tensor its piece.
    of: Vec<usize>,
}

impl LockOrder {
    /// The order for some tensors, of which some are written.
    pub(crate) fn new<F>(buffers: &[Buffer<F>], written: &[bool]) -> Self {
        let mut tensors: Vec<_> = (0..buffers.len()).collect();
        tensors.sort_by_key(|tensor| buffers[*tensor].address());
        let mut order = Self {
            pieces: vec![],
            of: vec![0; buffers.len()],
        };
        for tensor in tensors {
            match order.pieces.last_mut() {
                Some((first, writes)) if buffers[*first].is(&buffers[tensor]) => {
                    *writes |= written[tensor];
                }
                _ => order.pieces.push((tensor, written[tensor])),
            }
            order.of[tensor] = order.pieces.len() - 1;
        }
        order
    }
}

/// The memory of a program's tensors, locked as a whole.
pub(crate) struct Memory<'a, F> {
    of: &'a [usize],
    pieces: Vec<Piece<'a, F>>,
}

/// The memory of one or several tensors.
enum Piece<'a, F> {
    /// Nothing of it is written.
    Read(RwLockReadGuard<'a, Contents<F>>),
    /// Operations read and write it, one tensor at a time.
    Write(AtomicRefCell<RwLockWriteGuard<'a, Contents<F>>>),
}

impl<'a, F: Real> Memory<'a, F> {
    /// Waits until nobody else uses any of the tensors.
    pub(crate) fn lock(buffers: &'a [Buffer<F>], order: &'a LockOrder) -> Self {
        let lock = |(tensor, written): &(usize, bool)| match written {
            false => Piece::Read(buffers[*tensor].read()),
            true => Piece::Write(AtomicRefCell::new(buffers[*tensor].write())),
        };
        Self {
            of: &order.of,
            pieces: order.pieces.iter().map(lock).collect(),
        }
    }

    /// A slice for reading.
    pub(crate) fn read(&self, slice: Slice) -> Reading<'_, F> {
        self.reading(slice.tensor, range(slice))
    }

    /// A whole tensor for reading, with what lies behind it.
    pub(crate) fn read_whole(&self, tensor: TensorId) -> Reading<'_, F> {
        self.reading(tensor, ..)
    }

    fn reading(
        &self,
        tensor: TensorId,
        range: impl SliceIndex<[F], Output = [F]>,
    ) -> Reading<'_, F> {
        match &self.pieces[self.of[tensor.0]] {
            Piece::Read(contents) => Reading::Plain(&contents[range]),
            Piece::Write(contents) => {
                Reading::Counted(AtomicRef::map(contents.borrow(), |contents| {
                    &contents[range]
                }))
            }
        }
    }

    /// The lengths of sequences, or other whole numbers.
    pub(crate) fn wholes(&self, slice: Slice) -> Vec<usize> {
        let whole = |whole: &F| whole.to_whole() as usize;
        self.read(slice).iter().map(whole).collect()
    }

    /// A whole tensor for writing, with what lies behind it.
    pub(crate) fn write_whole(&self, tensor: TensorId) -> Writing<'_, F> {
        let Piece::Write(contents) = &self.pieces[self.of[tensor.0]] else {
            unreachable!("what a program writes is locked for writing")
        };
        AtomicRefMut::map(contents.borrow_mut(), |contents| contents.numbers_mut())
    }

    /// A slice for writing.
    pub(crate) fn write(&self, slice: Slice) -> Writing<'_, F> {
        AtomicRefMut::map(self.write_whole(slice.tensor), |whole| {
            &mut whole[range(slice)]
        })
    }
}

impl<F: PanelScalar> Memory<'_, F> {
    /// A matrix, packed; `keep`: until its tensor is next written to.
    pub(super) fn packed(&self, of: Matrix, form: Form, keep: bool) -> Arc<Panels<F>> {
        match &self.pieces[self.of[of.tensor.0]] {
            Piece::Read(contents) => contents.packed(of, form, keep),
            Piece::Write(contents) => contents.borrow().packed(of, form, keep),
        }
    }
}

/// The places of a slice in its tensor.
pub(super) fn range(slice: Slice) -> Range<usize> {
    slice.offset..slice.offset + slice.len
}

/// Elements that an operation reads.
pub(crate) enum Reading<'a, F> {
    Plain(&'a [F]),
    Counted(AtomicRef<'a, [F]>),
}

impl<F> Deref for Reading<'_, F> {
    type Target = [F];
    fn deref(&self) -> &[F] {
        match self {
            Self::Plain(elements) => elements,
            Self::Counted(elements) => elements,
        }
    }
}

/// Elements that an operation writes.
pub(crate) type Writing<'a, F> = AtomicRefMut<'a, [F]>;

fn layout(matrix: Matrix) -> StrideShape<Ix2> {
    let shape = (matrix.rows, matrix.columns);
    if matrix.rows <= 1 || matrix.columns == 0 {
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
