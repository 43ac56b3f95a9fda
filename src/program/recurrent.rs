//! The operations of a recurrent layer.

use super::{Gemm, Slice, product};
use crate::CellRef;

/// A weight or bias of each direction: direction d's starts `d · stride` elements after direction 0's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerDirection {
    /// Direction 0's.
    pub first: Slice,
    /// Elements from one direction's to the next's.
    pub stride: usize,
}

impl PerDirection {
    /// Direction `direction`'s.
    pub fn of(&self, direction: usize) -> Slice {
        Slice {
            offset: (self.first.offset).saturating_add(direction.saturating_mul(self.stride)),
            ..self.first
        }
    }
}

/// The sizes of a recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentShape {
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// H, the units of the cell.
    pub hidden: usize,
    /// P, the width of h: that of the projection, or H without one.
    pub output: usize,
    /// D: 1, or 2 where a second set of weights runs from the last step to the first.
    pub directions: usize,
}

impl RecurrentShape {
    /// T·B·D
    pub fn rows(&self) -> usize {
        product(&[self.steps, self.batch, self.directions])
    }

    /// Where state s `[D, B, ·]` starts in a tensor of all states: h is P wide, the others H. State S would start at its end.
    pub fn state_offset(&self, state: usize) -> usize {
        let rows = self.directions.saturating_mul(self.batch);
        let Some(wide) = state.checked_sub(1) else {
            return 0;
        };
        let width = self.output.saturating_add(wide.saturating_mul(self.hidden));
        rows.saturating_mul(width)
    }
}

/// Which steps of a longer sequence an operation does: as many as its shape says, from `first` on in each direction's own order, so that
/// direction 1's lie as far from the sequence's end as direction 0's from its start. Lengths and random numbers are those of the whole
/// sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The steps of each direction that come before.
    pub first: usize,
    /// T of the whole sequence.
    pub total: usize,
}

impl Segment {
    /// All steps of a shape.
    pub fn whole(shape: &RecurrentShape) -> Self {
        Self {
            first: 0,
            total: shape.steps,
        }
    }

    /// The place in time, in the whole sequence, of the earliest of a direction's `steps` steps.
    pub fn start(&self, steps: usize, direction: usize) -> usize {
        if direction == 0 {
            self.first
        } else {
            self.total - self.first - steps
        }
    }
}

/// The recurrent weights of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentWeights {
    /// R, `[G·H, P]` for each direction.
    pub weight_hh: PerDirection,
    /// `[G·H]` for each direction.
    pub bias_hh: Option<PerDirection>,
    /// The projection, `[P, H]` for each direction.
    pub weight_hr: Option<PerDirection>,
    /// The diagonal weights, `[V·H]` for each direction; present iff the cell has some.
    pub weight_diag: Option<PerDirection>,
}

/// Zoneout (Krueger et al., 2017): a new state is (1 − m) ⊙ old + m ⊙ computed, h̃ being computed from the c that is not zoned out.
#[derive(Clone, Copy, Debug)]
pub struct Zoneout {
    /// The probability of keeping the old value: of h, and of the other states. 0 to below 1.
    pub rates: [f64; 2],
    /// Where m is random, 0 with that probability, else 1: seed and step `[4]` (as [`Operand::Random`](super::Operand)'s), in one
    /// tensor with the lengths if there are any, and the site. The counter's block is that of element `[d, t, b, unit]` in
    /// `[D, T, B, width]` of the whole sequence; h takes word 0, the others word 1. Else m is its mean, 1 − rate.
    pub random: Option<(Slice, u32)>,
}

