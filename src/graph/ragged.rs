//! What lies past the ends of sequences: zeros, wherever it might otherwise be something that is not finite and so reach weights
//! through a product with a gradient of 0.

use super::{Argument, Dtype, Graph, Op, PointwiseOp, Type, Var};
use crate::expr::{Expr, Function, Inlined, Node, Operator, Tape};
use std::sync::Arc;

/// Adds the operands that say whether an element of `[T, B, …]` is within its row's length. Gives what an expression becomes: 0 where it
/// is not.
pub(super) fn within<'t>(
    tape: &'t Tape,
    op: &mut PointwiseOp,
    inputs: &mut Vec<Var>,
    lengths: Var,
    [time, batch]: [usize; 2],
) -> impl Fn(Expr<'t>) -> Expr<'t> + use<'t> {
    let mut strides = vec![0; op.shape.len()];
    strides[time] = 1;
    let mut axes = vec![None; op.shape.len()];
    axes[batch] = (op.shape[batch] > 1).then_some(0);
    let operand = op.arguments.len();
    op.arguments.extend([
        Argument::Position { offset: 0, strides },
        Argument::input(inputs.len(), axes),
    ]);
    inputs.push(lengths);
    move |of| {
        let [step, length] = [operand, operand + 1].map(|index| tape.whole_operand(index));
        step.less(length, of, tape.constant(0.0))
    }
}

impl Graph {
    /// A sequence with lengths, and zeros past them, whatever lies there. `axes`: those of time and of the batch.
    pub(crate) fn valid_sequence(&mut self, of: Var, lengths: Var, axes: [usize; 2]) -> Var {
        let valid = self.valid(of, lengths, axes);
        self.nodes[valid.node].outputs[valid.output].lengths = Some(lengths);
        valid
    }

    /// A value beside a sequence, as a gradient is, with zeros past the sequence's lengths. `axes`: those of time and of the batch.
    pub(crate) fn valid(&mut self, of: Var, lengths: Var, axes: [usize; 2]) -> Var {
        let shape = self.shape(of);
        let own: Vec<_> = (0..shape.len()).map(Some).collect();
        let mut op = PointwiseOp::new(
            "valid",
            shape,
            0,
            vec![Argument::input(0, own)],
            Default::default(),
        );
        let (tape, mut inputs) = (Tape::new(), vec![of]);
        let valid = within(&tape, &mut op, &mut inputs, lengths, axes);
        op.body = Arc::new(tape.finish(&[valid(tape.operand(0))], &[]));
        op.lengths = Some(lengths).filter(|_| axes == [0, 1]);
        let ty = Type::float(shape);
        self.push_one(Op::Pointwise(Box::new(op)), inputs, ty)
    }

    /// A value beside a sequence with lengths, as that has them: with zeros past them, where it has none of its own.
    pub(super) fn valid_beside(&mut self, of: Var, lengths: Option<Var>) -> Var {
        let ty = self.ty(of);
        match lengths {
            Some(lengths)
                if ty.lengths.is_none()
                    && ty.dtype == Dtype::Float
                    && ty.shape.get(1) == self.shape(lengths).first() =>
            {
                self.valid_sequence(of, lengths, [0, 1])
            }
            _ => of,
        }
    }

    /// Puts zeros past the lengths into an expression over `[T, B, …]` that might leave there what is not finite.
    pub(super) fn guard(&self, op: &mut PointwiseOp, inputs: &mut Vec<Var>, lengths: Var) {
        // Rows along time or the batch are of elements of several sequences.
        let of_steps = op.split_shape().0.len() >= 2;
        if !of_steps || !self.may_leak(op, inputs) {
            return;
        }
        let body = op.body.clone();
        let tape = Tape::new();
        let (elements, results) = tape.inline(&body, Inlined::Operand);
        let valid = within(&tape, op, inputs, lengths, [0, 1]);
        let [elements, results] =
            [elements, results].map(|of| of.into_iter().map(&valid).collect::<Vec<_>>());
        op.body = Arc::new(tape.finish(&elements, &results));
        op.lengths = Some(lengths);
    }

    /// Says whether an expression of a sequence with lengths may be other than finite past them: where it reads what was given for all
    /// steps and is no sequence with lengths, or where it, or its derivative, need not be finite for numbers that are.
    fn may_leak(&self, op: &PointwiseOp, inputs: &[Var]) -> bool {
        let nodes = &op.body.nodes;
        let is_number = |id: usize| matches!(nodes[id], Node::Constant(_) | Node::Number(_));
        let is_partial = |node: &Node| match node {
            Node::Apply(function, _) => matches!(
                function,
                Function::Ln | Function::Sqrt | Function::Exp | Function::ExpM1
            ),
            Node::Combine(Operator::Div, [_, by]) => !is_number(*by),
            _ => false,
        };
        let is_given = |argument: &Argument| {
            let Argument::Input { input, axes } = argument else {
                return false;
            };
            let var = inputs[*input];
            let (ty, op) = (self.ty(var), &self.nodes[var.node].op);
            let of_steps = axes[..2].iter().any(Option::is_some);
            let is_weight = matches!(op, Op::Parameter(_));
            of_steps && ty.dtype == Dtype::Float && ty.lengths.is_none() && !is_weight
        };
        nodes.iter().any(is_partial) || op.arguments.iter().any(is_given)
    }
}
