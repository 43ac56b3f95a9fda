//! NAdam.

use super::moments::{EPSILON, Moments};
use super::{Optimizer, Update, check_rate};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// NAdam (Dozat, 2016; PyTorch's `optim.NAdam`): Adam with Nesterov's look-ahead. At step t, with μₜ = β₁(1 − 0.96^(t·ψ)/2), M the product
/// of μ₁ … μₜ, and m, v and c₂ as of [`Adam`](super::Adam):
///
/// ```text
/// p −= lr · ((1−μₜ)/(1−M)·g + μₜ₊₁/(1−M·μₜ₊₁)·m) / (√v/√c₂ + ε)
/// ```
///
/// ```
/// use bptt::{Device, nn::{Gru, Sequential}, train::{NAdam, Trainer}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, NAdam { momentum_decay: 0.01, ..NAdam::new(2e-3) }).build()?;
/// assert_eq!(trainer.learning_rate(), 2e-3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// Learning rate. PyTorch's default is 2e-3.
    pub learning_rate: f64,
    /// β₁ and β₂. Default: 0.9 and 0.999.
    pub betas: (f64, f64),
    /// ε. Default: 1e-8.
    pub epsilon: f64,
    /// The decay of gradients (an L2 penalty) or weights. Default: 0.
    pub weight_decay: f64,
    /// Whether the decay acts on the weights, as AdamW's does. Default: no.
    pub decoupled: bool,
    /// ψ, how fast the momentum grows to β₁. Default: 4e-3.
    pub momentum_decay: f64,
}

impl NAdam {
    /// NAdam with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            momentum_decay: 4e-3,
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

    /// μₜ, μₜ₊₁, and the product of all up to μₜ.
    fn momenta(&self, step: u64) -> [f64; 3] {
        let shrinks = 0.96_f64.powf(self.momentum_decay);
        let momentum = |power: f64| self.betas.0 * (1.0 - 0.5 * power);
        let at = |step: f64| momentum(0.96_f64.powf(step * self.momentum_decay));
        let (mut power, mut product) = (1.0, 1.0);
        for _ in 0..step {
            power *= shrinks;
            product *= momentum(power);
            // What is left is nothing beside 1.
            if product < 1e-20 {
                break;
            }
        }
        [at(step as f64), at(step as f64 + 1.0), product]
    }
}

impl Optimizer for NAdam {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        2
    }

    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let [now, next, product] = self.momenta(step);
        let own = [
            learning_rate * (1.0 - now) / (1.0 - product),
            learning_rate * next / (1.0 - product * next),
        ];
        own.into_iter()
            .chain(self.moments().numbers(step, learning_rate))
            .collect()
    }

    fn update<'t>(&self, mut of: Update<'_, 't>) -> Expr<'t> {
        let (of_gradient, of_mean) = (of.scalars[0], of.scalars[1]);
        let numbers = &of.scalars[2..];
        let epsilon = numbers[EPSILON];
        let step = Moments::moved(&mut of, numbers);
        let by = step.variance.sqrt() * step.unbiased + epsilon;
        step.kept - of_gradient * step.gradient / by - of_mean * step.mean / by
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_rate("momentum_decay", self.momentum_decay)?;
        self.moments().check()
    }
}
