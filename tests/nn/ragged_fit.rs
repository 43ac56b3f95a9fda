//! What is learnt from sequences of different lengths.

use crate::common::devices;
use crate::runs::random;
use bptt::data::Sequences;
use bptt::nn::{Gru, Lstm, Sequential};
use bptt::train::{Adam, CrossEntropy, Trainer};
use ndarray::{Array2, Ix3, s};

/// Sequences of 1 to 8 numbers; to be learnt: the mean of each.
fn means(sequences: usize, seed: u64) -> Sequences {
    let x = random(seed, &[8, sequences, 1]).mapv(|value| value as f32);
    let x = x.into_dimensionality::<Ix3>().unwrap();
    let lengths: Vec<usize> = (0..sequences).map(|n| 1 + (5 * n) % 8).collect();
    let mean = |(n, _)| x.slice(s![..lengths[n], n, 0]).mean().unwrap();
    let target = Array2::from_shape_fn((sequences, 1), mean);
    let data = Sequences::many_to_one(x, target).unwrap();
    data.with_lengths(lengths).unwrap()
}

#[test]
fn fit_learns_the_mean_of_ragged_sequences() {
    for device in devices() {
        let model = Sequential::new(1).gru(Gru::hidden(12)).last_step();
        let model = model.linear(1).build(&device, 1).unwrap();
        let mut trainer = Trainer::new(model, Adam::new(0.02)).build().unwrap();
        let (train, valid) = (means(160, 5), means(64, 6));
        let before = trainer.evaluate(&valid, 64).unwrap();
        let fit = trainer.fit(&train).validation(&valid);
        let history = fit.epochs(16).batch_size(32).run().unwrap();
        let after = trainer.evaluate(&valid, 64).unwrap();
        assert!(
            after < 0.01 && after < 0.1 * before,
            "{before} {after} on {device}"
        );
        let best = &history.epochs[history.best.unwrap() - 1];
        let error = (after - best.validation.unwrap()).abs();
        assert!(error < 1e-5, "{error} on {device}");
    }
}

#[test]
fn fit_learns_from_every_step_there_is() {
    // To be learnt: the sign of the number before, with anything past the lengths.
    let (steps, sequences) = (5, 64);
    let x = random(7, &[steps, sequences, 1]).mapv(|value| value as f32);
    let x = x.into_dimensionality::<Ix3>().unwrap();
    let lengths: Vec<usize> = (0..sequences).map(|n| (3 * n) % (steps + 1)).collect();
    let class = |(t, n): (usize, usize)| match t {
        _ if t >= lengths[n] => u32::MAX,
        0 => 0,
        _ => u32::from(x[[t - 1, n, 0]] > 0.0),
    };
    let classes = Array2::from_shape_fn((steps, sequences), class);
    let data = Sequences::classes_of_steps(x.clone(), classes).unwrap();
    let data = data.with_lengths(lengths.clone()).unwrap();
    for device in devices() {
        let model = Sequential::new(1).lstm(Lstm::hidden(8)).linear(2);
        let trainer = Trainer::new(model.build(&device, 1).unwrap(), Adam::new(0.05));
        let mut trainer = trainer.loss(CrossEntropy).build().unwrap();
        let history = trainer.fit(&data).epochs(30).batch_size(16).run().unwrap();
        let loss = history.epochs[29].loss;
        assert!(loss < 0.3, "{loss} on {device}");
    }
}
