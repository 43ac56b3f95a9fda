//! Backpropagation through the steps of a recurrent layer.

use super::Memory;
use super::buffer::Form;
use super::recurrent::{CONTIGUOUS, GateProducts, LayerDirection, Tasks, view, view_mut};
use super::recurrent_choice::{self, Way};
use super::states::States;
use super::team::Team;
use super::zoneout::Keep;
use crate::panels::Start;
use crate::program::{GatesLayout, RecurrentBackward, RecurrentOp, RecurrentShape};
use crate::rows::{Row, RowScalar};
use ndarray::{Array2, ArrayView3, ArrayViewMut3, Axis, s};
use std::ops::Range;

/// The gradient of h_t is d_y_t, plus the direct gradient of the step after, plus Rᵀ times that
/// step's d_r; then the cell. Directions and batch are split over threads as in the forward pass.
pub(super) fn recurrent_backward<F: RowScalar>(op: &RecurrentBackward, memory: &Memory<'_, F>) {
    let way = recurrent_choice::choose(op, recurrent_backward_by::<F>);
    recurrent_backward_by(op, memory, way, false);
}

/// [`recurrent_backward`] in some way; `keep`: whether packed weights are kept.
pub(super) fn recurrent_backward_by<F: RowScalar>(
    op: &RecurrentBackward,
    memory: &Memory<'_, F>,
    way: Way,
    keep: bool,
) {
    let RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    } = op.shape;
    let gate_width = op.cell.gates() * hidden;
    let diagonal_width = op.cell.diagonals() * hidden;
    let saved = memory.read(op.saved);
    let saved = view(&saved, (directions, batch, steps, op.cell.saved() * hidden));
    let d_y = memory.read(op.d_y);
    let d_y = view(&d_y, (steps, batch, directions, output));
    let mut d_state = memory.write(op.d_state);
    let mut d_gates = memory.write(op.d_gates);
    let layout = GatesLayout::new(&op.cell, &op.shape, op.weights.weight_hr.is_some());
    let (d_gates, d_h) = d_gates.split_at_mut(layout.d_h);
    let (d_x, d_r) = d_gates.split_at_mut(op.shape.rows() * gate_width);
    let gates_shape = (steps, batch, directions, gate_width);
    let mut d_x = view_mut(d_x, gates_shape);
    let mut d_r = (!d_r.is_empty()).then(|| view_mut(d_r, gates_shape));
    let mut d_h = (!d_h.is_empty()).then(|| view_mut(d_h, (steps, batch, directions, output)));

    let (operands, tasks) = (op.operands(), Tasks::new(&op.shape, way));
    let pack = |weights| memory.packed(weights, Form::Plain, keep);
    let walk = |direction: usize| {
        let layer = LayerDirection::new(&operands, direction, memory, pack);
        let products = GateProducts::new(&layer, memory, pack);
        (layer, products)
    };
    let walks: Vec<_> = (0..directions).map(walk).collect();
    let d_last = op.has_d_last.then_some(&d_state[..]);
    let load = |(direction, rows): (usize, &Range<usize>)| {
        let states = States::load(d_last, &walks[direction].0, rows);
        (states, Array2::zeros((rows.len(), diagonal_width)))
    };
    let mut gradients: Vec<_> = tasks.each().map(load).collect();
    let [by_direction, by_row] = [Axis(2), Axis(1)];
    let written = (tasks.cut(Some(&mut d_x), by_direction, by_row))
        .zip(tasks.cut(d_r.as_mut(), by_direction, by_row))
        .zip(tasks.cut(d_h.as_mut(), by_direction, by_row));
    let written = tasks.each().zip(&mut gradients).zip(written).filter_map(
        |((task, (d_states, d_diagonal)), ((d_x, d_r), d_h))| {
            let gradients = Gradients {
                d_x: d_x?,
                d_r,
                d_h,
                d_states,
                d_diagonal,
            };
            Some((task, gradients))
        },
    );
    tasks.for_each(
        written.collect::<Vec<_>>().into_iter(),
        |((direction, rows), gradients)| {
            let (layer, products) = &walks[direction];
            let saved = saved.slice(s![direction, rows.clone(), .., ..]);
            let d_y = d_y.slice(s![.., rows.clone(), direction, ..]);
            let walk = |team: Option<&Team<'_, F>>| {
                let given = (saved, d_y);
                layer.backward((products, team), rows, given, op.wants_initial, gradients);
            };
            match products.one().filter(|_| tasks.team > 1) {
                Some(panels) => {
                    let matrix = (panels, Start::Sum);
                    Team::new(matrix, rows.len(), tasks.team).walk(|team| walk(Some(team)));
                }
                None => walk(None),
            }
        },
    );
    let end = op.shape.state_offset(op.cell.states());
    for ((direction, rows), (states, d_diagonal)) in tasks.each().zip(&gradients) {
        states.store(&mut d_state, &walks[direction].0, rows);
        let first = end + (direction * batch + rows.start) * diagonal_width;
        let to = &mut d_state[first..first + d_diagonal.len()];
        view_mut(to, d_diagonal.dim()).assign(d_diagonal);
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

impl<F: RowScalar> LayerDirection<'_, F> {
    /// Walks back over the steps of some rows; saved: `[b, T, K·H]`, d_y: `[T, b, P]`.
    fn backward(
        &self,
        (products, team): (&GateProducts<'_, F>, Option<&Team<'_, F>>),
        rows: &Range<usize>,
        (saved, d_y): (ArrayView3<'_, F>, ArrayView3<'_, F>),
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
        let mut scratch = products.scratch(batch);
        let mut d_inner = vec![F::zero(); if early < gates { batch * hidden } else { 0 }];
        let projection = self.projection.as_ref();
        let mut projection =
            projection.map(|weights| (weights, Array2::zeros((batch, weights.width()))));
        // The part of the states' gradients that zoneout passes to the old states, past the cell.
        let mut passed = self
            .zoneout
            .map(|zoneout| (zoneout, zoneout.room(), d_states.clone()));
        for step in (0..steps).rev() {
            let t = self.time(step);
            let live = |row: &usize| t < lengths[*row];
            if !(0..batch).all(|row| live(&row)) {
                d_x.index_axis_mut(Axis(0), t).fill(F::zero());
                if let Some(d_r) = &mut d_r {
                    d_r.index_axis_mut(Axis(0), t).fill(F::zero());
                }
            }
            let d_y = d_y.index_axis(Axis(0), t);
            for row in (0..batch).filter(live) {
                let d_y = d_y.row(row).to_slice().expect(CONTIGUOUS);
                let d_h = d_states.row_mut(0, row).iter_mut();
                d_h.zip(d_y).for_each(|(d_h, d_y)| *d_h += *d_y);
            }
            if let Some((zoneout, keep, passed)) = &mut passed {
                for row in (0..batch).filter(live) {
                    zoneout.draw(keep, (self.direction, t, rows.start + row));
                    self.zone_out_back(d_states, row, keep, passed);
                }
            }
            if let (Some((weights, d_m)), Some(d_h)) = (&mut projection, &mut d_h) {
                let mut d_h = d_h.index_axis_mut(Axis(0), t);
                d_h.fill(F::zero());
                for row in (0..batch).filter(live) {
                    d_h.row_mut(row).assign(&d_states.h().row(row));
                }
                weights.product_to(d_h.view(), Start::Zero, d_m);
                let d_m = d_m.slice(s![.., ..hidden]);
                d_states.cell.slice_mut(s![.., ..hidden]).assign(&d_m);
            }
            let mut d_x = d_x.index_axis_mut(Axis(0), t);
            let mut d_r = d_r.as_mut().map(|d_r| d_r.index_axis_mut(Axis(0), t));
            for row in (0..batch).filter(live) {
                let mut d_r = d_r.as_mut().map(|d_r| d_r.row_mut(row));
                self.cell.rows::<F>().apply(Row::Backward {
                    saved: saved.slice(s![row, t, ..]).to_slice().expect(CONTIGUOUS),
                    diagonal: &self.diagonal,
                    d_state: d_states.cell.row_mut(row).into_slice().expect(CONTIGUOUS),
                    d_x: d_x.row_mut(row).into_slice().expect(CONTIGUOUS),
                    d_r: d_r.as_mut().map(|d| d.as_slice_mut().expect(CONTIGUOUS)),
                    d_diagonal: d_diagonal.row_mut(row).into_slice().expect(CONTIGUOUS),
                });
            }
            if early < gates {
                d_inner.fill(F::zero());
                let d_r_t = d_r.as_ref().unwrap_or(&d_x).view();
                let to = (&mut d_inner[..], hidden);
                products.add_back(rows, early..gates, d_r_t, to, &mut scratch);
                for row in (0..batch).filter(live) {
                    let mut d_r = d_r.as_mut().map(|d_r| d_r.row_mut(row));
                    self.cell.rows::<F>().apply(Row::InnerBackward {
                        saved: saved.slice(s![row, t, ..]).to_slice().expect(CONTIGUOUS),
                        d_inner: &d_inner[row * hidden..(row + 1) * hidden],
                        d_state: d_states.cell.row_mut(row).into_slice().expect(CONTIGUOUS),
                        d_x: d_x.row_mut(row).into_slice().expect(CONTIGUOUS),
                        d_r: d_r.as_mut().map(|d| d.as_slice_mut().expect(CONTIGUOUS)),
                    });
                }
            }
            if projection.is_some() {
                // The cell has no h₋ but through the product.
                for row in (0..batch).filter(live) {
                    d_states.row_mut(0, row).fill(F::zero());
                }
            }
            if let Some((_, _, passed)) = &mut passed {
                for row in (0..batch).filter(live) {
                    for state in 0..self.cell.states() {
                        let d = d_states.row_mut(state, row).iter_mut();
                        let passed = passed.row(state, row);
                        d.zip(passed).for_each(|(d, passed)| *d += *passed);
                    }
                }
            }
            if step > 0 || wants_initial {
                let d_r = d_r.as_ref().unwrap_or(&d_x).view();
                let (to, stride) = d_states.h_slice_mut();
                match team {
                    Some(team) => team.product(d_r, to, stride),
                    None => products.add_back(rows, 0..early, d_r, (to, stride), &mut scratch),
                }
            }
        }
    }

    /// Splits the gradient of a row's states into what the cell gets and what passes to the old states.
    fn zone_out_back(
        &self,
        d_states: &mut States<F>,
        row: usize,
        keep: &Keep<F>,
        passed: &mut States<F>,
    ) {
        for state in 0..self.cell.states() {
            let d = d_states.row_mut(state, row).iter_mut();
            let units = d.zip(passed.row_mut(state, row));
            for ((d, passed), keep) in units.zip(keep.of(state)) {
                *passed = (F::one() - *keep) * *d;
                *d *= *keep;
            }
        }
    }
}
