//! The steps of a recurrent layer.

use super::aligned::Aligned;
use super::buffer::Form;
use super::input_product::{InputProduct, Parts, XGates, padded};
use super::panels::{Panels, Start};
use super::recurrent::{
    CONTIGUOUS, GateProducts, Layer, Scratch, ZoneoutMask, lengths, view, view_mut,
};
use super::states::States;
use super::{Memory, threads};
use crate::Real;
use crate::cell::{CellRef, ForwardRow, InnerRow, STEP_ROWS, StepRows, TakesSteps};
use crate::program::{Op, RecurrentForward, RecurrentShape};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, s};
use std::ops::Range;
use std::sync::Arc;

/// r = R h₋ + b_hh, then the cell, for every step; the batch split over threads, each of which walks its rows' whole sequence.
/// `inputs` are the products that x_gates consist of, one a direction, where they are left to this function.
pub(super) fn recurrent_forward<F: Real>(
    op: &RecurrentForward,
    inputs: &[Op],
    memory: &Memory<'_, F>,
) {
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
    // A pass that a backward pass follows is training: the weights are about to change, and the memory is wanted elsewhere.
    let keep = op.saved.is_none();
    let pack = |weights, form| memory.packed(weights, form, keep);
    let x_gates = memory.read(op.x_gates);
    let x_gates = view(&x_gates, (steps, batch, directions, gate_width));
    let zoneout = ZoneoutMask::new(op.zoneout, &shape, op.segment, memory);
    let mask = op.mask.map(|mask| memory.read(mask));
    let mask = mask
        .as_ref()
        .map(|mask| view(mask, (directions, batch, op.cell.gates(), output)));
    let initial = op.initial.map(|initial| memory.read(initial));
    let mut last = memory.write(op.last);
    let mut y = memory.write(op.y);
    let mut y = view_mut(&mut y, (steps, batch, directions, output));
    // One tensor, one lock.
    let mut kept = memory.write_two(op.saved, op.inner);
    let (saved, inner) = kept.parts();
    let mut saved = saved.map(|saved| view_mut(saved, (directions, batch, steps, saved_width)));
    let inner_len = shape.rows() * hidden;
    let mut inner =
        inner.map(|inner| view_mut(&mut inner[..inner_len], (steps, batch, directions, hidden)));

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
        let read = |weight: crate::program::PerDirection| memory.read(weight.of(direction));
        let bias_hh = op.weights.bias_hh.map(read);
        let diagonal = op.weights.weight_diag.map(read);
        let mask = mask
            .as_ref()
            .map(|mask| mask.index_axis(Axis(0), direction));
        let weight_hh = op.weights.weight_hh.of(direction);
        let weight_hh = weight_hh.matrix(gate_width, output);
        let weight_hr = op.weights.weight_hr;
        // With a mask or a projection the product is not one of h₋, or h not the cell's.
        let plain = mask.is_none() && weight_hr.is_none() && rows <= STEP_ROWS;
        let products = match F::takes_steps(op.cell.erased()).filter(|_| plain) {
            Some(cell) => Products::ByUnits {
                cell,
                weights: pack(weight_hh, Form::OfUnits(op.cell.gates())),
                bias: bias_of_units(bias_hh.as_deref(), &op.cell, hidden),
            },
            None => {
                let pack = |rows| pack(rows, Form::Transposed);
                let gates = GateProducts::new(&op.cell, hidden, weight_hh, mask, pack);
                let bias = padded(bias_hh.as_deref(), gates.width());
                Products::ByGates(gates, bias)
            }
        };
        let layer = Layer {
            cell: &op.cell,
            shape,
            direction,
            projection: weight_hr.map(|weight| {
                let weight = weight.of(direction).matrix(output, hidden);
                pack(weight, Form::Transposed)
            }),
            diagonal: diagonal.as_deref().unwrap_or(&[]),
            zoneout,
            lengths: &lengths,
        };
        let product = inputs.get(direction).map(|op| match op {
            Op::Gemm(op) => InputProduct::new(op, &shape, memory, keep),
            _ => unreachable!("inputs are products"),
        });
        let x_gates = x_gates.slice(s![.., .., direction, ..]);
        let mut states: Vec<_> = chunks
            .iter()
            .map(|rows| States::load(initial.as_deref(), &layer, rows))
            .collect();
        let mut saved = saved
            .as_mut()
            .map(|saved| saved.index_axis_mut(Axis(0), direction));
        let mut saved = saved
            .as_mut()
            .map(|saved| saved.axis_chunks_iter_mut(Axis(0), rows));
        let mut inner = inner
            .as_mut()
            .map(|inner| inner.index_axis_mut(Axis(2), direction));
        let mut inner = inner
            .as_mut()
            .map(|inner| inner.axis_chunks_iter_mut(Axis(1), rows));
        let mut y = y.index_axis_mut(Axis(2), direction);
        let tasks = chunks
            .iter()
            .zip(&mut states)
            .zip(y.axis_chunks_iter_mut(Axis(1), rows))
            .map(|((rows, states), y)| {
                let outputs = Outputs {
                    y,
                    inner: inner.as_mut().and_then(Iterator::next),
                    saved: saved.as_mut().and_then(Iterator::next),
                };
                (rows, states, outputs)
            })
            .collect();
        let alone = chunks.len() == 1;
        threads::for_each(tasks, |(rows, states, outputs)| {
            let shared = product.as_ref().filter(|_| alone);
            let shared = shared.and_then(|product| Parts::new(product, rows, direction == 1));
            let x_gates = match (&product, &shared) {
                (_, Some(parts)) => XGates::Shared(parts),
                (Some(product), None) => XGates::left(product, rows, direction == 1),
                (None, None) => XGates::Ready(x_gates.slice(s![.., rows.clone(), ..])),
            };
            let walk = || layer.forward(&products, rows, x_gates, states, outputs);
            match &shared {
                Some(parts) => threads::beside(|| parts.ahead(), walk),
                None => walk(),
            }
        });
        for (rows, states) in chunks.iter().zip(&states) {
            states.store(&mut last, &layer, rows);
        }
    }
}

