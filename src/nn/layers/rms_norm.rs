//! Rows scaled to mean square 1.

use crate::error::{Result, check_single, require};
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::{Init, Layer, Scope};

/// y = x / √(mean x² + ε) · weight over the features (Zhang & Sennrich, 2019; PyTorch's `nn.RMSNorm`): `weight [F]`, first 1.
///
/// ```
/// use bptt::{Device, nn::{RmsNorm, Sequential}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(2).add(RmsNorm::default()).build(&Device::cpu(), 42)?;
/// let y = model.predict(&ndarray::arr3(&[[[3.0_f32, 4.0]]]))?;
/// assert!((y[[0, 0, 0]] - 3.0 / 12.5_f32.sqrt()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm(
    /// ε. Default: that of f32, 1.2e-7, as PyTorch's.
    pub f64,
);

impl Default for RmsNorm {
    fn default() -> Self {
        Self(f64::from(f32::EPSILON))
    }
}

impl Layer for RmsNorm {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        require("epsilon", self.0, self.0 >= 0.0, "a number, at least 0")?;
        check_single("epsilon", self.0)?;
        let features = s.ty(x).features();
        let weight = s.parameter("weight", &[features], Init::Constant(1.0))?;
        s.rows("rms_norm", [x, weight], |row, [x, weight]| {
            x / (row.mean(x * x) + self.0).sqrt() * weight
        })
    }
}
