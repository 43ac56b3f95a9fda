//! Backpropagation through the steps of a recurrent layer.

use super::recurrent_forward::{
    CONTIGUOUS, lengths, load_state, state_shape, store_state, time_of, view, view_mut,
};
use super::{Memory, threads};
use crate::Real;
use crate::cell::{BackwardRow, CellRef};
use crate::program::{RecurrentBackward, RecurrentShape};
use crate::trusted::product;
use ndarray::{ArrayView2, ArrayView3, ArrayViewMut3, Axis, s};

/// The gradient of h_t is d_y_t, plus the direct gradient of the step after, plus Rᵀ times that step's d_r; then the cell. The
/// batch is split over threads as in the forward pass.
pub(super) fn recurrent_backward<F: Real>(op: &RecurrentBackward, memory: &Memory<'_, F>) {
    let RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        ..
    } = op.shape;
    let gate_width = op.cell.gates() * hidden;
    let saved_width = op.cell.saved() * hidden;
    let saved = memory.read(op.saved);
    let saved = view(&saved, (directions, batch, steps, saved_width));
    let d_y = memory.read(op.d_y);
    let d_y = view(&d_y, (steps, batch, directions, hidden));
    let lengths = lengths(memory, op.lengths, steps, batch);
    let mut d_state = memory.write(op.d_state);
    let mut d_state = view_mut(&mut d_state, state_shape(&op.cell, &op.shape));
    if !op.has_d_last {
        d_state.fill(F::zero());
    }
    let gates_shape = (steps, batch, directions, gate_width);
    let mut d_x = memory.write(op.d_x);
    let mut d_x = view_mut(&mut d_x, gates_shape);
    let mut d_r = op.d_r.map(|d_r| memory.write(d_r));
    let mut d_r = d_r.as_mut().map(|d_r| view_mut(d_r, gates_shape));

    let rows = batch.div_ceil(threads::split(
        2 * steps * batch * gate_width * hidden,
        batch,
    ));
    for direction in 0..directions {
        let weight = memory.read(op.weight_hh.of(direction));
        let weight = view(&weight, (gate_width, hidden));
        let mut d_r = d_r
            .as_mut()
            .map(|d_r| d_r.index_axis_mut(Axis(2), direction));
        let mut d_r = d_r
            .as_mut()
            .map(|d_r| d_r.axis_chunks_iter_mut(Axis(1), rows));
        let saved = saved.index_axis(Axis(0), direction);
        let d_y = d_y.index_axis(Axis(2), direction);
        let mut d_state = d_state.index_axis_mut(Axis(1), direction);
        let mut d_x = d_x.index_axis_mut(Axis(2), direction);
        let tasks = saved
            .axis_chunks_iter(Axis(0), rows)
            .zip(d_y.axis_chunks_iter(Axis(1), rows))
            .zip(d_state.axis_chunks_iter_mut(Axis(1), rows))
            .zip(d_x.axis_chunks_iter_mut(Axis(1), rows))
            .zip(lengths.chunks(rows))
            .map(|((((saved, d_y), d_state), d_x), lengths)| {
                let d_r = d_r.as_mut().and_then(Iterator::next);
                (saved, d_y, lengths, d_state, d_x, d_r)
            })
            .collect();
        threads::for_each(tasks, |(saved, d_y, lengths, d_state, d_x, d_r)| {
            let reverse = direction == 1;
            let layer = Layer {
                cell: &op.cell,
                weight,
                reverse,
                wants_initial: op.wants_initial,
            };
            layer.backward(saved, d_y, lengths, d_state, d_x, d_r);
        });
    }
}

/// One direction of a layer.
struct Layer<'a, F> {
    cell: &'a CellRef,
    /// `[G·H, H]`
    weight: ArrayView2<'a, F>,
    reverse: bool,
    wants_initial: bool,
}

impl<F: Real> Layer<'_, F> {
    /// saved: `[b, T, K·H]`, d_y: `[T, b, H]`, lengths: `[b]`, states: `[S, b, H]`, d_x and d_r: `[T, b, G·H]`.
    fn backward(
        &self,
        saved: ArrayView3<'_, F>,
        d_y: ArrayView3<'_, F>,
        lengths: &[usize],
        mut states: ArrayViewMut3<'_, F>,
        mut d_x: ArrayViewMut3<'_, F>,
        mut d_r: Option<ArrayViewMut3<'_, F>>,
    ) {
        let (steps, batch, hidden) = d_y.dim();
        let mut d_state = load_state(Some(states.view()), batch, self.cell.states(), hidden);
        for step in (0..steps).rev() {
            let t = time_of(step, steps, self.reverse);
            for (row, length) in lengths.iter().enumerate() {
                let mut d_x = d_x.slice_mut(s![t, row, ..]);
                let mut d_r = d_r.as_mut().map(|d_r| d_r.slice_mut(s![t, row, ..]));
                if t >= *length {
                    d_x.fill(F::zero());
                    d_r.into_iter().for_each(|mut d_r| d_r.fill(F::zero()));
                    continue;
                }
                let mut d_h = d_state.slice_mut(s![row, ..hidden]);
                d_h += &d_y.slice(s![t, row, ..]);
                F::cell_backward(
                    self.cell.erased(),
                    BackwardRow {
                        saved: saved.slice(s![row, t, ..]).to_slice().expect(CONTIGUOUS),
                        d_state: d_state.row_mut(row).into_slice().expect(CONTIGUOUS),
                        d_x: d_x.as_slice_mut().expect(CONTIGUOUS),
                        d_r: d_r
                            .as_mut()
                            .map(|d_r| d_r.as_slice_mut().expect(CONTIGUOUS)),
                    },
                );
            }
            if step > 0 || self.wants_initial {
                let d_r = d_r.as_ref().unwrap_or(&d_x).index_axis(Axis(0), t);
                product(
                    d_r,
                    self.weight,
                    d_state.slice_mut(s![.., ..hidden]),
                    true,
                    1,
                );
            }
        }
        store_state(&d_state, &mut states);
    }
}
