//! Where elements lie in tensors: slices, matrices, views with strides.

use super::{TensorId, product};

/// Consecutive elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The tensor.
    pub tensor: TensorId,
    /// Index of the first element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl Slice {
    /// A part of this slice. What is not inside of it is found when the program is checked, as with all below.
    #[must_use]
    pub fn part(self, offset: usize, len: usize) -> Self {
        Self {
            tensor: self.tensor,
            offset: self.offset.saturating_add(offset),
            len,
        }
    }

    /// The slice as a matrix `[rows, columns]` without gaps; `rows · columns` must not exceed its length.
    pub fn matrix(self, rows: usize, columns: usize) -> Matrix {
        Matrix {
            tensor: self.tensor,
            offset: self.offset,
            rows,
            columns,
            row_stride: columns,
        }
    }

    /// Whether some element is in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.tensor == other.tensor
            && self.offset < other.offset.saturating_add(other.len)
            && other.offset < self.offset.saturating_add(self.len)
    }
}

/// A row-major matrix inside a tensor: element (r, c) is at `offset + r · row_stride + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The tensor.
    pub tensor: TensorId,
    /// Index of element (0, 0).
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Elements from one row to the next; at least `columns`.
    pub row_stride: usize,
}

impl Matrix {
    /// Columns `first .. first + columns` of every row.
    #[must_use]
    pub fn columns(self, first: usize, columns: usize) -> Self {
        Self {
            offset: self.offset.saturating_add(first),
            columns,
            ..self
        }
    }

    /// Rows `first .. first + rows`.
    #[must_use]
    pub fn rows(self, first: usize, rows: usize) -> Self {
        Self {
            offset: (self.offset).saturating_add(first.saturating_mul(self.row_stride)),
            rows,
            ..self
        }
    }

    /// The matrix over a space of its rows and columns.
    pub fn view(self) -> View {
        self.strided([self.row_stride, 1])
    }

    /// The slice's elements over another space.
    pub(super) fn strided(self, strides: impl Into<Vec<usize>>) -> View {
        View {
            tensor: self.tensor,
            offset: self.offset,
            strides: strides.into(),
        }
    }

    /// The elements from the first to the last, gaps included.
    pub(crate) fn extent(self) -> Slice {
        let (offset, len) = match self.rows.checked_sub(1) {
            Some(gaps) => {
                let skipped = gaps.saturating_mul(self.row_stride);
                (self.offset, skipped.saturating_add(self.columns))
            }
            None => (0, 0),
        };
        Slice {
            tensor: self.tensor,
            offset,
            len,
        }
    }
}

/// Where the elements of a space are: element (i₀, i₁, …) is at `offset` + Σ iₖ · `strides[k]` of the tensor. A stride of 0 repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The tensor.
    pub tensor: TensorId,
    /// Index of the first element.
    pub offset: usize,
    /// Elements from one place of each axis to the next.
    pub strides: Vec<usize>,
}

impl View {
    /// A slice in row-major order.
    pub fn whole(slice: Slice, shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
        }
        Self::new(slice, strides)
    }

    /// A slice with strides.
    pub fn new(slice: Slice, strides: impl Into<Vec<usize>>) -> Self {
        Self {
            tensor: slice.tensor,
            offset: slice.offset,
            strides: strides.into(),
        }
    }

    /// The elements from the first to the last, gaps included.
    pub(crate) fn extent(&self, shape: &[usize]) -> Slice {
        // What repeats along an axis is there though nobody may read it, as where a sum of nothing is added to it.
        let mut axes = shape.iter().zip(&self.strides);
        let len = if axes.clone().any(|(size, stride)| *size == 0 && *stride > 0) {
            0
        } else {
            axes.try_fold(1_usize, |len, (size, stride)| {
                len.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
            })
            .unwrap_or(usize::MAX)
        };
        Slice {
            tensor: self.tensor,
            offset: self.offset,
            len,
        }
    }

    /// The elements of a shape as a slice, where they are in row-major order without gaps.
    pub(crate) fn contiguous(&self, shape: &[usize]) -> Option<Slice> {
        let mut len = 1;
        for (size, stride) in shape.iter().zip(&self.strides).rev() {
            if *size > 1 && *stride != len {
                return None;
            }
            len *= size;
        }
        Some(Slice {
            tensor: self.tensor,
            offset: self.offset,
            len,
        })
    }

    /// The elements of a shape as a matrix of its features, where they are one: rows of neighbours, at one distance.
    pub(crate) fn matrix(&self, shape: &[usize]) -> Option<Matrix> {
        let (columns, rows) = shape.split_last()?;
        let (stride, of_rows) = self.strides.split_last()?;
        // Axes of size 1 say nothing.
        let mut axes = (rows.iter().zip(of_rows).rev()).filter(|(size, _)| **size != 1);
        let (mut row_stride, mut expected) = (*columns, 0);
        if let Some((size, stride)) = axes.next() {
            (row_stride, expected) = (*stride, stride * size);
        }
        for (size, stride) in axes {
            if *stride != expected {
                return None;
            }
            expected *= size;
        }
        let fits = row_stride >= *columns && (*columns <= 1 || *stride == 1);
        fits.then(|| Matrix {
            tensor: self.tensor,
            offset: self.offset,
            rows: product(rows),
            columns: *columns,
            row_stride,
        })
    }

    /// Places of an axis, from `start` on.
    pub(crate) fn part(&self, axis: usize, start: usize) -> Self {
        let mut part = self.clone();
        part.offset = (part.offset).saturating_add(start.saturating_mul(self.strides[axis]));
        part
    }

    /// The axes in another order: the n-th is what was the `order[n]`-th.
    pub(crate) fn permuted(&self, order: &[usize]) -> Self {
        Self {
            strides: order.iter().map(|axis| self.strides[*axis]).collect(),
            ..*self
        }
    }
}
