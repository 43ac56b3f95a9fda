//! What an operation takes at least, from its shapes alone.

use super::{
    PerDirection, RecurrentBackward, RecurrentForward, RecurrentOp, RecurrentOperands, Slice,
};

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

/// What the operations of both passes of a recurrence have, in elements.
struct Common {
    /// B·D, the rows of a step.
    width: f64,
    /// H
    hidden: f64,
    /// The states but h, `[S − 1][D, B, H]`.
    states: f64,
    /// All recurrent weights but the biases, and the mask.
    constants: f64,
    /// 2·G·H·P: the operations of a row's recurrent product.
    product: f64,
    /// Operations of all rows besides: projection, cell, mask.
    flops: f64,
}

/// What a weight has for all directions.
fn all(weight: Option<PerDirection>, directions: f64) -> f64 {
    directions * len(weight.map(|weight| weight.first))
}

impl Common {
    fn new(of: &RecurrentOperands<'_>) -> Self {
        let shape = &of.shape;
        let [hidden, output, directions] =
            [shape.hidden, shape.output, shape.directions].map(|size| size as f64);
        let width = shape.batch as f64 * directions;
        let [gates, diagonals] =
            [of.cell.gates(), of.cell.diagonals()].map(|count| count as f64 * hidden);
        let weights = &of.weights;
        let projection = when(weights.weight_hr.is_some(), 2.0 * output * hidden);
        let masked = when(of.mask.is_some(), of.cell.gates() as f64 * output);
        let row_flops = projection + masked + GATE_FLOPS * gates + 2.0 * diagonals;
        Self {
            width,
            hidden,
            states: of.cell.states().saturating_sub(1) as f64 * width * hidden,
            constants: all(Some(weights.weight_hh), directions)
                + all(weights.weight_hr, directions)
                + all(weights.weight_diag, directions)
                + len(of.mask),
            product: 2.0 * gates * output,
            flops: shape.steps as f64 * width * row_flops,
        }
    }
}

impl RecurrentForward {
    /// What it takes with its input products, whose results are not moved.
    pub(super) fn cost(&self) -> Cost {
        let products = self.products.iter().map(super::Gemm::cost);
        products.fold(self.own_cost(), Cost::with_product)
    }

    /// What it takes besides its input products.
    pub(crate) fn own_cost(&self) -> Cost {
        let shape = &self.shape;
        let of = Common::new(&self.operands());
        let rows = shape.steps as f64 * of.width;
        let constants = of.constants + all(self.weights.bias_hh, shape.directions as f64);
        let read = len(self.x_gates) + constants + len(self.initial) + len(self.lengths);
        let inner = when(self.inner.is_some(), rows * of.hidden);
        let written = len(self.y) + len(self.last) + len(self.saved) + inner;
        // h of the step before, and the other states out and in.
        let states = of.width * shape.output as f64 + 2.0 * of.states;
        Cost {
            steps: shape.steps as u64,
            again: (BYTES * (constants + states)) as u64,
            ..Cost::new(rows * of.product + of.flops, read, written)
        }
    }
}

impl RecurrentBackward {
    pub(super) fn cost(&self) -> Cost {
        let of = Common::new(&self.operands());
        let [gates, diagonals] = [self.cell.gates(), self.cell.diagonals()]
            .map(|count| of.width * count as f64 * of.hidden);
        let steps = self.shape.steps as f64;
        let all_states = of.width * self.shape.output as f64 + of.states;
        let d_last = when(self.has_d_last, all_states);
        let read = len(self.saved) + len(self.d_y) + of.constants + len(self.lengths) + d_last;
        let written = len(self.d_gates) + all_states + diagonals;
        // The last step needs no product, and the initial state takes one more.
        let products = (steps - 1.0 + when(self.wants_initial, 1.0)).max(0.0) * of.width;
        // d_r of the step after, and the gradients of the other states out and in.
        let states = gates + 2.0 * (of.states + diagonals);
        Cost {
            steps: steps as u64,
            again: (BYTES * (of.constants + states)) as u64,
            ..Cost::new(products * of.product + of.flops, read, written)
        }
    }
}

/// The elements of a slice, where there is one.
pub(super) fn len(slice: impl Into<Option<Slice>>) -> f64 {
    slice.into().map_or(0.0, |slice| slice.len as f64)
}

pub(super) fn when(condition: bool, value: f64) -> f64 {
    if condition { value } else { 0.0 }
}
