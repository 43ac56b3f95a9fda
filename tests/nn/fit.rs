//! Whole trainings: what is learnt, what is kept, what is reported.

use crate::common::devices;
use crate::training::random;
use bptt::Device;
use bptt::data::{Batch, Dataset, Sequences};
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{Gru, Lstm, Scope, Sequential};
use bptt::train::{Adam, Cosine, CrossEntropy, Epoch, Metric, Mse, Sgd, Trainer};
use ndarray::{Array1, Array2, Array3, Axis, Ix3};
use std::sync::atomic::{AtomicBool, Ordering};

/// Which of two inputs was larger at the first step: what only a memory can tell at the last.
fn memory(sequences: usize, seed: u64) -> (Array3<f32>, Vec<u32>) {
    let x = random(seed, &[8, sequences, 2])
        .into_dimensionality::<Ix3>()
        .unwrap();
    let classes = (0..sequences)
        .map(|n| u32::from(x[[0, n, 1]] > x[[0, n, 0]]))
        .collect();
    (x, classes)
}

#[test]
fn a_classifier_learns_to_remember() {
    for device in devices() {
        let (x, classes) = memory(256, 1);
        let batch = Batch::new(x, Array1::from(classes));
        let model = Sequential::new(2)
            .lstm(Lstm::hidden(12).forget_bias(1.0))
            .last_step()
            .linear(2);
        let mut trainer = Trainer::new(model.build(&device, 3).unwrap(), Adam::new(0.02))
            .loss(CrossEntropy)
            .build()
            .unwrap();
        (0..150).for_each(|_| trainer.step(&batch).unwrap());
        trainer.take_loss().unwrap();
        let (x, classes) = memory(200, 2);
        let logits = trainer.model().predict(&x).unwrap();
        let right = logits
            .outer_iter()
            .zip(&classes)
            .filter(|(row, class)| (row[1] > row[0]) == (**class == 1))
            .count();
        assert!(right >= 180, "{right} of 200 on {device}");
    }
}

fn ramp(sequences: usize) -> Sequences {
    let x = random(5, &[6, sequences, 1])
        .into_dimensionality::<Ix3>()
        .unwrap();
    let target: Array2<f32> = x.sum_axis(Axis(0)) / 6.0;
    Sequences::many_to_one(x, target).unwrap()
}

#[test]
fn fit_learns_keeps_the_best_weights_and_stops() {
    for device in devices() {
        let model = Sequential::new(1)
            .gru(Gru::hidden(8))
            .last_step()
            .linear(1)
            .build(&device, 3)
            .unwrap();
        let mut trainer = Trainer::new(model, Adam::new(0.02))
            .loss(Mse::mean())
            .build()
            .unwrap();
        let (train, valid) = (ramp(50), ramp(20));
        let mut told = vec![];
        let fit = trainer.fit(&train).validation(&valid).epochs(12);
        let fit = fit.batch_size(16).seed(1).schedule(Cosine);
        let tell = |epoch: &Epoch| told.push(epoch.clone());
        let history = fit.callback(tell).run().unwrap();
        assert_eq!(history.epochs, told);
        assert_eq!(history.epochs.len(), 12);
        let losses: Vec<f64> = history
            .epochs
            .iter()
            .map(|epoch| epoch.validation.unwrap())
            .collect();
        let best = history.best.unwrap();
        assert!(losses.iter().all(|loss| losses[best - 1] <= *loss));
        assert!(losses[best - 1] < 0.5 * losses[0], "{losses:?} on {device}");
        assert_eq!(
            trainer.evaluate(&valid, 16).unwrap(),
            losses[best - 1],
            "the best weights, on {device}"
        );
        assert_eq!(trainer.learning_rate(), 0.02);
        assert_eq!(trainer.steps(), 12 * 4);
        // With a learning rate of 0 nothing gets better after the first epoch.
        trainer.set_learning_rate(0.0).unwrap();
        let fit = trainer.fit(&train).validation(&valid);
        let history = fit.epochs(50).patience(3).run().unwrap();
        assert_eq!((history.epochs.len(), history.best), (4, Some(1)));
    }
}