/// How r = R h₋ + b_hh comes about.
enum Products<'a, F> {
    /// By a cell that takes it with its step: R and b_hh by [units](Panels::of_units).
    ByUnits {
        cell: &'a dyn TakesSteps<F>,
        weights: Arc<Panels<F>>,
        bias: Vec<F>,
    },
    /// Before the cell, with b_hh as wide as r.
    ByGates(GateProducts<'a, F>, Vec<F>),
}

/// b_hh, zeros where there is none, as [`Panels::of_units`] has the columns.
fn bias_of_units<F: Real>(bias: Option<&[F]>, cell: &CellRef, hidden: usize) -> Vec<F> {
    let (gates, (lanes, _)) = (cell.gates(), F::lanes_and_vectors());
    let mut by_units = vec![F::zero(); gates * hidden.next_multiple_of(lanes)];
    for (gate, bias) in bias.unwrap_or(&[]).chunks(hidden).enumerate() {
        for (block, units) in bias.chunks(lanes).enumerate() {
            let first = (block * gates + gate) * lanes;
            by_units[first..first + units.len()].copy_from_slice(units);
        }
    }
    by_units
}

/// What they work in.
struct Room<F> {
    /// r of all rows for a panel of units.
    of_panel: Aligned<F>,
    /// r, `[b, width]`
    r: Array2<F>,
    scratch: Option<Scratch<F>>,
}

impl<F: Real> Products<'_, F> {
    fn room(&self, batch: usize) -> Room<F> {
        let (of_panel, width, scratch) = match self {
            Self::ByUnits { weights, .. } => (batch * weights.panel_width(), 0, None),
            Self::ByGates(gates, _) => (0, gates.width(), Some(gates.scratch(batch))),
        };
        Room {
            of_panel: Aligned::zeros(of_panel),
            r: Array2::zeros((batch, width)),
            scratch,
        }
    }
}

/// What some rows' forward pass writes.
struct Outputs<'a, F> {
    /// `[T, b, P]`
    y: ArrayViewMut3<'a, F>,
    /// `[T, b, H]`
    inner: Option<ArrayViewMut3<'a, F>>,
    /// `[b, T, K·H]`
    saved: Option<ArrayViewMut3<'a, F>>,
}

