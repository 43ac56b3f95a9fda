//! Training steps.

#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod builder;
mod program;
mod sum;
mod update;

pub use builder::TrainerBuilder;

use self::program::StepProgram;
use self::sum::DeviceSum;
use self::update::Group;
use super::loss::Loss;
use super::metric::Metric;
use super::optimizer::{Optimizer, check_rate};
use crate::Real;
use crate::data::{Batch, Dataset, Sequence};
use crate::error::{Result, check_positive};
use crate::executable::Executable;
use crate::nn::{Compiled, Draw, Execute, Feed, Model, ShapeCache, Signature, signatures};
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;
use crate::tensor::Tensor;
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// A model with a loss and an optimizer.
///
/// A training step (forward, loss, backward through time, clipping, optimizer) is one submit on a GPU, without a wait; the loss is
/// added up on the device and read only by [`Trainer::take_loss`].
///
/// ```
/// use bptt::{Device, data::Batch, nn::{Lstm, Sequential}, train::{Adam, Mse, Trainer}};
/// use ndarray::{Array2, Array3};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).lstm(Lstm::hidden(8)).last_step().linear(1).build(&Device::best(), 42)?;
/// let mut trainer = Trainer::new(model, Adam::new(1e-2)).loss(Mse::mean()).clip_norm(1.0).build()?;
/// let batch = Batch::new(Array3::<f32>::ones((5, 4, 3)), Array2::<f32>::ones((4, 1)));
/// for _ in 0..10 {
///     trainer.step(&batch)?;
/// }
/// println!("mean loss of 10 steps: {}", trainer.take_loss()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer {
    model: Model,
    loss: Box<dyn Loss>,
    /// The optimizer of all weights that are in no other group, then those of groups.
    groups: Vec<Group>,
    learning_rate: f64,
    clip_norm: Option<f64>,
    memory_budget: Option<usize>,
    gradients: Tensor,
    states: Vec<Tensor>,
    clip: Tensor,
    steps: u64,
    seed: u64,
    training_loss: DeviceSum,
    training: ShapeCache<Vec<Signature>, StepProgram>,
    /// What evaluations measure besides the loss, and their sums.
    measured: Vec<String>,
    evaluation_sums: DeviceSum,
    evaluation: ShapeCache<Vec<Signature>, StepProgram>,
    /// The optimizer's step alone, for gradients of the caller's own.
    update: Option<Compiled>,
}

