//! The quantile loss.

use super::Loss;
use crate::error::{Result, require};
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::Scope;

/// The mean of max(q·e, (q − 1)·e), with e = target − output (the pinball loss: Koenker & Bassett, 1978): outputs become the q-quantile of what the
/// targets are for such an input. Targets are like the model's output.
///
/// ```
/// use bptt::{Device, data::Batch, nn::Sequential, train::{Quantile, Sgd, Trainer}};
/// use ndarray::Array3;
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).linear(1).build(&Device::cpu(), 42)?;
/// let mut trainer = Trainer::new(model, Sgd::new(0.1)).loss(Quantile(0.9)).build()?;
/// trainer.step(&Batch::new(Array3::<f32>::zeros((5, 4, 3)), Array3::<f32>::ones((5, 4, 1))))?;
/// assert!(trainer.take_loss()? > 0.3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile(
    /// q, above 0 and below 1: the share of targets that are to be below the output.
    pub f64,
);

impl Loss for Quantile {
    fn check(&self) -> Result<()> {
        let fits = self.0 > 0.0 && self.0 < 1.0;
        require("q", self.0, fits, "above 0 and below 1")
    }

    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        s.map("quantile", [output, target], |[output, target]| {
            let error = target - output;
            (error * self.0).max(error * (self.0 - 1.0))
        })
    }
}
