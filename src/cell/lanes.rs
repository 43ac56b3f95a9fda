//! Numbers that the plain cells compute with: one, or as many as a register holds.

use crate::Real;
use pulp::Simd;
use std::ops::{Add, Mul, Sub};

/// One number, or several side by side.
pub(super) trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// Zero in every lane.
    fn zero(self) -> Self;
    /// 1 − x
    fn complement(self) -> Self;
    /// 1 / (1 + e⁻ˣ)
    fn sigmoid(self) -> Self;
    /// tanh x
    fn tanh(self) -> Self;
    /// 0 where `condition` ≤ 0, else x.
    fn where_positive(self, condition: Self) -> Self;
}

impl<F: Real> Lanes for F {
    #[inline(always)]
    fn zero(self) -> Self {
        F::zero()
    }
    #[inline(always)]
    fn complement(self) -> Self {
        F::one() - self
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Real::sigmoid(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        self.fast_tanh()
    }
    #[inline(always)]
    fn where_positive(self, condition: Self) -> Self {
        if condition <= F::zero() {
            F::zero()
        } else {
            self
        }
    }
}

/// A register of f32.
#[derive(Clone, Copy)]
pub(super) struct Vector<S: Simd> {
    pub(super) simd: S,
    pub(super) values: S::f32s,
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
operators!(Add, add, add_f32s; Sub, sub, sub_f32s; Mul, mul, mul_f32s);

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
    fn zero(self) -> Self {
        self.splat(0.0)
    }
    #[inline(always)]
    fn complement(self) -> Self {
        self.splat(1.0) - self
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
    fn where_positive(self, condition: Self) -> Self {
        let simd = self.simd;
        let zero = simd.splat_f32s(0.0);
        let not = simd.less_than_or_equal_f32s(condition.values, zero);
        self.with(simd.select_f32s(not, zero, self.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    /// A function of every number of a slice whose length the lanes divide.
    struct Apply<'a>(&'a mut [f32], bool);

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
                *values = if self.1 { x.tanh() } else { x.sigmoid() }.values;
            }
        }
    }

    fn apply(x: &[f32], tanh: bool) -> Vec<f32> {
        let mut y = x.to_vec();
        y.resize(x.len().next_multiple_of(64), 0.0);
        Arch::new().dispatch(Apply(&mut y, tanh));
        y.truncate(x.len());
        y
    }

    /// The worst error in units of the last place of the exact value.
    fn worst(x: &[f32], got: &[f32], exact: fn(f64) -> f64) -> f64 {
        let errors = x.iter().zip(got).map(|(x, got)| {
            let exact = exact(f64::from(*x));
            let size = (exact as f32).abs();
            let ulp = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
            (f64::from(*got) - exact).abs() / ulp
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn tanh_and_sigmoid_are_exact_to_a_few_ulp() {
        let bits = (1e-30_f32.to_bits()..80.0_f32.to_bits()).step_by(997);
        let x: Vec<f32> = bits
            .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
            .collect();
        let tanh = worst(&x, &apply(&x, true), f64::tanh);
        let sigmoid = worst(&x, &apply(&x, false), |x| 1.0 / (1.0 + (-x).exp()));
        assert!(tanh < 2.0 && sigmoid < 3.0, "{tanh} {sigmoid}");
    }

    #[test]
    fn extremes() {
        let x = [f32::INFINITY, -f32::INFINITY, 1e30, -1e30, 0.0, -0.0];
        assert_eq!(apply(&x, true), [1.0, -1.0, 1.0, -1.0, 0.0, 0.0]);
        let expected = [1.0, 0.0, 1.0, 0.0, 0.5, 0.5];
        for (got, expected) in apply(&x, false).iter().zip(expected) {
            assert!((got - expected).abs() < 1e-37);
        }
        assert!(apply(&[f32::NAN], true)[0].is_nan() && apply(&[f32::NAN], false)[0].is_nan());
    }
}
