//! One recurrent layer in a program.
//!
//! With a memory budget its time is cut into segments ([`segment`]): the forward pass keeps the states between them only, and the
//! backward pass computes a segment's steps once more.

mod backward;
mod segment;
mod weight_gradient;

use crate::graph::{DirectionWeights, Recurrence};
use crate::program::{Map, Matrix, PerDirection, Program, RecurrentWeights, Slice, Zoneout};
use segment::TimeSegment;
use std::sync::Arc;

/// One layer with the places of its values.
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
    /// The states between segments.
    between: [Option<Slice>; 2],
    /// What the last segment saved, if it is not to be recomputed.
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

/// The elements of the gradients of a layer's states, with those of diagonal weights by row.
pub(super) fn d_state_len(of: &Recurrence) -> usize {
    let rows = of.shape.directions * of.shape.batch;
    of.states_len() + rows * of.cell.diagonals() * of.shape.hidden
}

impl Layer {
    fn gate_width(&self) -> usize {
        self.of.cell.gates() * self.of.shape.hidden
    }

    /// A weight of every direction.
    fn per_direction(
        &self,
        select: impl Fn(&DirectionWeights<Slice>) -> Option<Slice>,
    ) -> Option<PerDirection> {
        let first = select(self.weights.first()?)?;
        let last = select(self.weights.last()?)?;
        Some(PerDirection {
            first,
            stride: last.offset - first.offset,
        })
    }

    /// Writes the forward pass.
    pub(super) fn forward(self, program: &mut Program) -> Forward {
        let (shape, regularisers) = (self.of.shape, self.of.regularisers);
        let width = shape.directions * shape.output;
        let mask_len = width * shape.batch * self.of.cell.gates();
        let mask = self.random_mask(program, 2, regularisers.recurrent_dropout, mask_len);
        let weight_len = width * self.gate_width();
        let weight_mask = self.random_mask(program, 4, regularisers.weight_dropout, weight_len);
        let weight_hh = self.per_direction(|weights| weights.weight_hh);
        let weight_hh = weight_hh.expect("every layer has recurrent weights");
        let weights = RecurrentWeights {
            weight_hh: match weight_mask {
                Some(mask) => self.masked_weight(program, weight_hh, mask),
                None => weight_hh,
            },
            bias_hh: self.per_direction(|weights| weights.bias_hh),
            weight_hr: self.per_direction(|weights| weights.weight_hr),
            weight_diag: self.per_direction(|weights| weights.weight_diag),
        };
        let zoneout = Zoneout {
            rates: regularisers.zoneout,
            random: self.rng.map(|rng| (rng, self.of.site + 3)),
        };
        let segments = TimeSegment::all(&shape, self.segment);
        let count = segments.len();
        let between = [count / 2, (count - 1) / 2].map(|count| {
            let len = count * self.last.len;
            (count > 0).then(|| program.temporary("states between", &[len]))
        });
        let mut forward = Forward {
            between,
            segments,
            saved: None,
            weights,
            mask,
            zoneout: (zoneout.rates != [0.0; 2]).then_some(zoneout),
            weight_mask,
            layer: self,
        };
        for segment in forward.segments.clone() {
            let at_once = segment.is_last() && (count == 1 || forward.layer.is_top);
            let keep = at_once && forward.layer.train;
            let (y, saved) = forward.steps(program, &segment, keep);
            for [all, own] in forward.y_rows(&segment, forward.layer.y, y) {
                program.push(Map::copy(&[all.rows, all.columns], own.view(), all.view()));
            }
            forward.saved = saved;
        }
        forward
    }

    /// A mask of one of the layer's sites, where it is random and switched on.
    fn random_mask(
        &self,
        program: &mut Program,
        site: u32,
        rate: f64,
        len: usize,
    ) -> Option<Slice> {
        let rng = self.rng.filter(|_| rate > 0.0)?;
        let output = program.temporary("mask", &[len]);
        program.push(Map::mask(output, rng, self.of.site + site, rate));
        Some(output)
    }

    /// weight_hh ⊙ mask, `[D, G·H, P]`.
    fn masked_weight(
        &self,
        program: &mut Program,
        weight: PerDirection,
        mask: Slice,
    ) -> PerDirection {
        let masked = program.temporary("masked weight_hh", &[mask.len]);
        let directions = self.of.shape.directions;
        let len = mask.len / directions;
        for direction in 0..directions {
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
