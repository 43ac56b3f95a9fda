//! What lies past the lengths of sequences has no effect, whatever bits it is: not in layers, losses, metrics or weights' gradients.

mod functions;

use crate::common::every_device;
use crate::runs::{Results, Run, check, random, tensor};
use bptt::data::{Batch, Sequence, Sequences, Values};
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{
    Activation, Function, Gru, Init, Input, InputSpec, Layer, Linear, Lstm, MaxOverTime,
    MeanOverTime, Model, Rnn, Scope, Sequential,
};
use bptt::train::{CrossEntropy, Loss, Mse, Rmse, Sgd, Trainer};
use bptt::{Device, Tensor};
use ndarray::{ArrayD, Axis, Ix3, arr1};

const T: usize = 5;
const B: usize = 4;
const I: usize = 3;
const LENGTHS: [usize; B] = [4, T, 0, 2];
const GARBAGE: [f64; 2] = [f64::NAN, f64::NEG_INFINITY];

/// Sets what lies past each row's length; rows along an axis, time along the other.
fn put_past<F: Clone>(values: &ArrayD<F>, batch: usize, value: F) -> ArrayD<F> {
    let mut values = values.clone();
    for (row, length) in LENGTHS.into_iter().enumerate() {
        let mut row = values.index_axis_mut(Axis(batch), row);
        let mut past = row.slice_axis_mut(Axis(0), (length..).into());
        past.fill(value.clone());
    }
    values
}

/// A sequence as an array of f32, of f64, or of columns first, and as a tensor on the device.
fn given(device: &Device, values: &ArrayD<f64>) -> [Values; 4] {
    let turned = values
        .clone()
        .reversed_axes()
        .as_standard_layout()
        .to_owned();
    [
        values.mapv(|x| x as f32).into(),
        values.clone().into(),
        turned.reversed_axes().into(),
        tensor(device, values).into(),
    ]
}

/// The loss and the gradients of one step, an evaluation and its metric, and the output's last row's number.
fn results(trainer: &mut Trainer, batch: &Batch) -> Results {
    trainer.step(batch).unwrap();
    let mut results = trainer.gradients::<f64>().unwrap();
    let loss = trainer.take_loss().unwrap();
    results.insert("loss".to_owned(), arr1(&[loss]).into_dyn());
    results
}

fn check_training(
    model: impl Fn(&Device) -> Model,
    loss: impl Loss + Copy + 'static,
    target: Option<&ArrayD<f64>>,
) {
    for device in every_device() {
        let build = || {
            let trainer = Trainer::new(model(&device), Sgd::new(0.0)).loss(loss);
            trainer.build().unwrap()
        };
        let x = random(1, &[T, B, I]).mapv(|x| x.abs() + 0.5);
        let like = build().model().output_shape(&[&[T, B, I]]).unwrap();
        let many = like.len() > 2;
        let target = target.cloned().unwrap_or_else(|| random(2, &like));
        let batch = |x: Values, target: Values| {
            let x = Sequence::new(x).with_lengths(LENGTHS.into());
            Batch::of([x], target)
        };
        let zeros = put_past(&x, 1, 0.0);
        let expected = results(&mut build(), &batch(zeros.into(), target.clone().into()));
        let mut trainer = build();
        for garbage in GARBAGE {
            let dirty = match many {
                true => put_past(&target, 1, garbage),
                false => target.clone(),
            };
            let targets = given(&device, &dirty);
            for (x, target) in given(&device, &put_past(&x, 1, garbage))
                .into_iter()
                .zip(targets)
            {
                let place = format!("{garbage} on {device}");
                check(
                    &place,
                    &results(&mut trainer, &batch(x, target)),
                    &expected,
                    0.0,
                );
            }
        }
    }
}

#[test]
fn gradients_are_those_of_zeros_past_the_lengths() {
    let many = |device: &Device| {
        let lstm = Lstm::hidden(5).layers(2).bidirectional(true).proj_size(2);
        let model = Sequential::new(I).linear(4).layer_norm().lstm(lstm);
        model.linear(2).build(device, 3).unwrap()
    };
    check_training(many, Mse::mean(), None);
    check_training(
        |device| {
            Sequential::new(I)
                .gru(Gru::hidden(4))
                .build(device, 3)
                .unwrap()
        },
        Mse::sum(),
        None,
    );
}

