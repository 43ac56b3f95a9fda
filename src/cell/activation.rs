//! The activation functions of ONNX' recurrent operators.

use super::Lanes;
use crate::error::{Error, Result, check_above_zero, check_single};

/// An activation function of one argument, as in ONNX' `RNN`, `GRU` and `LSTM`, whose alpha and
/// beta it takes.
///
/// ```
/// use bptt::cell::Activation;
/// assert_eq!(Activation::HARD_SIGMOID.apply(1.0_f64), 0.7);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// tanh x
    #[default]
    Tanh,
    /// max(0, x)
    Relu,
    /// max(0, min(1, alpha·x + beta)). ONNX' defaults: [`Activation::HARD_SIGMOID`]; Keras 3's is
    /// alpha = 1/6, beta = 0.5.
    HardSigmoid {
        /// The slope.
        alpha: f64,
        /// The value at 0.
        beta: f64,
    },
    /// x / (1 + |x|)
    Softsign,
    /// x, or alpha·x below 0. ONNX' default: 0.01.
    LeakyRelu {
        /// The slope below 0.
        alpha: f64,
    },
    /// x, or alpha·(eˣ − 1) below 0. ONNX' default: 1.
    Elu {
        /// Minus the limit below 0.
        alpha: f64,
    },
    /// alpha·x + beta
    Affine {
        /// The slope.
        alpha: f64,
        /// The value at 0.
        beta: f64,
    },
    /// alpha·tanh(beta·x)
    ScaledTanh {
        /// The limit.
        alpha: f64,
        /// What the argument is multiplied by.
        beta: f64,
    },
    /// x above alpha, else 0. ONNX' default: 1.
    ThresholdedRelu {
        /// The threshold.
        alpha: f64,
    },
    /// ln(1 + eˣ)
    Softplus,
}

impl Activation {
    /// ONNX' hard sigmoid: alpha = 0.2, beta = 0.5.
    pub const HARD_SIGMOID: Self = Self::HardSigmoid {
        alpha: 0.2,
        beta: 0.5,
    };

    /// The function's number in `shaders/cell/activation.wgsl`, alpha and beta (0 where it has none).
    pub(super) fn code(self) -> (u32, f64, f64) {
        match self {
            Self::Sigmoid => (0, 0.0, 0.0),
            Self::Tanh => (1, 0.0, 0.0),
            Self::Relu => (2, 0.0, 0.0),
            Self::HardSigmoid { alpha, beta } => (3, alpha, beta),
            Self::Softsign => (4, 0.0, 0.0),
            Self::LeakyRelu { alpha } => (5, alpha, 0.0),
            Self::Elu { alpha } => (6, alpha, 0.0),
            Self::Affine { alpha, beta } => (7, alpha, beta),
            Self::ScaledTanh { alpha, beta } => (8, alpha, beta),
            Self::ThresholdedRelu { alpha } => (9, alpha, 0.0),
            Self::Softplus => (10, 0.0, 0.0),
        }
    }

    pub(crate) fn check(self, argument: &str) -> Result<()> {
        let (_, alpha, beta) = self.code();
        if alpha.is_finite() && beta.is_finite() {
            check_single(argument, alpha)?;
            return check_single(argument, beta);
        }
        let got = format!("{self:?}");
        Err(Error::argument(argument, got, "finite alpha and beta"))
    }

    /// f(x)
    #[inline(always)]
    pub fn apply<N: Lanes>(self, x: N) -> N {
        let zero = x.zero();
        match self {
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.tanh(),
            Self::Relu => x.where_positive(x, zero),
            Self::HardSigmoid { alpha, beta } => {
                let line = x.constant(alpha) * x + x.constant(beta);
                let line = line.where_positive(line, zero);
                line.complement().where_positive(line, x.constant(1.0))
            }
            Self::Softsign => x / (x.constant(1.0) + x.abs()),
            Self::LeakyRelu { alpha } => x.where_positive(x, x.constant(alpha) * x),
            // The exponential is of numbers up to 0 alone: of large ones, where it is not taken, its gradient would be 0·∞.
            Self::Elu { alpha } => {
                let below = x.where_positive(zero, x);
                x.where_positive(x, x.constant(alpha) * below.exp_m1())
            }
            Self::Affine { alpha, beta } => x.constant(alpha) * x + x.constant(beta),
            Self::ScaledTanh { alpha, beta } => x.constant(alpha) * (x.constant(beta) * x).tanh(),
            Self::ThresholdedRelu { alpha } => (x - x.constant(alpha)).where_positive(x, zero),
            Self::Softplus => x.softplus(),
        }
    }

