//! The one comparison of numbers that tests, benches and tools use, and the check of a cell.

#[cfg(not(target_arch = "wasm32"))]
mod cell;
#[cfg(not(target_arch = "wasm32"))]
mod operation;
#[cfg(not(target_arch = "wasm32"))]
pub use cell::{CellFault, CellFaults, CellReport, check_cell};
#[cfg(not(target_arch = "wasm32"))]
pub use operation::check_operation;

use ndarray::ArrayD;

/// Relative tolerance for f32 results of one operation against f64.
pub const SINGLE: f64 = 2e-5;

/// Relative tolerance for f64 results against f64 of another implementation.
pub const DOUBLE: f64 = 1e-10;

/// How two arrays differ. Its text names the array, the worst element and how many are off.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Mismatch {
    /// The array's name.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

/// Compares two arrays: `Ok` with the worst relative error where every element satisfies
///
/// ```text
/// |got − expected| ≤ tolerance · (|expected| + rms(expected))
/// ```
///
/// The root mean square of the whole array stands in for elements near zero, whose relative error means
/// nothing after a sum. A NaN on either side never passes; an expected infinity must be met exactly.
///
/// # Errors
/// [`Mismatch`], also where the shapes differ or the tolerance is NaN or below 0.
pub fn compare(
    name: &str,
    got: &ArrayD<f64>,
    expected: &ArrayD<f64>,
    tolerance: f64,
) -> Result<f64, Mismatch> {
    let mismatch = |reason| {
        Err(Mismatch {
            name: name.to_owned(),
            reason,
        })
    };
    if got.shape() != expected.shape() {
        return mismatch(format!(
            "shape {:?}, expected {:?}",
            got.shape(),
            expected.shape()
        ));
    }
    if tolerance.is_nan() || tolerance < 0.0 {
        return mismatch(format!(
            "tolerance {tolerance}, expected a number, at least 0"
        ));
    }
    // In units of the largest, a power of two, so that squares and sums neither overflow nor vanish.
    let finite = || expected.iter().filter(|x| x.is_finite());
    let largest = finite().fold(0.0_f64, |most, x| most.max(x.abs()));
    let unit = largest.log2().floor().clamp(-1022.0, 1023.0).exp2();
    let squares = finite().map(|x| (x / unit).powi(2));
    let rms = (squares.sum::<f64>() / expected.len().max(1) as f64).sqrt();
    let error = |got: f64, expected: f64| {
        let [own_got, own] = [got, expected].map(|x| x / unit);
        let error = (own_got - own).abs() / (own.abs() + rms);
        match got == expected {
            true => 0.0,
            false if error.is_nan() => f64::INFINITY,
            false => error,
        }
    };
    let (mut off, mut worst) = (0, (0.0, None));
    for ((index, expected), got) in expected.indexed_iter().zip(got) {
        let error = error(*got, *expected);
        off += usize::from(error > tolerance || error.is_infinite());
        if error > worst.0 {
            worst = (error, Some((index, *got, *expected)));
        }
    }
    let total = expected.len();
    match worst.1 {
        Some((index, got, expected)) if off > 0 => mismatch(format!(
            "{off} of {total} elements are off; the worst, {:?}, is {got:e}, expected {expected:e} (relative error {:.2e}, \
             tolerance {tolerance:.0e})",
            ndarray::Dimension::slice(&index),
            worst.0
        )),
        _ => Ok(worst.0),
    }
}
