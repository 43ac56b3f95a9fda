//! Numbers that f32 cannot carry: settings, lengths, classes.

use crate::common::{devices, every_device};
use bptt::cell::Activation;
use bptt::data::{Batch, Standardizer};
use bptt::nn::{
    Function, Gru, Init, Input, Layer, LayerNorm, Lstm, Recurrent, RmsNorm, Rnn, Scope, Sequential,
};
use bptt::train::{Accuracy, Adam, CrossEntropy, Huber, Metric, Optimizer, RmsProp, Sgd, Trainer};
use bptt::{Device, Error, Tensor};
use bptt::{graph::Var, nn};
use ndarray::{Array2, Array3, arr1, array};

/// What is too large for f32, and what is 0 in it.
const OUTSIDE: [f64; 3] = [f64::MAX, 1e39, 1e-46];

fn check_refused<T>(what: &str, got: bptt::Result<T>) {
    match got {
        Err(Error::Argument { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} is taken"),
    }
}

/// A weight with first values of its own.
#[derive(Debug)]
struct Weight(f64);

impl Layer for Weight {
    type Input = Var;
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        let weight = s.parameter("weight", &[1], Init::Constant(self.0))?;
        s.add(x, weight)
    }
}

#[test]
fn settings_that_f32_cannot_hold_are_refused_on_every_device() {
    fn build<C: bptt::cell::Cell>(device: &Device, config: Recurrent<C>) -> bptt::Result<()> {
        config.build(device, 1).map(drop)
    }
    for device in every_device() {
        for value in OUTSIDE {
            let what = |name: &str| format!("{name} of {value:e} on {device}");
            check_refused(&what("clip"), build(&device, Lstm::new(2, 3).clip(value)));
            check_refused(
                &what("cell_clip"),
                build(&device, Lstm::new(2, 3).cell_clip(value)),
            );
            check_refused(
                &what("gru clip"),
                build(&device, Gru::new(2, 3).clip(value)),
            );
            check_refused(
                &what("rnn clip"),
                build(&device, Rnn::new(2, 3).clip(value)),
            );
            let model = |layer: nn::Activation| Sequential::new(2).activation(layer);
            for layer in [nn::Activation::Elu(value), nn::Activation::LeakyRelu(value)] {
                check_refused(&what("slope"), model(layer).build(&device, 1));
            }
            let norm = Sequential::new(2).add(LayerNorm::new().epsilon(value));
            check_refused(&what("layer_norm"), norm.build(&device, 1));
            let norm = Sequential::new(2).add(RmsNorm(value));
            check_refused(&what("rms_norm"), norm.build(&device, 1));
            let trainer = |optimizer: fn(f64) -> Box<dyn FnOnce(nn::Model) -> _>| {
                let model = Sequential::new(2).linear(1).build(&device, 1).unwrap();
                optimizer(value)(model)
            };
            let built: bptt::Result<Trainer> = trainer(|value| {
                Box::new(move |model| Trainer::new(model, Adam::new(0.1).epsilon(value)).build())
            });
            check_refused(&what("epsilon"), built);
            let built = trainer(|value| {
                Box::new(move |model| Trainer::new(model, Sgd::new(0.1)).clip_norm(value).build())
            });
            check_refused(&what("max_norm"), built);
            let built = trainer(|value| {
                Box::new(move |model| {
                    Trainer::new(model, Sgd::new(0.1))
                        .loss(Huber(value))
                        .build()
                })
            });
            check_refused(&what("delta"), built);
        }
        for value in [f64::MAX, 1e39] {
            let what = format!("{value:e} on {device}");
            let slope = Activation::LeakyRelu { alpha: value };
            check_refused(&what, build(&device, Rnn::new(2, 3).nonlinearity(slope)));
            check_refused(
                &what,
                Sequential::new(1).add(Weight(value)).build(&device, 1),
            );
            let model = || Sequential::new(2).linear(1).build(&device, 1).unwrap();
            check_refused(&what, Trainer::new(model(), Sgd::new(value)).build());
            let optimizer = RmsProp {
                weight_decay: value,
                ..RmsProp::new(0.1)
            };
            check_refused(&what, optimizer.check());
        }
        // The largest there are.
        let most = f64::from(f32::MAX);
        build(&device, Lstm::new(2, 3).clip(most).cell_clip(most)).unwrap();
    }
}

#[test]
fn the_smallest_deviation_is_not_zero() {
    let tiny = f32::from_bits(1);
    let scale = Standardizer::fit(&arr1(&[0.0, tiny])).unwrap();
    assert!(scale.deviation > 0.0 && scale.apply(tiny).is_finite());
    let scale = Standardizer::fit(&arr1(&[f32::MAX, -f32::MAX])).unwrap();
    assert_eq!([f32::MAX, -f32::MAX].map(|x| scale.apply(x)), [1.0, -1.0]);
}

