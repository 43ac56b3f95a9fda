//! Trainings in which something stops being a number.

use crate::common::every_device;
use crate::training::random;
use bptt::data::{Batch, Dataset, Sequences};
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{Gru, Linear, Scope, Sequential};
use bptt::train::{Adam, Loss, Sgd, Trainer};
use bptt::{Device, Error, Result};
use ndarray::{Array2, Array3, Ix3};
use std::sync::atomic::{AtomicUsize, Ordering};

fn clean() -> Sequences {
    let x = random(5, &[4, 20, 2]).into_dimensionality::<Ix3>().unwrap();
    let target = x.sum_axis(ndarray::Axis(0)).sum_axis(ndarray::Axis(1));
    Sequences::many_to_one(x, target.insert_axis(ndarray::Axis(1))).unwrap()
}

/// Data whose batches have a bad target from some batch on.
struct Spoilt(Sequences, AtomicUsize, f32);

impl Dataset for Spoilt {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn batch(&self, examples: &[usize]) -> Batch {
        let left = self.1.load(Ordering::Relaxed);
        self.1.store(left.saturating_sub(1), Ordering::Relaxed);
        let Batch { inputs, target } = self.0.batch(examples);
        match left {
            0 => Batch::of(inputs, Array2::from_elem((examples.len(), 1), self.2)),
            _ => Batch::of(inputs, target),
        }
    }
}

fn trainer(device: &Device, clip: bool) -> Trainer {
    let model = Sequential::new(2).gru(Gru::hidden(4)).last_step().linear(1);
    let trainer = Trainer::new(model.build(device, 3).unwrap(), Adam::new(0.02));
    let trainer = if clip {
        trainer.clip_norm(1.0)
    } else {
        trainer
    };
    trainer.build().unwrap()
}

/// A trainer for which a norm that is not finite is an error, as it is where there is no error to learn from.
fn strict(device: &Device) -> Trainer {
    let model = Sequential::new(2)
        .add(Linear::new(1).bias(false))
        .last_step();
    let trainer = Trainer::new(model.build(device, 3).unwrap(), Sgd::new(0.01)).loss(Root);
    let trainer = trainer.clip_norm(1.0).error_if_nonfinite(true);
    trainer.build().unwrap()
}

/// Weights after so many more epochs on clean data: they tell the optimizer's states and its number of steps, too.
fn after(trainer: &mut Trainer, epochs: usize) -> Vec<f64> {
    let data = clean();
    trainer
        .fit(&data)
        .epochs(epochs)
        .batch_size(8)
        .seed(1)
        .run()
        .unwrap();
    let weights = trainer.model().parameters().to_arrays::<f64>().unwrap();
    weights.values().flatten().copied().collect()
}

#[test]
fn a_loss_that_is_no_number_ends_a_fit_with_what_the_last_good_epoch_left() {
    for device in every_device() {
        for (bad, validated, clip) in [
            (f32::NAN, false, false),
            (f32::INFINITY, true, false),
            (f32::NAN, true, true),
        ] {
            let data = clean();
            // Three steps an epoch: the second of the third is spoilt.
            let spoilt = Spoilt(clean(), AtomicUsize::new(7), bad);
            let mut got = trainer(&device, clip);
            let fit = got.fit(&spoilt).epochs(5).batch_size(8).seed(1);
            let fit = if validated {
                fit.validation(&data)
            } else {
                fit
            };
            let error = fit.run().unwrap_err();
            let expected = "the loss is not finite at step 2 of epoch 3";
            assert_eq!(error.to_string(), expected, "{device}");
            assert!(matches!(
                error,
                Error::NonFinite {
                    step: 2,
                    epoch: Some(3),
                    ..
                }
            ));
            assert_eq!((got.steps(), got.learning_rate()), (6, 0.02));
            let mut expected = trainer(&device, clip);
            after(&mut expected, 2);
            assert_eq!(after(&mut got, 1), after(&mut expected, 1), "{device}");
        }
    }
}

