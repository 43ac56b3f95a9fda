//! Epochs.

use super::trainer::Trainer;
use crate::data::Dataset;
use crate::error::{Error, Result, check_positive};
use crate::tensor::Tensor;
use rand::{SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};

/// How long and in what batches to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Passes over the training data.
    pub epochs: usize,
    /// B, examples a step. Default: 32. The last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// Of the shuffling. Default: 0.
    pub seed: u64,
    /// Epochs without a better validation loss after which training ends. Default: never.
    pub patience: Option<usize>,
    /// Whether the learning rate falls along half a cosine, from its value at the start towards 0 after the last epoch (Loshchilov
    /// & Hutter, 2017). Default: no.
    pub cosine: bool,
}

impl Fit {
    /// So many passes over the data.
    pub fn epochs(epochs: usize) -> Self {
        Self {
            epochs,
            batch_size: 32,
            seed: 0,
            patience: None,
            cosine: false,
        }
    }
    /// Sets the examples a step.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }
    /// Sets the seed of the shuffling.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
    /// Ends after so many epochs without a better validation loss.
    #[must_use]
    pub fn patience(self, epochs: usize) -> Self {
        Self {
            patience: Some(epochs),
            ..self
        }
    }
    /// Lets the learning rate fall along half a cosine.
    #[must_use]
    pub fn cosine(self) -> Self {
        Self {
            cosine: true,
            ..self
        }
    }
}

/// What an epoch gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub number: usize,
    /// Mean training loss, while the weights changed.
    pub loss: f64,
    /// Mean validation loss after the epoch, where there is validation data.
    pub validation: Option<f64>,
    /// Training sequences done.
    pub sequences: usize,
}

/// All epochs, and which was best.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In order.
    pub epochs: Vec<Epoch>,
    /// The number of the epoch with the lowest validation loss, whose weights the model has now. `None` without validation data,
    /// or where no loss was a number; then the weights are the last.
    pub best: Option<usize>,
}

impl Trainer {
    /// Trains for some epochs, each over all examples in a new random order. With validation data the weights of the best epoch
    /// are kept. `progress` is told of every epoch.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for no examples, a batch size or a number of epochs of 0; as
    /// [`Trainer::step`].
    pub async fn fit_async(
        &mut self,
        train: &dyn Dataset,
        validation: Option<&dyn Dataset>,
        fit: &Fit,
        mut progress: impl FnMut(&Epoch),
    ) -> Result<History> {
        check_positive("epochs", fit.epochs)?;
        check_positive("batch_size", fit.batch_size)?;
        check_positive("training examples", train.len())?;
        if let Some(validation) = validation {
            check_positive("validation examples", validation.len())?;
        }
        if fit.patience.is_some() && validation.is_none() {
            let expected = "unset without validation data";
            return Err(Error::argument("patience", "set", expected));
        }
        let rate = self.optimizer().learning_rate();
        let outcome = self.epochs(train, validation, fit, &mut progress).await;
        self.set_learning_rate(rate)?;
        outcome
    }

    async fn epochs(
        &mut self,
        train: &dyn Dataset,
        validation: Option<&dyn Dataset>,
        fit: &Fit,
        progress: &mut impl FnMut(&Epoch),
    ) -> Result<History> {
        let mut rng = ChaCha8Rng::seed_from_u64(fit.seed);
        let mut order: Vec<usize> = (0..train.len()).collect();
        let weights = self.model().parameters().flat().clone();
        let best_weights = match validation {
            Some(_) => Some(Tensor::named(
                self.model().device(),
                "the best weights",
                weights.shape(),
            )?),
            None => None,
        };
        let mut best_loss = f64::INFINITY;
        let mut history = History::default();
        let rate = self.optimizer().learning_rate();
        // What steps before this call left is not part of the first epoch.
        self.reset_loss()?;
        for number in 1..=fit.epochs {
            if fit.cosine {
                let done = (number - 1) as f64 / fit.epochs as f64;
                self.set_learning_rate(rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))?;
            }
            order.shuffle(&mut rng);
            for examples in order.chunks(fit.batch_size) {
                self.step(&train.batch(examples))?;
            }
            let loss = self.take_loss_async().await?;
            let validation = match validation {
                Some(validation) => Some(self.evaluate_async(validation, fit.batch_size).await?),
                None => None,
            };
            let epoch = Epoch {
                number,
                loss,
                validation,
                sequences: train.len(),
            };
            history.epochs.push(epoch);
            if let (Some(validation), Some(best_weights)) = (validation, &best_weights)
                && validation < best_loss
            {
                best_loss = validation;
                history.best = Some(number);
                crate::executable::copy_whole(&weights, best_weights)?;
            }
            progress(&epoch);
            let since_best = number - history.best.unwrap_or(0);
            if fit.patience.is_some_and(|patience| since_best >= patience) {
                break;
            }
        }
        if let (Some(_), Some(best_weights)) = (history.best, &best_weights) {
            crate::executable::copy_whole(best_weights, &weights)?;
        }
        Ok(history)
    }

    /// Blocking [`Trainer::fit_async`].
    ///
    /// # Errors
    /// As [`Trainer::fit_async`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fit(
        &mut self,
        train: &dyn Dataset,
        validation: Option<&dyn Dataset>,
        fit: &Fit,
        progress: impl FnMut(&Epoch),
    ) -> Result<History> {
        pollster::block_on(self.fit_async(train, validation, fit, progress))
    }
}