#[test]
fn fit_learns_classes() {
    for device in devices() {
        let data = |sequences, seed| {
            let (x, classes) = memory(sequences, seed);
            Sequences::classes(x, Array1::from(classes)).unwrap()
        };
        let model = Sequential::new(2)
            .gru(Gru::hidden(12))
            .last_step()
            .linear(2);
        let mut trainer = Trainer::new(model.build(&device, 3).unwrap(), Adam::new(0.02))
            .loss(CrossEntropy)
            .build()
            .unwrap();
        let (train, valid) = (data(200, 1), data(80, 2));
        let fit = trainer.fit(&train).validation(&valid);
        let history = fit.epochs(10).batch_size(30).run().unwrap();
        let best = history.epochs[history.best.unwrap() - 1]
            .validation
            .unwrap();
        assert!(best < 0.5 * std::f64::consts::LN_2, "{best} on {device}");
        // A class at every step is another shape of target.
        let x = Array3::<f32>::zeros((8, 4, 2));
        let steps = Sequences::classes_of_steps(x, Array2::ones((8, 4))).unwrap();
        let model = Sequential::new(2)
            .gru(Gru::hidden(3))
            .linear(2)
            .build(&device, 1)
            .unwrap();
        let mut trainer = Trainer::new(model, Adam::new(0.1))
            .loss(CrossEntropy)
            .build()
            .unwrap();
        let history = trainer.fit(&steps).epochs(20).run().unwrap();
        assert!(
            history.epochs[19].loss < 0.1 * history.epochs[0].loss,
            "{device}"
        );
    }
}

#[test]
fn an_epoch_counts_its_own_steps_only_and_an_error_leaves_the_learning_rate() {
    struct Broken(Sequences, AtomicBool);
    impl Dataset for Broken {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn batch(&self, examples: &[usize]) -> Batch {
            match self.1.swap(true, Ordering::Relaxed) {
                false => self.0.batch(examples),
                true => Batch::new(
                    Array3::<f32>::zeros((1, 1, 9)),
                    Array2::<f32>::zeros((1, 1)),
                ),
            }
        }
    }
    let build = || {
        Sequential::new(1)
            .linear(1)
            .build(&Device::cpu(), 3)
            .unwrap()
    };
    let data = Sequences::many_to_many(Array3::ones((2, 8, 1)), Array3::zeros((2, 8, 1))).unwrap();
    let mut trainer = Trainer::new(build(), Sgd::new(0.0)).build().unwrap();
    let stray = Batch::new(
        Array3::<f32>::zeros((1, 1, 1)),
        Array3::<f32>::from_elem((1, 1, 1), 1e6),
    );
    trainer.step(&stray).unwrap();
    let loss = trainer.fit(&data).run().unwrap().epochs[0].loss;
    assert!(loss < 10.0, "{loss}");
    trainer.set_learning_rate(0.5).unwrap();
    let broken = Broken(data, AtomicBool::new(false));
    let fit = trainer.fit(&broken).epochs(4).schedule(Cosine);
    assert!(fit.batch_size(8).run().is_err());
    assert_eq!(trainer.learning_rate(), 0.5);
    let fit = trainer.fit(&broken).epochs(4).schedule(Cosine);
    let error = fit.batch_size(8).patience(2).run().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("patience: set, expected unset"),
        "{error}"
    );
}

/// The share of elements whose error is at most some number.
#[derive(Debug)]
struct Within(f64);

impl Metric for Within {
    fn name(&self) -> &str {
        "within"
    }
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> bptt::Result<Var> {
        s.map("within", [output, target], |[output, target]| {
            let beyond = (output - target).abs() - self.0;
            beyond.where_positive(beyond.constant(0.0), beyond.constant(1.0))
        })
    }
}

/// What was compiled for one metric is not taken for another of the same name.
#[test]
fn metrics_of_one_name_are_told_apart() {
    let data = ramp(6);
    for device in devices() {
        let model = Sequential::new(1).gru(Gru::hidden(4)).last_step().linear(1);
        let model = model.build(&device, 1).unwrap();
        let mut trainer = Trainer::new(model, Adam::new(1e-3)).build().unwrap();
        let mut share = |within: f64| trainer.measure(&data, 4, &[&Within(within)]).unwrap()[1];
        assert_eq!(
            [share(1e9), share(0.0), share(1e9)],
            [1.0, 0.0, 1.0],
            "{device}"
        );
    }
}

/// Until patience ends it.
#[test]
fn epochs_may_be_without_number() {
    let device = Device::cpu();
    let model = Sequential::new(1).linear(1).build(&device, 1).unwrap();
    let mut trainer = Trainer::new(model, Sgd::new(0.0)).build().unwrap();
    let (x, y) = (
        Array3::<f32>::ones((1, 3, 1)),
        Array3::<f32>::ones((1, 3, 1)),
    );
    let data = Sequences::many_to_many(x, y).unwrap();
    let fit = trainer.fit(&data).batch_size(1).validation(&data);
    let history = fit.epochs(usize::MAX).patience(2).run().unwrap();
    assert_eq!(history.epochs.len(), 3);
}
