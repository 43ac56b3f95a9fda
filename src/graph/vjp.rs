//! What each operation's gradient is.

use super::{Argument, Graph, Op, PointwiseOp, Type, Var};
use crate::error::{Error, Result, check_shape};
use crate::expr::{Expr, Fold, Inlined, Tape};
use std::borrow::Cow;
use std::sync::Arc;

impl Graph {
    /// The gradients of a node's inputs, where they are needed, from those of its outputs.
    pub(super) fn vjp(
        &mut self,
        node: usize,
        gradients: &[Option<Var>],
        needed: &[bool],
    ) -> Result<Vec<Option<Var>>> {
        let inputs = self.nodes[node].inputs.clone();
        let shape_of = |graph: &Self, input: usize| graph.shape(inputs[input]).to_vec();
        let mut result = vec![None; inputs.len()];
        let only = gradients[0];
        match (self.nodes[node].op.clone(), only) {
            (Op::Input(_) | Op::Parameter(_), _) => {}
            (Op::Scatter | Op::RecurrenceGradient { .. }, _) => {
                let of = match self.nodes[node].op {
                    Op::Scatter => "a gradient of the gradient of a table",
                    _ => "a gradient of the gradient of a recurrent layer",
                };
                let expected = "first derivatives of those, which have no second ones";
                return Err(Error::argument("gradients", of, expected));
            }
            (Op::Pointwise(op), _) => {
                return self.pointwise_vjp(&op, &inputs, gradients, needed);
            }
            (Op::Custom(operation), _) => {
                let Some(gradient) = operation.gradient() else {
                    let expected = "one, as a gradient is taken through the operation";
                    return Err(Error::argument(
                        format!("gradient of {operation:?}"),
                        "none",
                        expected,
                    ));
                };
                let mut given = inputs.clone();
                for (output, d) in gradients.iter().enumerate() {
                    let shape = self.shape(Var { node, output }).to_vec();
                    given.push(d.unwrap_or_else(|| self.constant(&shape, 0.0)));
                }
                let all = self.custom(&gradient, &given)?;
                if all.len() != inputs.len() {
                    let expected = format!("{}, as inputs of {operation:?}", inputs.len());
                    return Err(Error::argument(
                        format!("outputs of {gradient:?}"),
                        all.len(),
                        expected,
                    ));
                }
                for (input, d) in all.iter().enumerate() {
                    let what = format!("output {input} of {gradient:?}");
                    check_shape(&what, self.shape(*d), &shape_of(self, input))?;
                    result[input] = needed[input].then_some(*d);
                }
            }
            (Op::Recurrence(layer), _) => {
                let mut outputs = vec![
                    Type::float(shape_of(self, 0)),
                    Type::float([layer.states_len()]),
                ];
                let weights = layer.weight_inputs();
                outputs.extend(
                    weights
                        .iter()
                        .map(|input| Type::float(shape_of(self, *input))),
                );
                let op = Op::RecurrenceGradient {
                    of: node,
                    inputs: [gradients[0].is_some(), gradients[1].is_some()],
                };
                // After the layer, and after what its gradient takes of it.
                let of = [Var { node, output: 0 }, Var { node, output: 1 }];
                let given = gradients.iter().flatten().copied();
                let all = self.push(op, of.into_iter().chain(given).collect(), outputs);
                let places = [Some(0), layer.initial].into_iter();
                let places = places.chain(weights.into_iter().map(Some));
                for (place, gradient) in places.zip(all) {
                    if let Some(place) = place.filter(|place| needed[*place]) {
                        result[place] = Some(gradient);
                    }
                }
            }
            (_, None) => {}
            (Op::MatMul { transpose }, Some(d)) => {
                let [a, b] = [inputs[0], inputs[1]];
                let n = self.ty(d).features();
                let flat = |graph: &mut Self, of: Var| {
                    let columns = graph.ty(of).features();
                    let rows = graph.ty(of).len() / columns.max(1);
                    graph.reshape(of, &[rows, columns])
                };
                if needed[0] {
                    let d_a = match transpose {
                        [false, on_b] => self.matmul(d, b, [false, !on_b], None)?,
                        // c = aᵀ b: d_a = b d_cᵀ
                        [true, _] => self.matmul(b, d, [false, true], None)?,
                    };
                    result[0] = Some(self.reshape(d_a, &shape_of(self, 0))?);
                }
                if needed[1] {
                    let (flat_a, flat_d) = (flat(self, a)?, flat(self, d)?);
                    result[1] = Some(match transpose {
                        [false, true] => self.matmul(flat_d, flat_a, [true, false], None)?,
                        [false, false] => self.matmul(flat_a, flat_d, [true, false], None)?,
                        [true, _] => self.matmul(flat_a, flat_d, [false, false], None)?,
                    });
                }
                if needed.get(2) == Some(&true) {
                    let rows = flat(self, d)?;
                    result[2] = Some(self.sum_axes(rows, &[0])?);
                    debug_assert_eq!(self.shape(inputs[2]), [n]);
                }
            }
            (Op::Reshape, Some(d)) => result[0] = Some(self.reshape(d, &shape_of(self, 0))?),
            (Op::Permute(order), Some(d)) => {
                let mut inverse = vec![0; order.len()];
                for (to, from) in order.iter().enumerate() {
                    inverse[*from] = to;
                }
                result[0] = Some(self.permute(d, &inverse)?);
            }
            (Op::Slice { axis, start }, Some(d)) => {
                let output = Type::float(shape_of(self, 0));
                result[0] = Some(self.push_one(Op::Pad { axis, start }, vec![d], output));
            }
            (Op::Pad { axis, start }, Some(d)) => {
                let len = self.shape(inputs[0])[axis];
                result[0] = Some(self.slice(d, axis, start, len)?);
            }
            (Op::Concat { axis }, Some(d)) => {
                let mut start = 0;
                for (input, result) in result.iter_mut().enumerate() {
                    let len = self.shape(inputs[input])[axis];
                    if needed[input] {
                        *result = Some(self.slice(d, axis, start, len)?);
                    }
                    start += len;
                }
            }
        }
        Ok(result)
    }

