//! Training steps.

#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod builder;
mod clip;
mod program;
mod rates;
mod snapshot;
mod sum;
mod update;

pub use builder::TrainerBuilder;
pub(super) use snapshot::Snapshot;

use self::program::StepProgram;
use self::sum::DeviceSum;
use self::update::Group;
use super::loss::{Loss, Reduction};
use super::metric::Metric;
use super::optimizer::Optimizer;
use super::reduce::steps_before;
use crate::Real;
use crate::data::{Batch, Dataset, Sequence};
use crate::error::{Error, Result, check_positive, require};
use crate::executable::Executable;
use crate::nn::{Compiled, Draw, Execute, Feed, Model, ShapeCache, Signature, signatures};
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;
use crate::tensor::Tensor;
use crate::waiting::Breaths;
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
    /// The learning rate of each group.
    rates: Vec<f64>,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    error_if_nonfinite: bool,
    memory_budget: Option<usize>,
    gradients: Tensor,
    states: Vec<Tensor>,
    clip: Tensor,
    steps: u64,
    seed: u64,
    /// The sum of losses; behind it the numbers of [`Watch`].
    training_loss: DeviceSum,
    /// The steps done when it was last taken.
    taken_at: u64,
    training: ShapeCache<Vec<Signature>, StepProgram>,
    /// What evaluations measure besides the loss, and their sums.
    measured: Vec<String>,
    evaluation_sums: DeviceSum,
    evaluation: ShapeCache<Vec<Signature>, StepProgram>,
    /// The optimizer's step alone, for gradients of the caller's own.
    update: Option<Compiled>,
    /// What looks for weights and optimizer states that are not finite.
    look: Option<Executable>,
}

/// What errors call the global norm of the gradients.
const NORM: &str = "the gradient norm";

/// What the training's losses have been since they were last taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) loss: f64,
    /// What was not finite first, and how many steps were before that.
    pub(super) nonfinite: Option<(&'static str, u64)>,
    /// Whether [`Trainer::look_for_nonfinite`] found something.
    pub(super) is_broken: bool,
}

/// The numbers behind the sum of the training's losses.
#[derive(Clone, Copy, Debug)]
enum Watch {
    /// Steps before the first loss that was not finite.
    Losses,
    /// Steps before the first gradient norm that was not finite.
    Norms,
    /// Weights and optimizer states that are not finite.
    Broken,
}

impl Watch {
    const COUNT: usize = 3;
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

    /// The number of training steps that the weights and the optimizer's states have had.
    pub fn steps(&self) -> u64 {
        self.steps
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
        let (result, _) =
            self.run_on(&self.training, batch, compile, (random, &scalars), execute)?;
        self.steps += 1;
        self.training_loss.counts[0] += batch.examples() as u64;
        Ok(result)
    }

