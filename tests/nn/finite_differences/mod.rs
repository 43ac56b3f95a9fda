//! The CPU path in f64 against central differences: every cell, layers, directions, states; losses and heads; options.

mod options;

use crate::common::{array, rng, uniform};
use bptt::cell::{Activation, Cell, Gru, Lstm, Rnn};
use bptt::data::Batch;
use bptt::nn::{Input, Parameters, Recurrent, RecurrentConfig, Sequential, State};
use bptt::train::{Mse, Sgd, SoftmaxCrossEntropy, Trainer};
use bptt::verify::{Mismatch, compare};
use bptt::{Device, Tensor};
use ndarray::ArrayD;
use std::collections::BTreeMap;

const STEP: f64 = 1e-5;
/// Central differences in f64 with this step are good to about 1e-9; a wrong term is off by far more.
const TOLERANCE: f64 = 1e-6;

/// The derivative of `value` by every element of `at`.
fn differences(at: &ArrayD<f64>, mut value: impl FnMut(&ArrayD<f64>) -> f64) -> ArrayD<f64> {
    let mut gradient = ArrayD::zeros(at.shape());
    for index in 0..at.len() {
        let mut moved = |by: f64| {
            let mut moved = at.clone();
            moved.as_slice_mut().unwrap()[index] += by;
            value(&moved)
        };
        gradient.as_slice_mut().unwrap()[index] = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
    }
    gradient
}

fn dot(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    (a * b).sum()
}

fn random(seed: u64, shape: &[usize]) -> ArrayD<f64> {
    array(shape, uniform(&mut rng(seed), shape.iter().product(), 1.0)).mapv(f64::from)
}

/// A stack and how it is called.
#[derive(Clone)]
struct Setting<C> {
    config: RecurrentConfig<C>,
    steps: usize,
    batch: usize,
    input: usize,
    batch_first: bool,
    /// Whether rows have lengths, of every kind, or all T.
    ragged: bool,
    initial: bool,
    d_last: bool,
    train: bool,
    seed: u64,
}

/// Of what is dropped at random.
const RANDOM: (u64, u64) = (0x1234_5678_9abc, 5);

impl<C: Cell> Setting<C> {
    fn new(config: RecurrentConfig<C>, (steps, batch, input): (usize, usize, usize)) -> Self {
        Self {
            config,
            steps,
            batch,
            input,
            batch_first: false,
            ragged: false,
            initial: true,
            d_last: true,
            train: false,
            seed: 0,
        }
    }

    /// The gradients of x, the initial states and every weight.
    fn check(&self) -> Result<(), Mismatch> {
        let device = Device::cpu_f64();
        let layer = Recurrent::new(&device, self.config.clone(), self.seed + 3).unwrap();
        let lengths: Vec<usize> = (0..self.batch)
            .map(|row| (3 * row + 2) % (self.steps + 1))
            .collect();
        let tensor = |values: &ArrayD<f64>| Tensor::from_array(&device, values).unwrap();
        let forward = |x: &Tensor, initial: Option<&State>| {
            layer.forward(self.input(x, &lengths), initial).unwrap()
        };
        let lead = match self.batch_first {
            true => [self.batch, self.steps],
            false => [self.steps, self.batch],
        };
        let x = random(self.seed + 1, &[lead[0], lead[1], self.input]);
        // The shapes are those of the outputs.
        let (y, last) = forward(&tensor(&x), None);
        let like = |tensor: &Tensor, seed: u64| random(self.seed + seed, tensor.shape());
        let d_y = like(&y, 10);
        let of_states = |seed: u64, given: bool| -> Vec<ArrayD<f64>> {
            let part = |(index, part)| like(part, seed + index as u64) * f64::from(u8::from(given));
            last.parts().iter().enumerate().map(part).collect()
        };
        let (initial, d_last) = (of_states(2, self.initial), of_states(11, self.d_last));
        let state = |parts: &[ArrayD<f64>]| State::from_parts(parts.iter().map(tensor).collect());
        let value = |x: &ArrayD<f64>, initial: &[ArrayD<f64>]| {
            let (y, last) = forward(&tensor(x), Some(&state(initial)));
            let states = last.parts().iter().zip(&d_last);
            let states = states.map(|(last, d)| dot(&last.to_array().unwrap(), d));
            dot(&y.to_array().unwrap(), &d_y) + states.sum::<f64>()
        };
        let given = |parts: &[ArrayD<f64>], given: bool| given.then(|| state(parts));
        let (x_tensor, d_y_tensor) = (tensor(&x), tensor(&d_y));
        let vjp = layer
            .vjp(
                self.input(&x_tensor, &lengths),
                given(&initial, self.initial).as_ref(),
                &d_y_tensor,
                given(&d_last, self.d_last).as_ref(),
            )
            .unwrap();

        let expected = differences(&x, |x| value(x, &initial));
        compare("dx", &vjp.d_x.to_array().unwrap(), &expected, TOLERANCE)?;
        for (index, got) in vjp.d_state.parts().iter().enumerate() {
            let expected = differences(&initial[index], |moved| {
                let mut initial = initial.clone();
                initial[index] = moved.clone();
                value(&x, &initial)
            });
            let name = format!("initial state {index}");
            compare(&name, &got.to_array().unwrap(), &expected, TOLERANCE)?;
        }
        let gradients = vjp.d_weights.to_arrays::<f64>().unwrap();
        check_weights(layer.parameters(), &gradients, || value(&x, &initial))
    }