#[test]
fn poolings_leave_out_what_is_past_the_lengths() {
    type Pool = fn(Sequential) -> Sequential;
    let pools: [Pool; 3] = [
        Sequential::last_step,
        |model| model.add(MeanOverTime),
        |model| model.add(MaxOverTime),
    ];
    for pool in pools {
        let model = |device: &Device| {
            let model = Sequential::new(I).linear(4).activation(Activation::Relu);
            pool(model).linear(2).build(device, 3).unwrap()
        };
        check_training(model, Mse::mean(), None);
    }
}

/// What is not finite where x is 0, a second input without lengths of its own, and what is put beside it.
#[derive(Debug)]
struct Weighted;

impl Layer for Weighted {
    type Input = (Var, Var);
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, (x, weights): (Var, Var)) -> bptt::Result<Var> {
        let x = s.layer("first", &Linear::new(I), x)?;
        let x = s.map("inverse", [x], |[x]| (x * x).sqrt().ln() / x)?;
        let x = s.map("weighted", [x, weights], |[x, w]| x * w)?;
        let x = s.concat(&[weights, x], 2)?;
        let weight = s.parameter("gain", &[I + 1], Init::Uniform(1.0))?;
        let x = s.map("gain", [x, weight], |[x, w]| x * w)?;
        s.layer("last", &Linear::new(2), x)
    }
}

#[test]
fn values_beside_a_sequence_have_its_lengths() {
    for device in every_device() {
        let inputs = [InputSpec::sequence("x", I), InputSpec::sequence("w", 1)];
        let model = Model::new(&device, Weighted, &inputs, 3).unwrap();
        // A bias of 0 makes the first layer's output 0 past the lengths.
        let mut weights = model.parameters().to_arrays::<f64>().unwrap();
        weights.get_mut("first.bias").unwrap().fill(0.0);
        model.parameters().load(&weights).unwrap();
        let mut trainer = Trainer::new(model, Sgd::new(0.0)).build().unwrap();
        let (x, w) = (random(1, &[T, B, I]), random(2, &[T, B, 1]));
        let batch = |garbage: f64, on_device: bool| {
            let [x, w] = [&x, &w].map(|of| put_past(of, 1, garbage));
            let values = |of: ArrayD<f64>| match on_device {
                true => Values::from(tensor(&device, &of)),
                false => of.into(),
            };
            let x = Sequence::new(values(x)).with_lengths(LENGTHS.into());
            Batch::of([x, Sequence::new(values(w))], random(3, &[T, B, 2]))
        };
        let expected = results(&mut trainer, &batch(1.0, false));
        for values in expected.values() {
            assert!(
                values.iter().all(|x| x.is_finite()),
                "{device}: {expected:?}"
            );
        }
        for garbage in [0.0, f64::NAN, f64::INFINITY] {
            for on_device in [false, true] {
                let place = format!("{garbage}, on the device: {on_device}, on {device}");
                let got = results(&mut trainer, &batch(garbage, on_device));
                check(&place, &got, &expected, 0.0);
            }
        }
    }
}

#[test]
fn classes_past_the_lengths_may_be_anything() {
    for device in every_device() {
        let model = Sequential::new(I).gru(Gru::hidden(4)).linear(3);
        let trainer = Trainer::new(model.build(&device, 3).unwrap(), Sgd::new(0.0));
        let mut trainer = trainer.loss(CrossEntropy).build().unwrap();
        let classes = random(2, &[T, B]).mapv(|x| ((x + 1.0) * 1.49) as u32);
        let x = random(1, &[T, B, I]);
        let batch = |target: Values| Batch::new(x.clone(), target).with_lengths(LENGTHS.into());
        let expected = results(&mut trainer, &batch(classes.clone().into()));
        for garbage in [3, u32::MAX, f32::NAN.to_bits()] {
            let dirty = put_past(&classes, 1, garbage);
            let tensor = Tensor::from_indices(&device, &dirty).unwrap();
            for target in [Values::from(dirty), tensor.into()] {
                let got = results(&mut trainer, &batch(target));
                check(&format!("{garbage} on {device}"), &got, &expected, 0.0);
            }
        }
    }
}

