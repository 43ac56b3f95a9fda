//! Numbers that cells compute with: one, or as many as a register holds.

use pulp::Simd;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// One number (f32, f64), or several f32 side by side in a vector register: what the functions of a [`Cell`](super::Cell) are generic over.
/// So they have no branches on numbers but [`where_positive`](Lanes::where_positive), and every cell runs in vector instructions.
///
/// Sealed. Errors and bounds are those of registers; a single f32 or f64 has the standard library's functions.
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
    /// A constant in every lane, rounded to the lanes' precision; `self` says no more than how many there are.
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
    /// |x|
    fn abs(self) -> Self;
    /// eˣ, to 1 ulp; below −87 and above 88 its value there.
    fn exp(self) -> Self;
    /// eˣ − 1, to 3 ulp; below −87 and above 88 its value there.
    fn exp_m1(self) -> Self;
    /// ln(1 + eˣ), to 3 ulp.
    fn softplus(self) -> Self;
    /// 1 / (1 + e⁻ˣ), to 3 ulp.
    fn sigmoid(self) -> Self;
    /// tanh x, to 2 ulp.
    fn tanh(self) -> Self;
    /// `no` where x ≤ 0, else `yes` (so also where x is NaN).
    fn where_positive(self, yes: Self, no: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl<S: pulp::Simd> Sealed for super::Vector<S> {}
}

macro_rules! scalar {
    ($($scalar:ty),*) => {
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
scalar!(f32, f64);

/// A register of f32.
#[derive(Clone, Copy, Debug)]
pub struct Vector<S: Simd> {
    pub(crate) simd: S,
    pub(crate) values: S::f32s,
}

macro_rules! operators {
    ($($operator:ident, $method:ident, $function:ident);*) => {
        $(impl<S: Simd> $operator for Vector<S> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.with(self.simd.$function(self.values, other.values))
            }
        })*
    };
}
operators!(Add, add, add_f32s; Sub, sub, sub_f32s; Mul, mul, mul_f32s; Div, div, div_f32s);

impl<S: Simd> Neg for Vector<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.with(self.simd.neg_f32s(self.values))
    }
}

impl<S: Simd> AddAssign for Vector<S> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl<S: Simd> Vector<S> {
    #[inline(always)]
    fn with(self, values: S::f32s) -> Self {
        Self { values, ..self }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self {
        self.with(self.simd.splat_f32s(value))
    }

    /// self · factor + term, rounded once where the processor can.
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let (x, factor, term) = (self.values, factor.values, term.values);
        self.with(self.simd.mul_add_e_f32s(x, factor, term))
    }

    /// −|x|, or `bound` where that is less; NaN stays.
    #[inline(always)]
    fn below_zero(self, bound: f32) -> Self {
        let (simd, bound) = (self.simd, self.splat(bound).values);
        let x = simd.or_f32s(self.values, simd.splat_f32s(-0.0));
        self.with(simd.select_f32s(simd.less_than_f32s(x, bound), bound, x))
    }

    /// x, or the nearer bound where it is outside of both; NaN stays.
    #[inline(always)]
    fn within(self, least: f32, most: f32) -> Self {
        let (simd, least, most) = (self.simd, self.splat(least), self.splat(most));
        let below = simd.less_than_f32s(self.values, least.values);
        let x = self.with(simd.select_f32s(below, least.values, self.values));
        let above = simd.less_than_f32s(most.values, x.values);
        self.with(simd.select_f32s(above, most.values, x.values))
    }

    /// eʳ − 1 and 2ⁿ, where x = n ln 2 + r; the polynomial is Cephes' expf (Moshier). For x between −87 and 88.
    #[inline(always)]
    fn exp_parts(self) -> (Self, Self) {
        // 1.5·2²³: adding it leaves the nearest whole number in the low bits.
        let round = self.splat(12_582_912.0);
        let shifted = self.mul_add(self.splat(std::f32::consts::LOG2_E), round);
        let n = shifted - round;
        // ln 2 in two parts, the first exact times n.
        let r = n.mul_add(self.splat(-0.693_359_4), self);
        let r = n.mul_add(self.splat(2.121_944_4e-4), r);
        let p = self.splat(1.987_569_1e-4);
        let p = p.mul_add(r, self.splat(1.398_199_9e-3));
        let p = p.mul_add(r, self.splat(8.333_452e-3));
        let p = p.mul_add(r, self.splat(4.166_579_6e-2));
        let p = p.mul_add(r, self.splat(1.666_666_5e-1));
        let p = p.mul_add(r, self.splat(5e-1));
        let p = p.mul_add(r * r, r);
        let simd = self.simd;
        let bits = simd.transmute_u32s_f32s(shifted.values);
        let bits = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
        let bits = simd.add_u32s(bits, simd.splat_u32s(1.0_f32.to_bits()));
        (p, self.with(simd.transmute_f32s_u32s(bits)))
    }
}

