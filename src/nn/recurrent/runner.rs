//! Recurrent stacks of any cell on a device: their programs, compiled by shape.

use super::callable::{Input, State, Vjp};
use super::stack::{Stack, Surroundings};
use crate::device::Device;
use crate::error::{Error, Result, check_positive, check_shape};
use crate::executable::{Copy, Executable};
use crate::nn::cache::ShapeCache;
use crate::nn::module::{Module, Value};
use crate::nn::parameters::Parameters;
use crate::program::{Program, Slice};
use crate::tensor::Tensor;

/// A [`Stack`] with weights on a device.
#[derive(Debug)]
pub(crate) struct RecurrentStack {
    stack: Stack,
    device: Device,
    parameters: Parameters,
    compiled: ShapeCache<Key, Compiled>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    steps: usize,
    batch: usize,
    lengths: bool,
    initial: bool,
    gradient: bool,
    d_last: bool,
}

/// An executable and where its inputs and outputs are.
#[derive(Debug)]
struct Compiled {
    executable: Executable,
    x: Value,
    y: Value,
    last: Slice,
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
            compiled: ShapeCache::default(),
        })
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
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
        self.compiled.with(key, compile, |c| {
            c.write_lengths(input.lengths)?;
            let mut before = vec![c.input(x, c.x.slice)];
            before.extend(c.state_copies(state, c.around.initial, true));
            let mut after = vec![c.output(c.y.slice, &y)];
            after.extend(c.state_copies(Some(&last), Some(c.last), false));
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
        self.check_state("d_state", d_state, key.batch)?;
        let result = Vjp {
            y: self.zeros(d_y.shape())?,
            state: self.new_state(key.batch)?,
            d_x: self.zeros(x.shape())?,
            d_state: self.new_state(key.batch)?,
            d_weights: self.parameters.like()?,
        };
        let compile = || self.compile(key);
        self.compiled.with(key, compile, |c| {
            c.write_lengths(input.lengths)?;
            let mut before = vec![c.input(x, c.x.slice), c.input(d_y, c.y.known_gradient())];
            before.extend(c.state_copies(state, c.around.initial, true));
            before.extend(c.state_copies(d_state, c.around.d_state, true));
            let mut after = vec![
                c.output(c.y.slice, &result.y),
                c.output(c.x.known_gradient(), &result.d_x),
            ];
            let weights = result.d_weights.flat();
            after.extend(c.gradients.map(|gradients| c.output(gradients, weights)));
            after.extend(c.state_copies(Some(&result.state), Some(c.last), false));
            after.extend(c.state_copies(Some(&result.d_state), c.around.d_state, false));
            c.executable.run_with(&before, &after)
        })?;
        Ok(result)
    }

    /// `Ok` where the arguments of [`RecurrentStack::forward`] fit.
    #[cfg(feature = "safetensors")]
    pub(crate) fn check(&self, input: Input<'_>, state: Option<&State>) -> Result<()> {
        self.key(input, state).map(drop)
    }

    fn key(&self, input: Input<'_>, state: Option<&State>) -> Result<Key> {
        let x = input.x;
        x.check_device("x", &self.device)?;
        let [steps, batch, features] = *x.shape() else {
            return Err(Error::shape(
                "x",
                x.shape(),
                format!("[T, B, {}]", self.stack.input_size),
            ));
        };
        if features != self.stack.input_size {
            return Err(Error::shape(
                "x",
                x.shape(),
                format!("[T, B, {}]", self.stack.input_size),
            ));
        }
        check_positive("x: T", steps)?;
        check_positive("x: B", batch)?;
        if let Some(lengths) = input.lengths {
            check_shape("lengths", &[lengths.len()], &[batch])?;
            if let Some(bad) = lengths.iter().find(|length| **length > steps) {
                return Err(Error::argument("lengths", bad, format!("0 to T = {steps}")));
            }
        }
        self.check_state("state", state, batch)?;
        Ok(Key {
            steps,
            batch,
            lengths: input.lengths.is_some(),
            initial: state.is_some(),
            gradient: false,
            d_last: false,
        })
    }

    fn check_state(&self, argument: &str, state: Option<&State>, batch: usize) -> Result<()> {
        let Some(state) = state else { return Ok(()) };
        let expected = self.stack.cell.states();
        if state.parts.len() != expected {
            let got = format!("{} states", state.parts.len());
            return Err(Error::argument(
                argument,
                got,
                format!("{expected} for {}", self.stack.cell.name()),
            ));
        }
        for (part, name) in state.parts.iter().zip(["h", "c"]) {
            let name = format!("{argument}.{name}");
            part.check_device(&name, &self.device)?;
            check_shape(&name, part.shape(), &self.stack.state_shape(batch)[1..])?;
        }
        Ok(())
    }

    fn zeros(&self, shape: &[usize]) -> Result<Tensor> {
        Tensor::zeros(&self.device, shape)
    }

    fn new_state(&self, batch: usize) -> Result<State> {
        let shape = self.stack.state_shape(batch);
        let parts = (0..shape[0])
            .map(|_| self.zeros(&shape[1..]))
            .collect::<Result<_>>()?;
        Ok(State { parts })
    }

    fn compile(&self, key: Key) -> Result<Compiled> {
        let Key {
            steps,
            batch,
            lengths,
            initial,
            gradient,
            d_last,
        } = key;
        let mut program = Program::new();
        let values = self.parameters.external(&mut program);
        let gradients =
            gradient.then(|| program.tensor("d.weights", self.parameters.flat().shape()));
        let x = Value::new(
            &mut program,
            "x",
            &[steps, batch, self.stack.input_size],
            gradient,
        );
        let state_shape = self.stack.state_shape(batch);
        let around = Surroundings {
            lengths: lengths.then(|| program.tensor("lengths", &[batch])),
            initial: initial.then(|| program.tensor("initial states", &state_shape)),
            d_state: gradient.then(|| program.tensor("d.states", &state_shape)),
            has_d_last: d_last,
        };
        let weights = self.parameters.slices(values, gradients);
        let (y, last, backward) =
            self.stack
                .emit(&mut program, &weights, x.clone(), around, gradient);
        if gradient {
            backward(&mut program);
        }
        let executable = Executable::new(&self.device, program, &[self.parameters.flat().clone()])?;
        Ok(Compiled {
            executable,
            x,
            y,
            last,
            around,
            gradients,
        })
    }
}

impl Compiled {
    fn write_lengths(&self, lengths: Option<&[usize]>) -> Result<()> {
        let (Some(lengths), Some(slice)) = (lengths, self.around.lengths) else {
            return Ok(());
        };
        // Exact: a tensor of more than 2²⁴ steps does not fit any device.
        let lengths: Vec<f32> = lengths.iter().map(|length| *length as f32).collect();
        let tensor = self.executable.tensor(slice.tensor);
        tensor.write_slice(0, &lengths)
    }

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

    /// Copies between the parts of a state and a tensor `[S, L·D, B, H]`, into the tensor where `load`.
    fn state_copies<'a>(
        &'a self,
        state: Option<&'a State>,
        all: Option<Slice>,
        load: bool,
    ) -> Vec<Copy<'a>> {
        let (Some(state), Some(all)) = (state, all) else {
            return vec![];
        };
        let len = all.len / state.parts.len();
        let copy = |(index, part): (usize, &'a Tensor)| {
            let slice = all.part(index * len, len);
            if load {
                self.input(part, slice)
            } else {
                self.output(slice, part)
            }
        };
        state.parts.iter().enumerate().map(copy).collect()
    }
}
