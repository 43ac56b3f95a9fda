//! Absolute error.

use super::Loss;
use crate::error::Result;
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::Scope;

/// The mean of |output − target| (PyTorch's `nn.L1Loss`). Targets are like the model's output; where both are equal the gradient is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mae;

impl Loss for Mae {
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        s.map("mae", [output, target], |[output, target]| {
            (output - target).abs()
        })
    }
}
