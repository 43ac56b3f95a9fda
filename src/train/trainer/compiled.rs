//! The programs of training steps and evaluations: written and compiled for a batch's shape, then run.

use super::Trainer;
use crate::data::Batch;
use crate::error::Result;
use crate::executable::{Copy, Executable};
use crate::nn::{Mode, Value, budget};
use crate::profile::ExecutionPlan;
use crate::program::{ClipNorm, Slice, TensorId};
use crate::train::loss::Loss;
use crate::train::optimizer::Step;
use crate::train::shared::Externals;

/// A program for one shape.
#[derive(Debug)]
pub(super) struct Compiled {
    executable: Executable,
    places: Places,
}

/// Where its inputs are.
#[derive(Debug)]
pub(super) struct Places {
    mode: Mode,
    x: TensorId,
    target: TensorId,
    /// What each step of each row counts, where that depends on the lengths, and the model's output's shape.
    row_weights: Option<(TensorId, Vec<usize>)>,
}

impl Compiled {
    /// Runs the program with what a batch needs written or copied first, by `execute`.
    fn run<R>(
        &self,
        batch: &Batch,
        loss: &Loss,
        random: (u64, u64),
        execute: impl FnOnce(&Executable, &[Copy<'_>]) -> Result<R>,
    ) -> Result<R> {
        let Self { executable, places } = self;
        let lengths = batch.lengths.as_deref();
        places.mode.write(executable, lengths, Some(random))?;
        if let (Some((id, output)), Some(lengths)) = (&places.row_weights, lengths) {
            let weights = loss.row_weights(output, lengths);
            executable.tensor(*id).write_slice(0, &weights)?;
        }
        let x = batch.x.load(executable.tensor(places.x))?;
        let target = batch.target.load(executable.tensor(places.target))?;
        let copies: Vec<_> = x.into_iter().chain(target).collect();
        execute(executable, &copies)
    }
}

/// T, B and whether there are lengths: what a batch's program is compiled for.
fn key(batch: &Batch) -> (usize, usize, bool) {
    let shape = batch.x.shape();
    (shape[0], shape[1], batch.lengths.is_some())
}

impl Trainer {
    /// Runs the program for a batch's shape, by `execute`.
    pub(super) fn run<R>(
        &self,
        batch: &Batch,
        train: bool,
        execute: impl FnOnce(&Executable, &[Copy<'_>]) -> Result<R>,
    ) -> Result<R> {
        let random = (self.seed, self.steps);
        let cache = if train {
            &self.training
        } else {
            &self.evaluation
        };
        let compile = || self.compile(batch, train);
        cache.with(self.model.device(), key(batch), compile, |compiled| {
            compiled.run(batch, &self.loss, random, execute)
        })
    }

    /// The plan of a training step.
    pub(in crate::train) fn training_plan(&self, batch: &Batch) -> Result<ExecutionPlan> {
        self.check(batch)?;
        let compile = || self.compile(batch, true);
        let plan = |compiled: &Compiled| Ok(compiled.executable.plan());
        self.training
            .with(self.model.device(), key(batch), compile, plan)
    }

    fn compile(&self, batch: &Batch, train: bool) -> Result<Compiled> {
        let (externals, places) = self.write_within_budget(batch, train)?;
        let executable = externals.compile(self.model.device())?;
        Ok(Compiled { executable, places })
    }

    pub(super) fn write_within_budget(
        &self,
        batch: &Batch,
        train: bool,
    ) -> Result<(Externals, Places)> {
        let memory_budget = self.memory_budget.filter(|_| train);
        let write = |segment| self.write(batch, train, segment);
        let (device, steps) = (self.model.device(), batch.x.shape()[0]);
        budget::within(memory_budget, device, steps, write, |written| {
            &written.0.program
        })
    }

    /// Writes the program for a batch's shape; `segment`: the steps of a part of a recurrence.
    fn write(&self, batch: &Batch, train: bool, segment: Option<usize>) -> (Externals, Places) {
        let mut externals = Externals::default();
        let parameters = self.model.parameters();
        let values = externals.add("the weights", parameters.flat());
        let gradient = train.then(|| externals.add("the gradients", &self.gradients));
        let sum = if train {
            &self.training_loss
        } else {
            &self.evaluation_loss
        };
        let loss = externals.add("the loss", &sum.sum);
        let shape = batch.x.shape();
        let lengths = batch.lengths.as_ref().map(|_| shape[1]);
        let random = train && self.model.is_random();
        let mode = Mode::new(&mut externals.program, train, lengths, random).segment(segment);
        // The input's own gradient is not wanted, so that the first layer need not compute it.
        let x = Value::new(&mut externals.program, "x", shape, false).keep(&mut externals.program);
        let target = externals.program.tensor("target", batch.target.shape());
        let ids = (x.slice.tensor, target.tensor);
        let weights = parameters.slices(values, gradient);
        let program = &mut externals.program;
        let (output, backward) = self.model.emit(program, &weights, x, mode);
        let every_step = output.shape.len() == 3;
        let row_weights = lengths.filter(|_| every_step).map(|batch| {
            let shape = [shape[0], batch];
            program.tensor("weights of steps", &shape)
        });
        self.loss
            .emit(program, &output, target, loss, shape[1], row_weights);
        if let Some(gradient) = gradient {
            backward(&mut externals.program);
            self.emit_update(&mut externals, values, gradient);
        }
        let places = Places {
            mode,
            x: ids.0,
            target: ids.1,
            row_weights: row_weights.map(|weights| (weights.tensor, output.shape)),
        };
        (externals, places)
    }

    /// Writes clipping and the optimizer's step.
    pub(super) fn emit_update(&self, externals: &mut Externals, values: Slice, gradient: Slice) {
        let clip = self.clip_norm.map(|max_norm| {
            let clip = externals.add("the gradient norm", &self.clip);
            externals.program.push(ClipNorm {
                gradient,
                max_norm,
                clip,
            });
            clip
        });
        let scalars = externals.add("the optimizer's numbers", &self.scalars);
        let states: Vec<_> = self
            .states
            .iter()
            .map(|state| externals.add("the optimizer's state", state))
            .collect();
        let step = Step {
            parameter: values,
            gradient,
            states: &states,
            scalars,
            clip,
        };
        self.optimizer.emit(&mut externals.program, step);
    }
}
