//! RMSProp against a loop over its equations.

use crate::common::{every_device, rng, uniform};
use bptt::nn::Sequential;
use bptt::train::{RmsProp, Trainer};
use bptt::verify::compare;
use ndarray::{ArrayD, arr1};
use std::collections::BTreeMap;

const STEPS: usize = 6;
const LEN: usize = 8;

/// The weights after each step, one number after the other, as `torch.optim.RMSprop` changes them.
fn expected(of: RmsProp, first: &[f64], gradients: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (mut p, mut v, mut a, mut b) = (first.to_vec(), [0.0; LEN], [0.0; LEN], [0.0; LEN]);
    let step = |gradients: &Vec<f64>| {
        for i in 0..LEN {
            let g = gradients[i] + of.weight_decay * p[i];
            v[i] = of.alpha * v[i] + (1.0 - of.alpha) * g * g;
            let mut square = v[i];
            if of.centered {
                a[i] = of.alpha * a[i] + (1.0 - of.alpha) * g;
                square -= a[i] * a[i];
            }
            let scaled = g / (square.sqrt() + of.epsilon);
            b[i] = of.momentum * b[i] + scaled;
            p[i] -= of.learning_rate * b[i];
        }
        p.clone()
    };
    gradients.iter().map(step).collect()
}

#[test]
fn every_option_moves_weights_as_its_equations_say() {
    let plain = RmsProp::new(1e-2);
    let all = RmsProp {
        alpha: 0.9,
        epsilon: 1e-3,
        weight_decay: 0.1,
        momentum: 0.8,
        centered: true,
        ..RmsProp::new(0.05)
    };
    let options = [
        plain,
        RmsProp {
            momentum: 0.9,
            ..plain
        },
        RmsProp {
            centered: true,
            ..plain
        },
        RmsProp {
            weight_decay: 0.3,
            ..plain
        },
        all,
    ];
    let mut rng = rng(5);
    let gradients: Vec<Vec<f64>> = (0..STEPS)
        .map(|_| {
            uniform(&mut rng, LEN, 1.0)
                .into_iter()
                .map(f64::from)
                .collect()
        })
        .collect();
    for device in every_device() {
        for option in options {
            let model = Sequential::new(LEN).layer_norm().build(&device, 1).unwrap();
            let mut trainer = Trainer::new(model, option).build().unwrap();
            // The gain of a layer norm is 1 at first, its bias 0.
            let expected = expected(option, &[1.0; LEN], &gradients);
            for (gradient, expected) in gradients.iter().zip(expected) {
                let zeros = ArrayD::zeros(vec![LEN]);
                let all = BTreeMap::from([
                    ("0.weight".to_owned(), arr1(gradient).into_dyn()),
                    ("0.bias".to_owned(), zeros),
                ]);
                trainer.apply_gradients(&all).unwrap();
                let got = trainer.model().parameters().to_arrays::<f64>().unwrap();
                let expected = arr1(&expected).into_dyn();
                compare("weight", &got["0.weight"], &expected, 1e-4)
                    .unwrap_or_else(|mismatch| panic!("{option:?} on {device}: {mismatch}"));
            }
        }
    }
}

#[test]
fn numbers_outside_of_their_range() {
    let plain = RmsProp::new(1e-2);
    for (name, optimizer) in [
        ("learning_rate", RmsProp::new(-1.0)),
        (
            "epsilon",
            RmsProp {
                epsilon: -1.0,
                ..plain
            },
        ),
        (
            "weight_decay",
            RmsProp {
                weight_decay: f64::NAN,
                ..plain
            },
        ),
        (
            "momentum",
            RmsProp {
                momentum: -0.1,
                ..plain
            },
        ),
        (
            "alpha",
            RmsProp {
                alpha: 1.0,
                ..plain
            },
        ),
    ] {
        let model = Sequential::new(2)
            .linear(1)
            .build(&bptt::Device::cpu(), 1)
            .unwrap();
        let error = Trainer::new(model, optimizer)
            .build()
            .unwrap_err()
            .to_string();
        assert!(error.contains(name), "{error}");
    }
}
