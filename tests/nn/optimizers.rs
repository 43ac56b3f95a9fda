//! Optimizers and clipping: twenty steps with PyTorch's numbers, and settings out of range.

use crate::common::devices;
use crate::golden::{golden, read};
use bptt::nn::{Model, Sequential};
use bptt::train::{self, Trainer, TrainerBuilder};
use bptt::verify::{DOUBLE, SINGLE, compare};
use bptt::{Device, Real};
use ndarray::ArrayD;
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// A trainer with the optimizer and the clipping that a configuration of the file describes; what it does not say is the default of both.
fn trainer(model: Model, config: &serde_json::Value) -> TrainerBuilder {
    let number = |key: &str, default: f64| config[key].as_f64().unwrap_or(default);
    let flag = |key: &str| config[key].as_bool().unwrap_or(false);
    let beta = |index: usize, default| config["betas"][index].as_f64().unwrap_or(default);
    let (learning_rate, weight_decay) = (number("lr", f64::NAN), number("weight_decay", 0.0));
    let trainer = match config["kind"].as_str().unwrap() {
        "SGD" => Trainer::new(
            model,
            train::Sgd {
                learning_rate,
                momentum: number("momentum", 0.0),
                nesterov: flag("nesterov"),
                weight_decay,
            },
        ),
        kind @ ("Adam" | "AdamW") => {
            let of = train::Adam::new(learning_rate);
            let betas = (beta(0, of.betas.0), beta(1, of.betas.1));
            let epsilon = number("eps", of.epsilon);
            if kind == "Adam" {
                let adam = of.betas(betas.0, betas.1).epsilon(epsilon);
                let adam = adam.weight_decay(weight_decay);
                let amsgrad = flag("amsgrad");
                Trainer::new(model, train::Adam { amsgrad, ..adam })
            } else {
                let adam = train::AdamW::new(learning_rate).betas(betas.0, betas.1);
                let adam = adam.epsilon(epsilon).weight_decay(weight_decay);
                match flag("amsgrad") {
                    true => Trainer::new(model, adam.amsgrad()),
                    false => Trainer::new(model, adam),
                }
            }
        }
        "RMSprop" => {
            let of = train::RmsProp::new(learning_rate);
            Trainer::new(
                model,
                train::RmsProp {
                    alpha: number("alpha", of.alpha),
                    epsilon: number("eps", of.epsilon),
                    momentum: number("momentum", of.momentum),
                    centered: flag("centered"),
                    weight_decay,
                    ..of
                },
            )
        }
        "Adagrad" => {
            let of = train::Adagrad::new(learning_rate);
            Trainer::new(
                model,
                train::Adagrad {
                    rate_decay: number("lr_decay", of.rate_decay),
                    initial: number("initial_accumulator_value", of.initial),
                    epsilon: number("eps", of.epsilon),
                    weight_decay,
                    ..of
                },
            )
        }
        "Adadelta" => {
            let of = train::Adadelta::new(learning_rate);
            Trainer::new(
                model,
                train::Adadelta {
                    rho: number("rho", of.rho),
                    epsilon: number("eps", of.epsilon),
                    weight_decay,
                    ..of
                },
            )
        }
        "NAdam" => {
            let of = train::NAdam::new(learning_rate);
            Trainer::new(
                model,
                train::NAdam {
                    betas: (beta(0, of.betas.0), beta(1, of.betas.1)),
                    epsilon: number("eps", of.epsilon),
                    momentum_decay: number("momentum_decay", of.momentum_decay),
                    decoupled: flag("decoupled_weight_decay"),
                    weight_decay,
                    ..of
                },
            )
        }
        "RAdam" => {
            let of = train::RAdam::new(learning_rate);
            Trainer::new(
                model,
                train::RAdam {
                    betas: (beta(0, of.betas.0), beta(1, of.betas.1)),
                    epsilon: number("eps", of.epsilon),
                    decoupled: flag("decoupled_weight_decay"),
                    weight_decay,
                    ..of
                },
            )
        }
        "Lion" => {
            let of = train::Lion::new(learning_rate);
            Trainer::new(
                model,
                train::Lion {
                    betas: (beta(0, of.betas.0), beta(1, of.betas.1)),
                    weight_decay,
                    ..of
                },
            )
        }
        kind => panic!("{kind}"),
    };
    let trainer = match config["clip_norm"].as_f64() {
        Some(clip_norm) => trainer.clip_norm(clip_norm),
        None => trainer,
    };
    match config["clip_value"].as_f64() {
        Some(clip_value) => trainer.clip_value(clip_value),
        None => trainer,
    }
}

