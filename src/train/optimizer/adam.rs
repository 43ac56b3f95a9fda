//! Adam and AdamW.

use super::moments::Moments;
use super::{Optimizer, Update, check_rate};
use crate::error::Result;
use crate::expr::Expr;

/// Adam (Kingma & Ba, 2015), with c = 1 − βᵗ at step t:
///
/// ```text
/// g += decay·p;  m = β₁m + (1−β₁)g;  v = β₂v + (1−β₂)g²;  p −= (lr/c₁)·m / (√v/√c₂ + ε)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Adam {
    /// Learning rate.
    pub learning_rate: f64,
    /// β₁ and β₂. Default: 0.9 and 0.999.
    pub betas: (f64, f64),
    /// ε. Default: 1e-8.
    pub epsilon: f64,
    /// L2 penalty: decay · weight is added to the gradient. Default: 0.
    pub weight_decay: f64,
    /// Whether v is the largest that it has been (AMSGrad: Reddi et al., 2018). Default: no.
    pub amsgrad: bool,
}

/// AdamW (Loshchilov & Hutter, 2019): [`Adam`] whose decay acts on the weights instead of on the gradients, p *= 1 − lr·decay.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct AdamW(Adam);

impl Adam {
    /// Adam with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
        }
    }
    /// Sets β₁ and β₂.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        self.betas = (beta1, beta2);
        self
    }
    /// Sets ε.
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }
    /// Sets the L2 penalty.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
    /// Divides by the largest v so far (AMSGrad).
    pub fn amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    fn moments(&self) -> Moments {
        Moments {
            betas: self.betas,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            decoupled: false,
        }
    }
}

impl Optimizer for Adam {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        2 + usize::from(self.amsgrad)
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        self.moments().scalars(step, learning_rate)
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        self.moments().update(of, self.amsgrad)
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        self.moments().check()
    }
}

impl AdamW {
    /// AdamW with PyTorch's defaults: a decay of 0.01.
    pub fn new(learning_rate: f64) -> Self {
        Self(Adam::new(learning_rate).weight_decay(0.01))
    }
    /// Sets the decay.
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self(self.0.weight_decay(weight_decay))
    }
    /// Sets β₁ and β₂.
    pub fn betas(self, beta1: f64, beta2: f64) -> Self {
        Self(self.0.betas(beta1, beta2))
    }
    /// Sets ε.
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self(self.0.epsilon(epsilon))
    }
    /// Divides by the largest v so far (AMSGrad).
    pub fn amsgrad(self) -> Self {
        Self(self.0.amsgrad())
    }

    fn moments(&self) -> Moments {
        Moments {
            decoupled: true,
            ..self.0.moments()
        }
    }
}

impl Optimizer for AdamW {
    fn learning_rate(&self) -> f64 {
        self.0.learning_rate
    }

    fn states(&self) -> usize {
        self.0.states()
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        self.moments().scalars(step, learning_rate)
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        self.moments().update(of, self.0.amsgrad)
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }
}
