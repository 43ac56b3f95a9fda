//! Recurrent stacks of any cell on a device: their graphs, compiled for each kind of call.

use super::config::Stack;
use super::model::{Input, State, Vjp};
use crate::device::Device;
use crate::error::{Result, check_shape};
use crate::executable::Executable;
use crate::graph::{Op, Var};
use crate::lower::{Request, within_budget};
use crate::nn::{Compiled, Draft, Feed, ParameterSpec, Parameters, ShapeCache, Signature, Trace};
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
        let mut trace = Trace::default();
        let x = trace.input("x", &Signature::float([1, 1, stack.options.input_size]));
        stack.forward(&mut trace.only_layer(), x, None)?;
        Ok(trace.specs)
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
        let of = &self.stack.options;
        [x[0], x[1], of.directions() * of.output_size()]
    }

    /// See [`RecurrentModel::forward`](super::RecurrentModel::forward).
    pub(crate) fn forward(
        &self,
        input: Input<'_>,
        state: Option<&State>,
    ) -> Result<(Tensor, State)> {
        let call = self.call(input, state)?;
        let y = self.zeros("y", &self.y_shape(input.x.shape()))?;
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
        let state_shape = |state| self.stack.options.state_shape(state, call.batch);
        self.check_state("d_state", d_state, state_shape)?;
        let result = Vjp {
            y: self.zeros("y", d_y.shape())?,
            state: self.new_state(call.batch)?,
            d_x: self.zeros("d_x", x.shape())?,
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

    fn zeros(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Tensor::named(&self.device, name, shape)
    }

    fn new_state(&self, batch: usize) -> Result<State> {
        let parts = (0..self.stack.cell.states())
            .map(|state| self.zeros("the states", &self.stack.options.state_shape(state, batch)))
            .collect::<Result<_>>()?;
        Ok(State { parts })
    }

    /// The parts of a state by layer, each with the element it starts at.
    fn parts<'a>(&self, state: &'a State, batch: usize) -> Vec<(&'a Tensor, usize)> {
        let mut parts = vec![];
        for layer in 0..self.stack.options.layers {
            for (index, part) in state.parts.iter().enumerate() {
                parts.push((part, layer * self.stack.options.state_part(index, batch).1));
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
        let [initial, d_last] = states.map(|state| {
            let parts = state.map_or(vec![], |state| self.parts(state, batch));
            parts
                .into_iter()
                .map(|(tensor, first)| Feed::part(tensor, first))
        });
        let x = std::iter::once(Feed::from(input));
        let d_y = d_y.map(|d_y| Feed::part(d_y, 0));
        x.chain(initial).chain(d_y).chain(d_last).collect()
    }

    fn run(
        &self,
        call: Call,
        input: Input<'_>,
        feeds: &[Feed<'_>],
        outputs: &[(&Tensor, usize)],
    ) -> Result<()> {
        let random = input.random.unwrap_or_default();
        self.compiled.with(
            &self.device,
            call,
            |call| self.compile(*call),
            |compiled| compiled.run(feeds, random, &[], outputs, Executable::run_with),
        )
    }

    pub(super) fn compile(&self, call: Call) -> Result<Compiled> {
        let mut trace = Trace::new(Some(&self.parameters), call.random);
        let (fetches, gradients) = self.trace(&mut trace, call)?;
        let (budget, graph) = (self.memory_budget, &trace.graph);
        let draft = |segment| self.draft(&trace, &fetches, &gradients, segment);
        let draft = within_budget(budget, &self.device, graph, draft, |draft| &draft.program)?;
        draft.compile(&self.device, &trace)
    }

    /// Lowers what was traced; the gradients of all weights are the last fetch. `segment`: the steps of a segment of the recurrence.
    fn draft(
        &self,
        trace: &Trace,
        fetches: &[Var],
        gradients: &[Var],
        segment: Option<usize>,
    ) -> Result<Draft> {
        let mut draft = Draft::default();
        let flat = self.parameters.flat();
        let weights = self.parameters.slices(draft.external("the weights", flat));
        let d_weights =
            (!gradients.is_empty()).then(|| draft.program.tensor("d.weights", flat.shape()));
        let places = d_weights.map_or(vec![], |flat| self.parameters.slices(flat));
        let request = Request {
            parameters: &weights,
            weights: weights.len(),
            stores: gradients.iter().copied().zip(places).collect(),
            fetches: fetches.to_vec(),
            segment,
            ..Request::default()
        };
        draft.lower(trace, &request)?;
        draft.lowered.fetches.extend(d_weights);
        Ok(draft)
    }

    /// Writes a call. Returns what it gives, and the gradients of the weights in order.
    fn trace(&self, trace: &mut Trace, call: Call) -> Result<(Vec<Var>, Vec<Var>)> {
        let (stack, of) = (&self.stack, &self.stack.options);
        let mut x_shape = vec![call.steps, call.batch, of.input_size];
        if of.batch_first {
            x_shape.swap(0, 1);
        }
        let signature = Signature {
            has_lengths: call.lengths,
            // Products of x and gradients read all of it.
            is_unclean: call.lengths && call.gradient,
            ..Signature::float(x_shape)
        };
        let fed = trace.input_of("x", &signature, usize::from(!of.batch_first));
        let x = self.time_major(trace, fed)?;
        let initial = match call.initial {
            true => Some(self.states(trace, "initial states", call.batch)?),
            false => None,
        };
        let (y, last) = stack.forward(&mut trace.only_layer(), x, initial.as_deref())?;
        let y = self.time_major(trace, y)?;
        let mut fetches = vec![y];
        fetches.extend(self.by_state(trace, &last, call.batch)?);
        if !call.gradient {
            return Ok((fetches, vec![]));
        }
        let y_shape = trace.graph.shape(y).to_vec();
        let mut seeds = vec![(y, trace.input("d.y", &Signature::float(y_shape)))];
        if call.d_last {
            let d_last = self.states(trace, "d.states", call.batch)?;
            seeds.extend(last.iter().copied().zip(d_last));
        }
        let weights = trace.used_weights().iter().flatten().copied();
        let of: Vec<_> = weights.chain([fed]).collect();
        let gradients = trace.graph.gradients(&seeds, &of)?.into_iter();
        let missing = "everything of a stack has a gradient";
        let mut gradients: Vec<_> = gradients.map(|d| d.expect(missing)).collect();
        fetches.extend(gradients.pop());
        // The gradients of the initial states, whether these are given or zeros.
        let d_initial = |layer: &Var| {
            let is_its =
                |op: &Op| matches!(op, Op::RecurrenceGradient { of, .. } if *of == layer.node);
            let node = trace.graph.nodes.iter().position(|node| is_its(&node.op));
            let node = node.expect(missing);
            Var { node, output: 1 }
        };
        let d_initial: Vec<_> = last.iter().map(d_initial).collect();
        fetches.extend(self.by_state(trace, &d_initial, call.batch)?);
        Ok((fetches, gradients))
    }

    /// Adds inputs for all states. Returns each layer's.
    fn states(&self, trace: &mut Trace, name: &str, batch: usize) -> Result<Vec<Var>> {
        let of_layer = |_| {
            let mut parts = vec![];
            for state in 0..self.stack.cell.states() {
                let (_, len) = self.stack.options.state_part(state, batch);
                parts.push(trace.input(name, &Signature::float([len])));
            }
            trace.graph.concat(&parts, 0)
        };
        (0..self.stack.options.layers).map(of_layer).collect()
    }

    /// The states of each layer one by one.
    fn by_state(&self, trace: &mut Trace, layers: &[Var], batch: usize) -> Result<Vec<Var>> {
        let mut parts = vec![];
        for layer in layers {
            for state in 0..self.stack.cell.states() {
                let (first, len) = self.stack.options.state_part(state, batch);
                parts.push(trace.graph.slice(*layer, 0, first, len)?);
            }
        }
        Ok(parts)
    }

    /// A value with its first two axes swapped, where the stack is batch-first.
    fn time_major(&self, trace: &mut Trace, value: Var) -> Result<Var> {
        match self.stack.options.batch_first {
            true => trace.graph.permute_sequence(value),
            false => Ok(value),
        }
    }
}
