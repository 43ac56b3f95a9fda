//! Elements dropped at random in training.

use crate::error::Result;
use crate::graph::Var;
use crate::nn::{Layer, Scope};

/// Each element is 0 with a probability in training, the others scaled by 1 / (1 − rate) (Srivastava et al., 2014; PyTorch's
/// `nn.Dropout`). What is drawn is a function of seed and step: the same on every device.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// With this probability, 0 to below 1.
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl Layer for Dropout {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        s.dropout(x, self.rate)
    }
}
