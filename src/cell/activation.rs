//! The activation functions of ONNX' recurrent operators.

use crate::Real;
use crate::error::{Error, Result};

/// An activation function of one argument, as in ONNX' `RNN`, `GRU` and `LSTM`, whose alpha and beta it takes.
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
    /// max(0, min(1, alpha·x + beta)). ONNX' defaults: [`Activation::HARD_SIGMOID`]; Keras 3's is alpha = 1/6, beta = 0.5.
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

    /// Its number in `shaders/lib/activation.wgsl`, alpha and beta (0 where it has none).
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
            return Ok(());
        }
        let got = format!("{self:?}");
        Err(Error::argument(argument, got, "finite alpha and beta"))
    }

    /// f(x)
    #[inline]
    pub fn apply<F: Real>(self, x: F) -> F {
        let (zero, one) = (F::zero(), F::one());
        match self {
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.fast_tanh(),
            // Comparisons and not `max` and `min`, which would turn a NaN into a number.
            Self::Relu if x < zero => zero,
            Self::Relu => x,
            Self::HardSigmoid { alpha, beta } => {
                let line = number::<F>(alpha) * x + number(beta);
                if line < zero {
                    zero
                } else if line > one {
                    one
                } else {
                    line
                }
            }
            Self::Softsign => x / (one + x.abs()),
            Self::LeakyRelu { alpha } if x < zero => number::<F>(alpha) * x,
            Self::LeakyRelu { .. } => x,
            Self::Elu { alpha } if x < zero => number::<F>(alpha) * x.exp_m1(),
            Self::Elu { .. } => x,
            Self::Affine { alpha, beta } => number::<F>(alpha) * x + number(beta),
            Self::ScaledTanh { alpha, beta } => {
                number::<F>(alpha) * (number::<F>(beta) * x).fast_tanh()
            }
            Self::ThresholdedRelu { alpha } if x <= number(alpha) => zero,
            Self::ThresholdedRelu { .. } => x,
            // ln(1 + eˣ) = max(0, x) + ln(1 + e^−|x|), which does not overflow.
            Self::Softplus => (if x < zero { zero } else { x }) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// f′(x); 0 at the kinks of ReLU and hard sigmoid.
    #[inline]
    pub fn derivative<F: Real>(self, x: F) -> F {
        let (zero, one) = (F::zero(), F::one());
        let step = |above: bool| if above { one } else { zero };
        match self {
            Self::Sigmoid => {
                let y = x.sigmoid();
                y * (one - y)
            }
            Self::Tanh => {
                let y = x.fast_tanh();
                one - y * y
            }
            Self::Relu => step(x > zero),
            Self::HardSigmoid { alpha, beta } => {
                let line = number::<F>(alpha) * x + number(beta);
                number::<F>(alpha) * step(line > zero && line < one)
            }
            Self::Softsign => {
                let size = one + x.abs();
                one / (size * size)
            }
            Self::LeakyRelu { alpha } if x < zero => number(alpha),
            Self::Elu { alpha } if x < zero => number::<F>(alpha) * x.exp(),
            Self::LeakyRelu { .. } | Self::Elu { .. } => one,
            Self::Affine { alpha, .. } => number(alpha),
            Self::ScaledTanh { alpha, beta } => {
                let y = (number::<F>(beta) * x).fast_tanh();
                number::<F>(alpha) * number(beta) * (one - y * y)
            }
            Self::ThresholdedRelu { alpha } => step(x > number(alpha)),
            Self::Softplus => x.sigmoid(),
        }
    }
}

fn number<F: Real>(value: f64) -> F {
    F::from_double(value)
}

/// x held to ±bound, where there is one.
#[inline]
pub(super) fn clip<F: Real>(x: F, bound: Option<f64>) -> F {
    match bound.map(number::<F>) {
        Some(bound) if x > bound => bound,
        Some(bound) if x < -bound => -bound,
        _ => x,
    }
}

/// The derivative of [`clip`]: 1 inside, 0 outside.
#[inline]
pub(super) fn clip_derivative<F: Real>(x: F, bound: Option<f64>) -> F {
    match bound.map(number::<F>) {
        Some(bound) if x > bound || x < -bound => F::zero(),
        _ => F::one(),
    }
}

/// A gate's activation behind ONNX' clip of its argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    pub(super) activation: Activation,
    pub(super) clip: Option<f64>,
}

impl Gate {
    #[inline]
    pub(super) fn apply<F: Real>(self, x: F) -> F {
        self.activation.apply(clip(x, self.clip))
    }
    #[inline]
    pub(super) fn derivative<F: Real>(self, x: F) -> F {
        self.activation.derivative(clip(x, self.clip)) * clip_derivative(x, self.clip)
    }
}

/// `Ok` where a bound is a finite number above 0.
pub(crate) fn check_clip(argument: &str, bound: Option<f64>) -> Result<()> {
    match bound {
        Some(bound) if !(bound.is_finite() && bound > 0.0) => {
            Err(Error::argument(argument, bound, "a finite number above 0"))
        }
        _ => Ok(()),
    }
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
