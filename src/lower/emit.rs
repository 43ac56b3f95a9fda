//! Steps written as operations of a program.

use super::place::{Destinations, Place, destinations};
use super::recurrence::{Forward, Gradients, Layer};
use super::steps::{Step, uses};
use super::{Lowered, Request};
use crate::error::Result;
use crate::graph::{Argument, Graph, Op, PointwiseOp, Recurrence, Var};
use crate::program::{
    Custom, Gemm, Map, Matrix, Operand, Pointwise, Program, Reduce, Row, Scatter, Slice, View,
};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) struct Emitter<'a> {
    graph: &'a Graph,
    program: &'a mut Program,
    request: &'a Request<'a>,
    lowered: Lowered,
    places: HashMap<Var, Place>,
    /// The forward passes of layers, by their node.
    layers: HashMap<usize, Forward>,
    /// The nodes of the layers that have a gradient, and the last of them.
    trained: Vec<usize>,
    d_states: HashMap<usize, Slice>,
    uses: HashMap<Var, usize>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        program: &'a mut Program,
        request: &'a Request<'a>,
        lowered: Lowered,
        inputs: &[(Var, Slice)],
    ) -> Self {
        let place = |(var, slice): &(Var, Slice)| (*var, Place::whole(*slice, graph.shape(*var)));
        Self {
            graph,
            program,
            request,
            lowered,
            places: inputs.iter().map(place).collect(),
            layers: HashMap::new(),
            trained: vec![],
            d_states: HashMap::new(),
            uses: HashMap::new(),
        }
    }

    pub(super) fn run(&mut self, steps: Vec<Step>) -> Result<Lowered> {
        let Destinations { places, d_states } =
            destinations(self.graph, &steps, self.request, self.program);
        self.places.extend(places);
        self.d_states = d_states;
        self.uses = uses(&steps, self.request);
        for step in &steps {
            if let Op::RecurrenceGradient { of, .. } = step.op {
                self.trained.push(of);
            }
        }
        for step in &steps {
            self.step(step)?;
        }
        for (var, slice) in &self.request.stores {
            let to = Place::whole(*slice, self.graph.shape(*var));
            if self.places[var] != to {
                self.copy(*var, &to);
            }
        }
        for var in &self.request.fetches {
            let shape = self.graph.shape(*var);
            let known = self.places[var].contiguous(shape);
            let slice = known.unwrap_or_else(|| {
                let slice = self.program.temporary("output", shape);
                self.copy(*var, &Place::whole(slice, shape));
                slice
            });
            self.program.keep(slice.tensor);
            self.lowered.fetches.push(slice);
        }
        Ok(std::mem::take(&mut self.lowered))
    }

    fn copy(&mut self, var: Var, to: &Place) {
        let from = self.places[&var].clone();
        self.copy_place(self.graph.shape(var), &from, to);
    }

    /// Copies a value from a place to another: within a tensor by way of a third, as no operation reads where it writes.
    fn copy_place(&mut self, shape: &[usize], from: &Place, to: &Place) {
        let mut from = from.clone();
        if from.slice.tensor == to.slice.tensor {
            let between = Place::whole(self.program.temporary("copy", shape), shape);
            self.program
                .push(Map::copy(shape, from.view(), between.view()));
            from = between;
        }
        self.program.push(Map::copy(shape, from.view(), to.view()));
    }

    /// The place of an output: the one chosen for it, or a new one.
    fn output(&mut self, var: Var, name: &str) -> Place {
        if let Some(place) = self.places.get(&var) {
            return place.clone();
        }
        let shape = self.graph.shape(var);
        let place = Place::whole(self.program.temporary(name, shape), shape);
        self.places.insert(var, place.clone());
        place
    }

    /// A value in row-major order, copied where it is not.
    fn slice(&mut self, var: Var) -> Slice {
        let shape = self.graph.shape(var);
        self.places[&var]
            .contiguous(shape)
            .unwrap_or_else(|| self.compact(var))
    }

    fn compact(&mut self, var: Var) -> Slice {
        let shape = self.graph.shape(var);
        let slice = self.program.temporary("copy", shape);
        self.copy(var, &Place::whole(slice, shape));
        slice
    }

    /// A value as a matrix of its features, copied where it is none.
    fn matrix(&mut self, var: Var) -> Matrix {
        let shape = self.graph.shape(var);
        self.places[&var].matrix(shape).unwrap_or_else(|| {
            let columns = *shape.last().expect("products are of matrices");
            let slice = self.compact(var);
            slice.matrix(slice.len / columns.max(1), columns)
        })
    }

    /// Whether a value is a weight.
    fn is_weight(&self, var: Var) -> bool {
        match self.graph.nodes[var.node].op {
            Op::Parameter(slot) => slot < self.request.weights,
            Op::Reshape => self.is_weight(self.graph.nodes[var.node].inputs[0]),
            _ => false,
        }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let output = step.outputs[0];
        match &step.op {
            Op::Input(_) => {}
            Op::Parameter(slot) => {
                let slice = self.request.parameters[*slot];
                let place = Place::whole(slice, self.graph.shape(output));
                self.places.insert(output, place);
            }
            Op::Pointwise(op) => self.pointwise(op, step),
            Op::MatMul { transpose } => self.matmul(*transpose, step),
            Op::Reshape => {
                let slice = self.slice(step.inputs[0]);
                self.alias(step, Place::whole(slice, self.graph.shape(output)));
            }
            Op::Slice { axis, start } => {
                let place = self.places[&step.inputs[0]].part(*axis, *start);
                self.alias(step, place);
            }
            Op::Permute(order) => {
                let place = self.places[&step.inputs[0]].permuted(order);
                self.alias(step, place);
            }
            Op::Pad { axis, start } => {
                let whole = self.output(output, "padded");
                self.put(step.inputs[0], &whole.part(*axis, *start));
                let len = self.graph.shape(step.inputs[0])[*axis];
                let size = self.graph.shape(output)[*axis];
                for (first, end) in [(0, *start), (start + len, size)] {
                    let mut shape = self.graph.shape(output).to_vec();
                    shape[*axis] = end - first;
                    if end > first {
                        let view = whole.part(*axis, first).view();
                        self.program.push(Map::fill_view(&shape, view, 0.0));
                    }
                }
            }
            Op::Concat { axis } => {
                let whole = self.output(output, "concat");
                let mut start = 0;
                for input in &step.inputs {
                    self.put(*input, &whole.part(*axis, start));
                    start += self.graph.shape(*input)[*axis];
                }
            }
            Op::Scatter => {
                let place = self.output(output, "d.table");
                let shape = self.graph.shape(output);
                let input = self.matrix(step.inputs[0]);
                let indices = self.slice(step.inputs[1]);
                let output = place.matrix(shape).expect("it was given such a place");
                self.program.push(Scatter {
                    input,
                    indices,
                    output,
                    accumulate: false,
                });
            }
            Op::Custom(operation) => {
                let shaped = |emitter: &Self, var: &Var| emitter.graph.shape(*var).to_vec();
                let inputs = (step.inputs.iter())
                    .map(|input| (self.slice(*input), shaped(self, input)))
                    .collect();
                let outputs = (step.outputs.iter())
                    .map(|output| {
                        let shape = shaped(self, output);
                        let slice = self.program.temporary(operation.name(), &shape);
                        self.places.insert(*output, Place::whole(slice, &shape));
                        (slice, shape)
                    })
                    .collect();
                self.program.push(Custom {
                    operation: operation.clone(),
                    inputs,
                    outputs,
                });
            }
            Op::Recurrence(layer) => self.recurrence(layer, step),
            Op::RecurrenceGradient { of, inputs } => self.recurrence_gradient(*of, *inputs, step),
        }
        Ok(())
    }

    /// An output that lies where its input does, or is copied to the place that it was given.
    fn alias(&mut self, step: &Step, place: Place) {
        let output = step.outputs[0];
        match self.places.get(&output).cloned() {
            None => _ = self.places.insert(output, place),
            Some(given) if given.view() == place.view() => {}
            Some(given) => {
                self.copy_place(self.graph.shape(output), &place, &given);
            }
        }
    }

    /// Copies a value to a place, unless it was put there.
    fn put(&mut self, var: Var, to: &Place) {
        if self.places[&var].view() != to.view() {
            self.copy(var, to);
        }
    }

    fn matmul(&mut self, transpose: [bool; 2], step: &Step) {
        let output = step.outputs[0];
        let place = self.output(output, "product");
        if let Some(onto) = step.onto {
            self.put(onto, &place);
        }
        let (a, b) = (self.matrix(step.inputs[0]), self.matrix(step.inputs[1]));
        let shape = self.graph.shape(output);
        let c = place.matrix(shape).expect("it was given such a place");
        let weights = self.is_weight(step.inputs[1]);
        let bias = step.inputs.get(2).copied().map(|bias| self.slice(bias));
        self.program.push(Gemm {
            transpose_a: transpose[0],
            transpose_b: transpose[1],
            bias,
            accumulate: step.onto.is_some(),
            weights,
            ..Gemm::new(a, b, c)
        });
    }

    fn pointwise(&mut self, op: &PointwiseOp, step: &Step) {
        let rank = op.shape.len();
        let strides = |place: &Place, axes: &[Option<usize>]| -> Vec<usize> {
            let stride = |axis: &Option<usize>| axis.map_or(0, |axis| place.strides[axis]);
            axes.iter().map(stride).collect()
        };
        let view = |place: &Place, axes: &[Option<usize>]| View {
            strides: strides(place, axes),
            ..place.view()
        };
        let whole = |var: Var| self.graph.ty(var).dtype == crate::graph::Dtype::Index;
        let operand = |argument: &Argument| match argument {
            Argument::Input { input, axes } => {
                let var = step.inputs[*input];
                let view = view(&self.places[&var], axes);
                match whole(var) {
                    true => Operand::Whole(view),
                    false => Operand::Float(view),
                }
            }
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
            Argument::Gather {
                input,
                axes,
                along,
                index,
                index_axes,
                shift,
            } => {
                let table = step.inputs[*input];
                let place = &self.places[&table];
                Operand::Gather {
                    view: view(place, axes),
                    index: view(&self.places[&step.inputs[*index]], index_axes),
                    shift: *shift,
                    stride: place.strides[*along],
                    len: self.graph.shape(table)[*along],
                }
            }
        };
        let operands = op.arguments.iter().map(operand).collect();
        let (elements, results) = step.outputs.split_at(op.body.elements.len());
        let mut place = |var: &Var| {
            let shape = self.graph.shape(*var);
            let place = match self.places.get(var) {
                Some(place) => place.clone(),
                None => Place::whole(self.program.temporary(op.name.to_string(), shape), shape),
            };
            self.places.insert(*var, place.clone());
            place.view()
        };
        let elements: Vec<_> = elements.iter().map(&mut place).collect();
        let results: Vec<_> = results.iter().map(&mut place).collect();
        debug_assert!(elements.iter().all(|view| view.strides.len() == rank));
        let body = &op.body;
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

    fn recurrence(&mut self, layer: &Arc<Recurrence>, step: &Step) {
        let node = step.outputs[0].node;
        let y = self.output(step.outputs[0], "y");
        let last = self.output(step.outputs[1], "last states");
        let whole = |place: Place, shape: &[usize]| {
            place.contiguous(shape).expect("it was given such a place")
        };
        let y = whole(y, self.graph.shape(step.outputs[0]));
        let last = whole(last, self.graph.shape(step.outputs[1]));
        let x = self.matrix(step.inputs[0]);
        let mut slice = |input: usize| self.slice(step.inputs[input]);
        let lengths = layer.lengths.map(&mut slice);
        let initial = layer.initial.map(&mut slice);
        let weights = layer.weights.iter();
        let weights = weights
            .map(|own| own.map(|input| Some(slice(input))))
            .collect();
        let emitted = Layer {
            of: Arc::clone(layer),
            weights,
            x,
            y,
            initial,
            last,
            lengths,
            rng: self.lowered.rng.filter(|_| layer.is_random),
            segment: self.request.segment,
            train: self.trained.contains(&node),
            is_top: self.trained.iter().max() == Some(&node),
        };
        let forward = emitted.forward(self.program);
        self.layers.insert(node, forward);
    }

    fn recurrence_gradient(&mut self, of: usize, given: [bool; 2], step: &Step) {
        let Op::Recurrence(layer) = &self.graph.nodes[of].op else {
            unreachable!("it is a layer's gradient")
        };
        let mut inputs = step.inputs[2..].iter().copied();
        let d_y = match given[0].then(|| inputs.next()).flatten() {
            Some(d_y) => self.slice(d_y),
            None => {
                let shape = self.graph.shape(Var {
                    node: of,
                    output: 0,
                });
                let zeros = self.program.temporary("d.y", shape);
                self.program.push(Map::fill(zeros, 0.0));
                zeros
            }
        };
        let d_state = self.d_states[&step.rank];
        let states = d_state.part(0, layer.states_len());
        let states_place = Place::whole(states, &[states.len]);
        if let Some(d_last) = given[1].then(|| inputs.next()).flatten() {
            self.put(d_last, &states_place);
        }
        let is_used =
            |emitter: &Self, output: usize| emitter.uses.contains_key(&step.outputs[output]);
        let d_x = is_used(self, 0).then(|| {
            let place = self.output(step.outputs[0], "d.x");
            let shape = self.graph.shape(step.outputs[0]);
            place.matrix(shape).expect("it was given such a place")
        });
        let mut output = 2;
        let mut weights = vec![];
        for own in &layer.weights {
            weights.push(own.map(|_| {
                output += 1;
                let var = step.outputs[output - 1];
                is_used(self, output - 1).then(|| {
                    let place = self.output(var, "d.weight");
                    let shape = self.graph.shape(var);
                    place.contiguous(shape).expect("it was given such a place")
                })
            }));
        }
        let gradients = Gradients {
            d_y,
            d_state,
            has_d_last: given[1],
            wants_initial: is_used(self, 1),
            d_x,
            weights,
        };
        self.places.insert(step.outputs[1], states_place);
        let forward = &self.layers[&of];
        forward.backward(self.program, &gradients);
    }
}