    /// The sum over some axes, which go.
    pub(crate) fn sum_axes(&mut self, of: Var, axes: &[usize]) -> Result<Var> {
        let tape = Tape::new();
        let sum = tape.statistic(Fold::Sum, tape.operand(0));
        let body = tape.finish(&[], &[sum]);
        Ok(self.reduce("sum", of, axes, body))
    }

    /// An expression with results of a value's rows, which are along some axes.
    fn reduce(
        &mut self,
        name: &'static str,
        of: Var,
        axes: &[usize],
        body: crate::expr::Body,
    ) -> Var {
        let shape = self.shape(of).to_vec();
        let (folded, kept): (Vec<_>, Vec<_>) =
            (0..shape.len()).partition(|axis| axes.contains(axis));
        let order = [kept, folded].concat();
        let op = PointwiseOp {
            name: Cow::Borrowed(name),
            shape: order.iter().map(|axis| shape[*axis]).collect(),
            folded: axes.len(),
            arguments: vec![Argument::Input {
                input: 0,
                axes: order.into_iter().map(Some).collect(),
            }],
            body: Arc::new(body),
        };
        self.pointwise(op, vec![of], None)[0]
    }

    /// The gradients of an expression's inputs: of those that follow all axes as elements of one expression, of those that repeat along
    /// some as sums over these.
    fn pointwise_vjp(
        &mut self,
        op: &PointwiseOp,
        inputs: &[Var],
        gradients: &[Option<Var>],
        needed: &[bool],
    ) -> Result<Vec<Option<Var>>> {
        let rank = op.shape.len();
        let kept = rank - op.folded;
        let tape = Tape::new();
        let (elements, results) = tape.inline(&op.body, Inlined::Operand);
        let mut arguments = op.arguments.clone();
        let mut all_inputs = inputs.to_vec();
        let mut seeds = |values: &[Expr<'_>], gradients: &[Option<Var>], axes: usize| {
            let mut seeds = vec![];
            for (value, gradient) in values.iter().zip(gradients) {
                if let Some(gradient) = gradient {
                    all_inputs.push(*gradient);
                    let follows = |axis: usize| (axis < axes && op.shape[axis] > 1).then_some(axis);
                    arguments.push(Argument::Input {
                        input: all_inputs.len() - 1,
                        axes: (0..rank).map(follows).collect(),
                    });
                    seeds.push((value.id(), arguments.len() - 1));
                }
            }
            seeds
        };
        let of_elements = seeds(&elements, gradients, rank);
        let of_results = seeds(&results, &gradients[elements.len()..], kept);
        let with_operands = |seeds: Vec<(usize, usize)>| -> Vec<_> {
            let seed = |(id, operand)| (id, tape.operand(operand));
            seeds.into_iter().map(seed).collect()
        };
        let found = tape.operand_gradients(&with_operands(of_elements), &with_operands(of_results));

        // What is asked of one expression over the same space: elements and results, and whose gradients they lead to.
        let (mut as_elements, mut as_results) = (vec![], vec![]);
        for (operand, argument) in op.arguments.iter().enumerate() {
            let (Argument::Input { input, axes } | Argument::Gather { input, axes, .. }) = argument
            else {
                continue;
            };
            let (element, row) = found.of(operand);
            if !needed[*input] || element.is_none() && row.is_none() {
                continue;
            }
            // What is the same all along a row has a gradient of the row.
            let of_row = op.folded > 0 && axes[kept..].iter().all(Option::is_none);
            if of_row && !matches!(argument, Argument::Gather { .. }) {
                let summed = element.map(|element| tape.statistic(Fold::Sum, element));
                as_results.extend(tape.sum([summed, row]).map(|result| (operand, result)));
            } else {
                as_elements.extend(tape.sum([element, row]).map(|element| (operand, element)));
            }
        }
        let mut parts: Vec<Vec<Var>> = vec![vec![]; inputs.len()];
        let name: Cow<'static, str> = Cow::Owned(format!("d_{}", op.name));
        // Sums over axes that an input repeats along need no room for the summands where these use no statistics.
        let no_statistics = op.body.statistics.is_empty() && op.folded == 0;
        let (summed, stored): (Vec<_>, Vec<_>) =
            as_elements.into_iter().partition(|(operand, _)| {
                let repeats = |axes: &[Option<usize>]| {
                    (0..rank).any(|axis| op.shape[axis] > 1 && axes[axis].is_none())
                };
                let of = &op.arguments[*operand];
                no_statistics && matches!(of, Argument::Input { axes, .. } if repeats(axes))
            });
        for (operand, element) in summed {
            let Argument::Input { input, axes } = &op.arguments[operand] else {
                unreachable!("it was partitioned so")
            };
            let (folded, others): (Vec<_>, Vec<_>) =
                (0..rank).partition(|axis| op.shape[*axis] > 1 && axes[*axis].is_none());
            let count = folded.len();
            let order = [others, folded].concat();
            let sum = tape.statistic(Fold::Sum, element);
            let reduced = PointwiseOp {
                name: name.clone(),
                shape: order.iter().map(|axis| op.shape[*axis]).collect(),
                folded: count,
                arguments: arguments.iter().map(|of| of.reordered(&order)).collect(),
                body: Arc::new(tape.finish(&[], &[sum])),
            };
            let d = self.trimmed(reduced, &all_inputs, None)[0];
            let shape = self.shape(inputs[*input]).to_vec();
            parts[*input].push(self.reshape(d, &shape)?);
        }
        if !(stored.is_empty() && as_results.is_empty()) {
            let exprs =
                |of: &[(usize, _)]| -> Vec<_> { of.iter().map(|(_, expr)| *expr).collect() };
            let body = tape.finish(&exprs(&stored), &exprs(&as_results));
            let both = PointwiseOp {
                name,
                body: Arc::new(body),
                arguments,
                ..op.clone()
            };
            let outputs = self.trimmed(both, &all_inputs, None);
            let operands = stored
                .iter()
                .chain(&as_results)
                .map(|(operand, _)| *operand);
            for (operand, d) in operands.zip(outputs) {
                let (input, d) = self.d_input(&op.arguments[operand], inputs, d, &op.shape)?;
                parts[input].push(d);
            }
        }
        let total = |parts: Vec<Var>| match &parts[..] {
            [] => Ok(None),
            parts => self.sum_of(parts).map(Some),
        };
        parts.into_iter().map(total).collect()
    }

