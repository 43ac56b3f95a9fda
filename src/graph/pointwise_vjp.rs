//! The gradients of expressions' inputs, and sums.

use super::ragged::within;
use super::{Argument, Gather, Graph, Op, PointwiseOp, Type, Var};
use crate::error::Result;
use crate::expr::{Expr, Fold, Inlined, Tape};
use std::sync::Arc;

impl Graph {
    /// The sum over some axes, which go.
    pub(crate) fn sum_axes(&mut self, of: Var, axes: &[usize]) -> Var {
        let tape = Tape::new();
        let sum = tape.statistic(Fold::Sum, tape.operand(0));
        let body = tape.finish(&[], &[sum]);
        let shape = self.shape(of);
        let own: Vec<_> = (0..shape.len()).map(Some).collect();
        let op = PointwiseOp::new("sum", shape, 0, vec![Argument::input(0, own)], body);
        self.pointwise(op.folded_along(axes), vec![of], None)[0]
    }

    /// The gradients of an expression's inputs: of those that follow all axes as elements of one expression, of those that repeat along
    /// some as sums over these.
    pub(super) fn pointwise_vjp(
        &mut self,
        op: &PointwiseOp,
        inputs: &[Var],
        gradients: &[Option<Var>],
        needed: &[bool],
    ) -> Result<Vec<Option<Var>>> {
        let (rank, kept) = (op.shape.len(), op.shape.len() - op.folded);
        let tape = Tape::new();
        let (elements, results) = tape.inline(&op.body, Inlined::Operand);
        let mut arguments = op.arguments.clone();
        let mut all_inputs = inputs.to_vec();
        let mut seeds = [vec![], vec![]];
        let outputs = elements.iter().chain(&results).zip(gradients);
        for (index, (output, gradient)) in outputs.enumerate() {
            let Some(gradient) = gradient else { continue };
            let is_result = index >= elements.len();
            let axes = if is_result { kept } else { rank };
            let follows = |axis: usize| (axis < axes && op.shape[axis] > 1).then_some(axis);
            let axes: Vec<_> = (0..rank).map(follows).collect();
            arguments.push(Argument::input(all_inputs.len(), axes));
            all_inputs.push(*gradient);
            let seed = (output.id(), tape.operand(arguments.len() - 1));
            seeds[usize::from(is_result)].push(seed);
        }
        let found = tape.operand_gradients(&seeds[0], &seeds[1]);
        let mut whole = PointwiseOp {
            arguments,
            ..op.clone()
        };
        // A gradient of 0 times a derivative that is not finite would not be 0.
        let valid = op
            .lengths
            .map(|lengths| within(&tape, &mut whole, &mut all_inputs, lengths, [0, 1]));
        let valid = |of| valid.as_ref().map_or(of, |valid| valid(of));
        let arguments = whole.arguments;
        // What is asked of one expression over the same space, elements and results, each with the operand whose gradient it is; and
        // sums over axes that an input repeats along, which need no room for the summands where these use no statistics.
        let (mut as_elements, mut as_results, mut as_sums) = (vec![], vec![], vec![]);
        let no_statistics = op.body.statistics.is_empty() && op.folded == 0;
        for (operand, argument) in op.arguments.iter().enumerate() {
            let (Argument::Input { input, axes } | Argument::Gather(Gather { input, axes, .. })) =
                argument
            else {
                continue;
            };
            let (element, row) = found.of(operand);
            if !needed[*input] || element.is_none() && row.is_none() {
                continue;
            }
            let is_gathered = matches!(argument, Argument::Gather(_));
            // What is the same all along a row has a gradient of the row.
            let of_row = op.folded > 0 && axes[kept..].iter().all(Option::is_none);
            if of_row && !is_gathered {
                let summed = element.map(|element| tape.statistic(Fold::Sum, element));
                let d = tape.sum([summed, row]).map(valid);
                as_results.extend(d.map(|result| (operand, result)));
                continue;
            }
            let repeated = repeated(axes, &op.shape);
            let d = tape.sum([element, row]).map(valid);
            let d = d.map(|element| (operand, element));
            match no_statistics && !is_gathered && !repeated.is_empty() {
                true => as_sums.extend(d.map(|(_, element)| (*input, axes, repeated, element))),
                false => as_elements.extend(d),
            }
        }
        let mut parts: Vec<Vec<Var>> = vec![vec![]; inputs.len()];
        let expression = |elements: &[Expr<'_>], results: &[Expr<'_>]| PointwiseOp {
            name: format!("d_{}", op.name).into(),
            body: Arc::new(tape.finish(elements, results)),
            arguments: arguments.clone(),
            ..op.clone()
        };
        for (input, axes, repeated, element) in as_sums {
            let sum = expression(&[], &[tape.statistic(Fold::Sum, element)]);
            let d = self.trimmed(sum.folded_along(&repeated), &all_inputs)[0];
            parts[input].push(self.turned(d, axes, inputs[input])?);
        }
        if !(as_elements.is_empty() && as_results.is_empty()) {
            let [elements, results] = [&as_elements, &as_results]
                .map(|of| of.iter().map(|(_, expr)| *expr).collect::<Vec<_>>());
            let outputs = self.trimmed(expression(&elements, &results), &all_inputs);
            let operands = as_elements.iter().chain(&as_results);
            for ((operand, _), d) in operands.zip(outputs) {
                let (input, d) = match &op.arguments[*operand] {
                    Argument::Input { input, axes } => {
                        let axes = &axes[..self.shape(d).len()];
                        let d = match &repeated(axes, &op.shape)[..] {
                            [] => d,
                            repeated => self.sum_axes(d, repeated),
                        };
                        (*input, self.turned(d, axes, inputs[*input])?)
                    }
                    Argument::Gather(gather) => {
                        let d = self.gather_vjp(gather, inputs, d, &op.shape)?;
                        (gather.input, d)
                    }
                    _ => unreachable!("other operands have no gradient"),
                };
                parts[input].push(d);
            }
        }
        let total = |parts: Vec<Var>| match &parts[..] {
            [] => Ok(None),
            parts => self.sum_of(parts).map(Some),
        };
        parts.into_iter().map(total).collect()
    }

