//! Recurrent stacks of any cell on a device: their graphs, compiled for each kind of call.

use super::model::{Input, State, Vjp};
use super::stack::Stack;
use crate::device::Device;
use crate::error::{Result, check_shape};
use crate::graph::{Dtype, Graph, Op, Var};
use crate::lower::{Request, within_budget};
use crate::nn::{
    Besides, Compiled, Feed, InputSlots, ParameterSpec, Parameters, ShapeCache, Signature, Source,
    Trace, Written,
};
use crate::program::{Program, Slice};
use crate::tensor::Tensor;

/// A [`Stack`] with weights on a device.
#[derive(Debug)]
pub(crate) struct StackModel {
    pub(super) stack: Stack,
    pub(super) device: Device,
    parameters: Parameters,
    memory_budget: Option<usize>,
    compiled: ShapeCache<Call, Compiled>,
}

/// What a call's program depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) lengths: bool,
    pub(super) random: bool,
    pub(super) initial: bool,
    pub(super) gradient: bool,
    pub(super) d_last: bool,
}

impl StackModel {
    pub(crate) fn new(device: &Device, stack: Stack, seed: u64) -> Result<Self> {
        Ok(Self {
            parameters: Parameters::new(device, Self::specs(&stack)?, seed)?,
            stack,
            device: device.clone(),
            memory_budget: None,
            compiled: ShapeCache::default(),
        })
    }

    /// The weights of a stack, in PyTorch's order.
    pub(crate) fn specs(stack: &Stack) -> Result<Vec<ParameterSpec>> {
        let mut trace = Trace::declaring();
        let signature = Signature {
            shape: vec![1, 1, stack.input_size],
            dtype: Dtype::Float,
            has_lengths: false,
        };
        let (x, _) = trace.input("x", &signature);
        stack.forward(&mut trace.only_layer(), x, None)?;
        Ok(trace.into_specs())
    }

    /// See [`RecurrentModel::memory_budget`](super::RecurrentModel::memory_budget).
    pub(crate) fn memory_budget(mut self, bytes: Option<usize>) -> Self {
        self.memory_budget = bytes;
        self.compiled = ShapeCache::default();
        self
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The shape of y for x `[T, B, I]`.
    pub(crate) fn y_shape(&self, x: &[usize]) -> [usize; 3] {
        [x[0], x[1], self.stack.directions * self.stack.output_size()]
    }

    /// See [`RecurrentModel::forward`](super::RecurrentModel::forward).
    pub(crate) fn forward(
        &self,
        input: Input<'_>,
        state: Option<&State>,
    ) -> Result<(Tensor, State)> {
        let call = self.call(input, state)?;
        let y = self.zeros(&self.y_shape(input.x.shape()))?;
        let last = self.new_state(call.batch)?;
        let feeds = self.feeds(input, [state, None], None, call.batch);
        let mut outputs = vec![(&y, 0)];
        outputs.extend(self.parts(&last, call.batch));
        self.run(call, input, &feeds, &outputs)?;
        Ok((y, last))
    }

    /// See [`RecurrentModel::vjp`](super::RecurrentModel::vjp).
    pub(crate) fn vjp(
        &self,
        input: Input<'_>,
        state: Option<&State>,
        d_y: &Tensor,
        d_state: Option<&State>,
    ) -> Result<Vjp> {
        let mut call = self.call(input, state)?;
        let x = input.x;
        (call.gradient, call.d_last) = (true, d_state.is_some());
        d_y.check_device("d_y", &self.device)?;
        check_shape("d_y", d_y.shape(), &self.y_shape(x.shape()))?;
        self.check_state("d_state", d_state, |state| {
            self.stack.state_shape(state, call.batch).to_vec()
        })?;
        let result = Vjp {
            y: self.zeros(d_y.shape())?,
            state: self.new_state(call.batch)?,
            d_x: self.zeros(x.shape())?,
            d_state: self.new_state(call.batch)?,
            d_weights: self.parameters.like()?,
        };
        let feeds = self.feeds(input, [state, d_state], Some(d_y), call.batch);
        let mut outputs = vec![(&result.y, 0)];
        outputs.extend(self.parts(&result.state, call.batch));
        outputs.push((&result.d_x, 0));
        outputs.extend(self.parts(&result.d_state, call.batch));
        outputs.push((result.d_weights.flat(), 0));
        self.run(call, input, &feeds, &outputs)?;
        Ok(result)
    }

    fn zeros(&self, shape: &[usize]) -> Result<Tensor> {
        Tensor::zeros(&self.device, shape)
    }

    fn new_state(&self, batch: usize) -> Result<State> {
        let parts = (0..self.stack.cell.states())
            .map(|state| self.zeros(&self.stack.state_shape(state, batch)))
            .collect::<Result<_>>()?;
        Ok(State { parts })
    }

    /// The parts of a state by layer, each with the element it starts at.
    fn parts<'a>(&self, state: &'a State, batch: usize) -> Vec<(&'a Tensor, usize)> {
        let mut parts = vec![];
        for layer in 0..self.stack.layers {
            for (index, part) in state.parts.iter().enumerate() {
                parts.push((part, layer * self.stack.state_part(index, batch).1));
            }
        }
        parts
    }

