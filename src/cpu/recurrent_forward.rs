//! The steps of a recurrent layer.

mod steps;

use super::Memory;
use super::buffer::Form;
use super::input_product::{InputProduct, SharedXGates, XGates, padded};
use super::recurrent::{
    GateProducts, LayerDirection, Scratch, Tasks, lengths, parts, view, view_mut,
};
use super::states::States;
use super::team::{self, Team};
use super::zoneout::ZoneoutMask;
use crate::CellRef;
use crate::panels::{Aligned, Panels, Start, aligned_zeros};
use crate::program::{PerDirection, RecurrentForward, RecurrentShape};
use crate::rows::{RowScalar, STEP_ROWS, TakesSteps};
use crate::threads;
use ndarray::{Array2, ArrayViewMut3, Axis, s};
use std::sync::Arc;

/// r = R h₋ + b_hh, then the cell, for every step; directions and batch are split over threads,
/// each of which walks its rows' whole sequence.
pub(super) fn recurrent_forward<F: RowScalar>(op: &RecurrentForward, memory: &Memory<'_, F>) {
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
    // A pass that a backward pass follows is training: the weights are about to change, and the
    // memory is wanted elsewhere.
    let keep = op.saved.is_none();
    let pack = |weights, form| memory.packed(weights, form, keep);
    let x_gates = memory.read(op.x_gates);
    let x_gates = view(&x_gates, (steps, batch, directions, gate_width));
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

    let one = op.mask.is_none() && !op.cell.has_late_gates();
    let tasks = Tasks::of::<F>(&shape, gate_width, one);
    let each = |weight: Option<PerDirection>| -> Vec<_> {
        let read = |direction| weight.map(|weight| memory.read(weight.of(direction)));
        (0..directions).map(read).collect()
    };
    let diagonal = each(op.weights.weight_diag);
    let bias_hh = each(op.weights.bias_hh);
    let lengths: Vec<_> = (0..directions)
        .map(|direction| lengths(memory, op.lengths, &shape, (op.segment, direction)))
        .collect();
    let walk = |direction: usize| {
        let mask = mask
            .as_ref()
            .map(|mask| mask.index_axis(Axis(0), direction));
        let weight_hh = op.weights.weight_hh.of(direction);
        let weight_hh = weight_hh.matrix(gate_width, output);
        let weight_hr = op.weights.weight_hr;
        let bias_hh = bias_hh[direction].as_deref();
        // With a mask or a projection the product is not one of h₋, or h not the cell's.
        let plain = mask.is_none() && weight_hr.is_none();
        let plain = plain && tasks.rows <= STEP_ROWS && tasks.team == 1;
        let products = match op.cell.rows::<F>().takes_steps().filter(|_| plain) {
            Some(cell) => Products::ByUnits {
                cell,
                weights: pack(weight_hh, Form::OfUnits(op.cell.gates())),
                bias: bias_of_units(bias_hh, &op.cell, hidden),
            },
            None => {
                let pack = |rows| pack(rows, Form::Transposed);
                let gates = GateProducts::new(&op.cell, hidden, weight_hh, mask, pack);
                let bias = padded(bias_hh, gates.width());
                Products::ByGates(gates, bias)
            }
        };
        let layer = LayerDirection {
            cell: &op.cell,
            shape,
            direction,
            projection: weight_hr.map(|weight| {
                let weight = weight.of(direction).matrix(output, hidden);
                pack(weight, Form::Transposed)
            }),
            diagonal: diagonal[direction].as_deref().unwrap_or(&[]),
            zoneout: ZoneoutMask::new(op.zoneout, &shape, op.segment, memory),
            lengths: &lengths[direction],
        };
        let product = op.products.get(direction);
        let input = product.map(|product| InputProduct::new(product, &shape, memory, keep));
        Walk {
            layer,
            products,
            input,
        }
    };
    let walks: Vec<_> = (0..directions).map(walk).collect();

    let load = |walk: &Walk<'_, F>| -> Vec<_> {
        let load = |rows| States::load(initial.as_deref(), &walk.layer, rows);
        tasks.chunks.iter().map(load).collect()
    };
    let mut states: Vec<_> = walks.iter().map(load).collect();
    let mut saved = saved.as_mut().map(|saved| saved.axis_iter_mut(Axis(0)));
    let mut inner = inner.as_mut().map(|inner| inner.axis_iter_mut(Axis(2)));
    let mut all = vec![];
    let of_direction = walks.iter().zip(&mut states).zip(y.axis_iter_mut(Axis(2)));
    for ((walk, states), y) in of_direction {
        let rows = tasks.rows;
        let saved = saved.as_mut().and_then(Iterator::next);
        let mut saved = saved.map(|saved| parts(saved, Axis(0), rows));
        let inner = inner.as_mut().and_then(Iterator::next);
        let mut inner = inner.map(|inner| parts(inner, Axis(1), rows));
        let of_rows = tasks.chunks.iter().zip(states).zip(parts(y, Axis(1), rows));
        for ((rows, states), y) in of_rows {
            let outputs = Outputs {
                y,
                inner: inner.as_mut().and_then(Iterator::next),
                saved: saved.as_mut().and_then(Iterator::next),
            };
            all.push((walk, rows, states, outputs));
        }
    }
    let alone = all.len() == 1;
    threads::for_each_of(tasks.work, all, |(walk, rows, states, outputs)| {
        let Walk {
            layer,
            products,
            input,
        } = walk;
        let reverse = layer.direction == 1;
        let teamed = products.of_team(tasks.team);
        let shared = match (input, teamed) {
            (Some(input), Some(_)) => SharedXGates::at_once(input, rows, reverse),
            (Some(input), None) if alone => SharedXGates::new(input, rows, reverse),
            _ => None,
        };
        let x_gates = match (input, &shared) {
            (_, Some(parts)) => XGates::Shared(parts),
            (Some(input), None) => XGates::computed(input, rows, reverse, tasks.team),
            (None, None) => XGates::Ready(x_gates.slice(s![.., rows.clone(), layer.direction, ..])),
        };
        let walk = |team: Option<&Team<'_, F>>| {
            layer.forward((products, team), rows, x_gates, states, outputs);
        };
        match (teamed, &shared) {
            (Some(matrix), _) => {
                team::with(matrix, rows.len(), tasks.team, |team| walk(Some(team)))
            }
            (None, Some(parts)) => threads::beside(|| parts.ahead(), || walk(None)),
            (None, None) => walk(None),
        }
    });
    for (walk, states) in walks.iter().zip(&states) {
        for (rows, states) in tasks.chunks.iter().zip(states) {
            states.store(&mut last, &walk.layer, rows);
        }
    }
}

