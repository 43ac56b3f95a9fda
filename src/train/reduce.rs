//! The elements of losses and metrics added up, without those past a sequence's end.

use super::loss::Reduction;
use crate::expr::{Fold, Tape};
use crate::graph::Var;
use crate::nn::{Scope, Space};
use crate::program::product;

/// What each element is worth: whether it is within its sequence, and by what the sum is multiplied.
pub(super) struct Elements {
    values: Var,
    lengths: Option<Var>,
    /// How many steps are valid, `[1]`.
    valid: Option<Var>,
    /// By what the sum is multiplied, besides one over the valid steps.
    scale: f64,
}

impl Elements {
    /// The elements of a loss of an output.
    pub(super) fn new(s: &mut Scope<'_>, values: Var, output: Var, reduction: Reduction) -> Self {
        let shape = s.shape(values).to_vec();
        // Ragged where the output is a sequence that is.
        let lengths = s.ty(output).lengths.filter(|_| shape.len() >= 2);
        let count = product(&shape);
        let (valid, scale) = match (reduction, lengths) {
            (Reduction::Sum, _) => (None, 1.0),
            (Reduction::Mean, None) => (None, 1.0 / count as f64),
            (Reduction::Mean, Some(lengths)) => {
                let of_step = product(&shape[2..]);
                (Some(s.valid_steps(lengths)), 1.0 / of_step as f64)
            }
        };
        Self {
            values,
            lengths,
            valid,
            scale,
        }
    }

    /// The reduced loss, `[]`; added to a total, `[1]`, `weight` times, where one is given.
    pub(super) fn reduced(&self, s: &mut Scope<'_>, add_to: Option<(Var, f64)>) -> Var {
        let shape = s.shape(self.values).to_vec();
        let tape = Tape::new();
        let mut space = Space::new(&tape, &shape);
        let value = space.element(self.values);
        let value = space.steps(self.lengths, 0, 1).valid(value, 0.0);
        let mut loss = tape.statistic(Fold::Sum, value) * self.scale;
        if let Some(valid) = self.valid {
            loss = loss / space.scalar(valid);
        }
        if let Some((total, weight)) = add_to {
            loss = space.scalar(total) + loss * weight;
        }
        space.fold(s, "loss", shape.len(), loss)
    }
}

/// A gradient of a ragged output with zeros past each sequence's end, whatever is there.
pub(super) fn masked(s: &mut Scope<'_>, gradient: Var, output: Var) -> Var {
    let lengths = s.ty(output).lengths;
    if lengths.is_none() {
        return gradient;
    }
    let tape = Tape::new();
    let mut space = Space::new(&tape, s.shape(gradient));
    let value = space.element(gradient);
    let value = space.steps(lengths, 0, 1).valid(value, 0.0);
    space.map(s, "valid", value)
}