    /// The gradient of an input from that of an operand, which is over the space or its rows.
    fn d_input(
        &mut self,
        argument: &Argument,
        inputs: &[Var],
        d: Var,
        space: &[usize],
    ) -> Result<(usize, Var)> {
        let shape_of = |graph: &Self, input: usize| graph.shape(inputs[input]).to_vec();
        match argument {
            Argument::Input { input, axes } => {
                let rank = self.shape(d).len();
                let axes = &axes[..rank];
                let repeats: Vec<_> = (0..rank)
                    .filter(|axis| axes[*axis].is_none() && space[*axis] > 1)
                    .collect();
                let d = if repeats.is_empty() {
                    d
                } else {
                    self.sum_axes(d, &repeats)?
                };
                // The axes that are left, in the input's order.
                let followed: Vec<usize> = axes.iter().flatten().copied().collect();
                let d = if followed.is_sorted() {
                    d
                } else {
                    let sizes: Vec<_> = shape_of(self, *input);
                    let flat: Vec<_> = followed.iter().map(|axis| sizes[*axis]).collect();
                    let d = self.reshape(d, &flat)?;
                    let mut order: Vec<_> = (0..followed.len()).collect();
                    order.sort_by_key(|place| followed[*place]);
                    self.permute(d, &order)?
                };
                Ok((*input, self.reshape(d, &shape_of(self, *input))?))
            }
            Argument::Gather {
                input,
                axes,
                along,
                index,
                index_axes,
                shift,
            } => {
                let table = shape_of(self, *input);
                // Axes of size 1 follow none.
                let is_followed = |axis: usize| axes.contains(&Some(axis)) || table[axis] == 1;
                let selects = (0..table.len()).all(|axis| axis == *along || is_followed(axis))
                    && (0..space.len()).all(|axis| space[axis] == 1 || axes[axis].is_some());
                if selects {
                    return Ok((
                        *input,
                        self.select_vjp(d, inputs[*index], argument, &table)?,
                    ));
                }
                // A table of rows: the other axes of the space are those of the indices.
                debug_assert!(
                    (*along, *shift) == (0, 0) && table.len() == 2,
                    "only tables are gathered from"
                );
                debug_assert!(index_axes.iter().flatten().count() > 0);
                let d = self.reshape(d, &[self.ty(d).len() / table[1], table[1]])?;
                let count = self.shape(d)[0];
                let indices = self.reshape(inputs[*index], &[count])?;
                let output = Type::float(table);
                Ok((*input, self.push_one(Op::Scatter, vec![d, indices], output)))
            }
            _ => unreachable!("other operands have no gradient"),
        }
    }