/// The steps of one layer, all directions: r = R h₋ + b_hh, then the cell. D is 1 or 2; direction 1 runs from T − 1 to 0.
///
/// With late gates, r of those is R v + b_hh with v = [`Cell::inner`](crate::cell::Cell::inner); with a projection, state 0 of
/// the cell is m and h = W_hr m.
#[derive(Clone, Debug)]
pub struct RecurrentForward {
    /// The cell.
    pub cell: CellRef,
    /// T, B, H, P, D.
    pub shape: RecurrentShape,
    /// Where these T steps are in the sequence.
    pub segment: Segment,
    /// The products x Wᵀ + b_ih that x_gates consists of, one a direction: done with the recurrence, which may then leave x_gates
    /// unwritten. Empty where x_gates is there already.
    pub products: Vec<Gemm>,
    /// `[T, B, D, G·H]`: W x + b_ih. With products a temporary tensor of its own.
    pub x_gates: Slice,
    /// R, its bias, the projection, the diagonal weights.
    pub weights: RecurrentWeights,
    /// `[D, B, G, P]`: what the vector that enters gate g's recurrent product is multiplied by; ones where absent.
    pub mask: Option<Slice>,
    /// Whether states are kept at random.
    pub zoneout: Option<Zoneout>,
    /// `[B]`, whole numbers: the steps of each row of the whole sequence, 0 … its T; all of them where absent. Past its length a row holds its
    /// states and gives y = 0.
    pub lengths: Option<Slice>,
    /// `[S][D, B, ·]`, see [`RecurrentShape::state_offset`]; zeros where absent.
    pub initial: Option<Slice>,
    /// Like `initial`: the states after the last step, out.
    pub last: Slice,
    /// `[T, B, D, P]`: every h, out.
    pub y: Slice,
    /// `[T, B, D, H]`, out: v of the late gates, or m, the projection's input (0 past a row's length), then room for a device's
    /// own use. In one tensor with `saved`, if there is that. Present iff there are late gates or a projection.
    pub inner: Option<Slice>,
    /// `[D·K·T·B·H]` in an order that is the device's own; for [`RecurrentBackward`].
    pub saved: Option<Slice>,
}

impl RecurrentForward {
    /// The elements of `inner`, 0 where it is absent. Past `[T, B, D, H]` it has room for the early gates' r of one step.
    pub fn inner_len(cell: &CellRef, shape: &RecurrentShape, projected: bool) -> usize {
        let early = match (cell.has_late_gates(), projected) {
            (true, _) => product(&[cell.early_gates(), shape.directions, shape.batch]),
            (false, true) => 0,
            (false, false) => return 0,
        };
        shape
            .rows()
            .saturating_add(early)
            .saturating_mul(shape.hidden)
    }
}

/// The steps of [`RecurrentForward`] backwards.
#[derive(Clone, Debug)]
pub struct RecurrentBackward {
    /// The cell.
    pub cell: CellRef,
    /// T, B, H, P, D.
    pub shape: RecurrentShape,
    /// The segment of the forward pass.
    pub segment: Segment,
    /// The weights of the forward pass; the biases are not read.
    pub weights: RecurrentWeights,
    /// The mask of the forward pass.
    pub mask: Option<Slice>,
    /// The zoneout of the forward pass.
    pub zoneout: Option<Zoneout>,
    /// What the forward pass saved.
    pub saved: Slice,
    /// `[T, B, D, P]`
    pub d_y: Slice,
    /// `[B]`, as in the forward pass. Past its length a row has no gradient but that of its states.
    pub lengths: Option<Slice>,
    /// `[S][D, B, ·]`: the gradient of the last states in, of the initial states out (only with `wants_initial`); then
    /// `[D, B, V, H]`, out: the gradient of the diagonal weights by row.
    pub d_state: Slice,
    /// Whether `d_state` holds the gradient of the last states; else that is taken for zeros, whatever is there.
    pub has_d_last: bool,
    /// Whether the gradient of the initial states is wanted (one more product).
    pub wants_initial: bool,
    /// Out: the gradients of `x_gates` and r, and of W_hr m. See [`GatesLayout`].
    pub d_gates: Slice,
}

/// The parts of [`RecurrentBackward::d_gates`], one after another.
#[derive(Clone, Copy, Debug)]
pub struct GatesLayout {
    /// The gradient of `x_gates`, `[T, B, D, G·H]`, starts here.
    pub d_x: usize,
    /// The gradient of r, `[T, B, D, G·H]`, starts here: where `d_x` does, if the cell's gradients are shared.
    pub d_r: usize,
    /// With a projection: the gradient of h = W_hr m, `[T, B, D, P]`, starts here.
    pub d_h: usize,
    /// The elements of all.
    pub len: usize,
}

impl GatesLayout {
    /// The layout for a cell and its sizes.
    pub fn new(cell: &CellRef, shape: &RecurrentShape, projected: bool) -> Self {
        let gates = product(&[shape.rows(), cell.gates(), shape.hidden]);
        let d_r = if cell.shared_gradient() { 0 } else { gates };
        let d_h = d_r.saturating_add(gates);
        let projection = product(&[usize::from(projected), shape.rows(), shape.output]);
        Self {
            d_x: 0,
            d_r,
            d_h,
            len: d_h.saturating_add(projection),
        }
    }
}