/// Twenty steps with PyTorch's gradients. The two parameters are the first weight and the second bias of two linear layers, the
/// others being zero with zero gradients, which no optimizer moves.
fn check_optimizer<F: Real>(
    name: &str,
    config: &serde_json::Value,
    device: &Device,
    tolerance: f64,
) {
    let tensors = read(&golden("optimizers.safetensors"));
    let model = Sequential::new(3)
        .linear(7)
        .linear(5)
        .build(device, 0)
        .unwrap();
    let all = |first: &ArrayD<f64>, second: &ArrayD<f64>| {
        BTreeMap::from([
            ("0.weight".to_owned(), first.clone()),
            ("0.bias".to_owned(), ArrayD::zeros(&[7][..])),
            ("1.weight".to_owned(), ArrayD::zeros(&[5, 7][..])),
            ("1.bias".to_owned(), second.clone()),
        ])
    };
    model
        .parameters()
        .load(&all(&tensors["p.0"], &tensors["p.1"]))
        .unwrap();
    let mut trainer = trainer(model, config).build().unwrap();
    for step in 0..20 {
        let gradients = all(
            &tensors[&format!("g.{step}.0")],
            &tensors[&format!("g.{step}.1")],
        );
        trainer.apply_gradients(&gradients).unwrap();
        let weights = trainer.model().parameters().to_arrays::<F>().unwrap();
        for (index, weight) in [(0, "0.weight"), (1, "1.bias")] {
            let label = format!("{name}.{step}.{index}");
            let got = weights[weight].mapv(|x| x.to_double());
            if let Err(mismatch) = compare(&label, &got, &tensors[&label], tolerance) {
                panic!("on {device}: {mismatch}");
            }
        }
        if let Some(norm) = trainer.gradient_norm().unwrap() {
            let expected = &tensors[&format!("{name}.{step}.norm")];
            compare(
                "norm",
                &ndarray::arr1(&[norm]).into_dyn(),
                expected,
                tolerance,
            )
            .unwrap();
        }
    }
}

#[test]
fn optimizers() {
    let bytes = std::fs::read(golden("optimizers.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let configs: serde_json::Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["configs"]).unwrap();
    let configs = configs.as_object().unwrap();
    assert_eq!(configs.len(), 26);
    for (name, config) in configs {
        check_optimizer::<f64>(name, config, &Device::cpu_f64(), DOUBLE);
        for device in devices() {
            check_optimizer::<f32>(name, config, &device, SINGLE);
        }
    }
}

#[test]
fn settings_out_of_range_are_named() {
    fn refused(name: &str, optimizer: impl train::Optimizer + 'static) {
        let model = Sequential::new(2).linear(1);
        let model = model.build(&Device::cpu(), 1).unwrap();
        let error = Trainer::new(model, optimizer).build().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let adagrad = train::Adagrad::new(0.1);
    let rate_decay = f64::INFINITY;
    refused(
        "rate_decay: ",
        train::Adagrad {
            rate_decay,
            ..adagrad
        },
    );
    refused(
        "initial: ",
        train::Adagrad {
            initial: -1.0,
            ..adagrad
        },
    );
    refused(
        "epsilon: ",
        train::Adagrad {
            epsilon: 1e-60,
            ..adagrad
        },
    );
    refused("learning_rate: ", train::Adadelta::new(-1.0));
    refused(
        "rho: ",
        train::Adadelta {
            rho: 1.0,
            ..train::Adadelta::new(1.0)
        },
    );
    let nadam = train::NAdam::new(0.1);
    let momentum_decay = f64::NAN;
    refused(
        "momentum_decay: ",
        train::NAdam {
            momentum_decay,
            ..nadam
        },
    );
    refused(
        "betas.1: ",
        train::NAdam {
            betas: (0.9, 1.0),
            ..nadam
        },
    );
    let radam = train::RAdam::new(0.1);
    refused(
        "betas.0: ",
        train::RAdam {
            betas: (-0.1, 0.9),
            ..radam
        },
    );
    refused(
        "weight_decay: ",
        train::Lion {
            weight_decay: -1.0,
            ..train::Lion::new(0.1)
        },
    );
    for most in [0.0, f64::NAN, f64::INFINITY] {
        let model = Sequential::new(2).linear(1);
        let model = model.build(&Device::cpu(), 1).unwrap();
        let trainer = Trainer::new(model, train::Sgd::new(0.1)).clip_value(most);
        let error = trainer.build().unwrap_err().to_string();
        assert!(error.starts_with("clip_value: "), "{error}");
    }
}
