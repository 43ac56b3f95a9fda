//! One recurrent layer in a program.
//!
//! With a memory budget its time is cut into segments ([`segment`]): the forward pass keeps the states between them only, and the
//! backward pass computes a segment's steps once more.

mod backward;
mod segment;
mod weight_gradient;

use crate::graph::{DirectionWeights, Recurrence};
use crate::program::{
    Map, Matrix, PerDirection, Program, RecurrentShape, RecurrentWeights, Slice, Zoneout,
};
use segment::{Boundaries, TimeSegment};
use std::sync::Arc;

/// One layer with the places of its values.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) of: Arc<Recurrence>,
    pub(super) weights: Vec<DirectionWeights<Slice>>,
    /// `[T·B, F]`
    pub(super) x: Matrix,
    /// `[T, B, D·P]`
    pub(super) y: Slice,
    pub(super) initial: Option<Slice>,
    pub(super) last: Slice,
    pub(super) lengths: Option<Slice>,
    /// `[4]`, seed and step, where anything is random.
    pub(super) rng: Option<Slice>,
    /// The most steps of a segment; all T where absent.
    pub(super) segment: Option<usize>,
    /// Whether a backward pass follows.
    pub(super) train: bool,
    /// Whether no other layer is computed between its forward and its backward pass, so that what its last segment leaves is of use
    /// without a recomputation.
    pub(super) is_top: bool,
}

/// Where a layer's gradients come from and go to.
pub(super) struct Gradients {
    /// `[T, B, D·P]`
    pub(super) d_y: Slice,
    /// The gradient of the last states in, of the initial ones out; behind them room for those of diagonal weights by row.
    pub(super) d_state: Slice,
    pub(super) has_d_last: bool,
    pub(super) wants_initial: bool,
    /// `[T·B, F]`
    pub(super) d_x: Option<Matrix>,
    pub(super) weights: Vec<DirectionWeights<Slice>>,
}

/// A layer's forward pass, as its backward pass needs it.
pub(super) struct Forward {
    layer: Layer,
    segments: Vec<TimeSegment>,
    boundaries: Boundaries,
    /// Of the last segment, if it is not to be recomputed.
    saved: Option<Saved>,
    weights: RecurrentWeights,
    /// `[D, B, G, P]`
    mask: Option<Slice>,
    zoneout: Option<Zoneout>,
    /// `[D, G·H, P]`: DropConnect's.
    weight_mask: Option<Slice>,
}

/// What the forward pass of a segment leaves to its backward pass.
#[derive(Clone, Copy)]
struct Saved {
    saved: Slice,
    /// `[T, B, D, H]`: what the late gates' product or the projection takes.
    inner: Option<Slice>,
}

/// A weight of every direction.
fn per_direction(
    weights: &[DirectionWeights<Slice>],
    select: impl Fn(&DirectionWeights<Slice>) -> Option<Slice>,
) -> Option<PerDirection> {
    let first = select(&weights[0])?;
    let last = select(weights.last()?)?;
    Some(PerDirection {
        first,
        stride: last.offset - first.offset,
    })
}

impl Layer {
    fn shape(&self) -> &RecurrentShape {
        &self.of.shape
    }

    fn gate_width(&self) -> usize {
        self.of.cell.gates() * self.of.shape.hidden
    }

    /// The elements of the gradients of the states, with those of diagonal weights by row.
    pub(super) fn d_state_len(of: &Recurrence) -> usize {
        let RecurrentShape {
            batch,
            hidden,
            directions,
            ..
        } = of.shape;
        of.states_len() + directions * batch * of.cell.diagonals() * hidden
    }

    /// A direction's columns of `[rows, D·width]`.
    fn columns(&self, of: Slice, width: usize, direction: usize) -> Matrix {
        let all = self.of.shape.directions * width;
        let rows = of.len / all;
        of.matrix(rows, all).columns(direction * width, width)
    }

    /// The rows of a segment of `[T·B, ·]`, of a direction.
    fn rows(&self, segment: &TimeSegment, direction: usize, of: Matrix) -> Matrix {
        let start = segment.place(self.shape()).start(segment.steps, direction);
        let batch = self.of.shape.batch;
        of.rows(start * batch, segment.steps * batch)
    }

    /// Writes the forward pass.
    pub(super) fn forward(self, program: &mut Program) -> Forward {
        let regularisers = self.of.regularisers;
        let mask = self.random_mask(program, 2, regularisers.recurrent_dropout, |shape| {
            shape.directions * shape.batch * self.of.cell.gates() * shape.output
        });
        let zoneout = self.zoneout();
        let weight_mask = self.random_mask(program, 4, regularisers.weight_dropout, |shape| {
            shape.directions * self.gate_width() * shape.output
        });
        let weight_hh = per_direction(&self.weights, |weights| weights.weight_hh)
            .expect("every layer has recurrent weights");
        let weights = RecurrentWeights {
            weight_hh: match weight_mask {
                Some(mask) => self.masked_weight(program, weight_hh, mask),
                None => weight_hh,
            },
            bias_hh: per_direction(&self.weights, |weights| weights.bias_hh),
            weight_hr: per_direction(&self.weights, |weights| weights.weight_hr),
            weight_diag: per_direction(&self.weights, |weights| weights.weight_diag),
        };
        let segments = TimeSegment::all(self.shape().steps, self.segment);
        let mut forward = Forward {
            boundaries: Boundaries::new(program, segments.len(), self.last.len),
            segments,
            saved: None,
            weights,
            mask,
            zoneout,
            weight_mask,
            layer: self,
        };
        for segment in forward.segments.clone() {
            let at_once = segment.is_last && (forward.is_whole() || forward.layer.is_top);
            let keep = at_once && forward.layer.train;
            forward.saved = forward.steps(program, &segment, (false, keep));
        }
        forward
    }

    /// A mask of one of the layer's sites, where it is random and switched on.
    fn random_mask(
        &self,
        program: &mut Program,
        site: u32,
        rate: f64,
        len: impl Fn(&RecurrentShape) -> usize,
    ) -> Option<Slice> {
        let rng = self.rng.filter(|_| rate > 0.0)?;
        let output = program.temporary("mask", &[len(self.shape())]);
        program.push(Map::mask(output, rng, self.of.site + site, rate));
        Some(output)
    }

    fn zoneout(&self) -> Option<Zoneout> {
        let rates = self.of.regularisers.zoneout;
        (rates != [0.0; 2]).then(|| Zoneout {
            rates,
            random: self.rng.map(|rng| (rng, self.of.site + 3)),
        })
    }

    /// weight_hh ⊙ mask, `[D, G·H, P]`.
    fn masked_weight(
        &self,
        program: &mut Program,
        weight: PerDirection,
        mask: Slice,
    ) -> PerDirection {
        let len = self.gate_width() * self.shape().output;
        let masked = program.temporary("masked weight_hh", &[self.shape().directions * len]);
        for direction in 0..self.shape().directions {
            let part = |slice: Slice| slice.part(direction * len, len).matrix(1, len);
            let input = weight.of(direction).matrix(1, len);
            program.push(Map::multiply(input, part(mask), part(masked)));
        }
        PerDirection {
            first: masked.part(0, len),
            stride: len,
        }
    }
}
