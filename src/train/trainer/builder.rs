//! How a trainer is put together.

use super::sum::DeviceSum;
use super::update::{Group, assign};
use super::{Trainer, Watch};
use crate::error::{Result, check_above_zero, require};
use crate::nn::{Model, ShapeCache};
use crate::tensor::Tensor;
use crate::train::loss::{Loss, Mse};
use crate::train::optimizer::Optimizer;

/// The parts of a [`Trainer`]. Errors wait until [`TrainerBuilder::build`].
#[derive(Debug)]
#[must_use]
pub struct TrainerBuilder {
    model: Model,
    loss: Box<dyn Loss>,
    groups: Vec<Group>,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    error_if_nonfinite: bool,
    memory_budget: Option<usize>,
    seed: u64,
}

impl TrainerBuilder {
    pub(super) fn new(model: Model, optimizer: Box<dyn Optimizer>) -> Self {
        Self {
            model,
            loss: Box::new(Mse::mean()),
            groups: vec![Group::new("", Some(optimizer))],
            clip_norm: None,
            clip_value: None,
            error_if_nonfinite: false,
            memory_budget: None,
            seed: 0,
        }
    }

    /// Sets the loss. Default: mean squared error.
    pub fn loss(mut self, loss: impl Loss + 'static) -> Self {
        self.loss = Box::new(loss);
        self
    }

    /// Gives the weights whose names start with a prefix an optimizer of their own: another rate, another decay. Of several
    /// groups that fit, the first counts.
    pub fn group(mut self, prefix: impl Into<String>, optimizer: impl Optimizer + 'static) -> Self {
        self.groups
            .push(Group::new(prefix, Some(Box::new(optimizer))));
        self
    }

    /// Excludes the weights whose names start with a prefix from training: they get no gradient and do not change.
    pub fn freeze(mut self, prefix: impl Into<String>) -> Self {
        self.groups.push(Group::new(prefix, None));
        self
    }

    /// Scales all gradients down so that their global norm is at most `max_norm` (PyTorch's `clip_grad_norm_`). Default: no
    /// clipping.
    ///
    /// The norm is right wherever it is a number of the device's precision, however large or small the gradients are. Where it is none (a gradient is
    /// infinite or NaN, or the norm is past the largest number), all weights become NaN, on every device, and
    /// [`Trainer::gradient_norm`] says so; unless [`TrainerBuilder::error_if_nonfinite`] is set. A [`Fit`](crate::train::Fit) ends with an error.
    pub fn clip_norm(mut self, max_norm: f64) -> Self {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Cuts every gradient off at ±`most` (PyTorch's `clip_grad_value_`), behind [`TrainerBuilder::clip_norm`] where both are asked for; NaN stays.
    /// Default: not.
    pub fn clip_value(mut self, most: f64) -> Self {
        self.clip_value = Some(most);
        self
    }

    /// Lets a step whose gradient norm is not finite leave weights and optimizer states as they are, and makes it an error (PyTorch's
    /// `error_if_nonfinite`): [`Error::NonFinite`](crate::Error::NonFinite), which names the step, of the next [`Trainer::take_loss`] or
    /// [`Trainer::gradient_norm`], as a step does not wait. Wants [`TrainerBuilder::clip_norm`]. Default: not.
    pub fn error_if_nonfinite(mut self, error: bool) -> Self {
        self.error_if_nonfinite = error;
        self
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
    /// A step whose least is above the budget gives an [`Error::Argument`](crate::Error::Argument) that says how much it is.
    pub fn memory_budget(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.memory_budget = bytes.into();
        self
    }

    /// Sets the seed of what is dropped at random, which is a function of it and the number of the step. Default: 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The trainer.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a number outside its range, or a group that fits no weight;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn build(self) -> Result<Trainer> {
        let Self {
            model, mut groups, ..
        } = self;
        groups.iter().try_for_each(Group::check)?;
        self.loss.check()?;
        if let Some(norm) = self.clip_norm {
            check_above_zero("max_norm", norm)?;
        }
        if let Some(most) = self.clip_value {
            check_above_zero("clip_value", most)?;
        }
        let has_norm = self.clip_norm.is_some() || !self.error_if_nonfinite;
        let expected = "unset without clip_norm, which computes the norm";
        require("error_if_nonfinite", "set", has_norm, expected)?;
        assign(&mut groups, model.parameters())?;
        let device = model.device();
        let weights = model.parameters().flat().shape().to_vec();
        let states = groups.iter().map(Group::states).max().unwrap_or(0);
        let state = |_| Tensor::named(device, "the optimizer's state", &weights);
        Ok(Trainer {
            loss: self.loss,
            rates: groups.iter().map(Group::own_rate).collect(),
            groups,
            clip_norm: self.clip_norm,
            clip_value: self.clip_value,
            error_if_nonfinite: self.error_if_nonfinite,
            memory_budget: self.memory_budget,
            gradients: Tensor::named(device, "the gradients", &weights)?,
            states: (0..states).map(state).collect::<Result<_>>()?,
            clip: Tensor::named(device, "the gradient norm", &[3])?,
            steps: 0,
            seed: self.seed,
            training_loss: DeviceSum::new(device, 1, Watch::COUNT)?,
            taken_at: 0,
            training: ShapeCache::default(),
            measured: vec![],
            evaluation_sums: DeviceSum::new(device, 1, 0)?,
            evaluation: ShapeCache::default(),
            update: None,
            look: None,
            model,
        })
    }
}
