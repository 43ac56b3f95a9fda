//! Training steps.

#[cfg(not(target_arch = "wasm32"))]
mod blocking;
mod compiled;

use self::compiled::Compiled;
use super::loss::Loss;
use super::optimizer::Optimizer;
use super::shared::{Externals, LossSum};
use crate::Real;
use crate::data::{Batch, Dataset, Values};
use crate::error::{Error, Result, check_positive};
use crate::executable::{Copy, Executable};
use crate::nn::{Sequential, ShapeCache, budget, check_lengths};
use crate::tensor::Tensor;
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// A model with a loss and an optimizer.
///
/// A training step (forward, loss, backward through time, clipping, optimizer) is one submit on a GPU, without a wait; the loss is
/// added up on the device and read only by [`Trainer::take_loss`].
///
/// ```
/// use bptt::{Device, data::Batch, nn::{LstmConfig, Sequential}, train::{Adam, Mse, Trainer}};
/// use ndarray::{Array2, Array3};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).lstm(LstmConfig::hidden(8)).last_step().linear(1).build(&Device::best(), 42)?;
/// let mut trainer = Trainer::new(model, Adam::new(1e-2))?.loss(Mse::mean())?.clip_norm(1.0)?;
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
    model: Sequential,
    loss: Loss,
    optimizer: Optimizer,
    clip_norm: Option<f64>,
    memory_budget: Option<usize>,
    gradients: Tensor,
    states: Vec<Tensor>,
    scalars: Tensor,
    clip: Tensor,
    steps: u64,
    seed: u64,
    training_loss: LossSum,
    evaluation_loss: LossSum,
    /// By T, B and whether there are lengths.
    training: ShapeCache<(usize, usize, bool), Compiled>,
    evaluation: ShapeCache<(usize, usize, bool), Compiled>,
    /// The optimizer's step alone, for gradients of the caller's own.
    update: Option<Executable>,
}

