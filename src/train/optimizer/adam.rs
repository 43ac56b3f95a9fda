//! Adam and AdamW.

use super::{Optimizer, Update, check_epsilon, check_rate, check_share};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

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

    /// The step's numbers, with the decay on gradients and what is kept of weights. Differences are taken in f64, as f32 would lose digits of
    /// 1 − 0.999.
    fn numbers(&self, step: u64, learning_rate: f64, decay: f64, kept: f64) -> Vec<f64> {
        let (beta1, beta2) = self.betas;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        vec![
            learning_rate / correction(beta1),
            beta1,
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            self.epsilon,
            1.0 / correction(beta2).sqrt(),
            decay,
            kept,
        ]
    }
}

impl Optimizer for Adam {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        2
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        self.numbers(step, learning_rate, self.weight_decay, 1.0)
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        let [
            rate,
            beta1,
            rest1,
            beta2,
            rest2,
            epsilon,
            unbiased2,
            decay,
            kept,
        ] = std::array::from_fn(|index| of.scalars[index]);
        let g = of.gradient + decay * of.weight;
        let m = beta1 * of.states[0] + rest1 * g;
        let v = beta2 * of.states[1] + rest2 * g * g;
        (of.states[0], of.states[1]) = (m, v);
        kept * of.weight - rate * m / (v.sqrt() * unbiased2 + epsilon)
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_rate("weight_decay", self.weight_decay)?;
        check_epsilon(self.epsilon)?;
        for (name, beta) in [("betas.0", self.betas.0), ("betas.1", self.betas.1)] {
            check_share(name, beta)?;
        }
        Ok(())
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
}

impl Optimizer for AdamW {
    fn learning_rate(&self) -> f64 {
        self.0.learning_rate
    }

    fn states(&self) -> usize {
        2
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let kept = 1.0 - learning_rate * self.0.weight_decay;
        self.0.numbers(step, learning_rate, 0.0, kept)
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        self.0.update(of)
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }
}
