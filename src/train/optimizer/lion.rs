//! Lion.

use super::{Optimizer, Update, check_rate, check_share};
use crate::error::Result;
use crate::expr::{Expr, Lanes};

/// Lion (Chen et al., 2023, arXiv 2302.06675): steps of one size, in the direction of a mean of gradients:
///
/// ```text
/// p *= 1 − lr·decay;  p −= lr·sign(β₁m + (1−β₁)g);  m = β₂m + (1−β₂)g
/// ```
///
/// Its rate is commonly a third to a tenth of AdamW's, its decay as much larger.
///
/// ```
/// use bptt::{Device, nn::{Gru, Sequential}, train::{Lion, Trainer}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, Lion { weight_decay: 0.1, ..Lion::new(1e-4) }).build()?;
/// assert_eq!(trainer.learning_rate(), 1e-4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// Learning rate.
    pub learning_rate: f64,
    /// β₁ and β₂. Default: 0.9 and 0.99.
    pub betas: (f64, f64),
    /// The decay of weights. Default: 0.
    pub weight_decay: f64,
}

impl Lion {
    /// Lion with its paper's defaults.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            betas: (0.9, 0.99),
            weight_decay: 0.0,
        }
    }
}

impl Optimizer for Lion {
    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn states(&self) -> usize {
        1
    }

    fn scalars(&self, _: u64, learning_rate: f64) -> Vec<f64> {
        vec![learning_rate, 1.0 - learning_rate * self.weight_decay]
    }

    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
        let mean = |beta: f64| of.states[0] * beta + of.gradient * (1.0 - beta);
        let (direction, kept) = (mean(self.betas.0), mean(self.betas.1));
        let one = direction.constant(1.0);
        // Zero, and what is no number, stay what they are.
        let sign = direction.where_positive(one, (-direction).where_positive(-one, direction));
        of.states[0] = kept;
        of.scalars[1] * of.weight - of.scalars[0] * sign
    }

    fn check(&self) -> Result<()> {
        check_rate("learning_rate", self.learning_rate)?;
        check_rate("weight_decay", self.weight_decay)?;
        check_share("betas.0", self.betas.0)?;
        check_share("betas.1", self.betas.1)
    }
}