    /// f′(x); 0 at the kinks of ReLU and hard sigmoid, anything where x is NaN.
    #[inline(always)]
    pub fn derivative<N: Lanes>(self, x: N) -> N {
        let (zero, one) = (x.zero(), x.constant(1.0));
        match self {
            Self::Sigmoid => {
                let y = x.sigmoid();
                y * y.complement()
            }
            Self::Tanh => {
                let y = x.tanh();
                (y * y).complement()
            }
            Self::Relu => x.where_positive(one, zero),
            Self::HardSigmoid { alpha, beta } => {
                let line = x.constant(alpha) * x + x.constant(beta);
                let inside = line.complement().where_positive(x.constant(alpha), zero);
                line.where_positive(inside, zero)
            }
            Self::Softsign => {
                let size = one + x.abs();
                one / (size * size)
            }
            // At 0 the slope on the right.
            Self::LeakyRelu { alpha } => (-x).where_positive(x.constant(alpha), one),
            Self::Elu { alpha } => (-x).where_positive(x.constant(alpha) * x.exp(), one),
            Self::Affine { alpha, .. } => x.constant(alpha),
            Self::ScaledTanh { alpha, beta } => {
                let y = (x.constant(beta) * x).tanh();
                x.constant(alpha * beta) * (y * y).complement()
            }
            Self::ThresholdedRelu { alpha } => (x - x.constant(alpha)).where_positive(one, zero),
            Self::Softplus => x.sigmoid(),
        }
    }
}

/// x held to ±bound, where there is one; NaN stays.
#[inline(always)]
pub(super) fn clip<N: Lanes>(x: N, bound: Option<f64>) -> N {
    let Some(bound) = bound else { return x };
    let (least, most) = (x.constant(-bound), x.constant(bound));
    let below = (most - x).where_positive(x, most);
    (below - least).where_positive(below, least)
}

/// The derivative of [`clip`]: 1 inside and at the bounds, 0 outside.
#[inline(always)]
pub(super) fn clip_derivative<N: Lanes>(x: N, bound: Option<f64>) -> N {
    let one = x.constant(1.0);
    let Some(bound) = bound else { return one };
    (x.abs() - x.constant(bound)).where_positive(x.zero(), one)
}

/// A gate's activation behind ONNX' clip of its argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    pub(super) activation: Activation,
    pub(super) clip: Option<f64>,
}

impl Gate {
    #[inline(always)]
    pub(super) fn apply<N: Lanes>(self, x: N) -> N {
        self.activation.apply(clip(x, self.clip))
    }
    #[inline(always)]
    pub(super) fn derivative<N: Lanes>(self, x: N) -> N {
        self.activation.derivative(clip(x, self.clip)) * clip_derivative(x, self.clip)
    }
}

/// `Ok` where a bound is a finite number above 0.
pub(crate) fn check_clip(argument: &str, bound: Option<f64>) -> Result<()> {
    bound.map_or(Ok(()), |bound| check_above_zero(argument, bound))
}

/// The WGSL constants of a cell's gates, `GATE_0` and so on.
pub(super) fn constants(gates: impl IntoIterator<Item = Gate>) -> String {
    let constant = |(slot, gate): (usize, Gate)| {
        let (kind, alpha, beta) = gate.activation.code();
        let (has_clip, clip) = (gate.clip.is_some(), gate.clip.unwrap_or(0.0));
        let (alpha, beta, clip) = (alpha as f32, beta as f32, clip as f32);
        format!(
            "const GATE_{slot} = Gate({kind}u, {alpha:?}f, {beta:?}f, {has_clip}, {clip:?}f);\n"
        )
    };
    gates.into_iter().enumerate().map(constant).collect()
}
