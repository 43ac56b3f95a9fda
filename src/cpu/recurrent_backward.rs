//! Backpropagation through the steps of a recurrent layer.

use super::panels::Panels;
use super::recurrent::{
    CONTIGUOUS, GateProducts, Layer, States, ZoneoutMask, lengths, view, view_mut,
};
use super::{Memory, threads};
use crate::Real;
use crate::cell::{BackwardRow, InnerBackwardRow};
use crate::program::{GatesLayout, PerDirection, RecurrentBackward, RecurrentShape};
use ndarray::{Array2, ArrayView3, ArrayViewMut1, ArrayViewMut3, Axis, s};
use std::ops::Range;

/// The gradient of h_t is d_y_t, plus the direct gradient of the step after, plus Rᵀ times that step's d_r; then the cell. The
/// batch is split over threads as in the forward pass.
pub(super) fn recurrent_backward<F: Real>(op: &RecurrentBackward, memory: &Memory<'_, F>) {
    let shape = op.shape;
    let RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    } = shape;
    let gate_width = op.cell.gates() * hidden;
    let saved_width = op.cell.saved() * hidden;
    let diagonal_width = op.cell.diagonals() * hidden;
    let saved = memory.read(op.saved);
    let saved = view(&saved, (directions, batch, steps, saved_width));
    let d_y = memory.read(op.d_y);
    let d_y = view(&d_y, (steps, batch, directions, output));
    let zoneout = ZoneoutMask::new(op.zoneout, &shape, op.segment, memory);
    let mask = op.mask.map(|mask| memory.read(mask));
    let mask = mask
        .as_ref()
        .map(|mask| view(mask, (directions, batch, op.cell.gates(), output)));
    let mut d_state = memory.write(op.d_state);
    let mut d_gates = memory.write(op.d_gates);
    let layout = GatesLayout::new(&op.cell, &shape, op.weights.weight_hr.is_some());
    let (d_gates, d_h) = d_gates.split_at_mut(layout.d_h);
    let (d_x, d_r) = d_gates.split_at_mut(steps * batch * directions * gate_width);
    let gates_shape = (steps, batch, directions, gate_width);
    let mut d_x = view_mut(d_x, gates_shape);
    let mut d_r = (!d_r.is_empty()).then(|| view_mut(d_r, gates_shape));
    let mut d_h = (!d_h.is_empty()).then(|| view_mut(d_h, (steps, batch, directions, output)));

    let rows = batch.div_ceil(threads::split(
        2 * steps * batch * gate_width * output,
        batch,
    ));
    let chunks: Vec<Range<usize>> = (0..batch)
        .step_by(rows)
        .map(|first| first..(first + rows).min(batch))
        .collect();
    for direction in 0..directions {
        let lengths = lengths(memory, op.lengths, &shape, (op.segment, direction));
        let weight_hh = memory.read(op.weights.weight_hh.of(direction));
        let read = |weight: PerDirection| memory.read(weight.of(direction));
        let weight_hr = op.weights.weight_hr.map(read);
        let diagonal = op.weights.weight_diag.map(read);
        let mask = mask
            .as_ref()
            .map(|mask| mask.index_axis(Axis(0), direction));
        let weight_hh = view(&weight_hh, (gate_width, output));
        let layer = Layer {
            cell: &op.cell,
            shape,
            direction,
            products: GateProducts::new(&op.cell, hidden, weight_hh, mask, true),
            bias_hh: None,
            projection: weight_hr
                .as_deref()
                .map(|weight| Panels::new(view(weight, (output, hidden)))),
            diagonal: diagonal.as_deref().unwrap_or(&[]),
            zoneout,
            lengths: &lengths,
        };
        let d_last = op.has_d_last.then_some(&d_state[..]);
        let mut gradients: Vec<_> = chunks
            .iter()
            .map(|rows| {
                let states = States::load(d_last, &op.cell, &shape, direction, rows);
                (states, Array2::zeros((rows.len(), diagonal_width)))
            })
            .collect();
        let saved = saved.index_axis(Axis(0), direction);
        let d_y = d_y.index_axis(Axis(2), direction);
        let mut d_x = d_x.index_axis_mut(Axis(2), direction);
        let mut d_r = d_r.as_mut().map(|d| d.index_axis_mut(Axis(2), direction));
        let mut d_r = d_r.as_mut().map(|d| d.axis_chunks_iter_mut(Axis(1), rows));
        let mut d_h = d_h.as_mut().map(|d| d.index_axis_mut(Axis(2), direction));
        let mut d_h = d_h.as_mut().map(|d| d.axis_chunks_iter_mut(Axis(1), rows));
        let tasks = chunks
            .iter()
            .zip(&mut gradients)
            .zip(d_x.axis_chunks_iter_mut(Axis(1), rows))
            .map(|((rows, (d_states, d_diagonal)), d_x)| {
                let gradients = Gradients {
                    d_x,
                    d_r: d_r.as_mut().and_then(Iterator::next),
                    d_h: d_h.as_mut().and_then(Iterator::next),
                    d_states,
                    d_diagonal,
                };
                (rows, gradients)
            })
            .collect();
        threads::for_each(tasks, |(rows, gradients): (&Range<usize>, _)| {
            let saved = saved.slice(s![rows.clone(), .., ..]);
            let d_y = d_y.slice(s![.., rows.clone(), ..]);
            layer.backward(rows, saved, d_y, op.wants_initial, gradients);
        });
        let end = shape.state_offset(op.cell.states());
        for (rows, (states, d_diagonal)) in chunks.iter().zip(&gradients) {
            states.store(&mut d_state, &op.cell, &shape, direction, rows);
            let first = end + (direction * batch + rows.start) * diagonal_width;
            view_mut(
                &mut d_state[first..first + d_diagonal.len()],
                d_diagonal.dim(),
            )
            .assign(d_diagonal);
        }
    }
}

