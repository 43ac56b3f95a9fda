//! Adagrad.

use super::{Optimizer, Update, check_epsilon, check_rate};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// Adagrad (Duchi et al., 2011; PyTorch's `optim.Adagrad`), at step t, which counts from 1:
///
/// ```text
/// g += decay·p;  s += g²;  p −= lr / (1 + (t−1)·rate_decay) · g / (√s + ε)
/// ```
///
/// ```
/// use bptt::{Device, nn::{Gru, Sequential}, train::{Adagrad, Trainer}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, Adagrad { initial: 0.1, ..Adagrad::new(1e-2) }).build()?;
/// assert_eq!(trainer.learning_rate(), 1e-2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Learning rate. PyTorch's default is 1e-2.
    pub learning_rate: f64,
    /// How fast the rate decays with steps. Default: 0.
    pub rate_decay: f64,
    /// L2 penalty: decay · weight is added to the gradient. Default: 0.
    pub weight_decay: f64,
    /// What the sums s of squares begin with. Default: 0.
    pub initial: f64,
    /// ε. Default: 1e-10.
    pub epsilon: f64,
}

impl Adagrad {
    /// Adagrad with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            rate_decay: 0.0,
            weight_decay: 0.0,
            initial: 0.0,
            epsilon: 1e-10,
        }
    }
}

impl Optimizer for Adagrad {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        1
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let done = step.saturating_sub(1) as f64;
        vec![learning_rate / (1.0 + done * self.rate_decay)]
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        let g = of.gradient + of.weight * self.weight_decay;
        // States begin with zeros, so what the sums begin with is added where they are used.
        of.states[0] += g * g;
        let sum = of.states[0] + self.initial;
        of.weight - of.scalars[0] * (g / (sum.sqrt() + self.epsilon))
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_rate("rate_decay", self.rate_decay)?;
        check_rate("weight_decay", self.weight_decay)?;
        check_rate("initial", self.initial)?;
        check_epsilon(self.epsilon)
    }
}
