//! Recurrent stacks of any cell on a device: their programs, compiled by shape.

use super::callable::{Input, State, Vjp};
use super::stack::{Stack, Surroundings};
use crate::device::Device;
use crate::error::{Result, check_shape};
use crate::executable::{Copy, Executable};
use crate::nn::budget;
use crate::nn::cache::ShapeCache;
use crate::nn::module::{Backward, Mode, Module, Value};
use crate::nn::parameters::Parameters;
use crate::program::{Program, Slice, SwapAxes};
use crate::tensor::Tensor;

/// A [`Stack`] with weights on a device.
#[derive(Debug)]
pub(crate) struct RecurrentStack {
    pub(super) stack: Stack,
    pub(super) device: Device,
    parameters: Parameters,
    memory_budget: Option<usize>,
    compiled: ShapeCache<Key, Compiled>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) lengths: bool,
    pub(super) random: bool,
    pub(super) initial: bool,
    pub(super) gradient: bool,
    pub(super) d_last: bool,
}

/// An executable and where its inputs and outputs are.
#[derive(Debug)]
struct Compiled {
    executable: Executable,
    places: Places,
}

#[derive(Debug)]
struct Places {
    batch: usize,
    x: Value,
    y: Value,
    last: Slice,
    mode: Mode,
    around: Surroundings,
    gradients: Option<Slice>,
}

impl RecurrentStack {
    pub(crate) fn new(device: &Device, stack: Stack, seed: u64) -> Result<Self> {
        let parameters = Parameters::new(device, stack.parameters(), seed)?;
        Ok(Self {
            stack,
            device: device.clone(),
            parameters,
            memory_budget: None,
            compiled: ShapeCache::default(),
        })
    }

