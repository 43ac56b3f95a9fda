//! The states of a layer's cell, by row.

use super::recurrent::{CONTIGUOUS, LayerDirection};
use crate::Real;
use crate::program::RecurrentShape;
use ndarray::{Array2, ArrayView2, s};
use std::ops::Range;

/// The states of some rows, `[b, S·H]`. The first plane is h, but with a projection, which has h
/// `[b, P]` beside it.
#[derive(Clone)]
pub(super) struct States<F> {
    pub(super) cell: Array2<F>,
    projected: Option<Array2<F>>,
    shape: RecurrentShape,
}

impl<F: Real> States<F> {
    /// The states in a tensor `[S][D, B, ·]`, zeros where there is none.
    pub(super) fn load(
        from: Option<&[F]>,
        layer: &LayerDirection<'_, F>,
        rows: &Range<usize>,
    ) -> Self {
        let (shape, states) = (layer.shape, layer.cell.states());
        let projected = layer.projection.as_ref();
        let mut loaded = Self {
            cell: Array2::zeros((rows.len(), states * shape.hidden)),
            projected: projected.map(|_| Array2::zeros((rows.len(), shape.output))),
            shape,
        };
        if let Some(from) = from {
            for state in 0..states {
                for row in 0..rows.len() {
                    let from = &from[place(layer, state, rows.start + row)];
                    loaded.row_mut(state, row).copy_from_slice(from);
                }
            }
        }
        loaded
    }

    /// Writes the states to such a tensor.
    pub(super) fn store(&self, to: &mut [F], layer: &LayerDirection<'_, F>, rows: &Range<usize>) {
        for state in 0..layer.cell.states() {
            for row in 0..rows.len() {
                let to = &mut to[place(layer, state, rows.start + row)];
                to.copy_from_slice(self.row(state, row));
            }
        }
    }

    /// Takes another's numbers, in the memory there is.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.cell.assign(&other.cell);
        if let (Some(to), Some(from)) = (&mut self.projected, &other.projected) {
            to.assign(from);
        }
    }

    /// The h of all rows, `[b, P]`.
    pub(super) fn h(&self) -> ArrayView2<'_, F> {
        let h = self.projected.as_ref().unwrap_or(&self.cell);
        h.slice(s![.., ..self.shape.output])
    }

    /// The h of all rows, and the elements from one to the next.
    pub(super) fn h_slice_mut(&mut self) -> (&mut [F], usize) {
        let h = self.projected.as_mut().unwrap_or(&mut self.cell);
        let stride = h.ncols();
        (h.as_slice_mut().expect(CONTIGUOUS), stride)
    }

    /// A state of a row: `[P]` of h, which is the first, `[H]` of the others.
    pub(super) fn row(&self, state: usize, row: usize) -> &[F] {
        let states = match &self.projected {
            Some(h) if state == 0 => h,
            _ => &self.cell,
        };
        let row = states.row(row).to_slice().expect(CONTIGUOUS);
        &row[self.columns(state)]
    }

    /// [`States::row`], for writing.
    pub(super) fn row_mut(&mut self, state: usize, row: usize) -> &mut [F] {
        let columns = self.columns(state);
        let states = match &mut self.projected {
            Some(h) if state == 0 => h,
            _ => &mut self.cell,
        };
        let row = states.row_mut(row).into_slice().expect(CONTIGUOUS);
        &mut row[columns]
    }

    fn columns(&self, state: usize) -> Range<usize> {
        let RecurrentShape { hidden, output, .. } = self.shape;
        match state {
            0 => 0..output,
            _ => state * hidden..(state + 1) * hidden,
        }
    }
}

/// The elements of a row's state in a tensor `[S][D, B, ·]`.
fn place<F>(layer: &LayerDirection<'_, F>, state: usize, row: usize) -> Range<usize> {
    let shape = &layer.shape;
    let width = match state {
        0 => shape.output,
        _ => shape.hidden,
    };
    let first = shape.state_offset(state) + (layer.direction * shape.batch + row) * width;
    first..first + width
}
