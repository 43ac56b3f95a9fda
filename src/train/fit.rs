//! Epochs.

use super::callback::{Callback, Flow};
use super::metric::Metric;
use super::schedule::{Constant, Place, Schedule};
use super::trainer::{Snapshot, Trainer};
use crate::data::Dataset;
use crate::error::{Error, Result, check_positive, require};
use crate::waiting::Breaths;
use rand::{SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};

/// A training over epochs, put together and then [run](Fit::run): `trainer.fit(&data).epochs(10).run()?`. Errors wait until then.
#[must_use]
pub struct Fit<'a> {
    trainer: Lent<'a>,
    train: &'a dyn Dataset,
    validation: Option<&'a dyn Dataset>,
    epochs: usize,
    batch_size: usize,
    seed: u64,
    patience: Option<usize>,
    schedule: Box<dyn Schedule>,
    metrics: Vec<Box<dyn Metric>>,
    callbacks: Vec<Box<dyn Callback + 'a>>,
}

/// The numbers of all examples.
fn in_order(examples: usize) -> Result<Vec<usize>> {
    let mut order = vec![];
    let reserved = order.try_reserve_exact(examples);
    reserved.map_err(|reason| Error::OutOfMemory {
        what: format!("the order of {examples} training examples"),
        reason: reason.to_string(),
    })?;
    order.extend(0..examples);
    Ok(order)
}

/// Takes over what a callback made of the learning rates: the schedule goes on from rates that are larger or smaller by as much.
fn changed_by_hand(base: &mut [f64], before: &[f64], after: &[f64]) {
    for (base, (before, after)) in base.iter_mut().zip(before.iter().zip(after)) {
        match *before {
            same if same == *after => {}
            0.0 => *base = *after,
            before => *base *= after / before,
        }
    }
}

/// A trainer whose learning rates are what they were once it is given back, however that comes about.
struct Lent<'a> {
    trainer: &'a mut Trainer,
    rates: Vec<f64>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.trainer.put_back_rates(std::mem::take(&mut self.rates));
    }
}

/// A training as it was after its last good epoch, and after its best.
struct Kept {
    last: Snapshot,
    best: Option<Snapshot>,
    /// Says whether the best is the last.
    last_is_best: bool,
}

impl Kept {
    fn new(trainer: &Trainer, with_best: bool) -> Result<Self> {
        let snapshot = || Snapshot::new(trainer);
        Ok(Self {
            last: snapshot()?,
            best: with_best.then(snapshot).transpose()?,
            last_is_best: false,
        })
    }

    fn take(&mut self, trainer: &Trainer, is_best: bool) -> Result<()> {
        self.last_is_best = is_best;
        match &mut self.best {
            Some(best) if is_best => best.take(trainer),
            _ => self.last.take(trainer),
        }
    }

    fn restore_last(&self, trainer: &mut Trainer) -> Result<()> {
        match &self.best {
            Some(best) if self.last_is_best => best.restore(trainer),
            _ => self.last.restore(trainer),
        }
    }
}

/// What an epoch gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub number: usize,
    /// Mean training loss, while the weights changed.
    pub loss: f64,
    /// Mean validation loss after the epoch, where there is validation data.
    pub validation: Option<f64>,
    /// The metrics on the validation data, by name.
    pub metrics: Vec<(String, f64)>,
    /// Training sequences done.
    pub sequences: usize,
}

/// All epochs, and which was best.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// In order.
    pub epochs: Vec<Epoch>,
    /// The number of the epoch with the lowest validation loss, whose weights the model has now, the optimizer its states and the trainer its
    /// number of steps. `None` without validation data; then they are the last.
    pub best: Option<usize>,
}

impl Trainer {
    /// Starts to put a training over epochs together: one epoch, batches of 32, each epoch over all examples in a new random order.
    pub fn fit<'a>(&'a mut self, train: &'a dyn Dataset) -> Fit<'a> {
        Fit {
            trainer: Lent {
                rates: self.rates().to_vec(),
                trainer: self,
            },
            train,
            validation: None,
            epochs: 1,
            batch_size: 32,
            seed: 0,
            patience: None,
            schedule: Box::new(Constant),
            metrics: vec![],
            callbacks: vec![],
        }
    }
}

