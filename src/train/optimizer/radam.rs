//! RAdam.

use super::moments::{EPSILON, Moments, correction};
use super::{Optimizer, Update, check_rate};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// RAdam (Liu et al., 2020; PyTorch's `optim.RAdam`): Adam without the division while too few gradients were seen to know their variance.
/// At step t, with m, v, c₁ and c₂ as of [`Adam`](super::Adam), ρ∞ = 2/(1−β₂) − 1 and ρ = ρ∞ − 2t·β₂ᵗ/c₂:
///
/// ```text
/// r = √((ρ−4)(ρ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρ))
/// p −= lr/c₁ · m · r·√c₂ / (√v + ε) where ρ > 5, else lr/c₁ · m
/// ```
///
/// ```
/// use bptt::{Device, nn::{Gru, Sequential}, train::{RAdam, Trainer}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, RAdam { decoupled: true, weight_decay: 0.01, ..RAdam::new(1e-3) }).build()?;
/// assert_eq!(trainer.learning_rate(), 1e-3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
    /// Learning rate. PyTorch's default is 1e-3.
    pub learning_rate: f64,
    /// β₁ and β₂. Default: 0.9 and 0.999.
    pub betas: (f64, f64),
    /// ε. Default: 1e-8.
    pub epsilon: f64,
    /// The decay of gradients (an L2 penalty) or weights. Default: 0.
    pub weight_decay: f64,
    /// Whether the decay acts on the weights, as AdamW's does. Default: no.
    pub decoupled: bool,
}

impl RAdam {
    /// RAdam with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
        }
    }

    fn moments(&self) -> Moments {
        Moments {
            betas: self.betas,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            decoupled: self.decoupled,
        }
    }

    /// r at a step; none where the variance is not known yet.
    fn rectified(&self, step: u64) -> Option<f64> {
        let (beta, step) = (self.betas.1, step as f64);
        let power = beta.powf(step);
        let all = 2.0 / (1.0 - beta) - 1.0;
        let rho = all - 2.0 * step * power / (1.0 - power);
        let square = (rho - 4.0) * (rho - 2.0) * all / ((all - 4.0) * (all - 2.0) * rho);
        (rho > 5.0).then(|| square.sqrt())
    }
}

impl Optimizer for RAdam {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        2
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let root = correction(self.betas.1, step).sqrt();
        let divided = self.rectified(step).map_or(0.0, |r| r * root);
        [learning_rate / correction(self.betas.0, step), divided]
            .into_iter()
            .chain(self.moments().numbers(step, learning_rate))
            .collect()
    }

    fn update<'t>(&self, mut of: Update<'_, 't>) -> Expr<'t> {
        let (rate, divided) = (of.scalars[0], of.scalars[1]);
        let numbers = &of.scalars[2..];
        let epsilon = numbers[EPSILON];
        let step = Moments::moved(&mut of, numbers);
        let quotient = divided / (step.variance.sqrt() + epsilon);
        let by = divided.where_positive(quotient, divided.constant(1.0));
        step.kept - rate * step.mean * by
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        self.moments().check()
    }
}
