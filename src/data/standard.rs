//! Scaling to mean 0 and variance 1.

use crate::error::{Result, require};
use ndarray::{ArrayRef, Dimension};

/// x ↦ (x − mean) / deviation, fitted on one set of numbers and applied to others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standardizer {
    /// The mean.
    pub mean: f32,
    /// The standard deviation (of the population); 1 where all numbers are equal.
    pub deviation: f32,
}

impl Standardizer {
    /// Mean and deviation of an array.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an empty array, one with a number that is not finite, or numbers too far apart.
    pub fn fit<D: Dimension>(values: &ArrayRef<f32, D>) -> Result<Self> {
        require("values", "none", !values.is_empty(), "at least one")?;
        let bad = values.iter().find(|x| !x.is_finite());
        require(
            "values",
            bad.unwrap_or(&0.0),
            bad.is_none(),
            "finite numbers",
        )?;
        let count = values.len() as f64;
        let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let squares = values.iter().map(|x| (f64::from(*x) - mean).powi(2));
        let variance = squares.sum::<f64>() / count;
        let deviation = match variance > 0.0 {
            // Above 0 in f32 too.
            true => (variance.sqrt() as f32).max(f32::from_bits(1)),
            false => 1.0,
        };
        let expected = "numbers whose standard deviation is an f32";
        require("values", "too far apart", deviation.is_finite(), expected)?;
        Ok(Self {
            mean: mean as f32,
            deviation,
        })
    }

    /// (x − mean) / deviation
    pub fn apply(&self, x: f32) -> f32 {
        // In f64, where the difference of large numbers is finite.
        ((f64::from(x) - f64::from(self.mean)) / f64::from(self.deviation)) as f32
    }

    /// The opposite of [`Standardizer::apply`].
    pub fn invert(&self, x: f32) -> f32 {
        (f64::from(x) * f64::from(self.deviation) + f64::from(self.mean)) as f32
    }
}
