//! Clipping by the global norm of the gradients, of any magnitude.

use crate::common::every_device;
use bptt::Device;
use bptt::nn::{Linear, Sequential};
use bptt::train::{Adam, Optimizer, Sgd, Trainer};
use ndarray::{ArrayD, arr2};
use std::collections::BTreeMap;

const NAME: &str = "0.weight";

/// A trainer of three weights.
fn trainer(
    device: &Device,
    optimizer: impl Optimizer + 'static,
    max_norm: f64,
    error_if_nonfinite: bool,
) -> Trainer {
    let model = Sequential::new(3).add(Linear::new(1).bias(false));
    let model = model.build(device, 1).unwrap();
    let trainer = Trainer::new(model, optimizer).clip_norm(max_norm);
    let trainer = trainer.error_if_nonfinite(error_if_nonfinite);
    trainer.build().unwrap()
}

fn gradients(of: [f64; 3]) -> BTreeMap<String, ArrayD<f64>> {
    BTreeMap::from([(NAME.to_owned(), arr2(&[of]).into_dyn())])
}

fn weights(trainer: &Trainer) -> Vec<f64> {
    let weights = trainer.model().parameters().to_arrays::<f64>().unwrap();
    weights[NAME].iter().copied().collect()
}

#[test]
fn the_norm_is_right_wherever_it_is_a_number() {
    let direction: [f64; 3] = [2.0 / 7.0, -3.0 / 7.0, 6.0 / 7.0];
    for device in every_device() {
        let single = [
            1e-37, 1e-30, 1e-20, 1e-8, 1.0, 1e9, 1e18, 1e19, 1e20, 1e25, 1e30, 1e37, 3e38,
        ];
        let double = [1e-300, 1e-200, 1e-160, 1e153, 1e155, 1e200, 1e300];
        let is_double = device.to_string().contains("f64");
        let more = double.into_iter().filter(|_| is_double);
        for norm in single.into_iter().chain(more) {
            // Clipped to a norm of 1, and not at all.
            for max_norm in [1.0, 1e35] {
                let mut trainer = trainer(&device, Sgd::new(1.0), max_norm, true);
                let before = weights(&trainer);
                let of = direction.map(|x| x * norm);
                trainer.apply_gradients(&gradients(of)).unwrap();
                let got = trainer.gradient_norm().unwrap().unwrap();
                assert!(
                    (got / norm - 1.0).abs() < 1e-6,
                    "{got:e} is {norm:e} on {device}"
                );
                let scale = (max_norm / (norm + 1e-6)).min(1.0);
                for ((after, before), of) in weights(&trainer).iter().zip(before).zip(of) {
                    let expected = before - of * scale;
                    let close = (after - expected).abs() < 1e-6 * (expected.abs() + norm * scale);
                    assert!(
                        close,
                        "{norm:e} to {max_norm:e} on {device}: {after}, {expected}"
                    );
                }
            }
        }
        // What is small beside what is large has no part in it, and the other way round.
        for (of, norm) in [
            ([1e19, 1.0, 1e-30], 1e19),
            ([3e-25, 4e-25, 1e-40], 5e-25),
            ([3e-9, 0.0, 4e-9], 5e-9),
        ] {
            let mut trainer = trainer(&device, Sgd::new(1.0), 1.0, false);
            trainer.apply_gradients(&gradients(of)).unwrap();
            let got = trainer.gradient_norm().unwrap().unwrap();
            assert!(
                (got / norm - 1.0).abs() < 1e-6,
                "{got:e} is {norm:e} on {device}"
            );
        }
    }
}

#[test]
fn a_norm_that_is_no_number_is_an_error_where_asked_for_and_nan_else() {
    for device in every_device() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut poisoned = trainer(&device, Adam::new(0.1), 1.0, false);
            poisoned
                .apply_gradients(&gradients([1.0, bad, 2.0]))
                .unwrap();
            assert!(!poisoned.gradient_norm().unwrap().unwrap().is_finite());
            let after = weights(&poisoned);
            assert!(
                after.iter().all(|x| x.is_nan()),
                "{bad} on {device}: {after:?}"
            );

            let mut guarded = trainer(&device, Adam::new(0.1), 1.0, true);
            let mut plain = trainer(&device, Adam::new(0.1), 1.0, false);
            let before = weights(&guarded);
            guarded
                .apply_gradients(&gradients([1.0, bad, 2.0]))
                .unwrap();
            assert_eq!(weights(&guarded), before, "{bad} on {device}");
            let error = guarded.gradient_norm().unwrap_err().to_string();
            assert_eq!(error, "the gradient norm is not finite at step 1");
            // The optimizer's states are as they were too.
            plain.apply_gradients(&gradients([0.0; 3])).unwrap();
            for trainer in [&mut guarded, &mut plain] {
                trainer
                    .apply_gradients(&gradients([1.0, 2.0, 3.0]))
                    .unwrap();
            }
            assert_eq!(weights(&guarded), weights(&plain), "{bad} on {device}");
        }
    }
    let model = Sequential::new(3)
        .linear(1)
        .build(&Device::cpu(), 1)
        .unwrap();
    let trainer = Trainer::new(model, Sgd::new(1.0)).error_if_nonfinite(true);
    let error = trainer.build().unwrap_err().to_string();
    assert!(
        error.starts_with("error_if_nonfinite: set, expected unset without clip_norm"),
        "{error}"
    );
}