/// One direction of a layer, and its products.
struct Walk<'a, F> {
    layer: LayerDirection<'a, F>,
    products: Products<'a, F>,
    /// The input product, where it is fused with the walk.
    input: Option<InputProduct<'a, F>>,
}

/// How r = R h₋ + b_hh comes about.
enum Products<'a, F> {
    /// A cell takes it with its step: R and b_hh by [units](Panels::of_units).
    ByUnits {
        cell: &'a dyn TakesSteps<F>,
        weights: Arc<Panels<F>>,
        bias: Vec<F>,
    },
    /// A product before the cell gives it, with b_hh as wide as r.
    ByGates(GateProducts<'a, F>, Vec<F>),
}

/// b_hh, zeros where there is none, as [`Panels::of_units`] has the columns.
fn bias_of_units<F: RowScalar>(bias: Option<&[F]>, cell: &CellRef, hidden: usize) -> Vec<F> {
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

/// What the products of some rows work in.
struct Room<F> {
    /// r of all rows for a panel of units.
    of_panel: Aligned<F>,
    /// r, `[b, width]`
    r: Array2<F>,
    scratch: Option<Scratch<F>>,
}

impl<F: RowScalar> Products<'_, F> {
    /// What a team of threads multiplies with and adds to, where there is to be one.
    fn of_team(&self, size: usize) -> Option<(&Panels<F>, Start<'_, F>)> {
        match self {
            Self::ByGates(gates, bias) if size > 1 => Some((gates.one()?, Start::Row(bias))),
            _ => None,
        }
    }

    fn room(&self, batch: usize) -> Room<F> {
        let (of_panel, width, scratch) = match self {
            Self::ByUnits { weights, .. } => (batch * weights.panel_width(), 0, None),
            Self::ByGates(gates, _) => (0, gates.width(), Some(gates.scratch(batch))),
        };
        Room {
            of_panel: aligned_zeros(of_panel),
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