    fn input<'a>(&self, x: &'a Tensor, lengths: &'a [usize]) -> Input<'a> {
        let input = if self.ragged {
            Input::with_lengths(x, lengths)
        } else {
            Input::from(x)
        };
        if self.train {
            input.train(RANDOM.0, RANDOM.1)
        } else {
            input
        }
    }
}

fn check_weights(
    weights: &Parameters,
    gradients: &BTreeMap<String, ArrayD<f64>>,
    mut value: impl FnMut() -> f64,
) -> Result<(), Mismatch> {
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    assert_eq!(gradients.len(), names.len());
    let arrays = weights.to_arrays::<f64>().unwrap();
    for name in &names {
        let expected = differences(&arrays[name], |moved| {
            weights.set(name, moved).unwrap();
            value()
        });
        weights.set(name, &arrays[name]).unwrap();
        compare(name, &gradients[name], &expected, TOLERANCE)?;
    }
    Ok(())
}

/// Two layers, two directions; with all rows of length T, and with lengths of every kind.
fn check_cell<C: Cell>(config: RecurrentConfig<C>, sizes: (usize, usize, usize)) {
    for ragged in [false, true] {
        let setting = Setting {
            ragged,
            ..Setting::new(config.clone().layers(2).bidirectional(true), sizes)
        };
        setting.check().unwrap();
    }
}

#[test]
fn rnn_tanh() {
    check_cell(RecurrentConfig::<Rnn>::new(3, 5), (4, 2, 3));
}

#[test]
fn rnn_relu() {
    check_cell(
        RecurrentConfig::<Rnn>::new(3, 5).nonlinearity(Activation::Relu),
        (4, 2, 3),
    );
}

#[test]
fn lstm() {
    check_cell(RecurrentConfig::<Lstm>::new(3, 5), (4, 2, 3));
    check_cell(RecurrentConfig::<Lstm>::new(2, 1), (1, 3, 2));
}

#[test]
fn gru() {
    check_cell(RecurrentConfig::<Gru>::new(3, 5), (4, 2, 3));
    check_cell(RecurrentConfig::<Gru>::new(2, 1), (1, 3, 2));
}

/// The gradients that a training step leaves, against differences of the loss it reports.
fn check_trainer(mut trainer: Trainer, batch: &Batch) {
    trainer.step(batch).unwrap();
    trainer.take_loss().unwrap();
    let gradients = trainer.gradients::<f64>().unwrap();
    let weights = trainer.model().parameters().clone();
    check_weights(&weights, &gradients, || {
        // A learning rate of 0: the step reports the loss and changes nothing.
        trainer.step(batch).unwrap();
        trainer.take_loss().unwrap()
    })
    .unwrap();
}

#[test]
fn squared_error_of_every_step_and_of_the_last() {
    let device = Device::cpu_f64();
    for mse in [Mse::mean(), Mse::sum(), Mse::half_sum()] {
        let model = Sequential::new(3)
            .lstm(RecurrentConfig::hidden(4))
            .linear(2)
            .build(&device, 1)
            .unwrap();
        let trainer = Trainer::new(model, Sgd::new(0.0))
            .unwrap()
            .loss(mse)
            .unwrap();
        check_trainer(
            trainer,
            &Batch::new(random(1, &[5, 2, 3]), random(2, &[5, 2, 2])),
        );
    }
    let model = Sequential::new(3)
        .gru(RecurrentConfig::hidden(4))
        .last_step()
        .linear(2)
        .softmax();
    let model = model.build(&device, 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0)).unwrap();
    check_trainer(
        trainer,
        &Batch::new(random(1, &[5, 3, 3]), random(2, &[3, 2])),
    );
}

#[test]
fn cross_entropy_of_every_step_and_of_the_last() {
    let device = Device::cpu_f64();
    let model = Sequential::new(3)
        .rnn(RecurrentConfig::hidden(4))
        .linear(5)
        .build(&device, 1)
        .unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0))
        .unwrap()
        .loss(SoftmaxCrossEntropy)
        .unwrap();
    let classes = ndarray::Array2::from_shape_fn((4, 2), |(t, b)| ((3 * t + b) % 5) as u32);
    check_trainer(trainer, &Batch::new(random(1, &[4, 2, 3]), classes));
    let model = Sequential::new(3)
        .lstm(RecurrentConfig::hidden(4))
        .last_step()
        .linear(5)
        .build(&device, 1)
        .unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0))
        .unwrap()
        .loss(SoftmaxCrossEntropy)
        .unwrap();
    check_trainer(
        trainer,
        &Batch::new(random(1, &[4, 2, 3]), ndarray::arr1(&[4_u32, 0])),
    );
}
