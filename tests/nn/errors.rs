//! Bad input is refused in words that name the argument.

use crate::common::every_device;
use bptt::data::Batch;
use bptt::nn::{Function, Gru, Input, Lstm, Model, Rnn, Sequential, State};
use bptt::train::{Adam, CrossEntropy, Mse, Sgd, Trainer};
use bptt::{Device, Tensor};
use ndarray::{Array1, Array2, Array3};

fn tensor(shape: &[usize]) -> Tensor {
    Tensor::zeros(&Device::cpu(), shape).unwrap()
}

fn message<T>(result: bptt::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn sizes_of_zero() {
    let device = Device::cpu();
    assert_eq!(
        message(Lstm::new(0, 5).build(&device, 0)),
        "input_size: 0, expected at least 1"
    );
    assert_eq!(
        message(Lstm::new(3, 0).build(&device, 0)),
        "hidden_size: 0, expected at least 1"
    );
    assert_eq!(
        message(Lstm::new(3, 5).layers(0).build(&device, 0)),
        "layers: 0, expected at least 1"
    );
    assert_eq!(
        message(Lstm::new(3, 5).layers(1 << 30).build(&device, 0)),
        "layers: 1073741824, expected at most 8192"
    );
    let no_bias = Lstm::new(3, 5).bias(false).forget_bias(1.0);
    assert!(message(no_bias.build(&device, 0)).starts_with("forget_bias: set"));
    assert_eq!(
        message(Sequential::new(3).linear(0).build(&device, 0)),
        "out_features: 0, expected at least 1"
    );
    assert_eq!(
        message(Sequential::new(0).linear(2).build(&device, 0)),
        "features: 0, expected at least 1"
    );
}

#[test]
fn inputs_and_states_that_do_not_fit() {
    let device = Device::cpu();
    let lstm = Lstm::new(3, 5).build(&device, 0).unwrap();
    assert_eq!(
        message(lstm.forward(&tensor(&[4, 2, 7]), None)),
        "x: shape [4, 2, 7], expected [T, B, 3]"
    );
    assert_eq!(
        message(lstm.forward(&tensor(&[4, 3]), None)),
        "x: shape [4, 3], expected [T, B, 3]"
    );
    assert_eq!(
        message(lstm.forward(&tensor(&[0, 2, 3]), None)),
        "x: T: 0, expected at least 1"
    );
    assert_eq!(
        message(lstm.forward(&tensor(&[4, 0, 3]), None)),
        "x: B: 0, expected at least 1"
    );
    let x = tensor(&[4, 2, 3]);
    let only_h = State::new(tensor(&[1, 2, 5]));
    assert_eq!(
        message(lstm.forward(&x, Some(&only_h))),
        "state: 1 states, expected 2 for lstm"
    );
    let wrong = State::with_cell(tensor(&[1, 2, 5]), tensor(&[1, 5, 2]));
    assert_eq!(
        message(lstm.forward(&x, Some(&wrong))),
        "state.c: shape [1, 5, 2], expected [1, 2, 5]"
    );
    let wrong = lstm.vjp(&x, None, &tensor(&[4, 2, 3]), None);
    assert_eq!(message(wrong), "d_y: shape [4, 2, 3], expected [4, 2, 5]");
    for (lengths, expected) in [
        (&[4][..], "lengths: shape [1], expected [2]"),
        (&[4, 5], "lengths: 5, expected 0 to T = 4"),
    ] {
        let wrong = lstm.forward(Input::with_lengths(&x, lengths), None);
        assert_eq!(message(wrong), expected);
    }
    let gru = Gru::new(3, 5).build(&device, 0).unwrap();
    let both = State::with_cell(tensor(&[1, 2, 5]), tensor(&[1, 2, 5]));
    assert_eq!(
        message(gru.forward(&x, Some(&both))),
        "state: 2 states, expected 1 for gru"
    );
    let elsewhere = Tensor::zeros(&Device::cpu_f64(), &[4, 2, 3]).unwrap();
    assert_eq!(
        message(gru.forward(&elsewhere, None)),
        "x: a tensor on CPU (f64), expected one on CPU (f32)"
    );
    let x = bptt::data::Sequence::new(elsewhere);
    assert_eq!(
        message(model().predict_all::<f32>(&[x])),
        "x: a tensor on CPU (f64), expected one on CPU (f32)"
    );
}

#[test]
fn layers_that_do_not_follow_each_other() {
    let device = Device::cpu();
    let wrong = Sequential::new(3).lstm(Lstm::new(4, 5)).build(&device, 0);
    assert_eq!(
        message(wrong),
        "input_size: 4, expected 3, the features of the layer before"
    );
    let wrong = Sequential::new(3)
        .lstm(Lstm::hidden(5))
        .last_step()
        .rnn(Rnn::hidden(5))
        .build(&device, 0);
    assert_eq!(
        message(wrong),
        "x of a recurrent layer: shape [1, 5], expected [T, B, F]: a sequence, before last_step"
    );
    let wrong = Sequential::new(3)
        .lstm(Lstm::hidden(5))
        .last_step()
        .last_step()
        .build(&device, 0);
    assert_eq!(
        message(wrong),
        "last_step: on a value of shape [1, 5], expected on a sequence [T, B, F], so one such layer, \
         after the recurrent ones"
    );
}

fn model() -> Model {
    Sequential::new(3)
        .lstm(Lstm::hidden(5))
        .last_step()
        .linear(2)
        .build(&Device::cpu(), 0)
        .unwrap()
}

#[test]
fn batches_that_do_not_fit() {
    let mut trainer = Trainer::new(model(), Adam::new(1e-3)).build().unwrap();
    let x = Array3::<f32>::zeros((4, 6, 3));
    let wrong = Batch::new(x.clone(), Array2::<f32>::zeros((6, 3)));
    assert_eq!(
        message(trainer.step(&wrong)),
        "target: shape [6, 3], expected [6, 2]"
    );
    let wrong = Batch::new(
        Array3::<f32>::zeros((4, 6, 2)),
        Array2::<f32>::zeros((6, 2)),
    );
    assert_eq!(
        message(trainer.step(&wrong)),
        "x: shape [4, 6, 2], expected [T, B, 3]"
    );
    let wrong = Batch::new(x.clone(), Array2::<u32>::zeros((6, 2)));
    assert!(message(trainer.step(&wrong)).starts_with("target: class numbers"));
    let wrong = Batch::new(
        Array3::<u32>::zeros((4, 6, 3)),
        Array2::<f32>::zeros((6, 2)),
    );
    assert!(message(trainer.step(&wrong)).starts_with("x: class numbers"));
    assert!(message(trainer.take_loss()).contains("steps since the last take_loss: 0"));

    let mut trainer = Trainer::new(model(), Adam::new(1e-3))
        .loss(CrossEntropy)
        .build()
        .unwrap();
    let wrong = Batch::new(x.clone(), Array1::from_elem(6, 2_u32));
    assert_eq!(
        message(trainer.step(&wrong)),
        "target: 2, expected class numbers 0 to 1 as u32"
    );
    let wrong = Batch::new(x, Array1::<f32>::zeros(6));
    assert_eq!(
        message(trainer.step(&wrong)),
        "target: floats, expected class numbers 0 to 1 as u32"
    );
}

#[test]
fn numbers_out_of_range() {
    for rate in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(
            message(Trainer::new(model(), Sgd::new(rate)).build()).starts_with("learning_rate: ")
        );
    }
    let nesterov = Trainer::new(model(), Sgd::new(0.1).nesterov()).build();
    assert_eq!(
        message(nesterov),
        "momentum: 0, expected more than 0 for Nesterov's step"
    );
    assert!(
        message(Trainer::new(model(), Adam::new(0.1).betas(1.0, 0.9)).build())
            .starts_with("betas.0: 1,")
    );
    assert!(
        message(Trainer::new(model(), Adam::new(0.1).weight_decay(-0.1)).build())
            .starts_with("weight_decay: -0.1")
    );
    for norm in [0.0, -1.0, f64::NAN] {
        let trainer = Trainer::new(model(), Adam::new(0.1)).clip_norm(norm);
        assert!(message(trainer.build()).starts_with("max_norm: "));
    }
}

