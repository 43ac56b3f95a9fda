//! Scaling to mean 0 and variance 1.

use crate::error::{Error, Result};
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
    /// [`Error::Argument`] for an empty array or one with a number that is not finite.
    pub fn fit<D: Dimension>(values: &ArrayRef<f32, D>) -> Result<Self> {
        if values.is_empty() {
            return Err(Error::argument("values", "none", "at least one"));
        }
        if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
            return Err(Error::argument("values", bad, "finite numbers"));
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let variance = values
            .iter()
            .map(|x| (f64::from(*x) - mean).powi(2))
            .sum::<f64>()
            / count;
        let deviation = if variance > 0.0 {
            variance.sqrt() as f32
        } else {
            1.0
        };
        Ok(Self {
            mean: mean as f32,
            deviation,
        })
    }

    /// (x − mean) / deviation
    pub fn apply(&self, x: f32) -> f32 {
        (x - self.mean) / self.deviation
    }

    /// The opposite of [`Standardizer::apply`].
    pub fn invert(&self, x: f32) -> f32 {
        x * self.deviation + self.mean
    }
}
