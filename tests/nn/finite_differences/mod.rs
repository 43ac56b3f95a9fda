//! The CPU path in f64 against central differences: every cell, layers, directions, states; losses and heads; options.

mod options;

use crate::runs::{Arrays, Run, random};
use bptt::Device;
use bptt::cell::{Activation, Cell};
use bptt::data::Batch;
use bptt::nn::{Bias, Gru, Lstm, Parameters, Recurrent, Rnn, Sequential};
use bptt::train::{CrossEntropy, Loss, Mse, Sgd, Trainer};
use bptt::verify::{Mismatch, compare};
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

/// Two layers in both directions, with all rows of length T, and with lengths of every kind.
fn check_cell<C: Cell>(config: Recurrent<C>, size: [usize; 3]) {
    let run = Run::new(config.layers(2).bidirectional(true), size);
    check_run(&run);
    check_run(&run.ragged());
}

/// Every gradient of a run, against differences of ⟨d_y, y⟩ + ⟨d_last, last states⟩.
pub fn check_run<C: Cell>(run: &Run<C>) {
    compare_run(run).unwrap_or_else(|mismatch| panic!("{mismatch} of {run:?}"));
}

fn compare_run<C: Cell>(run: &Run<C>) -> Result<(), Mismatch> {
    let device = Device::cpu_f64();
    let layer = run.layer(&device);
    let arrays = run.arrays(&layer);
    let value = |arrays: &Arrays| {
        let results = run.forward(&layer, arrays, &device);
        let last = arrays.d_last.iter().flatten().enumerate();
        let states = last.map(|(index, d)| dot(&results[&format!("forward state {index}")], d));
        dot(&results["forward y"], &arrays.d_y) + states.sum::<f64>()
    };
    let mut results = run.vjp(&layer, &arrays, &device);
    let d_x = differences(&arrays.x, |x| {
        value(&Arrays {
            x: x.clone(),
            ..arrays.clone()
        })
    });
    compare("d_x", &results["d_x"], &d_x, TOLERANCE)?;
    // Where none are given they are zeros, and have gradients all the same.
    let initial = arrays.initial.clone().unwrap_or_else(|| {
        let gradients = results
            .iter()
            .filter(|(name, _)| name.starts_with("d_state"));
        gradients.map(|(_, d)| ArrayD::zeros(d.shape())).collect()
    });
    for (index, part) in initial.iter().enumerate() {
        let expected = differences(part, |moved| {
            let mut initial = initial.clone();
            initial[index] = moved.clone();
            value(&Arrays {
                initial: Some(initial),
                ..arrays.clone()
            })
        });
        let name = format!("d_state {index}");
        compare(&name, &results[&name], &expected, TOLERANCE)?;
    }
    results.retain(|name, _| name.starts_with("d "));
    let gradients = results
        .into_iter()
        .map(|(name, gradient)| (name["d ".len()..].to_owned(), gradient))
        .collect();
    check_weights(layer.parameters(), &gradients, || value(&arrays))
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

#[test]
fn rnn() {
    check_cell(Rnn::new(3, 5), [4, 2, 3]);
    let relu = Rnn::new(3, 5).nonlinearity(Activation::Relu);
    check_cell(relu, [4, 2, 3]);
}

#[test]
fn lstm() {
    check_cell(Lstm::new(3, 5), [4, 2, 3]);
    check_cell(Lstm::new(2, 1), [1, 3, 2]);
}

#[test]
fn gru() {
    check_cell(Gru::new(3, 5), [4, 2, 3]);
    check_cell(Gru::new(2, 1), [1, 3, 2]);
}

#[test]
fn options() {
    let projected = Lstm::new(4, 4).proj_size(2).skip_input(true);
    check_cell(projected, [4, 3, 4]);
    let general = Lstm::new(3, 3).peepholes(true).input_forget(true);
    check_cell(general.proj_size(2).bias(Bias::One), [4, 3, 3]);
    let gru = Gru::new(3, 3).reset_after(false).zoneout(0.3, 0.0);
    check_cell(gru.skip_input(true), [4, 3, 3]);
}

/// The gradients that a training step leaves, against differences of the loss it reports.
pub fn check_trainer(mut trainer: Trainer, batch: &Batch) {
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

/// A trainer of the model with a loss, whose steps change nothing.
fn trainer(model: Sequential, loss: impl Loss + 'static) -> Trainer {
    let model = model.build(&Device::cpu_f64(), 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0)).loss(loss);
    trainer.build().unwrap()
}

#[test]
fn squared_error_of_every_step_and_of_the_last() {
    for mse in [Mse::mean(), Mse::sum(), Mse::half_sum()] {
        let model = Sequential::new(3).lstm(Lstm::hidden(4)).linear(2);
        let batch = Batch::new(random(1, &[5, 2, 3]), random(2, &[5, 2, 2]));
        check_trainer(trainer(model, mse), &batch);
    }
    let model = Sequential::new(3)
        .gru(Gru::hidden(4))
        .last_step()
        .linear(2)
        .softmax();
    let batch = Batch::new(random(1, &[5, 3, 3]), random(2, &[3, 2]));
    check_trainer(trainer(model, Mse::mean()), &batch);
}

#[test]
fn cross_entropy_of_every_step_and_of_the_last() {
    let model = Sequential::new(3).rnn(Rnn::hidden(4)).linear(5);
    let classes = ndarray::Array2::from_shape_fn((4, 2), |(t, b)| ((3 * t + b) % 5) as u32);
    let batch = Batch::new(random(1, &[4, 2, 3]), classes);
    check_trainer(trainer(model, CrossEntropy), &batch);
    let model = Sequential::new(3)
        .lstm(Lstm::hidden(4))
        .last_step()
        .linear(5);
    let batch = Batch::new(random(1, &[4, 2, 3]), ndarray::arr1(&[4_u32, 0]));
    check_trainer(trainer(model, CrossEntropy), &batch);
}
