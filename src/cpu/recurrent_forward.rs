//! The steps of a recurrent layer.

mod steps;

use super::buffer::Form;
use super::input_product::{InputProduct, SharedXGates, XGates, padded};
use super::memory::{Memory, range};
use super::recurrent::{GateProducts, LayerDirection, Tasks, view, view_mut};
use super::recurrent_choice::{self, Way};
use super::states::States;
use super::team::Team;
use crate::panels::{Panels, Start};
use crate::program::{RecurrentForward, RecurrentOp, RecurrentShape};
use crate::rows::{RowScalar, STEP_ROWS, TakesSteps};
use crate::threads;
use ndarray::{ArrayViewMut3, Axis, s};
use std::ops::Range;
use std::sync::Arc;

/// r = R h₋ + b_hh, then the cell, for every step; directions and batch are split over threads,
/// each of which walks its rows' whole sequence.
pub(super) fn recurrent_forward<F: RowScalar>(op: &RecurrentForward, memory: &Memory<'_, F>) {
    let way = recurrent_choice::choose(op, recurrent_forward_by::<F>);
    // A pass that a backward pass follows is training: the weights are about to change, and the
    // memory is wanted elsewhere.
    recurrent_forward_by(op, memory, way, op.saved.is_none());
}

/// [`recurrent_forward`] in some way; `keep`: whether packed weights are kept.
pub(super) fn recurrent_forward_by<F: RowScalar>(
    op: &RecurrentForward,
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

    let tasks = Tasks::new(&op.shape, way);
    let walk = |direction| Walk::new(op, direction, (&tasks, way.together), memory, keep);
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
    tasks.for_each(
        written.into_iter(),
        |(((direction, rows), states), mut outputs)| {
            let Walk {
                layer,
                products,
                input,
            } = &walks[direction];
            let reverse = direction == 1;
            let teamed = products.of_team(tasks.team);
            let shared = input.as_ref().filter(|_| alone && teamed.is_none());
            let shared = shared.and_then(|input| SharedXGates::by_two(input, rows, reverse));
            let mut x_gates = match (input, &shared) {
                (_, Some(parts)) => XGates::Shared(parts),
                (Some(input), None) => XGates::computed(input, rows, reverse, tasks.team),
                (None, None) => XGates::Ready(x_gates.slice(s![.., rows.clone(), direction, ..])),
            };
            let mut room = layer.room(products, rows.len(), states);
            let mut walk = |team: Option<&Team<'_, F>>, range: Range<usize>, x_gates: &mut _| {
                let range = (range, rows);
                let given = (products, team, &mut room);
                layer.forward(given, range, x_gates, states, &mut outputs);
            };
            match (teamed, &shared) {
                (Some(matrix), _) => {
                    let mut team = Team::new(matrix, rows.len(), tasks.team);
                    // The team's threads are busy until a walk ends: they compute the input's part before it begins.
                    let mut first = 0;
                    while first < steps {
                        let end = x_gates.prepare(first, layer.time(first)).min(steps);
                        team.walk(|team| walk(Some(team), first..end, &mut x_gates));
                        first = end;
                    }
                }
                (None, Some(parts)) => {
                    threads::beside(1, &|| parts.ahead(), || walk(None, 0..steps, &mut x_gates));
                }
                (None, None) => walk(None, 0..steps, &mut x_gates),
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
        direction: usize,
        (tasks, together): (&Tasks, bool),
        memory: &'a Memory<'_, F>,
        keep: bool,
    ) -> Self {
        let cell = &op.cell;
        let pack = |weights| memory.packed(weights, Form::Transposed, keep);
        let layer = LayerDirection::new(&op.operands(), direction, memory, pack);
        let bias = op
            .weights
            .bias_hh
            .map(|bias| memory.read(bias.of(direction)));
        let together = together && tasks.rows <= STEP_ROWS && tasks.team == 1;
        let products = match cell.rows::<F>().takes_steps().filter(|_| together) {
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

impl<F: RowScalar> Products<'_, F> {
    /// What a team of threads multiplies with and adds to, where there is to be one.
    fn of_team(&self, size: usize) -> Option<(&Panels<F>, Start<'_, F>)> {
        match self {
            Self::ByGates(gates, bias) if size > 1 => Some((gates.one()?, Start::Row(bias))),
            _ => None,
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