impl Trainer {
    /// Mean squared error, no clipping.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number of the optimizer outside its range; [`Error::OutOfMemory`].
    pub fn new(model: Sequential, optimizer: impl Into<Optimizer>) -> Result<Self> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        let device = model.device();
        let weights = model.parameters().flat().shape().to_vec();
        Ok(Self {
            loss: Loss::default(),
            clip_norm: None,
            memory_budget: None,
            gradients: Tensor::named(device, "the gradients", &weights)?,
            states: (0..optimizer.states())
                .map(|_| Tensor::named(device, "the optimizer's state", &weights))
                .collect::<Result<_>>()?,
            scalars: Tensor::named(
                device,
                "the optimizer's numbers",
                &[optimizer.scalar_count()],
            )?,
            clip: Tensor::named(device, "the gradient norm", &[2])?,
            steps: 0,
            seed: 0,
            training_loss: LossSum::new(device)?,
            evaluation_loss: LossSum::new(device)?,
            training: ShapeCache::default(),
            evaluation: ShapeCache::default(),
            update: None,
            optimizer,
            model,
        })
    }

    /// Sets the loss. Default: mean squared error.
    ///
    /// # Errors
    /// [`Error::Argument`] for cross-entropy on a model that ends in softmax: the loss applies softmax itself.
    pub fn loss(self, loss: impl Into<Loss>) -> Result<Self> {
        let loss = loss.into();
        if matches!(loss, Loss::SoftmaxCrossEntropy(_)) && self.model.ends_in_softmax() {
            return Err(Error::argument(
                "loss",
                "cross-entropy of softmax",
                "a model without softmax at its end",
            ));
        }
        Ok(Self {
            loss,
            training: ShapeCache::default(),
            evaluation: ShapeCache::default(),
            ..self
        })
    }

    /// Scales all gradients down so that their global norm is at most `max_norm` (PyTorch's `clip_grad_norm_`). Default: no
    /// clipping.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is not a positive number.
    pub fn clip_norm(self, max_norm: f64) -> Result<Self> {
        if !(max_norm.is_finite() && max_norm > 0.0) {
            return Err(Error::argument(
                "max_norm",
                max_norm,
                "a finite number above 0",
            ));
        }
        Ok(Self {
            clip_norm: Some(max_norm),
            training: ShapeCache::default(),
            update: None,
            ..self
        })
    }

    /// Holds the memory that a training step works in to this many bytes; `None` for no bound. Default: none.
    ///
    /// It counts the batch, all activations and their gradients, as many bytes as [`Trainer::step_memory`] says; not the weights, their
    /// gradients and the optimizer's states, which a trainer has anyway, nor what a device keeps besides (weights packed
    /// for its kernels). Without a budget every value of a recurrent layer that its backward pass reads is kept for all T steps. Where
    /// that is too much, a layer's time is cut into segments, as few as fit: the forward pass keeps y and the states between them,
    /// and the backward pass computes each segment's steps once more (gradient checkpointing: Chen et al., 2016; Gruslys et al., 2016).
    /// Gradients are the same but for the order of their sums. Segments are never much shorter than √T, so y, its gradient
    /// and the batch are most of what is left, and the time is that of up to one forward pass more.
    ///
    /// A step whose least is above the budget gives an [`Error::Argument`] that says how much it is.
    #[must_use]
    pub fn memory_budget(self, bytes: impl Into<Option<usize>>) -> Self {
        Self {
            memory_budget: bytes.into(),
            training: ShapeCache::default(),
            ..self
        }
    }

    /// Sets the seed of what is dropped at random, which is a function of it and the number of the step. Default: 0.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The model.
    pub fn model(&self) -> &Sequential {
        &self.model
    }

    /// The model, without the trainer.
    pub fn into_model(self) -> Sequential {
        self.model
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The number of training steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Changes the learning rate from the next step on.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let mut optimizer = self.optimizer;
        optimizer.set_learning_rate(learning_rate);
        optimizer.check()?;
        self.optimizer = optimizer;
        Ok(())
    }

    /// The bytes that a training step with such a batch works in, see [`Trainer::memory_budget`].
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_memory(&self, batch: &Batch) -> Result<usize> {
        self.check(batch)?;
        let (externals, _) = self.write_within_budget(batch, true)?;
        budget::bytes(&externals.program, self.model.device())
    }

    /// One training step: changes the weights. On a GPU it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] where the batch does not fit, or the memory budget is too small; the GPU's errors.
    pub fn step(&mut self, batch: &Batch) -> Result<()> {
        self.step_with(batch, |executable, copies| executable.run_with(copies, &[]))
    }

    /// One training step, its program run by `execute`.
    pub(super) fn step_with<R>(
        &mut self,
        batch: &Batch,
        execute: impl FnOnce(&Executable, &[Copy<'_>]) -> Result<R>,
    ) -> Result<R> {
        self.check(batch)?;
        self.scalars
            .write_slice(0, &self.optimizer.scalars(self.steps + 1))?;
        let result = self.run(batch, true, execute)?;
        self.steps += 1;
        self.training_loss.examples += batch.x.shape()[1];
        Ok(result)
    }

    /// One step of the optimizer with gradients of the caller's own, clipping included, as by a loss this crate does not have.
    /// `gradients`: one for each weight, by name.
    ///
    /// # Errors
    /// [`Error::Argument`] for a gradient that is missing or one too many, [`Error::Shape`] for one of another shape; the GPU's
    /// errors.
    pub fn apply_gradients<F: Real>(
        &mut self,
        gradients: &BTreeMap<String, ArrayD<F>>,
    ) -> Result<()> {
        self.model
            .parameters()
            .load_into(&self.gradients, gradients)?;
        if self.update.is_none() {
            let mut externals = Externals::default();
            let values = externals.add("the weights", self.model.parameters().flat());
            let gradient = externals.add("the gradients", &self.gradients);
            self.emit_update(&mut externals, values, gradient);
            self.update = Some(externals.compile(self.model.device())?);
        }
        self.scalars
            .write_slice(0, &self.optimizer.scalars(self.steps + 1))?;
        if let Some(update) = &self.update {
            update.run()?;
        }
        self.steps += 1;
        Ok(())
    }

    /// The mean loss of the training steps since the last call, weighted by their numbers of examples (sequences, whatever their lengths).
    /// Waits for them.
    ///
    /// # Errors
    /// [`Error::Argument`] where there was no step; [`Error::DeviceLost`].
    pub async fn take_loss_async(&mut self) -> Result<f64> {
        self.training_loss.take().await
    }

    pub(super) fn reset_loss(&mut self) -> Result<()> {
        self.training_loss.reset()
    }

    /// The mean loss over a data set, in batches of `batch_size`. The weights stay as they are.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty data set or a batch size of 0; as [`Trainer::step`].
    pub async fn evaluate_async(&mut self, data: &dyn Dataset, batch_size: usize) -> Result<f64> {
        check_positive("batch_size", batch_size)?;
        check_positive("examples", data.len())?;
        self.evaluation_loss.reset()?;
        let numbers: Vec<_> = (0..data.len()).collect();
        for numbers in numbers.chunks(batch_size) {
            let batch = data.batch(numbers);
            self.check(&batch)?;
            self.run(&batch, false, |executable, copies| {
                executable.run_with(copies, &[])
            })?;
            self.evaluation_loss.examples += batch.x.shape()[1];
        }
        self.evaluation_loss.take().await
    }

    /// The gradients of the last step, by weight, before clipping.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn gradients_async<F: Real>(&self) -> Result<BTreeMap<String, ArrayD<F>>> {
        self.model.parameters().read(&self.gradients).await
    }

    /// The global norm of the last step's gradients, before clipping. `None` without clipping, where it is not computed.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn gradient_norm_async(&self) -> Result<Option<f64>> {
        match self.clip_norm {
            Some(_) => Ok(Some(self.clip.read_slice::<f64>(0, 1).await?[0])),
            None => Ok(None),
        }
    }

    /// `Ok` where a batch fits the model and the loss.
    fn check(&self, batch: &Batch) -> Result<()> {
        let output = self.model.output_shape(batch.x.shape())?;
        batch.x.check_floats("x")?;
        if let Some(lengths) = &batch.lengths {
            check_lengths(lengths, batch.x.shape()[0], batch.x.shape()[1])?;
        }
        self.loss
            .check(&batch.target, &output, batch.lengths.as_deref())?;
        for (name, values) in [("x", &batch.x), ("target", &batch.target)] {
            if let Values::Tensor(tensor) = values {
                tensor.check_device(name, self.model.device())?;
            }
        }
        Ok(())
    }
}
