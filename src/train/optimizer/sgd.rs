//! Gradient descent.

use super::{Optimizer, Update, check_rate};
use crate::error::{Result, require};
use crate::expr::Expr;

/// Stochastic gradient descent, with momentum, Nesterov's look-ahead and L2 weight decay:
///
/// ```text
/// g += decay·p;  v = momentum·v + g;  p −= lr·v, or lr·(g + momentum·v)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
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
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }
    /// Looks ahead (Nesterov). Needs momentum.
    pub fn nesterov(self) -> Self {
        Self {
            nesterov: true,
            ..self
        }
    }
    /// Sets the L2 penalty.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

impl Optimizer for Sgd {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        usize::from(self.momentum != 0.0)
    }

    fn scalars(&self, _: u64, learning_rate: f64) -> Vec<f64> {
        vec![learning_rate, self.momentum, self.weight_decay]
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        let [rate, momentum, decay] = [of.scalars[0], of.scalars[1], of.scalars[2]];
        let g = of.gradient + decay * of.weight;
        let Some(v) = of.states.first_mut() else {
            return of.weight - rate * g;
        };
        *v = momentum * *v + g;
        let step = if self.nesterov { g + momentum * *v } else { *v };
        of.weight - rate * step
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_rate("weight_decay", self.weight_decay)?;
        check_rate("momentum", self.momentum)?;
        let fits = !self.nesterov || self.momentum > 0.0;
        let expected = "more than 0 for Nesterov's step";
        require("momentum", self.momentum, fits, expected)
    }
}
