//! Tasks written as operations of a program.

use super::recurrence::{Gradients, Layer};
use super::tasks::Task;
use super::{Lowered, Lowering};
use crate::graph::{Argument, Dtype, Op, PointwiseOp, Recurrence, Var};
use crate::program::{
    Custom, Gemm, Map, Matrix, Operand, Pointwise, Reduce, Row, Scatter, Slice, View,
};
use std::sync::Arc;

const PLACED: &str = "it was given such a place";

impl Lowering<'_> {
    pub(super) fn emit(mut self) -> Lowered {
        for task in self.tasks {
            self.task(task);
        }
        for (var, slice) in &self.request.stores {
            self.put(*var, &View::whole(*slice, self.graph.shape(*var)));
        }
        for var in &self.request.fetches {
            let slice = self.slice(*var, "output");
            self.program.keep(slice.tensor);
            self.lowered.fetches.push(slice);
        }
        self.lowered
    }

    /// Copies a value to a place, unless it is there: within a tensor by way of a third place, as no operation reads where it writes.
    fn put(&mut self, var: Var, to: &View) {
        let shape = self.graph.shape(var);
        let mut from = self.places[&var].clone();
        if from == *to {
            return;
        }
        if from.tensor == to.tensor {
            let between = View::whole(self.program.temporary("copy", shape), shape);
            self.program.push(Map::copy(shape, from, between.clone()));
            from = between;
        }
        self.program.push(Map::copy(shape, from, to.clone()));
    }

    /// A value in row-major order, copied to a new tensor where it is not.
    fn slice(&mut self, var: Var, name: &str) -> Slice {
        let shape = self.graph.shape(var);
        let place = &self.places[&var];
        place.contiguous(shape).unwrap_or_else(|| {
            let slice = self.program.temporary(name, shape);
            let to = View::whole(slice, shape);
            self.program.push(Map::copy(shape, place.clone(), to));
            slice
        })
    }

    /// A value as a matrix of its features, copied where it is none.
    fn matrix(&mut self, var: Var) -> Matrix {
        let shape = self.graph.shape(var);
        self.places[&var].matrix(shape).unwrap_or_else(|| {
            let columns = self.graph.ty(var).features();
            let slice = self.slice(var, "copy");
            slice.matrix(slice.len / columns.max(1), columns)
        })
    }

    /// The place of an output that is written as a matrix of its features.
    fn output_matrix(&mut self, var: Var, name: &str) -> Matrix {
        let place = self.place(var, name);
        place.matrix(self.graph.shape(var)).expect(PLACED)
    }

    /// The place of an output that is written in row-major order.
    fn output_slice(&mut self, var: Var, name: &str) -> Slice {
        let place = self.place(var, name);
        place.contiguous(self.graph.shape(var)).expect(PLACED)
    }

    /// Whether a value is a weight.
    fn is_weight(&self, var: Var) -> bool {
        let node = &self.graph.nodes[var.node];
        match node.op {
            Op::Parameter(slot) => slot < self.request.weights,
            Op::Reshape => self.is_weight(node.inputs[0]),
            _ => false,
        }
    }

    fn task(&mut self, task: &Task) {
        let output = task.outputs[0];
        let shape = self.graph.shape(output);
        match &task.op {
            Op::Input(_) => {}
            Op::Parameter(slot) => {
                let slice = self.request.parameters[*slot];
                self.places.insert(output, View::whole(slice, shape));
            }
            Op::Pointwise(op) => self.pointwise(op, task),
            Op::MatMul { transpose } => self.matmul(*transpose, task),
            Op::Reshape => {
                let slice = self.slice(task.inputs[0], "copy");
                self.alias(output, View::whole(slice, shape));
            }
            Op::Slice { axis, start } => {
                let place = self.places[&task.inputs[0]].part(*axis, *start);
                self.alias(output, place);
            }
            Op::Permute(order) => {
                let place = self.places[&task.inputs[0]].permuted(order);
                self.alias(output, place);
            }
            Op::Concat { .. } => self.put_parts(task),
            Op::Pad { axis, start } => {
                self.put_parts(task);
                let end = start + self.graph.shape(task.inputs[0])[*axis];
                for zeros in [0..*start, end..shape[*axis]] {
                    if !zeros.is_empty() {
                        let view = self.places[&output].part(*axis, zeros.start);
                        let mut shape = shape.to_vec();
                        shape[*axis] = zeros.len();
                        self.program.push(Map::fill_view(&shape, view, 0.0));
                    }
                }
            }
            Op::Scatter => {
                let output = self.output_matrix(output, "d.table");
                let input = self.matrix(task.inputs[0]);
                let indices = self.slice(task.inputs[1], "copy");
                self.program.push(Scatter {
                    input,
                    indices,
                    output,
                    accumulate: false,
                });
            }
            Op::Custom(operation) => {
                let graph = self.graph;
                let shaped = |slice: Slice, var: &Var| (slice, graph.shape(*var).to_vec());
                let inputs = task.inputs.iter();
                let inputs = inputs.map(|var| shaped(self.slice(*var, "copy"), var));
                let inputs = inputs.collect();
                let name = operation.name();
                let outputs = task.outputs.iter();
                let outputs = outputs.map(|var| shaped(self.output_slice(*var, name), var));
                let outputs = outputs.collect();
                self.program.push(Custom {
                    operation: operation.clone(),
                    inputs,
                    outputs,
                });
            }
            Op::Recurrence(layer) => self.recurrence(layer, task),
            Op::RecurrenceGradient { of, inputs } => self.recurrence_gradient(*of, *inputs, task),
        }
    }

    fn put_parts(&mut self, task: &Task) {
        for (input, place) in self.parts(task) {
            self.put(input, &place);
        }
    }

    /// An output that lies where its input does, or is copied to the place that it was given.
    fn alias(&mut self, output: Var, place: View) {
        let given = self.places.insert(output, place);
        if let Some(given) = given {
            self.put(output, &given);
            self.places.insert(output, given);
        }
    }

    fn matmul(&mut self, transpose: [bool; 2], task: &Task) {
        let output = task.outputs[0];
        let c = self.output_matrix(output, "product");
        if let Some(onto) = task.onto {
            self.put(onto, &self.places[&output].clone());
        }
        let (a, b) = (self.matrix(task.inputs[0]), self.matrix(task.inputs[1]));
        let bias = task.inputs.get(2).map(|bias| self.slice(*bias, "copy"));
        self.program.push(Gemm {
            transpose_a: transpose[0],
            transpose_b: transpose[1],
            bias,
            accumulate: task.onto.is_some(),
            weights: self.is_weight(task.inputs[1]),
            ..Gemm::new(a, b, c)
        });
    }

    fn pointwise(&mut self, op: &PointwiseOp, task: &Task) {
        let view = |input: usize, axes: &[Option<usize>]| {
            let place = &self.places[&task.inputs[input]];
            let stride = |axis: &Option<usize>| axis.map_or(0, |axis| place.strides[axis]);
            View {
                strides: axes.iter().map(stride).collect(),
                ..*place
            }
        };
        let operand = |argument: &Argument| match argument {
            Argument::Input { input, axes } => match self.graph.ty(task.inputs[*input]).dtype {
                Dtype::Index => Operand::Whole(view(*input, axes)),
                Dtype::Float => Operand::Float(view(*input, axes)),
            },
            Argument::Position { offset, strides } => Operand::Position {
                offset: *offset as usize,
                strides: strides.clone(),
            },
            Argument::Random { site, strides } => Operand::Random {
                rng: self.lowered.rng.expect("what is random has seed and step"),
                site: *site,
                offset: 0,
                strides: strides.clone(),
            },
            Argument::Gather(of) => {
                let table = task.inputs[of.input];
                Operand::Gather {
                    view: view(of.input, &of.axes),
                    index: view(of.index, &of.index_axes),
                    shift: of.shift,
                    stride: self.places[&table].strides[of.along],
                    len: self.graph.shape(table)[of.along],
                }
            }
        };
        let operands = op.arguments.iter().map(operand).collect();
        let outputs = task.outputs.iter();
        let mut elements: Vec<_> = outputs.map(|var| self.place(*var, &op.name)).collect();
        let body = &op.body;
        let results = elements.split_off(body.elements.len());
        let has_rows = !(body.statistics.is_empty() && results.is_empty());
        let of = Pointwise {
            name: op.name.clone(),
            shape: op.shape.clone(),
            folded: if has_rows { op.folded } else { 0 },
            operands,
            body: Arc::clone(body),
            elements,
            results,
        }
        .collapsed();
        if !has_rows {
            self.program.push(Map(of));
        } else if of.sums_once() {
            self.program.push(Reduce(of));
        } else {
            self.program.push(Row(of));
        }
    }

    fn recurrence(&mut self, of: &Arc<Recurrence>, task: &Task) {
        let node = task.outputs[0].node;
        let y = self.output_slice(task.outputs[0], "y");
        let last = self.output_slice(task.outputs[1], "last states");
        let x = self.matrix(task.inputs[0]);
        let mut slice = |input: usize| self.slice(task.inputs[input], "copy");
        let lengths = of.lengths.map(&mut slice);
        let initial = of.initial.map(&mut slice);
        let weights = of.weights.iter();
        let weights = weights.map(|own| own.map(|input| Some(slice(input))));
        let layer = Layer {
            of: Arc::clone(of),
            weights: weights.collect(),
            x,
            y,
            initial,
            last,
            lengths,
            rng: self.lowered.rng.filter(|_| of.is_random),
            segment: self.request.segment,
            train: self.trained.contains(&node),
            is_top: self.trained.iter().max() == Some(&node),
        };
        let forward = layer.forward(self.program);
        self.layers.insert(node, forward);
    }

    fn recurrence_gradient(&mut self, of: usize, given: [bool; 2], task: &Task) {
        let layer = self.layer(of);
        let mut inputs = task.inputs[2..].iter();
        let d_y = match given[0].then(|| inputs.next()).flatten() {
            Some(d_y) => self.slice(*d_y, "copy"),
            None => {
                let y = task.inputs[0];
                let zeros = self.program.temporary("d.y", self.graph.shape(y));
                self.program.push(Map::fill(zeros, 0.0));
                zeros
            }
        };
        let d_state = self.d_states[&task.outputs[0].node];
        let states = View::new(d_state, [1]);
        if let Some(d_last) = given[1].then(|| inputs.next()).flatten() {
            self.put(*d_last, &states);
        }
        let [d_x, d_initial, d_weights @ ..] = &task.outputs[..] else {
            unreachable!("x and the initial states have gradients")
        };
        let is_used = |lowering: &Self, var: &Var| lowering.uses.contains_key(var);
        let d_x = is_used(self, d_x).then(|| self.output_matrix(*d_x, "d.x"));
        let mut d_weights = d_weights.iter();
        let mut weight = |_| {
            let var = d_weights.next().filter(|var| is_used(self, var))?;
            Some(self.output_slice(*var, "d.weight"))
        };
        let weights = layer.weights.iter();
        let gradients = Gradients {
            d_y,
            d_state,
            has_d_last: given[1],
            d_x,
            weights: weights.map(|own| own.map(&mut weight)).collect(),
            wants_initial: is_used(self, d_initial),
        };
        self.places.insert(*d_initial, states);
        self.layers[&of].backward(self.program, &gradients);
    }
}