#[test]
fn evaluations_and_predictions_are_those_of_zeros() {
    for device in every_device() {
        let model = Sequential::new(I).linear(4).lstm(Lstm::hidden(5)).linear(2);
        let trainer = Trainer::new(model.build(&device, 3).unwrap(), Sgd::new(0.0));
        let mut trainer = trainer.build().unwrap();
        let (x, target) = (random(1, &[T, B, I]), random(2, &[T, B, 2]));
        let mut run = |garbage: f64| {
            let [x, target] = [&x, &target].map(|of| {
                let dirty = put_past(of, 1, garbage).mapv(|x| x as f32);
                dirty.into_dimensionality::<Ix3>().unwrap()
            });
            let data = Sequences::many_to_many(x.clone(), target).unwrap();
            let data = data.with_lengths(LENGTHS.into()).unwrap();
            let measured = trainer.measure(&data, 3, &[&Rmse]).unwrap();
            let model = trainer.model();
            let y = model.predict_ragged(&x, &LENGTHS).unwrap();
            let x = Tensor::from_array(&device, &x).unwrap();
            let forward = model.forward(Input::with_lengths(&x, &LENGTHS)).unwrap();
            (measured, y, forward.to_array::<f32>().unwrap())
        };
        let expected = run(0.0);
        for garbage in GARBAGE {
            assert_eq!(run(garbage), expected, "{garbage} on {device}");
        }
    }
}

#[test]
fn recurrent_layers_do_not_read_past_the_lengths() {
    fn check_run<C: bptt::cell::Cell>(run: Run<C>) {
        for device in every_device() {
            let layer = run.layer(&device);
            let arrays = run.arrays(&layer);
            let of = |garbage: f64| {
                let mut arrays = arrays.clone();
                for sequence in [&mut arrays.x, &mut arrays.d_y] {
                    if run.batch_first {
                        sequence.swap_axes(0, 1);
                    }
                    *sequence = put_past(sequence, 1, garbage);
                    if run.batch_first {
                        sequence.swap_axes(0, 1);
                    }
                    *sequence = sequence.as_standard_layout().into_owned();
                }
                let mut results = run.forward(&layer, &arrays, &device);
                // What a row without steps begins with it ends with, and that is all.
                let row = LENGTHS.iter().position(|length| *length == 0).unwrap();
                let of_row = |part: &mut ArrayD<f64>, value| {
                    part.index_axis_mut(Axis(1), row).fill(value);
                };
                let initial = arrays.initial.iter_mut().flatten();
                initial.for_each(|part| of_row(part, garbage));
                for (name, mut values) in run.vjp(&layer, &arrays, &device) {
                    if name.starts_with("state") {
                        of_row(&mut values, 0.0);
                    }
                    results.insert(name, values);
                }
                results
            };
            let expected = of(0.0);
            for garbage in GARBAGE {
                check(
                    &format!("{garbage} on {device}"),
                    &of(garbage),
                    &expected,
                    0.0,
                );
            }
        }
    }
    fn ragged<C: bptt::cell::Cell>(config: bptt::nn::Recurrent<C>) -> Run<C> {
        let lengths = Some(LENGTHS.into());
        let run = Run::new(config, [T, B, I]);
        Run { lengths, ..run }
    }
    let lstm = Lstm::new(I, 5).bidirectional(true).proj_size(2);
    check_run(ragged(lstm.layers(2).dropout(0.5)));
    let gru = Gru::new(I, 6).reset_after(false).bidirectional(true);
    let first = ragged(gru.recurrent_dropout(0.5));
    check_run(Run {
        batch_first: true,
        train: Some((7, 1)),
        ..first
    });
    check_run(ragged(Rnn::new(I, 3).skip_input(true)));
}

#[test]
fn a_functions_gradients_leave_out_what_is_past_the_lengths() {
    for device in every_device() {
        let model = Sequential::new(I).linear(2).build(&device, 3).unwrap();
        let function = Function::new(&device, |s, inputs| {
            let weight = s.parameter("0.weight", &[2, I], Init::Constant(0.0))?;
            let bias = s.parameter("0.bias", &[2], Init::Constant(0.0))?;
            let y = s.linear(inputs[0], weight, Some(bias))?;
            let d = s.gradients(&[(y, inputs[1])], &[inputs[0], weight, bias])?;
            Ok(d.into_iter().flatten().collect())
        })
        .with_parameters(model.parameters());
        let (x, d_y) = (random(1, &[T, B, I]), random(2, &[T, B, 2]));
        let run = |garbage: f64| -> Vec<ArrayD<f64>> {
            let [x, d_y] = [&x, &d_y].map(|of| tensor(&device, &put_past(of, 1, garbage)));
            let inputs = [Input::with_lengths(&x, &LENGTHS), Input::from(&d_y)];
            let outputs = function.call(&inputs).unwrap();
            outputs.iter().map(|y| y.to_array().unwrap()).collect()
        };
        let expected = run(0.0);
        assert_eq!(expected[0], put_past(&expected[0], 1, 0.0), "{device}");
        for garbage in GARBAGE {
            assert_eq!(run(garbage), expected, "{garbage} on {device}");
        }
    }
}
