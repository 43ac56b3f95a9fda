//! The elements of losses and metrics added up, without those past a sequence's end.

use super::loss::Reduction;
use crate::error::Result;
use crate::expr::{Expr, Fold, Tape};
use crate::graph::{Argument, PointwiseOp, Var, follow};
use crate::nn::Scope;
use std::borrow::Cow;
use std::sync::Arc;

/// What each element is worth: whether it is within its sequence, and by what the sum is multiplied.
pub(super) struct Elements {
    pub(super) values: Var,
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
        let count: usize = shape.iter().product();
        let (valid, scale) = match (reduction, lengths) {
            (Reduction::Sum, _) => (None, 1.0),
            (Reduction::Mean, None) => (None, 1.0 / count as f64),
            (Reduction::Mean, Some(lengths)) => {
                let of_step: usize = shape[2..].iter().product();
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
        let rank = shape.len();
        let mut inputs = vec![self.values];
        let mut arguments = vec![Argument::Input {
            input: 0,
            axes: follow(&shape, &shape),
        }];
        let tape = Tape::new();
        let mut value = tape.operand(0);
        if let Some(lengths) = self.lengths {
            let [position, length] = within(&mut inputs, &mut arguments, lengths, &shape);
            let [position, length] = [position, length].map(|index| tape.whole_operand(index));
            value = position.less(length, value, tape.constant(0.0));
        }
        let mut scalar = |of: Var| {
            inputs.push(of);
            arguments.push(Argument::Input {
                input: inputs.len() - 1,
                axes: vec![None; rank],
            });
            tape.operand(arguments.len() - 1)
        };
        let mut loss = tape.statistic(Fold::Sum, value) * self.scale;
        if let Some(valid) = self.valid {
            loss = loss / scalar(valid);
        }
        if let Some((total, weight)) = add_to {
            loss = scalar(total) + loss * weight;
        }
        let op = PointwiseOp {
            name: Cow::Borrowed("loss"),
            shape,
            folded: rank,
            arguments,
            body: Arc::new(tape.finish(&[], &[loss])),
        };
        s.graph().pointwise(op, inputs, None)[0]
    }

    /// A gradient of a ragged output with zeros past each sequence's end, whatever is there.
    pub(super) fn masked(s: &mut Scope<'_>, gradient: Var, output: Var) -> Result<Var> {
        let Some(lengths) = s.ty(output).lengths else {
            return Ok(gradient);
        };
        let shape = s.shape(gradient).to_vec();
        let mut inputs = vec![gradient];
        let mut arguments = vec![Argument::Input {
            input: 0,
            axes: follow(&shape, &shape),
        }];
        let places = within(&mut inputs, &mut arguments, lengths, &shape);
        Ok(
            s.expression("valid", shape, arguments, inputs, None, |tape| {
                mask(tape, places)
            }),
        )
    }
}

fn mask<'t>(tape: &'t Tape, [position, length]: [usize; 2]) -> Vec<Expr<'t>> {
    let (position, length) = (tape.whole_operand(position), tape.whole_operand(length));
    vec![position.less(length, tape.operand(0), tape.constant(0.0))]
}

/// Adds the position in time and the length of each row. Returns their places among the operands.
fn within(
    inputs: &mut Vec<Var>,
    arguments: &mut Vec<Argument>,
    lengths: Var,
    shape: &[usize],
) -> [usize; 2] {
    let mut strides = vec![0; shape.len()];
    strides[0] = 1;
    arguments.push(Argument::Position { offset: 0, strides });
    inputs.push(lengths);
    let mut axes = vec![None; shape.len()];
    axes[1] = (shape[1] > 1).then_some(0);
    arguments.push(Argument::Input {
        input: inputs.len() - 1,
        axes,
    });
    [arguments.len() - 2, arguments.len() - 1]
}
