//! Functions of every element.

use crate::error::{Result, check_single};
use crate::expr::{Expr, Lanes};
use crate::graph::Var;
use crate::nn::{Layer, Scope};

/// A function of every element, as PyTorch's module of its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// max(0, x)
    Relu,
    /// tanh x
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x Φ(x), exact: Φ(x) = (1 + erf(x/√2)) / 2
    Gelu,
    /// x σ(x)
    Silu,
    /// ln(1 + eˣ)
    Softplus,
    /// x, or alpha·(eˣ − 1) below 0. PyTorch's alpha is 1.
    Elu(f64),
    /// x, or slope·x below 0. PyTorch's slope is 0.01.
    LeakyRelu(f64),
}

impl Activation {
    /// f(x)
    pub fn of<'t>(self, x: Expr<'t>) -> Expr<'t> {
        match self {
            Self::Relu => x.where_positive(x, x.zero()),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => x.sigmoid(),
            Self::Gelu => x * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
            Self::Silu => x * x.sigmoid(),
            Self::Softplus => x.softplus(),
            // The exponential is of numbers up to 0 alone: of large ones, where it is not taken, its gradient would be 0·∞.
            Self::Elu(alpha) => x.where_positive(x, x.where_positive(x.zero(), x).exp_m1() * alpha),
            Self::LeakyRelu(slope) => x.where_positive(x, x * slope),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Softplus => "softplus",
            Self::Elu(_) => "elu",
            Self::LeakyRelu(_) => "leaky_relu",
        }
    }
}

impl Layer for Activation {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        if let Self::Elu(slope) | Self::LeakyRelu(slope) = *self {
            check_single(self.name(), slope)?;
        }
        s.map(self.name(), [x], |[x]| self.of(x))
    }
}
