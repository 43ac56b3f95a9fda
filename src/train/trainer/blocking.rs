//! Blocking twins of the trainer's asynchronous functions.

use super::Trainer;
use crate::Real;
use crate::data::Dataset;
use crate::error::Result;
use crate::train::metric::Metric;
use ndarray::ArrayD;
use std::collections::BTreeMap;

impl Trainer {
    /// Blocking [`Trainer::take_loss_async`], with its errors.
    pub fn take_loss(&mut self) -> Result<f64> {
        crate::waiting::block_on(self.take_loss_async())
    }

    /// Blocking [`Trainer::evaluate_async`], with its errors.
    pub fn evaluate(&mut self, data: &dyn Dataset, batch_size: usize) -> Result<f64> {
        crate::waiting::block_on(self.evaluate_async(data, batch_size))
    }

    /// Blocking [`Trainer::measure_async`], with its errors.
    pub fn measure(
        &mut self,
        data: &dyn Dataset,
        batch_size: usize,
        metrics: &[&dyn Metric],
    ) -> Result<Vec<f64>> {
        crate::waiting::block_on(self.measure_async(data, batch_size, metrics))
    }

    /// Blocking [`Trainer::gradients_async`], with its errors.
    pub fn gradients<F: Real>(&self) -> Result<BTreeMap<String, ArrayD<F>>> {
        crate::waiting::block_on(self.gradients_async())
    }

    /// Blocking [`Trainer::gradient_norm_async`], with its errors.
    pub fn gradient_norm(&self) -> Result<Option<f64>> {
        crate::waiting::block_on(self.gradient_norm_async())
    }
}