#[test]
fn fits_of_nothing() {
    let data = bptt::data::Sequences::many_to_one(Array3::zeros((4, 6, 3)), Array2::zeros((6, 2)))
        .unwrap();
    let empty = bptt::data::Sequences::many_to_one(Array3::zeros((4, 0, 3)), Array2::zeros((0, 2)))
        .unwrap();
    let mut trainer = Trainer::new(model(), Adam::new(0.1))
        .loss(Mse::mean())
        .build()
        .unwrap();
    assert!(message(trainer.fit(&data).epochs(0).run()).starts_with("epochs: 0"));
    assert!(message(trainer.fit(&data).batch_size(0).run()).starts_with("batch_size: 0"));
    assert!(message(trainer.fit(&empty).run()).starts_with("training examples: 0"));
    let fit = trainer.fit(&data).validation(&empty).run();
    assert!(message(fit).starts_with("validation examples: 0"));
    assert!(message(trainer.evaluate(&empty, 4)).starts_with("examples: 0"));
}

/// Sizes whose products no number holds are refused, and not multiplied.
#[test]
fn sizes_past_all_bounds() {
    for device in every_device() {
        for huge in [usize::MAX, 1 << 62, 1 << 33] {
            let model = Sequential::new(3).lstm(Lstm::hidden(4)).build(&device, 1);
            let model = model.unwrap();
            let x = Tensor::zeros(&device, &[2, 3]).unwrap();
            let constant = Function::new(&device, move |s, _| {
                Ok(vec![s.constant(&[huge, huge], 1.0)])
            });
            for refused in [
                message(model.plan(&[huge, 2, 3])),
                message(model.plan(&[2, huge, 3])),
                message(constant.call(&[&x])),
                message(Tensor::zeros(&device, &[huge, huge])),
            ] {
                assert!(refused.contains(&huge.to_string()), "{device}: {refused}");
            }
            for refused in [
                message(Sequential::new(huge).layer_norm().build(&device, 1)),
                message(
                    Sequential::new(huge)
                        .gru(Gru::hidden(huge))
                        .build(&device, 1),
                ),
            ] {
                assert!(refused.starts_with("the weights ["), "{device}: {refused}");
            }
        }
    }
}
