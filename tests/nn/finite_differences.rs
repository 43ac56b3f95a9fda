//! The CPU path in f64 against central differences: every cell, layers, directions, states; losses and heads.

use crate::common::{array, rng, uniform};
use bptt::cell::{Activation, Cell, Gru, Lstm, Rnn};
use bptt::data::Batch;
use bptt::nn::{Input, Parameters, Recurrent, RecurrentConfig, Sequential, State};
use bptt::train::{Mse, Sgd, SoftmaxCrossEntropy, Trainer};
use bptt::verify::compare;
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

/// With all rows of length T, and with lengths of every kind.
fn check_cell<C: Cell>(
    config: RecurrentConfig<C>,
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
) {
    check_lengths(config.clone(), steps, batch, input, hidden, false);
    check_lengths(config, steps, batch, input, hidden, true);
}

fn check_lengths<C: Cell>(
    config: RecurrentConfig<C>,
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    ragged: bool,
) {
    let (layers, directions) = (2, 2);
    let config = config.layers(layers).bidirectional(true);
    let states = config_states(&config);
    let device = Device::cpu_f64();
    let layer = Recurrent::new(&device, config, 3).unwrap();
    let state_shape = [layers * directions, batch, hidden];
    // All T, then of every kind.
    let lengths: Vec<usize> = (0..batch)
        .map(|row| {
            if ragged {
                (3 * row) % (steps + 1)
            } else {
                steps
            }
        })
        .collect();
    let x = random(1, &[steps, batch, input]);
    let initial: Vec<_> = (0..states)
        .map(|s| random(2 + s as u64, &state_shape))
        .collect();
    let d_y = random(10, &[steps, batch, directions * hidden]);
    let d_last: Vec<_> = (0..states)
        .map(|s| random(11 + s as u64, &state_shape))
        .collect();
    let tensor = |values: &ArrayD<f64>| Tensor::from_array(&device, values).unwrap();
    let state = |parts: &[ArrayD<f64>]| match parts {
        [h] => State::new(tensor(h)),
        [h, c] => State::with_cell(tensor(h), tensor(c)),
        _ => unreachable!(),
    };
    let parts = |state: &State| -> Vec<ArrayD<f64>> {
        [Some(state.h()), state.c()]
            .into_iter()
            .flatten()
            .map(|t| t.to_array().unwrap())
            .collect()
    };
    let value = |x: &ArrayD<f64>, initial: &[ArrayD<f64>]| {
        let (y, last) = layer
            .forward(
                Input::with_lengths(&tensor(x), &lengths),
                Some(&state(initial)),
            )
            .unwrap();
        let states: f64 = parts(&last)
            .iter()
            .zip(&d_last)
            .map(|(last, d)| dot(last, d))
            .sum();
        dot(&y.to_array().unwrap(), &d_y) + states
    };
    let vjp = layer
        .vjp(
            Input::with_lengths(&tensor(&x), &lengths),
            Some(&state(&initial)),
            &tensor(&d_y),
            Some(&state(&d_last)),
        )
        .unwrap();

    let expected = differences(&x, |x| value(x, &initial));
    compare("dx", &vjp.d_x.to_array().unwrap(), &expected, TOLERANCE).unwrap();
    for (index, got) in parts(&vjp.d_state).iter().enumerate() {
        let expected = differences(&initial[index], |moved| {
            let mut initial = initial.clone();
            initial[index] = moved.clone();
            value(&x, &initial)
        });
        compare(&format!("initial state {index}"), got, &expected, TOLERANCE).unwrap();
    }
    let gradients = vjp.d_weights.to_arrays::<f64>().unwrap();
    check_weights(layer.parameters(), &gradients, || value(&x, &initial));
}

fn config_states<C: Cell>(config: &RecurrentConfig<C>) -> usize {
    config.cell().states()
}

fn check_weights(
    weights: &Parameters,
    gradients: &BTreeMap<String, ArrayD<f64>>,
    mut value: impl FnMut() -> f64,
) {
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    assert_eq!(gradients.len(), names.len());
    let arrays = weights.to_arrays::<f64>().unwrap();
    for name in &names {
        let expected = differences(&arrays[name], |moved| {
            weights.set(name, moved).unwrap();
            value()
        });
        weights.set(name, &arrays[name]).unwrap();
        compare(name, &gradients[name], &expected, TOLERANCE).unwrap();
    }
}

#[test]
fn rnn_tanh() {
    check_cell(RecurrentConfig::<Rnn>::new(3, 5), 4, 2, 3, 5);
}

#[test]
fn rnn_relu() {
    check_cell(
        RecurrentConfig::<Rnn>::new(3, 5).nonlinearity(Activation::Relu),
        4,
        2,
        3,
        5,
    );
}

#[test]
fn lstm() {
    check_cell(RecurrentConfig::<Lstm>::new(3, 5), 4, 2, 3, 5);
    check_cell(RecurrentConfig::<Lstm>::new(2, 1), 1, 3, 2, 1);
}

#[test]
fn gru() {
    check_cell(RecurrentConfig::<Gru>::new(3, 5), 4, 2, 3, 5);
    check_cell(RecurrentConfig::<Gru>::new(2, 1), 1, 3, 2, 1);
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
    });
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