/// f32 counts to 2²⁴.
#[test]
fn the_last_step_of_a_row_longer_than_f32_counts() {
    const T: usize = (1 << 24) + 6;
    for device in devices() {
        let mut x = Array3::<f32>::zeros((T, 1, 1));
        for step in 0..8 {
            x[[T - 1 - step, 0, 0]] = step as f32 + 1.0;
        }
        let last = Function::new(&device, |s, inputs| {
            Ok(vec![s.layer("last", &nn::LastStep, inputs[0])?])
        });
        let x = Tensor::from_array(&device, &x).unwrap();
        for past in [1, 2, 4] {
            let lengths = [T - past];
            let y = last.call(&[Input::with_lengths(&x, &lengths)]).unwrap();
            let y = y[0].to_array::<f32>().unwrap();
            assert_eq!(y[[0, 0]], past as f32 + 1.0, "{} on {device}", T - past);
        }
    }
}

fn classifier(device: &Device) -> Trainer {
    let model = Sequential::new(2).linear(3).build(device, 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0)).loss(CrossEntropy);
    trainer.build().unwrap()
}

#[test]
fn a_class_past_the_last_is_an_error_or_left_out() {
    let x = || array![[[1.0_f32, -2.0], [0.5, 3.0]]];
    for device in every_device() {
        let mut trainer = classifier(&device);
        for bad in [3, u32::MAX] {
            let refused = trainer
                .step(&Batch::new(x(), array![[1, bad]]))
                .unwrap_err();
            let begins = format!("target: {bad}, expected class numbers 0 to 2");
            assert!(refused.to_string().starts_with(&begins), "{refused}");
            // On the device it has no loss and no gradient.
            let target = Tensor::from_indices(&device, &array![[1, bad]]).unwrap();
            trainer.step(&Batch::new(x(), target)).unwrap();
            let loss = trainer.take_loss().unwrap();
            let got = trainer.gradients::<f64>().unwrap();
            let alone = Batch::new(array![[[1.0_f32, -2.0]]], array![[1]]);
            trainer.step(&alone).unwrap();
            let half = trainer.take_loss().unwrap() / 2.0;
            assert!((loss - half).abs() < 1e-6, "{loss}, {half} on {device}");
            for (name, alone) in trainer.gradients::<f64>().unwrap() {
                let off = (&got[&name] * 2.0 - alone).mapv(f64::abs);
                assert!(
                    off.iter().all(|off| *off < 1e-6),
                    "{name} on {device}: {off}"
                );
            }
        }
    }
}

#[test]
fn floats_are_no_classes_and_classes_no_floats() {
    for device in every_device() {
        let x = Array3::<f32>::ones((1, 2, 2));
        let floats = Tensor::from_array(&device, &array![[1.5_f32, -1.0]]).unwrap();
        check_refused(
            "floats",
            classifier(&device).step(&Batch::new(x, floats.clone())),
        );
        let tokens = Sequential::tokens()
            .embedding(4, 2)
            .build(&device, 1)
            .unwrap();
        check_refused("floats", tokens.forward(&floats));
        let wholes = Tensor::from_indices(&device, &array![[7, (1 << 24) + 1]]).unwrap();
        check_refused("a write", wholes.write(&array![[1.5_f32, -1.0]]));
        let read = wholes.to_array::<f64>().unwrap();
        assert_eq!(read, array![[7.0, 16_777_217.0]].into_dyn(), "{device}");
    }
}

#[test]
fn no_output_is_that_of_a_class_past_the_last() {
    for device in every_device() {
        let accuracy = Function::new(&device, |s, inputs| {
            Ok(vec![Accuracy.elements(s, inputs[0], inputs[1])?])
        });
        let y = Tensor::from_array(&device, &Array2::from_elem((2, 3), -1.0_f32)).unwrap();
        let classes = Tensor::from_indices(&device, &arr1(&[3, 1])).unwrap();
        let got = accuracy.call(&[&y, &classes]).unwrap()[0].to_array::<f32>();
        assert_eq!(got.unwrap(), arr1(&[0.0, 1.0]).into_dyn(), "{device}");
    }
}

/// The function that cells have, with a derived gradient.
#[derive(Debug)]
struct EluOfCell;

impl Layer for EluOfCell {
    type Input = Var;
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        s.map("elu", [x], |[x]| Activation::Elu { alpha: 1.0 }.apply(x))
    }
}

/// PyTorch's ELU has a gradient of 1 there; e^x − 1, which is not taken, is infinite.
#[test]
fn an_elu_far_above_zero_has_a_gradient() {
    for device in every_device() {
        for of_cell in [false, true] {
            let model = Sequential::new(1).linear(8);
            let model = match of_cell {
                false => model.activation(nn::Activation::Elu(1.0)),
                true => model.add(EluOfCell),
            };
            let model = model.linear(1).build(&device, 1).unwrap();
            let mut trainer = Trainer::new(model, Sgd::new(1e-9)).build().unwrap();
            let batch = Batch::new(array![[[1000.0_f64]]], array![[[1.0_f64]]]);
            trainer.step(&batch).unwrap();
            for (name, gradient) in trainer.gradients::<f64>().unwrap() {
                let finite = gradient.iter().all(|d| d.is_finite());
                assert!(finite, "{name}, of a cell: {of_cell}, on {device}");
            }
        }
    }
}
