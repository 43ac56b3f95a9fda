//! RMSProp.

use super::{Optimizer, Update, check_epsilon, check_rate, check_share};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// RMSProp (Tieleman & Hinton, 2012; PyTorch's `optim.RMSprop`). With `centered` the mean a of gradients is kept too (Graves,
/// 2013), else a = 0; without momentum b is the quotient alone:
///
/// ```text
/// g += decay·p;  v = αv + (1−α)g²;  a = αa + (1−α)g;  b = momentum·b + g / (√(v − a²) + ε);  p −= lr·b
/// ```
///
/// ```
/// use bptt::{Device, nn::{Gru, Sequential}, train::{RmsProp, Trainer}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, RmsProp { centered: true, ..RmsProp::new(1e-3) }).build()?;
/// assert_eq!(trainer.learning_rate(), 1e-3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Learning rate. PyTorch's default is 1e-2.
    pub learning_rate: f64,
    /// α, what is kept of the means from step to step. Default: 0.99.
    pub alpha: f64,
    /// ε. Default: 1e-8.
    pub epsilon: f64,
    /// L2 penalty: decay · weight is added to the gradient. Default: 0.
    pub weight_decay: f64,
    /// Momentum. Default: 0.
    pub momentum: f64,
    /// Whether gradients are scaled by their deviation instead of by their root mean square. Default: no.
    pub centered: bool,
}

impl RmsProp {
    /// RMSProp with PyTorch's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            alpha: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
        }
    }
}

impl Optimizer for RmsProp {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        1 + usize::from(self.centered) + usize::from(self.momentum != 0.0)
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        let g = of.gradient + of.weight * self.weight_decay;
        let mean = |before: &mut Expr<'t>, of: Expr<'t>| {
            *before = *before * self.alpha + of * (1.0 - self.alpha);
            *before
        };
        let mut variance = mean(&mut of.states[0], g * g);
        if self.centered {
            let a = mean(&mut of.states[1], g);
            variance = variance - a * a;
        }
        let mut step = g / (variance.sqrt() + self.epsilon);
        if self.momentum != 0.0 {
            let b = of.states.last_mut().expect("momentum is a state");
            step = *b * self.momentum + step;
            *b = step;
        }
        of.weight - of.scalars[0] * step
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_epsilon(self.epsilon)?;
        check_rate("weight_decay", self.weight_decay)?;
        check_rate("momentum", self.momentum)?;
        check_share("alpha", self.alpha)
    }
}
