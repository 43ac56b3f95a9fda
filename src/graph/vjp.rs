//! What each operation's gradient is.

use super::{Graph, Op, Type, Var, inverse};
use crate::error::{Error, Result, check_shape};
use crate::operation::OperationRef;

impl Graph {
    /// The gradients of a node's inputs, where they are needed, from those of its outputs.
    pub(super) fn vjp(
        &mut self,
        node: usize,
        gradients: &[Option<Var>],
        needed: &[bool],
    ) -> Result<Vec<Option<Var>>> {
        let inputs = self.nodes[node].inputs.clone();
        let op = self.nodes[node].op.clone();
        let mut result = vec![None; inputs.len()];
        match op {
            Op::Scatter | Op::RecurrenceGradient { .. } => {
                let of = match op {
                    Op::Scatter => "a gradient of the gradient of a table",
                    _ => "a gradient of the gradient of a recurrent layer",
                };
                let expected = "first derivatives of those, which have no second ones";
                return Err(Error::argument("gradients", of, expected));
            }
            Op::Pointwise(op) => return self.pointwise_vjp(&op, &inputs, gradients, needed),
            Op::Custom(operation) => {
                let all = self.custom_vjp(&operation, node, gradients)?;
                result = all.into_iter().map(Some).collect();
            }
            Op::Recurrence(layer) => {
                let states = Type::float([layer.states_len()]);
                let weights = layer.weight_inputs();
                let mut outputs = vec![self.like(inputs[0]), states];
                outputs.extend(weights.iter().map(|input| self.like(inputs[*input])));
                let op = Op::RecurrenceGradient {
                    of: node,
                    inputs: [gradients[0].is_some(), gradients[1].is_some()],
                };
                // After the layer, and after what its gradient takes of it.
                let of = [0, 1].map(|output| Var { node, output });
                let given = gradients.iter().flatten().copied();
                let all = self.push(op, of.into_iter().chain(given).collect(), outputs);
                let places = [Some(0), layer.initial].into_iter();
                let places = places.chain(weights.into_iter().map(Some));
                for (place, gradient) in places.zip(all) {
                    place
                        .into_iter()
                        .for_each(|place| result[place] = Some(gradient));
                }
            }
            op => {
                if let Some(d) = gradients[0] {
                    self.vjp_of_one(&op, &inputs, d, needed, &mut result)?;
                }
            }
        }
        for (gradient, needed) in result.iter_mut().zip(needed) {
            *gradient = gradient.filter(|_| *needed);
        }
        Ok(result)
    }

    /// Floats of a value's shape.
    fn like(&self, var: Var) -> Type {
        Type::float(self.shape(var))
    }

    /// The gradients of the inputs of an operation with one output, from that of the output.
    fn vjp_of_one(
        &mut self,
        op: &Op,
        inputs: &[Var],
        d: Var,
        needed: &[bool],
        result: &mut [Option<Var>],
    ) -> Result<()> {
        match *op {
            Op::MatMul { transpose } => {
                let [a, b] = [inputs[0], inputs[1]];
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
                    result[0] = Some(self.reshape_like(d_a, a)?);
                }
                if needed[1] {
                    let (a, d) = (flat(self, a)?, flat(self, d)?);
                    result[1] = Some(match transpose {
                        [false, true] => self.matmul(d, a, [true, false], None)?,
                        [false, false] => self.matmul(a, d, [true, false], None)?,
                        [true, _] => self.matmul(a, d, [false, false], None)?,
                    });
                }
                if needed.get(2) == Some(&true) {
                    let rows = flat(self, d)?;
                    result[2] = Some(self.sum_axes(rows, &[0]));
                }
            }
            Op::Reshape => result[0] = Some(self.reshape_like(d, inputs[0])?),
            Op::Permute(ref order) => result[0] = Some(self.permute(d, &inverse(order))?),
            Op::Slice { axis, start } => {
                let output = self.like(inputs[0]);
                result[0] = Some(self.push_one(Op::Pad { axis, start }, vec![d], output));
            }
            _ => {
                let Some((axis, mut start)) = op.parts() else {
                    return Ok(());
                };
                for ((input, result), needed) in inputs.iter().zip(result).zip(needed) {
                    let len = self.shape(*input)[axis];
                    if *needed {
                        *result = Some(self.slice(d, axis, start, len)?);
                    }
                    start += len;
                }
            }
        }
        Ok(())
    }

    /// The gradients of all inputs of a user's operation at a node.
    fn custom_vjp(
        &mut self,
        operation: &OperationRef,
        node: usize,
        gradients: &[Option<Var>],
    ) -> Result<Vec<Var>> {
        let Some(gradient) = operation.gradient() else {
            let argument = format!("gradient of {operation:?}");
            let expected = "one, as a gradient is taken through the operation";
            return Err(Error::argument(argument, "none", expected));
        };
        let inputs = self.nodes[node].inputs.clone();
        let mut given = inputs.clone();
        for (output, d) in gradients.iter().enumerate() {
            let shape = self.shape(Var { node, output }).to_vec();
            given.push(d.unwrap_or_else(|| self.constant(&shape, 0.0)));
        }
        let all = self.custom(&gradient, &given)?;
        if all.len() != inputs.len() {
            let argument = format!("outputs of {gradient:?}");
            let expected = format!("{}, as inputs of {operation:?}", inputs.len());
            return Err(Error::argument(argument, all.len(), expected));
        }
        for (index, (input, d)) in inputs.iter().zip(&all).enumerate() {
            let what = format!("output {index} of {gradient:?}");
            check_shape(&what, self.shape(*d), self.shape(*input))?;
        }
        Ok(all)
    }
}