    /// The gradient of a value of which one place along an axis was taken for each of the others: d there, else 0.
    fn select_vjp(
        &mut self,
        d: Var,
        index: Var,
        gather: &Argument,
        shape: &[usize],
    ) -> Result<Var> {
        let Argument::Gather {
            axes,
            along,
            index_axes,
            shift,
            ..
        } = gather
        else {
            unreachable!("only gathers select")
        };
        // The space is now that of the value: where each of its axes is in the old space.
        let old = |axis: usize| axes.iter().position(|of| *of == Some(axis));
        let places: Vec<_> = (0..shape.len()).map(old).collect();
        let of_index = |axis: &Option<usize>| axis.and_then(|axis| index_axes[axis]);
        let tape = Tape::new();
        let (position, zero) = (tape.whole_operand(2), tape.constant(0.0));
        let shifted = tape.whole_operand(1);
        let body = tape.finish(&[position.equal(shifted, tape.operand(0), zero)], &[]);
        let mut strides = vec![0; shape.len()];
        strides[*along] = 1;
        let op = PointwiseOp {
            name: Cow::Borrowed("d_select"),
            shape: shape.to_vec(),
            folded: 0,
            arguments: vec![
                Argument::Input {
                    input: 0,
                    axes: places.clone(),
                },
                Argument::Input {
                    input: 1,
                    axes: places.iter().map(of_index).collect(),
                },
                Argument::Position {
                    strides,
                    offset: *shift,
                },
            ],
            body: Arc::new(body),
        };
        Ok(self.pointwise(op, vec![d, index], None)[0])
    }

    /// Adds an expression without the operands that its body does not read.
    fn trimmed(&mut self, mut op: PointwiseOp, inputs: &[Var], lengths: Option<Var>) -> Vec<Var> {
        let mut used = vec![];
        op.trim(|input| {
            let known = used.iter().position(|var| *var == inputs[input]);
            known.unwrap_or_else(|| {
                used.push(inputs[input]);
                used.len() - 1
            })
        });
        self.pointwise(op, used, lengths)
    }
}
