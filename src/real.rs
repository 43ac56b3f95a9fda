//! The two scalar types of the CPU path.

use crate::cell::{BackwardRow, ErasedCell, ForwardRow, InnerBackwardRow, InnerRow, TakesSteps};
use crate::cpu::PanelScalar;

/// `f32` or `f64`: what the CPU path computes in.
///
/// Sealed: cells are generic over it, and no other type makes sense here.
pub trait Real: ndarray::NdFloat + bytemuck::Pod + Default + PanelScalar + sealed::Sealed {
    /// From a double, rounded.
    fn from_double(value: f64) -> Self;
    /// To a double, exact.
    fn to_double(self) -> f64;

    /// eˣ, to 1 ulp in f32, in a form that vector instructions take; past ±87 its value there.
    fn fast_exp(self) -> Self;

    /// tanh x, to 2 ulp in f32, in a form that vector instructions take.
    fn fast_tanh(self) -> Self;

    /// The logistic function σ(x) = 1 / (1 + e⁻ˣ), to 3 ulp in f32, in a form that vector instructions take.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::one() / (Self::one() + (-self).fast_exp())
    }

    #[doc(hidden)]
    fn takes_steps(cell: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>>;
    #[doc(hidden)]
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>);
    #[doc(hidden)]
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>);
    #[doc(hidden)]
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>);
    #[doc(hidden)]
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    #[inline(always)]
    fn from_double(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_double(self) -> f64 {
        f64::from(self)
    }
    /// eˣ = 2ⁿ eʳ with x = n ln 2 + r; the polynomial of eʳ is Cephes' expf (Moshier). Comparisons that keep a NaN, no branches, and no
    /// fused multiply-add, which processors without one would have to call.
    #[inline(always)]
    fn fast_exp(self) -> Self {
        let x = if self > 88.0 { 88.0 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        // 1.5·2²³: adding it leaves the nearest whole number in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        // ln 2 in two parts, the first exact times n.
        let r = x - n * 0.693_359_4;
        let r = r + n * 2.121_944_4e-4;
        let p = 1.987_569_1e-4;
        let p = p * r + 1.398_199_9e-3;
        let p = p * r + 8.333_452e-3;
        let p = p * r + 4.166_579_6e-2;
        let p = p * r + 1.666_666_5e-1;
        let p = p * r + 5e-1;
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
        (r * r * p + r + 1.0) * power
    }
    /// Below 0.625 Cephes' odd polynomial, above 1 − 2 / (e²ˣ + 1).
    #[inline(always)]
    fn fast_tanh(self) -> Self {
        let square = self * self;
        let p = -5.704_988_7e-3;
        let p = p * square + 2.063_909e-2;
        let p = p * square - 5.373_971_6e-2;
        let p = p * square + 1.333_144_2e-1;
        let p = p * square - 3.333_328e-1;
        let near = p * square * self + self;
        let size = self.abs();
        let size = if size > 20.0 { 20.0 } else { size };
        let far = (1.0 - 2.0 / ((2.0 * size).fast_exp() + 1.0)).copysign(self);
        if size < 0.625 { near } else { far }
    }
    fn takes_steps(cell: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>> {
        cell.takes_steps()
    }
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>) {
        cell.forward_f32(row);
    }
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>) {
        cell.backward_f32(row);
    }
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>) {
        cell.inner_f32(row);
    }
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>) {
        cell.inner_backward_f32(row);
    }
}

impl Real for f64 {
    #[inline(always)]
    fn from_double(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_double(self) -> f64 {
        self
    }
    #[inline(always)]
    fn fast_exp(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn fast_tanh(self) -> Self {
        self.tanh()
    }
    /// The reference takes the product and the cell one after the other.
    fn takes_steps(_: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>> {
        None
    }
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>) {
        cell.forward_f64(row);
    }
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>) {
        cell.backward_f64(row);
    }
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>) {
        cell.inner_f64(row);
    }
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>) {
        cell.inner_backward_f64(row);
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    /// The worst error in units of the last place of the exact value.
    fn worst(range: impl Iterator<Item = f32>, fast: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let error = |x: f32| {
            let (got, exact) = (f64::from(fast(x)), exact(f64::from(x)));
            let size = (exact as f32).abs();
            let ulp = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
            (got - exact).abs() / ulp
        };
        range.map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp_tanh_and_sigmoid_are_exact_to_a_few_ulp() {
        // All magnitudes, both signs.
        let numbers = |largest: f32| {
            let bits = (1e-30_f32.to_bits()..largest.to_bits()).step_by(997);
            bits.flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
        };
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst(numbers(87.0), Real::fast_exp, f64::exp) < 1.0);
        assert!(worst(numbers(100.0), Real::fast_tanh, f64::tanh) < 2.0);
        assert!(worst(numbers(80.0), Real::sigmoid, sigmoid) < 3.0);
    }

    #[test]
    fn extremes() {
        for x in [0.0_f32, -0.0] {
            assert_eq!(x.fast_tanh(), 0.0);
            assert_eq!(x.fast_exp(), 1.0);
        }
        for (x, tanh, sigmoid) in [
            (f32::INFINITY, 1.0, 1.0),
            (1e30, 1.0, 1.0),
            (-f32::INFINITY, -1.0, 0.0),
        ] {
            assert_eq!(x.fast_tanh(), tanh);
            assert!((x.sigmoid() - sigmoid).abs() < 1e-37);
        }
        assert!(
            f32::NAN.fast_exp().is_nan()
                && f32::NAN.fast_tanh().is_nan()
                && f32::NAN.sigmoid().is_nan()
        );
    }
}