    /// What is fed, in the order of the graph's inputs: x, the initial states, d_y, the gradients of the last states.
    fn feeds<'a>(
        &self,
        input: Input<'a>,
        states: [Option<&'a State>; 2],
        d_y: Option<&'a Tensor>,
        batch: usize,
    ) -> Vec<Feed<'a>> {
        let part = |(tensor, first): (&'a Tensor, usize)| Feed {
            values: Source::Part(tensor, first),
            lengths: None,
        };
        let mut feeds = vec![Feed {
            lengths: input.lengths,
            ..part((input.x, 0))
        }];
        let [initial, d_last] = states.map(|state| {
            let parts = state.map_or(vec![], |state| self.parts(state, batch));
            parts.into_iter().map(part).collect::<Vec<_>>()
        });
        feeds.extend(initial);
        feeds.extend(d_y.map(|d_y| part((d_y, 0))));
        feeds.extend(d_last);
        feeds
    }

    fn run(
        &self,
        call: Call,
        input: Input<'_>,
        feeds: &[Feed<'_>],
        outputs: &[(&Tensor, usize)],
    ) -> Result<()> {
        let besides = Besides {
            random: input.random.unwrap_or_default(),
            ..Besides::default()
        };
        self.compiled.with(
            &self.device,
            call,
            || self.compile(call),
            |compiled| {
                let before = compiled.feed(feeds, besides)?;
                let outputs = outputs.iter().enumerate();
                let after: Vec<_> = outputs
                    .map(|(index, to)| compiled.fetch(index, *to))
                    .collect();
                compiled.executable.run_with(&before, &after)
            },
        )
    }

    pub(super) fn compile(&self, call: Call) -> Result<Compiled> {
        let mut trace = Trace::with(&self.parameters, call.random);
        let traced = self.trace(&mut trace, call)?;
        let budget = self.memory_budget.filter(|_| call.gradient);
        let write = |segment| self.write(&trace, &traced, segment);
        let (written, gradients) =
            within_budget(budget, &self.device, call.steps, write, |(written, _)| {
                &written.program
            })?;
        let externals = [self.parameters.flat().clone()];
        let mut compiled = written.compile(
            &self.device,
            &externals,
            &trace,
            traced.inputs,
            &traced.fetches,
        )?;
        compiled.add_fetch(gradients);
        Ok(compiled)
    }

    /// Lowers what was traced. `segment`: the steps of a segment of the recurrence.
    fn write(
        &self,
        trace: &Trace,
        traced: &Traced,
        segment: Option<usize>,
    ) -> Result<(Written, Option<Slice>)> {
        let mut program = Program::new();
        let flat = self.parameters.external(&mut program);
        let parameters = self.parameters.slices(flat);
        let gradients = (!traced.gradients.is_empty())
            .then(|| program.tensor("d.weights", self.parameters.flat().shape()));
        let places = gradients.map_or(vec![], |flat| self.parameters.slices(flat));
        let request = Request {
            parameters: &parameters,
            weights: parameters.len(),
            stores: traced.gradients.iter().copied().zip(places).collect(),
            fetches: traced.fetches.clone(),
            segment,
            feed_together: false,
            scalars: 0,
        };
        let written = Written::new(trace, program, &request, |_, _| {})?;
        Ok((written, gradients))
    }

    fn trace(&self, trace: &mut Trace, call: Call) -> Result<Traced> {
        let stack = &self.stack;
        let mut inputs = vec![];
        let signature = |shape: Vec<usize>, has_lengths: bool| Signature {
            shape,
            dtype: Dtype::Float,
            has_lengths,
        };
        let features = stack.input_size;
        let mut x_shape = vec![call.steps, call.batch, features];
        if stack.batch_first {
            x_shape.swap(0, 1);
        }
        let batch_axis = usize::from(!stack.batch_first);
        let (fed, slots) = trace.input_of("x", &signature(x_shape, call.lengths), batch_axis);
        inputs.push(slots);
        let x = self.time_major(trace, fed)?;
        let states = |trace: &mut Trace, inputs: &mut Vec<_>, name: &str| -> Result<Vec<Var>> {
            let mut layers = vec![];
            for _ in 0..stack.layers {
                let mut parts = vec![];
                for state in 0..stack.cell.states() {
                    let (_, len) = stack.state_part(state, call.batch);
                    let (part, slots) = trace.input(name, &signature(vec![len], false));
                    inputs.push(slots);
                    parts.push(part);
                }
                layers.push(trace.graph.concat(&parts, 0)?);
            }
            Ok(layers)
        };
        let initial = match call.initial {
            true => Some(states(trace, &mut inputs, "initial states")?),
            false => None,
        };
        let (y, last) = stack.forward(&mut trace.only_layer(), x, initial.as_deref())?;
        let layers: Vec<_> = last.iter().map(|var| var.node).collect();
        let y = self.time_major(trace, y)?;
        let by_state = |graph: &mut Graph, of: &[Var]| -> Result<Vec<Var>> {
            let mut parts = vec![];
            for layer in of {
                for state in 0..stack.cell.states() {
                    let (first, len) = stack.state_part(state, call.batch);
                    parts.push(graph.slice(*layer, 0, first, len)?);
                }
            }
            Ok(parts)
        };
        let mut traced = Traced {
            fetches: vec![y],
            gradients: vec![],
            inputs,
        };
        traced.fetches.extend(by_state(&mut trace.graph, &last)?);
        if !call.gradient {
            return Ok(traced);
        }
        let y_shape = trace.graph.shape(y).to_vec();
        let (d_y, slots) = trace.input("d.y", &signature(y_shape, false));
        traced.inputs.push(slots);
        let mut seeds = vec![(y, d_y)];
        if call.d_last {
            let d_last = states(trace, &mut traced.inputs, "d.states")?;
            seeds.extend(last.iter().copied().zip(d_last));
        }
        let weights: Vec<_> = trace.used_weights().into_iter().flatten().collect();
        let of = [&weights[..], &[fed]].concat();
        let mut gradients = trace.graph.gradients(&seeds, &of)?;
        let missing = "everything of a stack has a gradient";
        let d_x = gradients.pop().flatten().expect(missing);
        traced.fetches.push(d_x);
        traced.gradients = gradients.into_iter().map(|d| d.expect(missing)).collect();
        // The gradients of the initial states, whether these are given or zeros.
        let d_initial = |layer: &usize| {
            let nodes = trace.graph.nodes.iter();
            let of = |op: &Op| matches!(op, Op::RecurrenceGradient { of, .. } if of == layer);
            let node = nodes
                .enumerate()
                .find(|(_, node)| of(&node.op))
                .map(|(node, _)| node);
            let node = node.expect(missing);
            Var { node, output: 1 }
        };
        let d_initial: Vec<_> = layers.iter().map(d_initial).collect();
        traced
            .fetches
            .extend(by_state(&mut trace.graph, &d_initial)?);
        Ok(traced)
    }

    /// A value with its first two axes swapped, where the stack is batch-first.
    fn time_major(&self, trace: &mut Trace, value: Var) -> Result<Var> {
        match self.stack.batch_first {
            true => trace.graph.permute_sequence(value),
            false => Ok(value),
        }
    }
}

/// A call as a graph.
struct Traced {
    inputs: Vec<InputSlots>,
    fetches: Vec<Var>,
    /// Of the weights, in order.
    gradients: Vec<Var>,
}