    /// Runs the program for a batch's signature, or what is compiled for it. Gives the elements of what it measures, too.
    fn run_on<R>(
        &self,
        programs: &ShapeCache<Vec<Signature>, StepProgram>,
        batch: &Batch,
        compile: impl Fn(&[Feed<'_>]) -> Result<StepProgram>,
        (random, scalars): (Draw, &[f64]),
        execute: Execute<R>,
    ) -> Result<(R, Vec<u64>)> {
        let feeds = self.feeds(batch)?;
        let (device, key) = (self.model.device(), signatures(&feeds));
        programs.with(
            device,
            key,
            |_| compile(&feeds),
            |program| {
                program.check(batch)?;
                let result = program
                    .compiled
                    .run(&feeds, random, scalars, &[], execute)?;
                Ok((result, program.elements(batch)))
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
    /// [`Error::Argument`](crate::Error::Argument) where there was no step; [`Error::NonFinite`](crate::Error::NonFinite) as
    /// [`TrainerBuilder::error_if_nonfinite`] says; [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn take_loss_async(&mut self) -> Result<f64> {
        let done = self.training_loss.counts[0] > 0;
        require("steps since the last take_loss", 0, done, "at least 1")?;
        let before = self.taken_at;
        let taken = self.take_async().await?;
        match taken.nonfinite {
            Some((what @ NORM, steps)) if self.error_if_nonfinite => {
                Err(Error::nonfinite(what, before + steps + 1, None))
            }
            _ => Ok(taken.loss),
        }
    }

    /// What the losses have been since they were last taken.
    pub(super) async fn take_async(&mut self) -> Result<Taken> {
        let examples = self.training_loss.counts[0] as f64;
        let (sums, watched) = self.training_loss.take().await?;
        self.taken_at = self.steps;
        let before = |of: Watch| steps_before(watched[of as usize]);
        let losses = before(Watch::Losses).map(|steps| ("the loss", steps));
        let norms = before(Watch::Norms).map(|steps| (NORM, steps));
        // Where both are of one step, the loss is named.
        let first = losses
            .into_iter()
            .chain(norms)
            .min_by_key(|(_, steps)| *steps);
        Ok(Taken {
            loss: sums[0] / examples,
            nonfinite: first,
            is_broken: watched[Watch::Broken as usize] > 0.0,
        })
    }

    pub(super) fn reset_loss(&mut self) -> Result<()> {
        self.taken_at = self.steps;
        self.training_loss.reset()
    }

    /// The loss of a whole data set, in batches of `batch_size`, which does not matter for the result: a mean is the sum over all elements within
    /// their sequences' lengths by their number. The weights stay as they are.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an empty data set or a batch size of 0; as [`Trainer::step`].
    pub async fn evaluate_async(&mut self, data: &dyn Dataset, batch_size: usize) -> Result<f64> {
        Ok(self.measure_async(data, batch_size, &[]).await?[0])
    }

    /// The loss of a data set, then the value of each metric. Errors as [`Trainer::evaluate_async`].
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
            let device = self.model.device();
            self.evaluation_sums = DeviceSum::new(device, 1 + metrics.len(), 0)?;
            self.evaluation = ShapeCache::default();
            self.measured = measured;
        }
        self.evaluation_sums.reset()?;
        let mut breaths = Breaths::new();
        let mut first = 0;
        while first < data.len() {
            let numbers: Vec<_> = (first..data.len()).take(batch_size).collect();
            first += numbers.len();
            let batch = data.batch(&numbers);
            let compile = |feeds: &[Feed<'_>]| self.compile_evaluation(feeds, metrics);
            let (programs, run) = (&self.evaluation, Executable::run_with);
            let (_, elements) = self.run_on(programs, &batch, compile, ((0, 0), &[]), run)?;
            let counts = self.evaluation_sums.counts.iter_mut().zip(elements);
            counts.for_each(|(count, more)| *count += more);
            self.model.device().breathe(&mut breaths).await?;
        }
        let counts = self.evaluation_sums.counts.clone();
        let (mut values, _) = self.evaluation_sums.take().await?;
        let mean = |(value, count): (&mut f64, &u64)| *value /= (*count).max(1) as f64;
        // The sum of a loss stays one.
        let sums = usize::from(self.loss.reduction() == Reduction::Sum);
        values[sums..]
            .iter_mut()
            .zip(&counts[sums..])
            .for_each(mean);
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
    /// [`Error::NonFinite`](crate::Error::NonFinite) as [`TrainerBuilder::error_if_nonfinite`] says;
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn gradient_norm_async(&self) -> Result<Option<f64>> {
        if self.clip_norm.is_none() {
            return Ok(None);
        }
        let norm = self.clip.read_slice::<f64>(0, 1).await?[0];
        match self.error_if_nonfinite && !norm.is_finite() {
            true => Err(Error::nonfinite(NORM, self.steps, None)),
            false => Ok(Some(norm)),
        }
    }

    /// What a batch feeds, where it fits the model: its inputs, then its target.
    fn feeds<'a>(&self, batch: &'a Batch) -> Result<Vec<Feed<'a>>> {
        let mut feeds: Vec<_> = batch.inputs.iter().map(Sequence::feed).collect();
        self.model.check(&feeds)?;
        batch.target.check_device("target", self.model.device())?;
        feeds.push(Feed::from(&batch.target));
        Ok(feeds)
    }
}
