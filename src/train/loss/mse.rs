//! Squared error.

use super::{Loss, Reduction};
use crate::error::Result;
use crate::graph::Var;
use crate::nn::Scope;

/// (output − target)², reduced (PyTorch's `nn.MSELoss`). Targets are like the model's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mse {
    reduction: Reduction,
    factor: f64,
}

impl Default for Mse {
    fn default() -> Self {
        Self::mean()
    }
}

impl Mse {
    /// The mean of the squares.
    pub fn mean() -> Self {
        Self {
            reduction: Reduction::Mean,
            factor: 1.0,
        }
    }
    /// The sum of the squares.
    pub fn sum() -> Self {
        Self {
            reduction: Reduction::Sum,
            factor: 1.0,
        }
    }
    /// Half the sum of the squares, whose gradient is the plain difference: textbooks' form.
    pub fn half_sum() -> Self {
        Self {
            factor: 0.5,
            ..Self::sum()
        }
    }
}

impl Loss for Mse {
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        s.map("mse", [output, target], |[output, target]| {
            let error = output - target;
            error * error * self.factor
        })
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}
