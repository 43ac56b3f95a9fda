//! One recurrent layer in a program, forward.

use super::config::Regularisers;
use super::part::{Boundaries, Part};
use crate::CellRef;
use crate::nn::module::{Backward, Mode, Value};
use crate::nn::parameters::Parameter;
use crate::program::{
    Dropout, Matrix, Multiply, PerDirection, Program, RecurrentShape, RecurrentWeights, Slice,
    Zoneout,
};

/// The weights of one direction of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectionWeights {
    /// `[G·H, F]`; absent where x enters the gates as it is.
    pub(super) weight_ih: Option<Parameter>,
    /// `[G·H, P]`
    pub(super) weight_hh: Parameter,
    /// `[G·H]`
    pub(super) bias_ih: Option<Parameter>,
    /// `[G·H]`
    pub(super) bias_hh: Option<Parameter>,
    /// `[P, H]`
    pub(super) weight_hr: Option<Parameter>,
    /// `[V·H]`
    pub(super) weight_diag: Option<Parameter>,
}

/// One layer in a program.
pub(super) struct Layer {
    pub(super) cell: CellRef,
    pub(super) shape: RecurrentShape,
    pub(super) weights: Vec<DirectionWeights>,
    /// `[T, B, F]`
    pub(super) x: Value,
    /// `[T, B, D·P]`
    pub(super) y: Value,
    pub(super) mode: Mode,
    pub(super) regularisers: Regularisers,
    pub(super) initial: Option<Slice>,
    pub(super) last: Slice,
    pub(super) d_state: Option<Slice>,
    pub(super) has_d_last: bool,
    pub(super) wants_initial: bool,
    /// Whether nothing else is computed between its forward and its backward pass, so that what its last part leaves is of use
    /// without a recomputation.
    pub(super) is_top: bool,
}

/// A layer's forward pass, as its backward pass needs it.
pub(super) struct Trace {
    pub(super) layer: Layer,
    pub(super) parts: Vec<Part>,
    pub(super) boundaries: Boundaries,
    /// Of the last part, if it is not to be recomputed.
    pub(super) kept: Option<Kept>,
    pub(super) weights: RecurrentWeights,
    /// `[D, B, G, P]`
    pub(super) mask: Option<Slice>,
    pub(super) zoneout: Option<Zoneout>,
    /// `[D, G·H, P]`: DropConnect's.
    pub(super) weight_mask: Option<Slice>,
}

/// What the forward pass of a part leaves to its backward pass.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) saved: Slice,
    /// `[T, B, D, H]`: what the late gates' product or the projection takes.
    pub(super) inner: Option<Slice>,
}

/// A weight of every direction.
fn per_direction(
    weights: &[DirectionWeights],
    select: impl Fn(&DirectionWeights) -> Option<Parameter>,
) -> Option<PerDirection> {
    let first = select(&weights[0])?.value;
    let last = select(weights.last()?)?.value;
    Some(PerDirection {
        first,
        stride: last.offset - first.offset,
    })
}

impl Layer {
    pub(super) fn gate_width(&self) -> usize {
        self.cell.gates() * self.shape.hidden
    }

    /// A direction's columns of `[rows, D·width]`.
    pub(super) fn columns(&self, of: Slice, width: usize, direction: usize) -> Matrix {
        let all = self.shape.directions * width;
        let rows = of.len / all;
        of.matrix(rows, all).columns(direction * width, width)
    }

    /// The rows of a part of `[T·B, ·]`, of a direction.
    pub(super) fn rows(&self, part: &Part, direction: usize, of: Matrix) -> Matrix {
        let start = part.segment(&self.shape).start(part.steps, direction);
        of.rows(start * self.shape.batch, part.steps * self.shape.batch)
    }

    /// Writes the forward pass. Returns the backward pass.
    pub(super) fn emit(self, program: &mut Program) -> Backward {
        let mask = self.random_mask(program, 2, self.regularisers.recurrent_dropout, |shape| {
            shape.directions * shape.batch * self.cell.gates() * shape.output
        });
        let zoneout = self.zoneout();
        let weight_mask = self.random_mask(program, 4, self.regularisers.weight_dropout, |shape| {
            shape.directions * self.gate_width() * shape.output
        });
        let weight_hh = per_direction(&self.weights, |weights| Some(weights.weight_hh))
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
        let parts = Part::all(self.shape.steps, self.mode.segment);
        let mut trace = Trace {
            boundaries: Boundaries::new(program, parts.len(), self.last.len),
            parts,
            kept: None,
            weights,
            mask,
            zoneout,
            weight_mask,
            layer: self,
        };
        for part in trace.parts.clone() {
            let at_once = part.is_last && (trace.is_whole() || trace.layer.is_top);
            let keep = at_once && trace.layer.mode.train;
            trace.kept = trace.forward(program, &part, (false, keep));
        }
        Box::new(move |program: &mut Program| trace.backward(program))
    }

    /// A mask of one of the layer's sites, where it is random and switched on.
    fn random_mask(
        &self,
        program: &mut Program,
        site: u32,
        rate: f64,
        len: impl Fn(&RecurrentShape) -> usize,
    ) -> Option<Slice> {
        let rng = self.mode.rng.filter(|_| rate > 0.0)?;
        let len = len(&self.shape);
        let output = program.temporary("mask", &[len]);
        program.push(Dropout {
            input: None,
            output,
            rng,
            site: self.mode.site + site,
            rate,
            period: len,
        });
        Some(output)
    }

    fn zoneout(&self) -> Option<Zoneout> {
        let rates = self.regularisers.zoneout;
        (rates != [0.0; 2]).then(|| Zoneout {
            rates,
            random: self.mode.rng.map(|rng| (rng, self.mode.site + 3)),
        })
    }

    /// weight_hh ⊙ mask, `[D, G·H, P]`.
    fn masked_weight(
        &self,
        program: &mut Program,
        weight: PerDirection,
        mask: Slice,
    ) -> PerDirection {
        let len = self.gate_width() * self.shape.output;
        let masked = program.temporary("masked weight_hh", &[self.shape.directions * len]);
        for direction in 0..self.shape.directions {
            let part = |slice: Slice| slice.part(direction * len, len).matrix(1, len);
            program.push(Multiply {
                input: weight.of(direction).matrix(1, len),
                factor: part(mask),
                output: part(masked),
            });
        }
        PerDirection {
            first: masked.part(0, len),
            stride: len,
        }
    }
}
