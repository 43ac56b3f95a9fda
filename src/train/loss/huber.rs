//! Squared error of small differences, absolute error of large ones.

use super::Loss;
use crate::error::{Result, check_above_zero};
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::Scope;

/// With e = |output − target|, the mean of (Huber, 1964; PyTorch's `nn.HuberLoss`)
///
/// ```text
/// e²/2 where e ≤ δ, else δ·(e − δ/2)
/// ```
///
/// ```
/// use bptt::{Device, data::Batch, nn::Sequential, train::{Huber, Sgd, Trainer}};
/// use ndarray::Array3;
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).linear(1).build(&Device::cpu(), 42)?;
/// let mut trainer = Trainer::new(model, Sgd::new(0.1)).loss(Huber(1.0)).build()?;
/// trainer.step(&Batch::new(Array3::<f32>::zeros((5, 4, 3)), Array3::<f32>::from_elem((5, 4, 1), 9.0)))?;
/// assert!(trainer.take_loss()? > 7.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Huber(
    /// δ, above 0. PyTorch's default is 1.
    pub f64,
);

impl Loss for Huber {
    fn check(&self) -> Result<()> {
        check_above_zero("delta", self.0)
    }

    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        let delta = self.0;
        s.map("huber", [output, target], |[output, target]| {
            let error = (output - target).abs();
            let (square, line) = (error * error * 0.5, (error - 0.5 * delta) * delta);
            (error.constant(delta) - error).where_positive(square, line)
        })
    }
}
