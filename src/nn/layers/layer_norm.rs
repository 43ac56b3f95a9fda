//! Rows scaled to mean 0 and variance 1.

use crate::error::{Result, check_single, require};
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::{Init, Layer, Scope};

/// y = (x − mean) / √(variance + ε) · weight + bias over the features (Ba et al., 2016; PyTorch's `nn.LayerNorm`): `weight [F]`,
/// first 1, and `bias [F]`, first 0.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct LayerNorm {
    epsilon: f64,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerNorm {
    /// With ε = 1e-5.
    pub fn new() -> Self {
        Self { epsilon: 1e-5 }
    }

    /// Sets ε.
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon }
    }
}

impl Layer for LayerNorm {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        require(
            "epsilon",
            self.epsilon,
            self.epsilon >= 0.0,
            "a number, at least 0",
        )?;
        check_single("epsilon", self.epsilon)?;
        let features = s.ty(x).features();
        let weight = s.parameter("weight", &[features], Init::Constant(1.0))?;
        let bias = s.parameter("bias", &[features], Init::Constant(0.0))?;
        s.rows("layer_norm", [x, weight, bias], |row, [x, weight, bias]| {
            let centered = x - row.mean(x);
            let variance = row.mean(centered * centered);
            centered / (variance + self.epsilon).sqrt() * weight + bias
        })
    }
}