impl Trainer {
    /// Starts to put a trainer together: mean squared error, no clipping.
    #[allow(
        clippy::new_ret_no_self,
        reason = "reads as the start of the trainer it is"
    )]
    pub fn new(model: Model, optimizer: impl Optimizer + 'static) -> TrainerBuilder {
        TrainerBuilder::new(model, Box::new(optimizer))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, without the trainer.
    pub fn into_model(self) -> Model {
        self.model
    }

    /// The optimizer of the weights that are in no group.
    pub fn optimizer(&self) -> &dyn Optimizer {
        self.groups[0].optimizer()
    }

    /// The number of training steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The learning rate of the next step, of the weights that are in no group.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Changes the learning rate from the next step on; those of groups in proportion.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        check_rate("learning_rate", learning_rate)?;
        self.learning_rate = learning_rate;
        Ok(())
    }

    /// The bytes that a training step with such a batch works in, see [`TrainerBuilder::memory_budget`].
    /// Errors as [`Trainer::step`].
    pub fn step_memory(&self, batch: &Batch) -> Result<usize> {
        self.bytes_of_step(&self.feeds(batch)?)
    }

    /// What a training step on a batch of this shape does, and the memory it takes; nothing runs. Errors as [`Trainer::step`].
    pub fn plan(&self, batch: &Batch) -> Result<ExecutionPlan> {
        let feeds = self.feeds(batch)?;
        let plan = |program: &StepProgram| Ok(program.compiled.executable.plan());
        let compile = |_: &_| self.compile_step(&feeds);
        self.training
            .with(self.model.device(), signatures(&feeds), compile, plan)
    }

    /// One training step: changes the weights. On a GPU it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::Argument`](crate::Error::Argument) where the batch does not fit, or the memory
    /// budget is too small; the GPU's errors.
    pub fn step(&mut self, batch: &Batch) -> Result<()> {
        self.step_with(batch, Executable::run_with)
    }

    /// One training step, as [`Trainer::step`], each part of it timed. Waits until it is done.
    /// Errors as [`Trainer::step`] and [`Executable::profile`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile_step(&mut self, batch: &Batch) -> Result<Profile> {
        self.step_with(batch, Executable::profile_with)
    }

    /// One training step, its program run by `execute`.
    fn step_with<R>(&mut self, batch: &Batch, execute: Execute<R>) -> Result<R> {
        let (random, scalars) = ((self.seed, self.steps), self.scalars());
        let compile = |feeds: &[Feed<'_>]| self.compile_step(feeds);
        let result = self.run_on(&self.training, batch, compile, (random, &scalars), execute)?;
        self.steps += 1;
        self.training_loss.examples += batch.examples();
        Ok(result)
    }

    /// Runs the program for a batch's signature, or what is compiled for it.
    fn run_on<R>(
        &self,
        programs: &ShapeCache<Vec<Signature>, StepProgram>,
        batch: &Batch,
        compile: impl FnOnce(&[Feed<'_>]) -> Result<StepProgram>,
        (random, scalars): (Draw, &[f64]),
        execute: Execute<R>,
    ) -> Result<R> {
        let feeds = self.feeds(batch)?;
        let (device, key) = (self.model.device(), signatures(&feeds));
        programs.with(
            device,
            key,
            |_| compile(&feeds),
            |program| {
                program.check(batch)?;
                program.compiled.run(&feeds, random, scalars, &[], execute)
            },
        )
    }

    /// One step of the optimizer with gradients of the caller's own, clipping included. `gradients`: one for each weight, by
    /// name; those of frozen weights have no effect.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a gradient that is missing or one too many,
    /// [`Error::Shape`](crate::Error::Shape) for one of another shape; the GPU's errors.
    pub fn apply_gradients<F: Real>(
        &mut self,
        gradients: &BTreeMap<String, ArrayD<F>>,
    ) -> Result<()> {
        let parameters = self.model.parameters();
        parameters.load_into(&self.gradients, gradients)?;
        for range in self.frozen_ranges() {
            self.gradients
                .write_slice(range.start, &vec![F::zero(); range.len()])?;
        }
        if self.update.is_none() {
            self.update = Some(self.compile_update()?);
        }
        if let Some(update) = &self.update {
            let run = Executable::run_with;
            update.run(&[], (0, 0), &self.scalars(), &[], run)?;
        }
        self.steps += 1;
        Ok(())
    }

    /// The mean loss of the training steps since the last call, weighted by their numbers of examples (sequences, whatever their lengths).
    /// Waits for them.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where there was no step; [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn take_loss_async(&mut self) -> Result<f64> {
        let examples = self.training_loss.examples;
        check_positive("steps since the last take_loss", examples)?;
        Ok(self.training_loss.take().await?[0])
    }

    pub(super) fn reset_loss(&mut self) -> Result<()> {
        self.training_loss.reset()
    }

    /// The mean loss over a data set, in batches of `batch_size`. The weights stay as they are.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an empty data set or a batch size of 0; as [`Trainer::step`].
    pub async fn evaluate_async(&mut self, data: &dyn Dataset, batch_size: usize) -> Result<f64> {
        Ok(self.measure_async(data, batch_size, &[]).await?[0])
    }

    /// The mean loss over a data set, then the value of each metric. Errors as [`Trainer::evaluate_async`].
    pub async fn measure_async(
        &mut self,
        data: &dyn Dataset,
        batch_size: usize,
        metrics: &[&dyn Metric],
    ) -> Result<Vec<f64>> {
        check_positive("batch_size", batch_size)?;
        check_positive("examples", data.len())?;
        let measured: Vec<_> = metrics.iter().map(|metric| format!("{metric:?}")).collect();
        if self.measured != measured {
            self.evaluation_sums = DeviceSum::new(self.model.device(), 1 + metrics.len())?;
            self.evaluation = ShapeCache::default();
            self.measured = measured;
        }
        self.evaluation_sums.reset()?;
        let numbers: Vec<_> = (0..data.len()).collect();
        for numbers in numbers.chunks(batch_size) {
            let batch = data.batch(numbers);
            let compile = |feeds: &[Feed<'_>]| self.compile_evaluation(feeds, metrics);
            let (programs, run) = (&self.evaluation, Executable::run_with);
            self.run_on(programs, &batch, compile, ((0, 0), &[]), run)?;
            self.evaluation_sums.examples += batch.examples();
        }
        let mut values = self.evaluation_sums.take().await?;
        for (value, metric) in values[1..].iter_mut().zip(metrics) {
            *value = metric.value(*value);
        }
        Ok(values)
    }

    /// The gradients of the last step, by weight, before clipping.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn gradients_async<F: Real>(&self) -> Result<BTreeMap<String, ArrayD<F>>> {
        self.model.parameters().read(&self.gradients).await
    }

    /// The global norm of the last step's gradients, before clipping. `None` without clipping, where it is not computed.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn gradient_norm_async(&self) -> Result<Option<f64>> {
        match self.clip_norm {
            Some(_) => Ok(Some(self.clip.read_slice::<f64>(0, 1).await?[0])),
            None => Ok(None),
        }
    }

    /// What a batch feeds, where it fits the model: its inputs, then its target.
    fn feeds<'a>(&self, batch: &'a Batch) -> Result<Vec<Feed<'a>>> {
        let mut feeds: Vec<_> = batch.inputs.iter().map(Sequence::feed).collect();
        self.model.check(&feeds)?;
        let device = self.model.device();
        for (spec, input) in self.model.inputs().iter().zip(&batch.inputs) {
            input.values.check_device(spec.name(), device)?;
        }
        batch.target.check_device("target", device)?;
        feeds.push(Feed::from(&batch.target));
        Ok(feeds)
    }
}
