//! The states of a layer's cell, by row.

use super::recurrent::{CONTIGUOUS, LayerDirection, view, view_mut};
use crate::Real;
use crate::program::RecurrentShape;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use std::ops::Range;

/// The states of some rows, `[b, S·H]`. The first plane is h, but with a projection, which has h
/// `[b, P]` beside it.
#[derive(Clone)]
pub(super) struct States<F> {
    pub(super) cell: Array2<F>,
    projected: Option<Array2<F>>,
    /// P
    output: usize,
}

impl<F: Real> States<F> {
    pub(super) fn zeros(layer: &LayerDirection<'_, F>, batch: usize) -> Self {
        let RecurrentShape { hidden, output, .. } = layer.shape;
        let projected = layer.projection.as_ref();
        Self {
            cell: Array2::zeros((batch, layer.cell.states() * hidden)),
            projected: projected.map(|_| Array2::zeros((batch, output))),
            output,
        }
    }

    /// Takes another's numbers, in the memory there is.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.cell.assign(&other.cell);
        if let (Some(to), Some(from)) = (&mut self.projected, &other.projected) {
            to.assign(from);
        }
    }

    /// The states in a tensor `[S][D, B, ·]`, zeros where there is none.
    pub(super) fn load(
        from: Option<&[F]>,
        layer: &LayerDirection<'_, F>,
        rows: &Range<usize>,
    ) -> Self {
        let batch = rows.len();
        let mut states = Self::zeros(layer, batch);
        if let Some(from) = from {
            for state in 0..layer.cell.states() {
                let (part, width) = range(layer, state, rows);
                let values = view(&from[part], (batch, width));
                states.plane_mut(state, layer.shape.hidden).assign(&values);
            }
        }
        states
    }

    /// Writes the states to such a tensor.
    pub(super) fn store(&self, to: &mut [F], layer: &LayerDirection<'_, F>, rows: &Range<usize>) {
        let hidden = layer.shape.hidden;
        for state in 0..layer.cell.states() {
            let part = &mut to[range(layer, state, rows).0];
            let plane = self.plane(state, hidden);
            view_mut(part, plane.dim()).assign(&plane);
        }
    }

    /// The h of all rows, `[b, P]`.
    pub(super) fn h(&self) -> ArrayView2<'_, F> {
        match &self.projected {
            Some(h) => h.view(),
            None => self.cell.slice(s![.., ..self.output]),
        }
    }

    /// The h of all rows, and the elements from one to the next.
    pub(super) fn h_slice_mut(&mut self) -> (&mut [F], usize) {
        let h = self.projected.as_mut().unwrap_or(&mut self.cell);
        let stride = h.ncols();
        (h.as_slice_mut().expect(CONTIGUOUS), stride)
    }

    /// The h of a row, `[P]`.
    pub(super) fn h_row_mut(&mut self, row: usize) -> &mut [F] {
        let output = self.output;
        let (h, stride) = self.h_slice_mut();
        &mut h[row * stride..][..output]
    }

    /// A state of all rows: `[b, H]`, or `[b, P]` of h.
    pub(super) fn plane(&self, state: usize, hidden: usize) -> ArrayView2<'_, F> {
        match &self.projected {
            Some(h) if state == 0 => h.view(),
            _ => {
                let columns = state * hidden..(state + 1) * hidden;
                self.cell.slice(s![.., columns])
            }
        }
    }

    /// A row of [`States::plane`].
    pub(super) fn plane_row(&self, state: usize, hidden: usize, row: usize) -> &[F] {
        let row = self.plane(state, hidden).index_axis_move(Axis(0), row);
        row.to_slice().expect(CONTIGUOUS)
    }

    /// A row of [`States::plane`], for writing.
    pub(super) fn plane_row_mut(&mut self, state: usize, hidden: usize, row: usize) -> &mut [F] {
        let plane = self.plane_mut(state, hidden);
        let row = plane.index_axis_move(Axis(0), row);
        row.into_slice().expect(CONTIGUOUS)
    }

    /// [`States::plane`], for writing.
    pub(super) fn plane_mut(&mut self, state: usize, hidden: usize) -> ArrayViewMut2<'_, F> {
        match &mut self.projected {
            Some(h) if state == 0 => h.view_mut(),
            _ => {
                let columns = state * hidden..(state + 1) * hidden;
                self.cell.slice_mut(s![.., columns])
            }
        }
    }
}

/// The elements of some rows of a state in a tensor `[S][D, B, ·]`, and its width.
fn range<F>(
    layer: &LayerDirection<'_, F>,
    state: usize,
    rows: &Range<usize>,
) -> (Range<usize>, usize) {
    let shape = &layer.shape;
    let width = if state == 0 {
        shape.output
    } else {
        shape.hidden
    };
    let row = layer.direction * shape.batch + rows.start;
    let first = shape.state_offset(state) + row * width;
    (first..first + rows.len() * width, width)
}
