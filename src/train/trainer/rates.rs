//! The learning rates of a trainer's groups.

use super::Trainer;
use super::update::Group;
use crate::error::Result;
use crate::train::optimizer::check_rate;
use crate::train::schedule::{Place, Schedule};

impl Trainer {
    /// The learning rate of the next step, of the weights that are in no group.
    pub fn learning_rate(&self) -> f64 {
        self.rates[0]
    }

    /// Changes the learning rate from the next step on; those of groups in proportion.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where it is negative or not finite.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let base = self.groups[0].own_rate();
        let in_proportion = |group: &Group| match group.own_rate() {
            own if own == base => learning_rate,
            own if base == 0.0 => own,
            own => own * (learning_rate / base),
        };
        check_rate("learning_rate", learning_rate)?;
        self.set_rates(self.groups.iter().map(in_proportion).collect())
    }

    /// Changes the learning rate of every group to what a schedule makes of the group's own, from the next step on: what a
    /// [`Fit`](crate::train::Fit) does before each step, for loops of your own.
    ///
    /// ```
    /// use bptt::{Device, data::Batch, nn::Sequential, train::{ExponentialDecay, Mse, Place, Sgd, Trainer}};
    /// use ndarray::Array3;
    /// # fn main() -> bptt::Result<()> {
    /// let model = Sequential::new(3).linear(1).build(&Device::cpu(), 42)?;
    /// let mut trainer = Trainer::new(model, Sgd::new(0.1)).build()?;
    /// let batch = Batch::new(Array3::<f32>::ones((5, 4, 3)), Array3::<f32>::ones((5, 4, 1)));
    /// for step in 0..10 {
    ///     trainer.schedule(&ExponentialDecay { gamma: 0.9 }, Place::at_step(step))?;
    ///     trainer.step(&batch)?;
    /// }
    /// assert!((trainer.learning_rate() - 0.1 * 0.9_f64.powi(9)).abs() < 1e-12);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where a rate is negative or not finite.
    pub fn schedule(&mut self, schedule: &dyn Schedule, at: Place) -> Result<()> {
        schedule.check()?;
        let rates = self.groups.iter().map(Group::own_rate);
        self.set_rates(rates.map(|own| schedule.rate(own, at)).collect())
    }

    /// The learning rate of each group.
    pub(in crate::train) fn rates(&self) -> &[f64] {
        &self.rates
    }

    pub(in crate::train) fn set_rates(&mut self, rates: Vec<f64>) -> Result<()> {
        let mut checked = rates.iter();
        checked.try_for_each(|rate| check_rate("learning_rate", *rate))?;
        self.rates = rates;
        Ok(())
    }

    /// Makes the learning rates what they were before.
    pub(in crate::train) fn put_back_rates(&mut self, rates: Vec<f64>) {
        self.rates = rates;
    }
}
