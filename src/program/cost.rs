//! What an operation takes at least, from its shapes alone.

use super::recurrent::{RecurrentBackward, RecurrentForward, RecurrentShape, RecurrentWeights};
use super::{PerDirection, Slice};
use crate::CellRef;

/// What an operation takes at least, whatever runs it, its numbers being f32.
///
/// An addition, product, quotient, root or exponential counts as one operation, a multiply-add as two; integer work (random
/// numbers) is not counted. What stands in tensors that kernels make for themselves (packed weights, partial sums) is not either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations on floats.
    pub flops: u64,
    /// Bytes read, each operand's elements once.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Steps of which each needs the one before: T of a recurrence, else 1.
    pub steps: u64,
    /// Bytes read or written again at every step after the first by a device that keeps nothing from one step to the next, as a GPU does
    /// where a step is a dispatch of its own: recurrent weights, masks and states.
    pub again: u64,
}

/// What a cell's function takes for each gate of a unit: an estimate, two exponentials and the products around them. Products of matrices
/// are a hundred times that already at H = 512.
const GATE_FLOPS: f64 = 10.0;

const BYTES: f64 = 4.0;

impl Cost {
    /// In elements. Computed as floats, exact to 2⁵³, so that no size overflows.
    pub(super) fn new(flops: f64, read: f64, written: f64) -> Self {
        Self {
            flops: flops as u64,
            read: (BYTES * read) as u64,
            written: (BYTES * written) as u64,
            steps: 1,
            again: 0,
        }
    }

    /// With a product whose result one kernel makes and takes, so that it is not moved.
    pub(crate) fn with_product(self, product: Self) -> Self {
        Self {
            flops: self.flops.saturating_add(product.flops),
            read: (self.read.saturating_add(product.read)).saturating_sub(product.written),
            ..self
        }
    }

    /// With what another operation takes.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            flops: self.flops.saturating_add(other.flops),
            read: self.read.saturating_add(other.read),
            written: self.written.saturating_add(other.written),
            ..self
        }
    }

    /// Bytes moved, where what is needed again is kept.
    pub fn bytes(&self) -> u64 {
        self.read.saturating_add(self.written)
    }

    /// Bytes moved by so many dispatches, which keep nothing from one to the next.
    pub fn bytes_in(&self, dispatches: u64) -> u64 {
        let later = dispatches.min(self.steps).saturating_sub(1);
        self.bytes()
            .saturating_add(self.again.saturating_mul(later))
    }
}

/// The sizes of a recurrence as floats, and what both directions of time share.
struct Recurrence {
    /// T·B·D
    rows: f64,
    /// B·D, the rows of a step.
    width: f64,
    /// H
    hidden: f64,
    /// P
    output: f64,
    /// G·H
    gates: f64,
    /// V·H
    diagonals: f64,
    /// The states but h, `[S − 1][D, B, H]`.
    states: f64,
    /// All recurrent weights but the biases.
    weights: f64,
    /// 2·G·H·P: the operations of a row's recurrent product.
    product: f64,
    /// Operations of a row besides: projection, cell, mask.
    row_flops: f64,
    mask: f64,
}

impl Recurrence {
    fn new(
        cell: &CellRef,
        shape: &RecurrentShape,
        weights: &RecurrentWeights,
        mask: Option<Slice>,
    ) -> Self {
        let [steps, batch, hidden, output, directions] = [
            shape.steps,
            shape.batch,
            shape.hidden,
            shape.output,
            shape.directions,
        ]
        .map(|size| size as f64);
        let gates = cell.gates() as f64 * hidden;
        let diagonals = cell.diagonals() as f64 * hidden;
        let of_all = |weight: PerDirection| shape.directions as f64 * len(weight.first);
        let optional_of_all = |weight: Option<PerDirection>| weight.map_or(0.0, of_all);
        let projection = when(weights.weight_hr.is_some(), 2.0 * output * hidden);
        let masked = when(mask.is_some(), cell.gates() as f64 * output);
        Self {
            rows: steps * batch * directions,
            width: batch * directions,
            hidden,
            output,
            gates,
            diagonals,
            states: cell.states().saturating_sub(1) as f64 * batch * directions * hidden,
            weights: of_all(weights.weight_hh)
                + optional_of_all(weights.weight_hr)
                + optional_of_all(weights.weight_diag),
            product: 2.0 * gates * output,
            row_flops: projection + masked + GATE_FLOPS * gates + 2.0 * diagonals,
            mask: optional(mask),
        }
    }
}

pub(super) fn recurrent_forward(op: &RecurrentForward) -> Cost {
    let of = Recurrence::new(&op.cell, &op.shape, &op.weights, op.mask);
    let bias = op
        .weights
        .bias_hh
        .map_or(0.0, |bias| op.shape.directions as f64 * len(bias.first));
    let constants = of.weights + bias + of.mask;
    let read = len(op.x_gates) + constants + optional(op.initial) + optional(op.lengths);
    let inner = when(op.inner.is_some(), of.rows * of.hidden);
    let written = len(op.y) + len(op.last) + optional(op.saved) + inner;
    // h of the step before, and the other states out and in.
    let states = of.width * of.output + 2.0 * of.states;
    Cost {
        steps: op.shape.steps as u64,
        again: (BYTES * (constants + states)) as u64,
        ..Cost::new(of.rows * (of.product + of.row_flops), read, written)
    }
}

pub(super) fn recurrent_backward(op: &RecurrentBackward) -> Cost {
    let of = Recurrence::new(&op.cell, &op.shape, &op.weights, op.mask);
    let constants = of.weights + of.mask;
    let steps = op.shape.steps as f64;
    let all_states = of.width * of.output + of.states;
    let read = len(op.saved)
        + len(op.d_y)
        + constants
        + optional(op.lengths)
        + when(op.has_d_last, all_states);
    let written = len(op.d_gates) + all_states + of.width * of.diagonals;
    // The last step needs no product, and the initial state takes one more.
    let products = (steps - 1.0 + when(op.wants_initial, 1.0)).max(0.0) * of.width;
    // d_r of the step after, and the gradients of the other states out and in.
    let states = of.width * of.gates + 2.0 * (of.states + of.width * of.diagonals);
    Cost {
        steps: op.shape.steps as u64,
        again: (BYTES * (constants + states)) as u64,
        ..Cost::new(
            products * of.product + of.rows * of.row_flops,
            read,
            written,
        )
    }
}

fn len(slice: Slice) -> f64 {
    slice.len as f64
}

pub(super) fn optional(slice: Option<Slice>) -> f64 {
    slice.map_or(0.0, len)
}

pub(super) fn when(condition: bool, value: f64) -> f64 {
    if condition { value } else { 0.0 }
}
