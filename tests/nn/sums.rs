//! Sums over steps and over data sets: losses and metrics.

use crate::common::{devices, every_device};
use crate::training::random;
use bptt::data::{Batch, Sequences};
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{Gru, Linear, Scope, Sequential};
use bptt::train::{Loss, Mse, Rmse, Sgd, Trainer};
use bptt::{Device, Result};
use ndarray::{Array2, Array3, Ix3};

/// |target − output|
#[derive(Debug)]
struct Distance;

impl Loss for Distance {
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        s.map("distance", [output, target], |[y, target]| {
            (target - y).abs()
        })
    }
}

/// A trainer whose loss is that of its targets, whatever it learns.
fn constant(device: &Device) -> Trainer {
    let model = Sequential::new(1).add(Linear::new(1).bias(false));
    let model = model.build(device, 1).unwrap();
    Trainer::new(model, Sgd::new(0.0))
        .loss(Distance)
        .build()
        .unwrap()
}

#[test]
fn the_mean_loss_of_many_steps_is_that_of_one() {
    let target = Array3::from_elem((1, 1, 1), 0.1_f32);
    let batch = Batch::new(Array3::<f32>::zeros((1, 1, 1)), target);
    for device in every_device() {
        let mut trainer = constant(&device);
        (0..5000).for_each(|_| trainer.step(&batch).unwrap());
        let loss = trainer.take_loss().unwrap();
        let error = (loss / f64::from(0.1_f32) - 1.0).abs();
        assert!(error < 1e-7, "{loss} on {device}");
    }
}

#[test]
fn the_loss_of_a_large_data_set_is_that_of_one_example() {
    let count = 1 << 20;
    let x = Array3::zeros((1, count, 1));
    let data = Sequences::many_to_one(x, Array2::from_elem((count, 1), 0.1)).unwrap();
    for device in devices() {
        let model = Sequential::new(1).add(Linear::new(1).bias(false));
        let model = model.last_step().build(&device, 1).unwrap();
        let trainer = Trainer::new(model, Sgd::new(0.0)).loss(Distance);
        let mut trainer = trainer.build().unwrap();
        for batch_size in [1 << 12, count] {
            let loss = trainer.evaluate(&data, batch_size).unwrap();
            let error = (loss / f64::from(0.1_f32) - 1.0).abs();
            assert!(error < 1e-6, "{loss} of {batch_size} on {device}");
        }
    }
}

/// Sequences of 0 to 6 steps, whose loss grows with their length.
fn ragged() -> Sequences {
    let x = random(5, &[6, 12, 2]).into_dimensionality::<Ix3>().unwrap();
    let lengths: Vec<usize> = (0..12).map(|row| row % 7).collect();
    let target = |(_, row, _)| (row % 7) as f32;
    let target = Array3::from_shape_fn((6, 12, 1), target);
    let data = Sequences::many_to_many(x, target).unwrap();
    data.with_lengths(lengths).unwrap()
}

#[test]
fn what_is_measured_of_ragged_sequences_does_not_depend_on_the_batch_size() {
    for device in every_device() {
        for loss in [Mse::mean(), Mse::sum()] {
            let model = Sequential::new(2).gru(Gru::hidden(4)).linear(1);
            let model = model.build(&device, 1).unwrap();
            let mut trainer = Trainer::new(model, Sgd::new(0.0))
                .loss(loss)
                .build()
                .unwrap();
            let data = ragged();
            let whole = trainer.measure(&data, 12, &[&Rmse]).unwrap();
            for batch_size in [1, 5, 100] {
                let parts = trainer.measure(&data, batch_size, &[&Rmse]).unwrap();
                for (part, whole) in parts.iter().zip(&whole) {
                    let error = (part / whole - 1.0).abs();
                    assert!(
                        error < 1e-6,
                        "{parts:?} in {batch_size} on {device}: {whole:?}"
                    );
                }
            }
            // Over all 31 steps that there are.
            let mean = if loss == Mse::mean() {
                whole[0]
            } else {
                whole[0] / 31.0
            };
            assert!((whole[1] * whole[1] / mean - 1.0).abs() < 1e-6, "{whole:?}");
        }
    }
}