/// What some rows' backward pass writes.
struct Gradients<'a, F> {
    /// `[T, b, G·H]`
    d_x: ArrayViewMut3<'a, F>,
    /// `[T, b, G·H]`; absent where it is d_x.
    d_r: Option<ArrayViewMut3<'a, F>>,
    /// `[T, b, P]`: of h = W_hr m.
    d_h: Option<ArrayViewMut3<'a, F>>,
    /// The gradient of the states, from the last to the initial.
    d_states: &'a mut States<F>,
    /// `[b, V·H]`
    d_diagonal: &'a mut Array2<F>,
}

impl<F: Real> Layer<'_, F> {
    /// saved: `[b, T, K·H]`, d_y: `[T, b, P]`.
    fn backward(
        &self,
        rows: &Range<usize>,
        saved: ArrayView3<'_, F>,
        d_y: ArrayView3<'_, F>,
        wants_initial: bool,
        gradients: Gradients<'_, F>,
    ) {
        let Gradients {
            mut d_x,
            mut d_r,
            mut d_h,
            d_states,
            d_diagonal,
        } = gradients;
        let (steps, batch, _) = d_y.dim();
        let hidden = self.shape.hidden;
        let (early, gates) = (self.cell.early_gates(), self.cell.gates());
        let lengths = &self.lengths[rows.clone()];
        let mut scratch = self.products.scratch(batch);
        let mut d_inner = Array2::zeros((batch, if early < gates { hidden } else { 0 }));
        let projection = self.projection.as_ref();
        let mut d_m = projection.map(|projection| Array2::zeros((batch, projection.width())));
        // The part of the states' gradients that zoneout passes to the old states, past the cell.
        let mut passed = self.zoneout.map(|zoneout| {
            let zeros = (
                Array2::zeros(d_states.h.dim()),
                Array2::zeros(d_states.cell.dim()),
            );
            (zoneout, zeros)
        });
        for step in (0..steps).rev() {
            let t = self.time(step);
            let live = |row: &usize| t < lengths[*row];
            if !(0..batch).all(|row| live(&row)) {
                d_x.index_axis_mut(Axis(0), t).fill(F::zero());
                if let Some(d_r) = &mut d_r {
                    d_r.index_axis_mut(Axis(0), t).fill(F::zero());
                }
            }
            for row in (0..batch).filter(live) {
                let mut d_h = d_states.h.row_mut(row);
                d_h += &d_y.slice(s![t, row, ..]);
            }
            if let Some((zoneout, (passed_h, passed))) = &mut passed {
                passed_h.fill(F::zero());
                passed.fill(F::zero());
                for row in (0..batch).filter(live) {
                    let place = (t, rows.start + row);
                    let (passed_h, passed) = (passed_h.row_mut(row), passed.row_mut(row));
                    self.zone_out_back(*zoneout, d_states, row, place, passed_h, passed);
                }
            }
            match (projection, &mut d_h, &mut d_m) {
                (Some(projection), Some(d_h), Some(d_m)) => {
                    let mut d_h = d_h.index_axis_mut(Axis(0), t);
                    d_h.fill(F::zero());
                    for row in (0..batch).filter(live) {
                        d_h.row_mut(row).assign(&d_states.h.row(row));
                    }
                    d_m.fill(F::zero());
                    projection.add_product(d_h.view(), d_m.view_mut(), &mut scratch.packed);
                    let d_m = d_m.slice(s![.., ..hidden]);
                    d_states.plane_mut(0, hidden).assign(&d_m);
                }
                _ => d_states.put_h(hidden),
            }
            for row in (0..batch).filter(live) {
                let mut d_r = d_r.as_mut().map(|d_r| d_r.slice_mut(s![t, row, ..]));
                F::cell_backward(
                    self.cell.erased(),
                    BackwardRow {
                        saved: saved.slice(s![row, t, ..]).to_slice().expect(CONTIGUOUS),
                        diagonal: self.diagonal,
                        d_state: d_states.cell.row_mut(row).into_slice().expect(CONTIGUOUS),
                        d_x: d_x
                            .slice_mut(s![t, row, ..])
                            .into_slice()
                            .expect(CONTIGUOUS),
                        d_r: d_r.as_mut().map(|d| d.as_slice_mut().expect(CONTIGUOUS)),
                        d_diagonal: d_diagonal.row_mut(row).into_slice().expect(CONTIGUOUS),
                    },
                );
            }
            if early < gates {
                d_inner.fill(F::zero());
                let d_r_t = d_r.as_ref().unwrap_or(&d_x).index_axis(Axis(0), t);
                let late = early..gates;
                self.products
                    .add_back(rows, late, d_r_t, &mut d_inner, &mut scratch);
                for row in (0..batch).filter(live) {
                    let mut d_r = d_r.as_mut().map(|d_r| d_r.slice_mut(s![t, row, ..]));
                    F::cell_inner_backward(
                        self.cell.erased(),
                        InnerBackwardRow {
                            saved: saved.slice(s![row, t, ..]).to_slice().expect(CONTIGUOUS),
                            d_inner: d_inner.row(row).to_slice().expect(CONTIGUOUS),
                            d_state: d_states.cell.row_mut(row).into_slice().expect(CONTIGUOUS),
                            d_x: d_x
                                .slice_mut(s![t, row, ..])
                                .into_slice()
                                .expect(CONTIGUOUS),
                            d_r: d_r.as_mut().map(|d| d.as_slice_mut().expect(CONTIGUOUS)),
                        },
                    );
                }
            }
            for row in (0..batch).filter(live) {
                let mut d_h = d_states.h.row_mut(row);
                if projection.is_some() {
                    d_h.fill(F::zero());
                } else {
                    d_h.assign(&d_states.cell.slice(s![row, ..hidden]));
                }
            }
            if let Some((_, (passed_h, passed))) = &passed {
                for row in (0..batch).filter(live) {
                    let mut d_h = d_states.h.row_mut(row);
                    d_h += &passed_h.row(row);
                }
                d_states.cell += passed;
            }
            if step > 0 || wants_initial {
                let d_r = d_r.as_ref().unwrap_or(&d_x).index_axis(Axis(0), t);
                self.products
                    .add_back(rows, 0..early, d_r, &mut d_states.h, &mut scratch);
            }
        }
    }

    /// Splits the gradient of a row's states into what the cell gets and what passes to the old states; place: t and the row's
    /// number in the batch.
    fn zone_out_back(
        &self,
        zoneout: ZoneoutMask,
        d_states: &mut States<F>,
        row: usize,
        (t, number): (usize, usize),
        mut passed_h: ArrayViewMut1<'_, F>,
        mut passed: ArrayViewMut1<'_, F>,
    ) {
        let hidden = self.shape.hidden;
        let split = |state: usize, unit: usize, d: &mut F| {
            let keep: F = zoneout.keep(state, (self.direction, t, number, unit));
            let pass = (F::one() - keep) * *d;
            *d *= keep;
            pass
        };
        for (unit, d) in d_states.h.row_mut(row).iter_mut().enumerate() {
            passed_h[unit] = split(0, unit, d);
        }
        for state in 1..self.cell.states() {
            let mut plane = d_states.plane_mut(state, hidden);
            for (unit, d) in plane.row_mut(row).iter_mut().enumerate() {
                passed[state * hidden + unit] = split(state, unit, d);
            }
        }
    }
}