    /// See [`Recurrent::memory_budget`](super::Recurrent::memory_budget).
    pub(crate) fn memory_budget(self, bytes: Option<usize>) -> Self {
        Self {
            memory_budget: bytes,
            compiled: ShapeCache::default(),
            ..self
        }
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// See [`Recurrent::forward`](super::Recurrent::forward).
    pub(crate) fn forward(
        &self,
        input: Input<'_>,
        state: Option<&State>,
    ) -> Result<(Tensor, State)> {
        let key = self.key(input, state)?;
        let x = input.x;
        let y_shape = self.stack.output_shape(x.shape())?;
        let (y, last) = (self.zeros(&y_shape)?, self.new_state(key.batch)?);
        let compile = || self.compile(key);
        self.compiled.with(&self.device, key, compile, |c| {
            c.places
                .mode
                .write(&c.executable, input.lengths, input.random)?;
            let mut before = vec![c.input(x, c.places.x.slice)];
            before.extend(self.loads(c, state, c.places.around.initial, false));
            let mut after = vec![c.output(c.places.y.slice, &y)];
            after.extend(self.stores(c, &last, Some(c.places.last), false));
            c.executable.run_with(&before, &after)
        })?;
        Ok((y, last))
    }

    /// See [`Recurrent::vjp`](super::Recurrent::vjp).
    pub(crate) fn vjp(
        &self,
        input: Input<'_>,
        state: Option<&State>,
        d_y: &Tensor,
        d_state: Option<&State>,
    ) -> Result<Vjp> {
        let mut key = self.key(input, state)?;
        let x = input.x;
        (key.gradient, key.d_last) = (true, d_state.is_some());
        d_y.check_device("d_y", &self.device)?;
        check_shape("d_y", d_y.shape(), &self.stack.output_shape(x.shape())?)?;
        self.check_state("d_state", d_state, |state| {
            self.stack.state_shape(state, key.batch).to_vec()
        })?;
        let result = Vjp {
            y: self.zeros(d_y.shape())?,
            state: self.new_state(key.batch)?,
            d_x: self.zeros(x.shape())?,
            d_state: self.new_state(key.batch)?,
            d_weights: self.parameters.like()?,
        };
        let compile = || self.compile(key);
        self.compiled.with(&self.device, key, compile, |c| {
            c.places
                .mode
                .write(&c.executable, input.lengths, input.random)?;
            let mut before = vec![
                c.input(x, c.places.x.slice),
                c.input(d_y, c.places.y.known_gradient()),
            ];
            before.extend(self.loads(c, state, c.places.around.initial, false));
            before.extend(self.loads(c, d_state, c.places.around.d_state, true));
            let mut after = vec![
                c.output(c.places.y.slice, &result.y),
                c.output(c.places.x.known_gradient(), &result.d_x),
            ];
            let weights = result.d_weights.flat();
            after.extend(
                c.places
                    .gradients
                    .map(|gradients| c.output(gradients, weights)),
            );
            after.extend(self.stores(c, &result.state, Some(c.places.last), false));
            after.extend(self.stores(c, &result.d_state, c.places.around.d_state, true));
            c.executable.run_with(&before, &after)
        })?;
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

    fn compile(&self, key: Key) -> Result<Compiled> {
        let budget = self.memory_budget.filter(|_| key.gradient);
        let write = |segment| self.write(key, segment);
        let (program, places) =
            budget::within(budget, &self.device, key.steps, write, |written| &written.0)?;
        let executable = Executable::new(&self.device, program, &[self.parameters.flat().clone()])?;
        Ok(Compiled { executable, places })
    }

    /// Writes the program; `segment`: the steps of a part of the recurrence.
    fn write(&self, key: Key, segment: Option<usize>) -> (Program, Places) {
        let (steps, batch) = (key.steps, key.batch);
        let mut program = Program::new();
        let values = self.parameters.external(&mut program);
        let gradients = key
            .gradient
            .then(|| program.tensor("d.weights", self.parameters.flat().shape()));
        let lengths = key.lengths.then_some(batch);
        let mode = Mode::new(&mut program, key.gradient, lengths, key.random).segment(segment);
        let states = |gradients| [self.stack.states_len(batch, gradients)];
        let around = Surroundings {
            initial: (key.initial).then(|| program.tensor("initial states", &states(false))),
            d_state: (key.gradient).then(|| program.tensor("d.states", &states(true))),
            has_d_last: key.d_last,
            wants_last: true,
        };
        let shape = |features: usize| {
            if self.stack.batch_first {
                [batch, steps, features]
            } else {
                [steps, batch, features]
            }
        };
        let x = Value::new(
            &mut program,
            "x",
            &shape(self.stack.input_size),
            key.gradient,
        )
        .keep(&mut program);
        let weights = self.parameters.slices(values, gradients);
        let (inner, swap_x) = self.time_major(&mut program, &x);
        let (y, last, backward) = self.stack.emit(&mut program, &weights, inner, around, mode);
        let (y, swap_y) = self.time_major(&mut program, &y);
        let y = y.keep(&mut program);
        if key.gradient {
            swap_y(&mut program);
            backward(&mut program);
            swap_x(&mut program);
        }
        let places = Places {
            batch,
            x,
            y,
            last,
            mode,
            around,
            gradients,
        };
        (program, places)
    }

    /// A value with its first two axes swapped, where the stack is batch-first, and the backward pass of that.
    fn time_major(&self, program: &mut Program, value: &Value) -> (Value, Backward) {
        if !self.stack.batch_first {
            return (value.clone(), Box::new(|_: &mut Program| {}));
        }
        let [a, b, n] = [value.shape[0], value.shape[1], value.shape[2]];
        let train = value.gradient.is_some();
        let swapped = Value::new(program, "swapped", &[b, a, n], train);
        program.push(SwapAxes {
            input: value.slice,
            output: swapped.slice,
            shape: [a, b, n],
        });
        let gradients = swapped.gradient.zip(value.gradient);
        let backward = move |program: &mut Program| {
            if let Some((input, output)) = gradients {
                program.push(SwapAxes {
                    input,
                    output,
                    shape: [b, a, n],
                });
            }
        };
        (swapped, Box::new(backward))
    }

    /// Where the parts of a state are in a tensor of all layers' states, `gradients` saying which kind of tensor: for each, the part, the
    /// first element in it, and the slice.
    fn pieces<'a>(
        &self,
        batch: usize,
        state: &'a State,
        all: Slice,
        gradients: bool,
    ) -> Vec<(&'a Tensor, usize, Slice)> {
        let layers = 0..self.stack.layers;
        let pieces = layers.flat_map(|layer| {
            state.parts.iter().enumerate().map(move |(index, part)| {
                let (first, len) = self.stack.state_part(layer, index, batch, gradients);
                (part, layer * len, all.part(first, len))
            })
        });
        pieces.collect()
    }

    fn loads<'a>(
        &self,
        compiled: &'a Compiled,
        state: Option<&'a State>,
        all: Option<Slice>,
        gradients: bool,
    ) -> Vec<Copy<'a>> {
        let (Some(state), Some(all)) = (state, all) else {
            return vec![];
        };
        let load = |(part, first, slice): (&'a Tensor, usize, Slice)| Copy {
            from: (part, first),
            ..compiled.input(part, slice)
        };
        let pieces = self.pieces(compiled.places.batch, state, all, gradients);
        pieces.into_iter().map(load).collect()
    }

    fn stores<'a>(
        &self,
        compiled: &'a Compiled,
        state: &'a State,
        all: Option<Slice>,
        gradients: bool,
    ) -> Vec<Copy<'a>> {
        let store = |(part, first, slice): (&'a Tensor, usize, Slice)| Copy {
            to: (part, first),
            ..compiled.output(slice, part)
        };
        let pieces = all.map(|all| self.pieces(compiled.places.batch, state, all, gradients));
        pieces.into_iter().flatten().map(store).collect()
    }
}

impl Compiled {
    fn input<'a>(&'a self, from: &'a Tensor, to: Slice) -> Copy<'a> {
        Copy {
            from: (from, 0),
            to: (self.executable.tensor(to.tensor), to.offset),
            len: to.len,
        }
    }

    fn output<'a>(&'a self, from: Slice, to: &'a Tensor) -> Copy<'a> {
        Copy {
            from: (self.executable.tensor(from.tensor), from.offset),
            to: (to, 0),
            len: from.len,
        }
    }
}
