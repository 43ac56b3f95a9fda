//! How gradients change weights. Everything as in PyTorch's `torch.optim`.

use crate::error::{Error, Result};
use crate::program::{self, Program, Slice};

/// Stochastic gradient descent, with momentum, Nesterov's look-ahead and L2 weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub learning_rate: f64,
    /// Momentum. Default: 0.
    pub momentum: f64,
    /// Whether the momentum looks ahead. Default: no.
    pub nesterov: bool,
    /// L2 penalty: decay · weight is added to the gradient. Default: 0.
    pub weight_decay: f64,
}

impl Sgd {
    /// Plain gradient descent.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }
    }
    /// Sets the momentum, commonly 0.9.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }
    /// Looks ahead (Nesterov). Needs momentum.
    #[must_use]
    pub fn nesterov(self) -> Self {
        Self {
            nesterov: true,
            ..self
        }
    }
    /// Sets the L2 penalty.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self {
            weight_decay,
            ..self
        }
    }
}

/// Adam (Kingma & Ba, 2015), and AdamW (Loshchilov & Hutter, 2019) by [`Adam::decoupled`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub learning_rate: f64,
    /// β₁ and β₂. Default: 0.9 and 0.999.
    pub betas: (f64, f64),
    /// ε. Default: 1e-8.
    pub epsilon: f64,
    /// Weight decay. Default: 0.
    pub weight_decay: f64,
    /// Whether the decay acts on the weights (AdamW) instead of on the gradients (L2). Default: no.
    pub decoupled: bool,
}

impl Adam {
    /// Adam with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
        }
    }
    /// AdamW with a decay, PyTorch's default being 0.01.
    pub fn decoupled(learning_rate: f64, weight_decay: f64) -> Self {
        Self {
            weight_decay,
            decoupled: true,
            ..Self::new(learning_rate)
        }
    }
    /// Sets β₁ and β₂.
    #[must_use]
    pub fn betas(self, beta1: f64, beta2: f64) -> Self {
        Self {
            betas: (beta1, beta2),
            ..self
        }
    }
    /// Sets ε.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }
    /// Sets the L2 penalty.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self {
            weight_decay,
            ..self
        }
    }
}

/// An optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam or AdamW.
    Adam(Adam),
}

impl From<Sgd> for Optimizer {
    fn from(optimizer: Sgd) -> Self {
        Self::Sgd(optimizer)
    }
}

impl From<Adam> for Optimizer {
    fn from(optimizer: Adam) -> Self {
        Self::Adam(optimizer)
    }
}

fn check(name: &str, value: f64, fits: bool, expected: &str) -> Result<()> {
    if fits {
        Ok(())
    } else {
        Err(Error::argument(name, value, expected))
    }
}

impl Optimizer {
    /// The learning rate.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.learning_rate,
            Self::Adam(adam) => adam.learning_rate,
        }
    }

    /// Changes the learning rate.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        match self {
            Self::Sgd(sgd) => sgd.learning_rate = learning_rate,
            Self::Adam(adam) => adam.learning_rate = learning_rate,
        }
    }

    /// `Ok` where every number is in its range.
    pub(crate) fn check(&self) -> Result<()> {
        let rate = self.learning_rate();
        check(
            "learning_rate",
            rate,
            rate.is_finite() && rate >= 0.0,
            "a finite number, at least 0",
        )?;
        let decay = match self {
            Self::Sgd(sgd) => sgd.weight_decay,
            Self::Adam(adam) => adam.weight_decay,
        };
        check(
            "weight_decay",
            decay,
            decay.is_finite() && decay >= 0.0,
            "a finite number, at least 0",
        )?;
        match self {
            Self::Sgd(sgd) => {
                let momentum = sgd.momentum;
                check(
                    "momentum",
                    momentum,
                    momentum.is_finite() && momentum >= 0.0,
                    "a finite number, at least 0",
                )?;
                check(
                    "momentum",
                    momentum,
                    !sgd.nesterov || momentum > 0.0,
                    "more than 0 for Nesterov's step",
                )
            }
            Self::Adam(adam) => {
                let (beta1, beta2) = adam.betas;
                check(
                    "betas.0",
                    beta1,
                    (0.0..1.0).contains(&beta1),
                    "at least 0 and less than 1",
                )?;
                check(
                    "betas.1",
                    beta2,
                    (0.0..1.0).contains(&beta2),
                    "at least 0 and less than 1",
                )?;
                check(
                    "epsilon",
                    adam.epsilon,
                    adam.epsilon.is_finite() && adam.epsilon >= 0.0,
                    "at least 0",
                )
            }
        }
    }

    /// How many tensors like the weights it keeps.
    pub(crate) fn states(&self) -> usize {
        match self {
            Self::Sgd(sgd) => usize::from(sgd.momentum != 0.0),
            Self::Adam(_) => 2,
        }
    }

    /// How many numbers [`Optimizer::scalars`] gives.
    pub(crate) fn scalar_count(&self) -> usize {
        match self {
            Self::Sgd(_) => 3,
            Self::Adam(_) => 9,
        }
    }

    /// The numbers a step takes, which change from step to step. `step` counts from 1.
    pub(crate) fn scalars(&self, step: u64) -> Vec<f64> {
        match self {
            Self::Sgd(sgd) => vec![sgd.learning_rate, sgd.momentum, sgd.weight_decay],
            Self::Adam(adam) => {
                let (beta1, beta2) = adam.betas;
                let correction = |beta: f64| 1.0 - beta.powf(step as f64);
                let (on_gradient, on_weight) = if adam.decoupled {
                    (0.0, adam.weight_decay)
                } else {
                    (adam.weight_decay, 0.0)
                };
                vec![
                    adam.learning_rate / correction(beta1),
                    beta1,
                    1.0 - beta1,
                    beta2,
                    1.0 - beta2,
                    adam.epsilon,
                    correction(beta2).sqrt(),
                    on_gradient,
                    1.0 - adam.learning_rate * on_weight,
                ]
            }
        }
    }

    /// Writes the step. `states`: as many as [`Optimizer::states`].
    pub(crate) fn emit(&self, program: &mut Program, step: Step<'_>) {
        let Step {
            parameter,
            gradient,
            states,
            scalars,
            clip,
        } = step;
        match self {
            Self::Sgd(sgd) => program.push(program::Sgd {
                parameter,
                gradient,
                momentum: states.first().copied(),
                nesterov: sgd.nesterov,
                scalars,
                clip,
            }),
            Self::Adam(_) => program.push(program::Adam {
                parameter,
                gradient,
                first_moment: states[0],
                second_moment: states[1],
                scalars,
                clip,
            }),
        }
    }
}

/// What an optimizer's step works on, all weights in one slice.
pub(crate) struct Step<'a> {
    pub(crate) parameter: Slice,
    pub(crate) gradient: Slice,
    pub(crate) states: &'a [Slice],
    pub(crate) scalars: Slice,
    pub(crate) clip: Option<Slice>,
}