#[test]
fn the_optimizer_comes_back_with_the_best_weights() {
    struct Worse(Sequences, AtomicUsize);
    impl Dataset for Worse {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn batch(&self, examples: &[usize]) -> Batch {
            let times = 1 + self.1.fetch_add(1, Ordering::Relaxed);
            let target = Array2::from_elem((examples.len(), 1), 10.0 * times as f32);
            Batch::of(self.0.batch(examples).inputs, target)
        }
    }
    for device in every_device() {
        let (data, worse) = (clean(), Worse(clean(), AtomicUsize::new(0)));
        let mut got = trainer(&device, false);
        let fit = got.fit(&data).epochs(4).batch_size(8).seed(1);
        let history = fit.validation(&worse).run().unwrap();
        assert_eq!((history.best, got.steps()), (Some(1), 3), "{device}");
        // A fault is named by the steps from there on.
        let mut named = strict(&device);
        let fit = named.fit(&data).epochs(4).batch_size(8).seed(1);
        let worse_again = Worse(clean(), AtomicUsize::new(0));
        fit.validation(&worse_again).run().unwrap();
        let nothing = Batch::new(
            Array3::<f32>::zeros((1, 1, 2)),
            Array2::<f32>::zeros((1, 1)),
        );
        named.step(&nothing).unwrap();
        let error = named.take_loss().unwrap_err().to_string();
        let step = named.steps();
        assert!(error.contains(&format!("step {step}")), "{error}, {device}");
        let mut expected = trainer(&device, false);
        after(&mut expected, 1);
        assert_eq!(after(&mut got, 1), after(&mut expected, 1), "{device}");
    }
}

/// √(error²), whose gradient is no number where there is no error.
#[derive(Debug)]
struct Root;

impl Loss for Root {
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        s.map("root", [output, target], |[y, target]| {
            ((y - target) * (y - target)).sqrt()
        })
    }
}

#[test]
fn a_gradient_that_is_no_number_ends_a_fit() {
    let zeros = |rows| {
        let (x, y) = (Array3::zeros((1, rows, 2)), Array3::zeros((1, rows, 1)));
        Sequences::many_to_many(x, y).unwrap()
    };
    let build = |device: &Device, clip: bool| {
        let model = Sequential::new(2).add(Linear::new(1).bias(false));
        let trainer = Trainer::new(model.build(device, 1).unwrap(), Sgd::new(0.1)).loss(Root);
        let trainer = if clip {
            trainer.clip_norm(1.0)
        } else {
            trainer
        };
        trainer.build().unwrap()
    };
    for device in every_device() {
        for (clip, rows, expected) in [
            (
                true,
                3,
                "the gradient norm is not finite at step 1 of epoch 1",
            ),
            (false, 3, "the loss is not finite at step 2 of epoch 1"),
            (
                false,
                1,
                "a weight or an optimizer's state is not finite at step 1 of epoch 1",
            ),
        ] {
            let mut trainer = build(&device, clip);
            let before = trainer.model().parameters().to_arrays::<f64>().unwrap();
            let data = zeros(rows);
            let error = trainer
                .fit(&data)
                .epochs(2)
                .batch_size(1)
                .run()
                .unwrap_err();
            assert_eq!(error.to_string(), expected, "{device}");
            let after = trainer.model().parameters().to_arrays::<f64>().unwrap();
            assert_eq!(after, before, "{device}");
        }
    }
}

#[test]
fn validation_that_is_no_number_ends_a_fit() {
    let (data, spoilt) = (clean(), Spoilt(clean(), AtomicUsize::new(3), f32::NAN));
    let mut trainer = trainer(&Device::cpu(), false);
    let fit = trainer.fit(&data).epochs(3).batch_size(8);
    let error = fit.validation(&spoilt).run().unwrap_err().to_string();
    assert_eq!(
        error,
        "the validation loss is not finite at step 3 of epoch 2"
    );
    assert_eq!(trainer.steps(), 3);
}

#[test]
fn a_panic_leaves_the_learning_rate() {
    struct Panics(Sequences);
    impl Dataset for Panics {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn batch(&self, examples: &[usize]) -> Batch {
            assert!(examples.len() == 8, "as asked for");
            self.0.batch(examples)
        }
    }
    let data = Panics(clean());
    let mut trainer = trainer(&Device::cpu(), false);
    let fit = std::panic::AssertUnwindSafe(|| {
        let fit = trainer.fit(&data).epochs(3).batch_size(8);
        fit.schedule(bptt::train::Cosine).run()
    });
    assert!(std::panic::catch_unwind(fit).is_err());
    assert_eq!(trainer.learning_rate(), 0.02);
    after(&mut trainer, 1);
}
