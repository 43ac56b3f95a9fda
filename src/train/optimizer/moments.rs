//! Means of gradients and of their squares, which Adam and its kin step by.

use super::{Update, check_epsilon, check_rate, check_share};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// How the means are kept, and how weights decay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) betas: (f64, f64),
    pub(super) epsilon: f64,
    pub(super) weight_decay: f64,
    /// Whether the decay acts on the weights instead of on the gradients.
    pub(super) decoupled: bool,
}

/// The means after a step.
pub(super) struct Moved<'t> {
    /// The weight, decayed where the decay acts on it.
    pub(super) kept: Expr<'t>,
    /// The gradient, with its decay.
    pub(super) gradient: Expr<'t>,
    /// m
    pub(super) mean: Expr<'t>,
    /// v
    pub(super) variance: Expr<'t>,
    /// 1/√c₂, by which √v is multiplied.
    pub(super) unbiased: Expr<'t>,
}

impl Moments {
    /// The numbers of [`Moments::moved`]. Differences are taken in f64, as f32 would lose digits of 1 − 0.999.
    pub(super) fn numbers(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let (beta1, beta2) = self.betas;
        let (decay, kept) = match self.decoupled {
            true => (0.0, 1.0 - learning_rate * self.weight_decay),
            false => (self.weight_decay, 1.0),
        };
        vec![
            beta1,
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            self.epsilon,
            1.0 / correction(beta2, step).sqrt(),
            decay,
            kept,
        ]
    }

    /// Moves the means on. `numbers`: those of [`Moments::numbers`].
    pub(super) fn moved<'t>(of: &mut Update<'_, 't>, numbers: &[Expr<'t>]) -> Moved<'t> {
        let [beta1, rest1, beta2, rest2, _, unbiased, decay, kept] =
            std::array::from_fn(|index| numbers[index]);
        let gradient = of.gradient + decay * of.weight;
        let mean = beta1 * of.states[0] + rest1 * gradient;
        let variance = beta2 * of.states[1] + rest2 * gradient * gradient;
        (of.states[0], of.states[1]) = (mean, variance);
        Moved {
            kept: kept * of.weight,
            gradient,
            mean,
            variance,
            unbiased,
        }
    }

    /// Adam's numbers.
    pub(super) fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let rate = learning_rate / correction(self.betas.0, step);
        let numbers = self.numbers(step, learning_rate);
        std::iter::once(rate).chain(numbers).collect()
    }

    /// Adam's step. `largest`: whether the third state is the largest v so far.
    pub(super) fn update<'t>(&self, mut of: Update<'_, 't>, largest: bool) -> Expr<'t> {
        let (rate, numbers) = (of.scalars[0], &of.scalars[1..]);
        let epsilon = numbers[EPSILON];
        let step = Self::moved(&mut of, numbers);
        let mut variance = step.variance;
        if largest {
            variance = of.states[2].max(variance);
            of.states[2] = variance;
        }
        step.kept - rate * step.mean / (variance.sqrt() * step.unbiased + epsilon)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_rate("weight_decay", self.weight_decay)?;
        check_epsilon(self.epsilon)?;
        check_share("betas.0", self.betas.0)?;
        check_share("betas.1", self.betas.1)
    }
}

/// Where ε is in the numbers.
pub(super) const EPSILON: usize = 4;

/// 1 − βᵗ, by which a mean that began with 0 is too small.
pub(super) fn correction(beta: f64, step: u64) -> f64 {
    1.0 - beta.powf(step as f64)
}