    /// The gradient of an input, from one over the axes of the space that it follows, in the space's order.
    fn turned(&mut self, mut d: Var, axes: &[Option<usize>], input: Var) -> Result<Var> {
        let followed: Vec<usize> = axes.iter().flatten().copied().collect();
        if !followed.is_sorted() {
            let sizes = followed.iter().map(|axis| self.shape(input)[*axis]);
            let sizes: Vec<_> = sizes.collect();
            let mut order: Vec<_> = (0..followed.len()).collect();
            order.sort_by_key(|place| followed[*place]);
            d = self.reshape(d, &sizes)?;
            d = self.permute(d, &order)?;
        }
        self.reshape_like(d, input)
    }

    /// The gradient of a gathered input from that of what was taken of it.
    fn gather_vjp(&mut self, of: &Gather, inputs: &[Var], d: Var, space: &[usize]) -> Result<Var> {
        let shape = self.shape(inputs[of.input]).to_vec();
        let index = inputs[of.index];
        // Where each of the value's axes is in the space; those of size 1 follow none.
        let places: Vec<_> = (0..shape.len())
            .map(|axis| of.axes.iter().position(|of| *of == Some(axis)))
            .collect();
        let is_followed = |axis: usize| places[axis].is_some() || shape[axis] == 1;
        let selects = (0..shape.len()).all(|axis| axis == of.along || is_followed(axis))
            && (0..space.len()).all(|axis| space[axis] == 1 || of.axes[axis].is_some());
        if !selects {
            // A table of rows: the other axes of the space are those of the indices.
            debug_assert!(
                (of.along, of.shift) == (0, 0) && shape.len() == 2,
                "only tables are gathered from"
            );
            let count = self.ty(d).len() / shape[1];
            let d = self.reshape(d, &[count, shape[1]])?;
            let indices = self.reshape(index, &[count])?;
            return Ok(self.push_one(Op::Scatter, vec![d, indices], Type::float(shape)));
        }
        // One place along an axis was taken for each of the others: d there, else 0.
        let tape = Tape::new();
        let (position, zero) = (tape.whole_operand(2), tape.constant(0.0));
        let shifted = tape.whole_operand(1);
        let body = tape.finish(&[position.equal(shifted, tape.operand(0), zero)], &[]);
        let of_index = |axis: &Option<usize>| axis.and_then(|axis| of.index_axes[axis]);
        let of_index: Vec<_> = places.iter().map(of_index).collect();
        let mut strides = vec![0; shape.len()];
        strides[of.along] = 1;
        let position = Argument::Position {
            strides,
            offset: of.shift,
        };
        let arguments = vec![
            Argument::input(0, places),
            Argument::input(1, of_index),
            position,
        ];
        let op = PointwiseOp::new("d_select", &shape, 0, arguments, body);
        Ok(self.pointwise(op, vec![d, index], None)[0])
    }

    /// Adds an expression without the operands that its body does not read.
    fn trimmed(&mut self, mut op: PointwiseOp, inputs: &[Var]) -> Vec<Var> {
        let used = op.trim(inputs);
        self.pointwise(op, used, None)
    }
}

/// The axes of a space along which an operand repeats.
fn repeated(axes: &[Option<usize>], space: &[usize]) -> Vec<usize> {
    let repeats = |axis: &usize| space[*axis] > 1 && axes[*axis].is_none();
    (0..axes.len()).filter(repeats).collect()
}
