//! The steps of a recurrent layer.

mod steps;

use super::buffer::Form;
use super::input_product::{InputProduct, SharedXGates, XGates, padded};
use super::memory::{Memory, range};
use super::recurrent::{GateProducts, Layer, LayerDirection, Scratch, Tasks, view, view_mut};
use super::states::States;
use super::team::{self, Team};
use crate::panels::{Aligned, Panels, Start, aligned_zeros};
use crate::program::{RecurrentForward, RecurrentShape};
use crate::rows::{RowScalar, STEP_ROWS, TakesSteps};
use crate::threads;
use ndarray::{Array2, ArrayViewMut3, Axis, s};
use std::ops::Range;
use std::sync::Arc;

/// r = R h₋ + b_hh, then the cell, for every step; directions and batch are split over threads,
/// each of which walks its rows' whole sequence.
pub(super) fn recurrent_forward<F: RowScalar>(op: &RecurrentForward, memory: &Memory<'_, F>) {
    let layer = Layer {
        cell: &op.cell,
        shape: op.shape,
        segment: op.segment,
        weights: &op.weights,
        mask: op.mask,
        zoneout: op.zoneout,
        lengths: op.lengths,
    };
    let RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    } = op.shape;
    let x_gates = memory.read(op.x_gates);
    let x_gates = view(
        &x_gates,
        (steps, batch, directions, op.cell.gates() * hidden),
    );
    let initial = op.initial.map(|initial| memory.read(initial));
    let mut last = memory.write(op.last);
    let mut y = memory.write(op.y);
    let mut y = view_mut(&mut y, (steps, batch, directions, output));
    // One tensor, one lock.
    let mut kept = op
        .saved
        .or(op.inner)
        .map(|slice| memory.write_whole(slice.tensor));
    let [saved, inner] = match &mut kept {
        Some(kept) => {
            let ranges = [op.saved, op.inner].map(|slice| slice.map_or(0..0, range));
            let parts = kept
                .get_disjoint_mut(ranges)
                .expect("the program was checked");
            parts.map(|part| (!part.is_empty()).then_some(part))
        }
        None => [None, None],
    };
    let saved_shape = (directions, batch, steps, op.cell.saved() * hidden);
    let inner_shape = (steps, batch, directions, hidden);
    let mut saved = saved.map(|saved| view_mut(saved, saved_shape));
    let inner_len = op.shape.rows() * hidden;
    let mut inner = inner.map(|inner| view_mut(&mut inner[..inner_len], inner_shape));

    let tasks = Tasks::of::<F>(&layer);
    let walk = |direction| Walk::new(op, &layer, direction, &tasks, memory);
    let walks: Vec<_> = (0..directions).map(walk).collect();
    let load = |(direction, rows): (usize, &Range<usize>)| {
        States::load(initial.as_deref(), &walks[direction].layer, rows)
    };
    let mut states: Vec<_> = tasks.each().map(load).collect();
    let written = (tasks.cut(Some(&mut y), Axis(2), Axis(1)))
        .zip(tasks.cut(inner.as_mut(), Axis(2), Axis(1)))
        .zip(tasks.cut(saved.as_mut(), Axis(0), Axis(0)));
    let written =
        (tasks.each().zip(&mut states).zip(written)).filter_map(|(task, ((y, inner), saved))| {
            Some((
                task,
                Outputs {
                    y: y?,
                    inner,
                    saved,
                },
            ))
        });
    let written: Vec<_> = written.collect();
    let alone = written.len() == 1;
    threads::for_each_of(
        tasks.work,
        written.into_iter(),
        |(((direction, rows), states), outputs)| {
            let Walk {
                layer,
                products,
                input,
            } = &walks[direction];
            let reverse = direction == 1;
            let teamed = products.of_team(tasks.team);
            let shared = match (input, teamed) {
                (Some(input), Some(_)) => SharedXGates::at_once(input, rows, reverse),
                (Some(input), None) if alone => SharedXGates::by_two(input, rows, reverse),
                _ => None,
            };
            let x_gates = match (input, &shared) {
                (_, Some(parts)) => XGates::Shared(parts),
                (Some(input), None) => XGates::computed(input, rows, reverse, tasks.team),
                (None, None) => XGates::Ready(x_gates.slice(s![.., rows.clone(), direction, ..])),
            };
            let walk = |team: Option<&Team<'_, F>>| {
                layer.forward((products, team), rows, x_gates, states, outputs);
            };
            match (teamed, &shared) {
                (Some(matrix), _) => {
                    team::with(matrix, rows.len(), tasks.team, |team| walk(Some(team)))
                }
                (None, Some(parts)) => threads::beside(1, &|| parts.ahead(), || walk(None)),
                (None, None) => walk(None),
            }
        },
    );
    for ((direction, rows), states) in tasks.each().zip(&states) {
        states.store(&mut last, &walks[direction].layer, rows);
    }
}

/// One direction of a layer, and its products.
struct Walk<'a, F> {
    layer: LayerDirection<'a, F>,
    products: Products<'a, F>,
    /// The input product, where it is fused with the walk.
    input: Option<InputProduct<'a, F>>,
}

impl<'a, F: RowScalar> Walk<'a, F> {
    fn new(
        op: &'a RecurrentForward,
        layer: &Layer<'a>,
        direction: usize,
        tasks: &Tasks,
        memory: &'a Memory<'_, F>,
    ) -> Self {
        let cell = &op.cell;
        // A pass that a backward pass follows is training: the weights are about to change, and the
        // memory is wanted elsewhere.
        let keep = op.saved.is_none();
        let pack = |weights| memory.packed(weights, Form::Transposed, keep);
        let layer = LayerDirection::new(layer, direction, memory, pack);
        let bias = op
            .weights
            .bias_hh
            .map(|bias| memory.read(bias.of(direction)));
        // With a mask or a projection the product is not one of h₋, or h not the cell's.
        let plain = op.mask.is_none() && layer.projection.is_none();
        let plain = plain && tasks.rows <= STEP_ROWS && tasks.team == 1;
        let products = match cell.rows::<F>().takes_steps().filter(|_| plain) {
            Some(steps) => {
                let weights = memory.packed(layer.weight_hh, Form::OfUnits(cell.gates()), keep);
                Products::ByUnits {
                    cell: steps,
                    bias: weights.row_of_units(bias.as_deref(), cell.gates()),
                    weights,
                }
            }
            None => {
                let gates = GateProducts::new(&layer, memory, pack);
                let bias = padded(bias.as_deref(), gates.width());
                Products::ByGates(gates, bias)
            }
        };
        let product = op.products.get(direction);
        let input = product.map(|product| InputProduct::new(product, &op.shape, memory, keep));
        Self {
            layer,
            products,
            input,
        }
    }
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
