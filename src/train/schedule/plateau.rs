//! Smaller rates where a loss stays.

use super::steps::check_least;
use crate::error::{Result, require};
use crate::train::{Callback, Epoch, Flow, Trainer};

/// Multiplies the learning rates by `factor` after more than `patience` epochs in a row without a better loss (PyTorch's `ReduceLROnPlateau` in its
/// mode `min`): the validation loss, or the training loss without validation data. A schedule goes on from there. A [`Callback`]:
///
/// ```
/// use bptt::{Device, data::Sequences, nn::Sequential, train::{Plateau, Sgd, Trainer}};
/// use ndarray::Array3;
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(1).linear(1).build(&Device::cpu(), 42)?;
/// let mut trainer = Trainer::new(model, Sgd::new(0.0)).build()?;
/// let data = Sequences::many_to_many(Array3::ones((2, 4, 1)), Array3::ones((2, 4, 1)))?;
/// trainer.fit(&data).epochs(5).callback(Plateau::new(0.5).patience(1)).run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Plateau {
    factor: f64,
    patience: usize,
    threshold: f64,
    cooldown: usize,
    least: f64,
    best: f64,
    /// Epochs in a row without a better loss.
    bad: usize,
    /// Epochs that are not looked at yet.
    cooling: usize,
}

impl Plateau {
    /// Multiplies the rates by `factor`, above 0 and below 1 (PyTorch's default is 0.1); the rest as PyTorch's defaults.
    pub fn new(factor: f64) -> Self {
        Self {
            factor,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            best: f64::INFINITY,
            bad: 0,
            cooling: 0,
        }
    }
    /// Sets how many epochs in a row without a better loss are borne. Default: 10.
    pub fn patience(self, patience: usize) -> Self {
        Self { patience, ..self }
    }
    /// Sets by what share of the best loss a better one is smaller. Default: 1e-4.
    pub fn threshold(self, threshold: f64) -> Self {
        Self { threshold, ..self }
    }
    /// Sets the epochs after a change that are not looked at. Default: 0.
    pub fn cooldown(self, cooldown: usize) -> Self {
        Self { cooldown, ..self }
    }
    /// Sets the rate below which no rate goes. Default: 0.
    pub fn least(self, least: f64) -> Self {
        Self { least, ..self }
    }

    /// Whether the rate is to be changed after one more epoch.
    fn is_due(&mut self, loss: f64) -> bool {
        if self.best.is_infinite() || loss < self.best * (1.0 - self.threshold) {
            (self.best, self.bad) = (loss, 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        let due = self.bad > self.patience;
        if due {
            (self.cooling, self.bad) = (self.cooldown, 0);
        }
        due
    }
}

impl Callback for Plateau {
    fn epoch(&mut self, epoch: &Epoch, trainer: &mut Trainer) -> Result<Flow> {
        let fits = self.factor > 0.0 && self.factor < 1.0;
        require("factor", self.factor, fits, "above 0 and below 1")?;
        let fits = (0.0..1.0).contains(&self.threshold);
        require("threshold", self.threshold, fits, "at least 0 and below 1")?;
        check_least(self.least)?;
        if self.is_due(epoch.validation.unwrap_or(epoch.loss)) {
            let smaller = |rate: &f64| (rate * self.factor).max(self.least.min(*rate));
            trainer.set_rates(trainer.rates().iter().map(smaller).collect())?;
        }
        Ok(Flow::Continue)
    }
}