impl<'a> Fit<'a> {
    /// Sets the passes over the data. Default: 1.
    pub fn epochs(self, epochs: usize) -> Self {
        Self { epochs, ..self }
    }
    /// Sets B, the examples of a step. Default: 32. The last batch of an epoch may be smaller.
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }
    /// Sets the seed of the order of the examples. Default: 0.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
    /// Measures on other data after every epoch; the weights of the best epoch are kept. Default: not.
    pub fn validation(mut self, data: &'a dyn Dataset) -> Self {
        self.validation = Some(data);
        self
    }
    /// Ends after so many epochs without a better validation loss. Default: never.
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = Some(epochs);
        self
    }
    /// Sets how the learning rate changes. Default: not at all.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Box::new(schedule);
        self
    }
    /// Measures this on the validation data too.
    pub fn metric(mut self, metric: impl Metric + 'static) -> Self {
        self.metrics.push(Box::new(metric));
        self
    }
    /// Tells of every epoch: a closure of it, or a [`Callback`].
    pub fn callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    fn check(&self) -> Result<()> {
        check_positive("epochs", self.epochs)?;
        check_positive("batch_size", self.batch_size)?;
        check_positive("training examples", self.train.len())?;
        self.schedule.check()?;
        if let Some(validation) = self.validation {
            return check_positive("validation examples", validation.len());
        }
        for (name, unset) in [
            ("patience", self.patience.is_none()),
            ("metric", self.metrics.is_empty()),
        ] {
            require(name, "set", unset, "unset without validation data")?;
        }
        Ok(())
    }

    /// Trains. The learning rate is then what it was before, also after an error, a panic, or where the future is dropped.
    /// The future lets other tasks run between steps; where it is dropped, the trainer is as after the last step.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) where a loss, the norm of the gradients, a weight or an optimizer's state is infinite or NaN: after
    /// the epoch in which that comes about, with the number of the first step. Weights, optimizer states and number of steps are then those after the last
    /// epoch before.
    /// [`Error::Argument`](crate::Error::Argument) for no examples, a batch size or a number of epochs of 0; as
    /// [`Trainer::step`]; those of callbacks.
    pub async fn run_async(mut self) -> Result<History> {
        self.check()?;
        let mut rates = self.trainer.rates.clone();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut order = in_order(self.train.len())?;
        let mut kept = Kept::new(self.trainer.trainer, self.validation.is_some())?;
        let mut best_loss = f64::INFINITY;
        let mut history = History::default();
        let steps_of_epoch = order.len().div_ceil(self.batch_size) as u64;
        let mut step = 0;
        let mut breaths = Breaths::new();
        // What steps before this call left is not part of the first epoch.
        self.trainer.trainer.reset_loss()?;
        for number in 1..=self.epochs {
            order.shuffle(&mut rng);
            for examples in order.chunks(self.batch_size) {
                let place = Place {
                    step,
                    steps: steps_of_epoch.saturating_mul(self.epochs as u64),
                    epoch: number - 1,
                    epochs: self.epochs,
                };
                let trainer = &mut *self.trainer.trainer;
                let scheduled = rates.iter().map(|own| self.schedule.rate(*own, place));
                trainer.set_rates(scheduled.collect())?;
                trainer.step(&self.train.batch(examples))?;
                trainer.model().device().breathe(&mut breaths).await?;
                step += 1;
            }
            let epoch = match self.measure(number, steps_of_epoch).await {
                Err(error @ Error::NonFinite { .. }) => {
                    kept.restore_last(self.trainer.trainer)?;
                    return Err(error);
                }
                outcome => outcome?,
            };
            let is_best = epoch.validation.is_some_and(|loss| loss < best_loss);
            if is_best {
                best_loss = epoch.validation.unwrap_or(best_loss);
                history.best = Some(number);
            }
            if is_best || number < self.epochs {
                kept.take(self.trainer.trainer, is_best)?;
            }
            let mut flow = Flow::Continue;
            let before = self.trainer.trainer.rates().to_vec();
            for callback in &mut self.callbacks {
                if callback.epoch(&epoch, self.trainer.trainer)? == Flow::Stop {
                    flow = Flow::Stop;
                }
            }
            changed_by_hand(&mut rates, &before, self.trainer.trainer.rates());
            history.epochs.push(epoch);
            let since_best = number - history.best.unwrap_or(0);
            if flow == Flow::Stop || self.patience.is_some_and(|patience| since_best >= patience) {
                break;
            }
        }
        if let (Some(_), Some(best)) = (history.best, &kept.best) {
            best.restore(self.trainer.trainer)?;
        }
        Ok(history)
    }

    /// What an epoch of so many steps gave, where it left nothing that is not finite.
    async fn measure(&mut self, number: usize, steps: u64) -> Result<Epoch> {
        let trainer = &mut *self.trainer.trainer;
        trainer.look_for_nonfinite()?;
        let taken = trainer.take_async().await?;
        let broken = (taken.is_broken).then_some(("a weight or an optimizer's state", steps - 1));
        if let Some((what, before)) = taken.nonfinite.or(broken) {
            return Err(Error::nonfinite(what, before + 1, Some(number)));
        }
        let mut values = vec![];
        if let Some(data) = self.validation {
            let metrics: Vec<_> = self.metrics.iter().map(|metric| &**metric).collect();
            values = trainer
                .measure_async(data, self.batch_size, &metrics)
                .await?;
            if !values[0].is_finite() {
                let what = "the validation loss";
                return Err(Error::nonfinite(what, steps, Some(number)));
            }
        }
        let names = self.metrics.iter().map(|metric| metric.name().to_owned());
        Ok(Epoch {
            number,
            loss: taken.loss,
            validation: values.first().copied(),
            metrics: names.zip(values.iter().skip(1).copied()).collect(),
            sequences: self.train.len(),
        })
    }

    /// Blocking [`Fit::run_async`], with its errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(self) -> Result<History> {
        crate::waiting::block_on(self.run_async())
    }
}