impl<F: Real> Layer<'_, F> {
    fn forward(
        &self,
        products: &Products<'_, F>,
        rows: &Range<usize>,
        mut x_gates: XGates<'_, F>,
        states: &mut States<F>,
        mut outputs: Outputs<'_, F>,
    ) {
        let (steps, batch) = (self.shape.steps, rows.len());
        let hidden = self.shape.hidden;
        let lengths = &self.lengths[rows.clone()];
        let mut room = products.room(batch);
        let mut projection = self.projection.as_ref().map(|weights| {
            let projected = Array2::zeros((batch, weights.width()));
            let zeros = vec![F::zero(); weights.width()];
            (weights, zeros, projected)
        });
        let by_units = matches!(products, Products::ByUnits { .. });
        let mut before = (by_units || self.zoneout.is_some()).then(|| states.clone());
        let mut has_step = vec![true; batch];
        for step in 0..steps {
            let t = self.time(step);
            let live = |row: &usize| t < lengths[*row];
            let x = x_gates.at(step, t);
            let mut y = outputs.y.index_axis_mut(Axis(0), t);
            let mut inner = outputs.inner.as_mut().map(|v| v.index_axis_mut(Axis(0), t));
            if !(0..batch).all(|row| live(&row)) {
                y.fill(F::zero());
                inner.iter_mut().for_each(|inner| inner.fill(F::zero()));
            }
            if !(0..batch).any(|row| live(&row)) {
                continue;
            }
            let saved = outputs.saved.as_mut().map(|s| s.index_axis_mut(Axis(1), t));
            match (products, &mut before) {
                (
                    Products::ByUnits {
                        cell,
                        weights,
                        bias,
                    },
                    Some(before),
                ) => {
                    std::mem::swap(before, states);
                    for (row, has_step) in has_step.iter_mut().enumerate() {
                        *has_step = live(&row);
                        if !*has_step {
                            states.cell.row_mut(row).assign(&before.cell.row(row));
                        }
                    }
                    cell.step_rows(StepRows {
                        weights,
                        bias,
                        diagonal: self.diagonal,
                        back: step % 2 == 1,
                        x,
                        before: before.cell.view(),
                        state: states.cell.view_mut(),
                        saved,
                        live: &has_step,
                        r: &mut room.of_panel,
                    });
                }
                (Products::ByGates(gates, bias), before) => {
                    if let Some(before) = before {
                        before.copy_from(states);
                    }
                    let inner = inner.as_mut();
                    self.step_by_gates(
                        (gates, bias),
                        (rows, &live),
                        x,
                        states,
                        (inner, saved),
                        &mut room,
                    );
                }
                (Products::ByUnits { .. }, None) => unreachable!("then old states are kept"),
            }
            // With a projection the cell's first state is m, and h = W_hr m.
            if let Some((weights, zeros, projected)) = &mut projection {
                let m = states.cell.slice(s![.., ..hidden]);
                if let Some(inner) = &mut inner {
                    for row in (0..batch).filter(live) {
                        inner.row_mut(row).assign(&m.row(row));
                    }
                }
                let (stride, result) = (weights.width(), projected.as_slice_mut());
                let result = result.expect(CONTIGUOUS);
                weights.product(m.insert_axis(Axis(0)), Start::Row(zeros), result, stride);
                for row in (0..batch).filter(live) {
                    let h = states.h_row_mut(row);
                    let projected = projected.row(row).to_slice().expect(CONTIGUOUS);
                    h.copy_from_slice(&projected[..h.len()]);
                }
            }
            for row in (0..batch).filter(live) {
                if let Some(before) = &before {
                    let place = (t, rows.start + row);
                    self.zone_out(states, row, place, before);
                }
                let y = y.row_mut(row).into_slice().expect(CONTIGUOUS);
                y.copy_from_slice(states.h_row_mut(row));
            }
        }
    }

    /// r, then v and what r owes to it, then the cell, of the rows that have the step. `kept`: v `[b, H]` and what is saved `[b, K·H]`.
    fn step_by_gates(
        &self,
        (products, bias): (&GateProducts<'_, F>, &[F]),
        (rows, live): (&Range<usize>, &impl Fn(&usize) -> bool),
        x: ArrayView2<'_, F>,
        states: &mut States<F>,
        (inner, mut saved): (
            Option<&mut ArrayViewMut2<'_, F>>,
            Option<ArrayViewMut2<'_, F>>,
        ),
        room: &mut Room<F>,
    ) {
        let (early, gates) = (self.cell.early_gates(), self.cell.gates());
        let gate_width = gates * self.shape.hidden;
        let Some(scratch) = &mut room.scratch else {
            return;
        };
        let r = &mut room.r;
        products.begin(rows, 0..early, (states.h(), bias), r, scratch);
        if let Some(inner) = inner.filter(|_| early < gates) {
            for row in (0..rows.len()).filter(live) {
                F::cell_inner(
                    self.cell.erased(),
                    InnerRow {
                        x: &x.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                        r: &r.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                        state: states.cell.row(row).to_slice().expect(CONTIGUOUS),
                        inner: inner.row_mut(row).into_slice().expect(CONTIGUOUS),
                    },
                );
            }
            products.add(rows, early..gates, inner.view(), r, scratch);
        }
        for row in (0..rows.len()).filter(live) {
            let mut saved = saved.as_mut().map(|saved| saved.row_mut(row));
            F::cell_forward(
                self.cell.erased(),
                ForwardRow {
                    x: &x.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                    r: &r.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                    diagonal: self.diagonal,
                    state: states.cell.row_mut(row).into_slice().expect(CONTIGUOUS),
                    saved: saved.as_mut().map(|s| s.as_slice_mut().expect(CONTIGUOUS)),
                },
            );
        }
    }

    /// new = (1 − m) old + m computed, of every state of a row; place: t and the row's number in the batch.
    fn zone_out(
        &self,
        states: &mut States<F>,
        row: usize,
        (t, number): (usize, usize),
        before: &States<F>,
    ) {
        let Some(zoneout) = self.zoneout else { return };
        let hidden = self.shape.hidden;
        for state in 0..self.cell.states() {
            let (mut plane, before) =
                (states.plane_mut(state, hidden), before.plane(state, hidden));
            let units = plane.row_mut(row).into_iter().zip(before.row(row));
            for (unit, (new, old)) in units.enumerate() {
                let keep: F = zoneout.keep(state, (self.direction, t, number, unit));
                // Not old + m (computed − old), which loses the digits of a small computed state.
                *new = (F::one() - keep) * *old + keep * *new;
            }
        }
    }
}