impl<S: Simd> Lanes for Vector<S> {
    #[inline(always)]
    fn constant(self, value: f64) -> Self {
        self.splat(value as f32)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.with(self.simd.abs_f32s(self.values))
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let (p, power) = self.within(-87.0, 88.0).exp_parts();
        p.mul_add(power, power)
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        let (p, power) = self.within(-87.0, 88.0).exp_parts();
        p.mul_add(power, power - self.splat(1.0))
    }
    /// max(0, x) + ln(1 + u) with u = e^−|x|, which is 2 artanh(u / (2 + u)), by its series.
    #[inline(always)]
    fn softplus(self) -> Self {
        let (p, power) = self.below_zero(-87.0).exp_parts();
        let u = p.mul_add(power, power);
        let ratio = u / (u + self.splat(2.0));
        let square = ratio * ratio;
        let series = self.splat(1.0 / 15.0);
        let series = series.mul_add(square, self.splat(1.0 / 13.0));
        let series = series.mul_add(square, self.splat(1.0 / 11.0));
        let series = series.mul_add(square, self.splat(1.0 / 9.0));
        let series = series.mul_add(square, self.splat(1.0 / 7.0));
        let series = series.mul_add(square, self.splat(1.0 / 5.0));
        let series = series.mul_add(square, self.splat(1.0 / 3.0));
        let twice = ratio + ratio;
        let logarithm = (twice * square).mul_add(series, twice);
        self.where_positive(self, self.zero()) + logarithm
    }
    /// To 3 ulp: 1 / (1 + e⁻ˣ), and below 0 eˣ / (1 + eˣ), so that no exponent is above 0.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let (simd, one) = (self.simd, self.splat(1.0));
        let (p, power) = self.below_zero(-87.0).exp_parts();
        let exp = p.mul_add(power, power);
        let negative = simd.less_than_f32s(self.values, self.zero().values);
        let numerator = simd.select_f32s(negative, exp.values, one.values);
        self.with(simd.div_f32s(numerator, (exp + one).values))
    }
    /// (1 − e⁻²ˣ) / (1 + e⁻²ˣ) of |x|, the numerator without cancellation; to 2 ulp.
    #[inline(always)]
    fn tanh(self) -> Self {
        let simd = self.simd;
        let sign = simd.and_f32s(self.values, simd.splat_f32s(-0.0));
        // Past 20 it is 1.
        let (p, power) = (self + self).below_zero(-40.0).exp_parts();
        let rest = self.splat(1.0) - power;
        let numerator = simd.negate_mul_add_e_f32s(p.values, power.values, rest.values);
        let denominator = p.mul_add(power, power + self.splat(1.0));
        let size = simd.div_f32s(numerator, denominator.values);
        self.with(simd.or_f32s(size, sign))
    }
    #[inline(always)]
    fn where_positive(self, yes: Self, no: Self) -> Self {
        let simd = self.simd;
        let not = simd.less_than_or_equal_f32s(self.values, simd.splat_f32s(0.0));
        self.with(simd.select_f32s(not, no.values, yes.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        ExpM1,
        Softplus,
        Sigmoid,
        Tanh,
    }
    use Function::{Exp, ExpM1, Sigmoid, Softplus, Tanh};

    impl Function {
        #[inline(always)]
        fn of<L: Lanes>(self, x: L) -> L {
            match self {
                Exp => x.exp(),
                ExpM1 => x.exp_m1(),
                Softplus => x.softplus(),
                Sigmoid => x.sigmoid(),
                Tanh => x.tanh(),
            }
        }
    }

    /// A function of every number of a slice whose length the lanes divide.
    struct Apply<'a>(&'a mut [f32], Function);

    impl WithSimd for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (vectors, rest) = S::as_mut_simd_f32s(self.0);
            assert!(rest.is_empty());
            for values in vectors {
                let x = Vector {
                    simd,
                    values: *values,
                };
                *values = self.1.of(x).values;
            }
        }
    }

    fn apply(x: &[f32], function: Function) -> Vec<f32> {
        let mut y = x.to_vec();
        y.resize(x.len().next_multiple_of(64), 0.0);
        Arch::new().dispatch(Apply(&mut y, function));
        y.truncate(x.len());
        y
    }

    /// The worst error of the vectors beside f64's, in units of the last place, over all magnitudes up to `largest`, both signs.
    fn worst(function: Function, largest: f32) -> f64 {
        let bits = (1e-30_f32.to_bits()..largest.to_bits()).step_by(997);
        let x: Vec<f32> = bits
            .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
            .collect();
        let errors = x.iter().zip(apply(&x, function)).map(|(x, got)| {
            let exact = function.of(f64::from(*x));
            let size = (exact as f32).abs();
            let ulp = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
            (f64::from(got) - exact).abs() / ulp
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_exact_to_a_few_ulp() {
        for (function, largest, most) in [
            (Exp, 87.0, 1.0),
            (ExpM1, 87.0, 3.0),
            (Softplus, 80.0, 3.0),
            (Sigmoid, 80.0, 3.0),
            (Tanh, 80.0, 2.0),
        ] {
            let error = worst(function, largest);
            assert!(error < most, "{function:?} {error}");
        }
    }

    #[test]
    fn extremes() {
        let x = [f32::INFINITY, -f32::INFINITY, 1e30, -1e30, 0.0, -0.0];
        assert_eq!(apply(&x, Tanh), [1.0, -1.0, 1.0, -1.0, 0.0, 0.0]);
        let nearly = |function: Function, expected: [f32; 6]| {
            for (got, expected) in apply(&x, function).iter().zip(expected) {
                assert!(*got == expected || (got - expected).abs() < 1e-37);
            }
        };
        nearly(Sigmoid, [1.0, 0.0, 1.0, 0.0, 0.5, 0.5]);
        let half = std::f32::consts::LN_2;
        nearly(Softplus, [f32::INFINITY, 0.0, 1e30, 0.0, half, half]);
        let most = 88.0_f64.exp() as f32;
        nearly(Exp, [most, 0.0, most, 0.0, 1.0, 1.0]);
        nearly(ExpM1, [most, -1.0, most, -1.0, 0.0, 0.0]);
        for function in [Exp, ExpM1, Softplus, Sigmoid, Tanh] {
            assert!(apply(&[f32::NAN], function)[0].is_nan());
        }
    }

    #[test]
    fn where_positive_takes_no_at_zero_and_below() {
        for (x, expected) in [(1.0, 2.0), (0.0, 3.0), (-1.0, 3.0), (f32::NAN, 2.0)] {
            assert_eq!(x.where_positive(2.0, 3.0), expected);
        }
    }
}
