//! Numbers that expressions compute with: one, a register of them, or a recording.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// What the functions of a [`Cell`](crate::cell::Cell) and all other expressions are generic over: one number
/// (f32, f64), several f32 side by side in a vector register, or an [`Expr`](super::Expr) that records what is done.
///
/// So there are no branches on numbers but [`where_positive`](Lanes::where_positive): every expression runs in
/// vector instructions, has a derivative and can be written out as WGSL.
///
/// Sealed. Errors are those of registers; a single number has the functions of the standard library.
pub trait Lanes:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + sealed::Sealed
{
    /// Gives a constant in every lane, rounded to the lanes' precision; `self` only says how many there are.
    fn constant(self, value: f64) -> Self;
    /// Zero in every lane.
    #[inline(always)]
    fn zero(self) -> Self {
        self.constant(0.0)
    }
    /// 1 − x
    #[inline(always)]
    fn complement(self) -> Self {
        self.constant(1.0) - self
    }
    /// The larger of two numbers; NaN where one is. Where both are equal the derivative is that of `other`.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        other.unless_nan((self - other).where_positive(self, other))
    }
    /// The smaller of two numbers; NaN where one is. Where both are equal the derivative is that of `other`.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        other.unless_nan((other - self).where_positive(self, other))
    }
    /// Another number; NaN where this is NaN, which alone is "positive" with both signs.
    #[inline(always)]
    fn unless_nan(self, other: Self) -> Self {
        self.where_positive((-self).where_positive(self, other), other)
    }
    /// |x|, whose derivative at 0 is 0.
    fn abs(self) -> Self;
    /// √x
    fn sqrt(self) -> Self;
    /// eˣ, to 2 ulp.
    fn exp(self) -> Self;
    /// eˣ − 1, to 3 ulp.
    fn exp_m1(self) -> Self;
    /// ln x
    fn ln(self) -> Self;
    /// ln(1 + eˣ), to 3 ulp.
    fn softplus(self) -> Self;
    /// 1 / (1 + e⁻ˣ), to 3 ulp.
    fn sigmoid(self) -> Self;
    /// tanh x, to 2 ulp.
    fn tanh(self) -> Self;
    /// The error function, 2/√π ∫₀ˣ e^(−t²) dt.
    fn erf(self) -> Self;
    /// `no` where x ≤ 0, else `yes` (so also where x is NaN).
    fn where_positive(self, yes: Self, no: Self) -> Self;
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl<S: pulp::Simd> Sealed for crate::expr::vector::Vector<S> {}
    impl Sealed for crate::expr::Expr<'_> {}
}

macro_rules! scalar {
    ($($scalar:ty, $erf:path);*) => {
        $(impl Lanes for $scalar {
            #[inline(always)]
            fn constant(self, value: f64) -> Self {
                value as $scalar
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$scalar>::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$scalar>::sqrt(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                <$scalar>::ln(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                <$scalar>::exp(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                <$scalar>::exp_m1(self)
            }
            // ln(1 + eˣ) = max(0, x) + ln(1 + e^−|x|), which does not overflow.
            #[inline(always)]
            fn softplus(self) -> Self {
                self.where_positive(self, 0.0) + (-self.abs()).exp().ln_1p()
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                1.0 / (1.0 + (-self).exp())
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                <$scalar>::tanh(self)
            }
            #[inline(always)]
            fn where_positive(self, yes: Self, no: Self) -> Self {
                if self <= 0.0 { no } else { yes }
            }
        })*
    };
}
scalar!(f32, libm::erff; f64, libm::erf);
