//! Adadelta.

use super::{Optimizer, Update, check_epsilon, check_rate, check_share};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// Adadelta (Zeiler, 2012; PyTorch's `optim.Adadelta`):
///
/// ```text
/// g += decay·p;  v = ρv + (1−ρ)g²;  d = √(u + ε) / √(v + ε) · g;  u = ρu + (1−ρ)d²;  p −= lr·d
/// ```
///
/// ```
/// use bptt::{Device, nn::{Gru, Sequential}, train::{Adadelta, Trainer}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, Adadelta { rho: 0.95, ..Adadelta::new(1.0) }).build()?;
/// assert_eq!(trainer.learning_rate(), 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// Learning rate. PyTorch's default is 1.
    pub learning_rate: f64,
    /// ρ, what is kept of the means from step to step. Default: 0.9.
    pub rho: f64,
    /// ε. Default: 1e-6.
    pub epsilon: f64,
    /// L2 penalty: decay · weight is added to the gradient. Default: 0.
    pub weight_decay: f64,
}

impl Adadelta {
    /// Adadelta with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            rho: 0.9,
            epsilon: 1e-6,
            weight_decay: 0.0,
        }
    }
}

impl Optimizer for Adadelta {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        2
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        let g = of.gradient + of.weight * self.weight_decay;
        let mean = |before: Expr<'t>, of: Expr<'t>| before * self.rho + of * of * (1.0 - self.rho);
        let root = |mean: Expr<'t>| (mean + self.epsilon).sqrt();
        let v = mean(of.states[0], g);
        let step = root(of.states[1]) / root(v) * g;
        (of.states[0], of.states[1]) = (v, mean(of.states[1], step));
        of.weight - of.scalars[0] * step
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_share("rho", self.rho)?;
        check_epsilon(self.epsilon)?;
        check_rate("weight_decay", self.weight_decay)
    }
}
