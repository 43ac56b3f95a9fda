//! Graphs by hand: values used again, views, lengths and weights, whose gradients are known or are held against differences.

#[path = "common/mod.rs"]
mod common;

use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{
    Embedding, Function, Gru, Init, Input, InputSpec, LastStep, Layer, Linear, Lstm, Model, Scope,
    State,
};
use bptt::{Device, Error, Tensor};
use common::{array, every_device, rng, uniform};
use ndarray::{ArrayD, array as numbers};

fn tensor(device: &Device, seed: u64, shape: &[usize]) -> Tensor {
    let values = uniform(&mut rng(seed), shape.iter().product(), 1.0);
    Tensor::from_array(device, &array(shape, values)).unwrap()
}

fn read(tensors: &[Tensor]) -> Vec<ArrayD<f64>> {
    tensors
        .iter()
        .map(|tensor| tensor.to_array::<f64>().unwrap())
        .collect()
}

fn near(got: &ArrayD<f64>, expected: &ArrayD<f64>, place: &str) {
    if let Err(mismatch) = bptt::verify::compare("value", got, expected, 2e-5) {
        panic!("{place}: {mismatch}");
    }
}

#[test]
fn a_value_used_n_times_has_n_contributions() {
    for device in every_device() {
        for uses in 1..=7_usize {
            let call = Function::new(&device, move |s, inputs| {
                let mut sum = s.map("first", [inputs[0]], |[x]| x * 1.0 + 0.0)?;
                for power in 1..uses {
                    let part = s.map("part", [inputs[0]], |[x]| x * power as f64)?;
                    sum = s.add(sum, part)?;
                }
                let ones = s.constant(&[2, 3], 1.0);
                Ok(vec![
                    sum,
                    s.gradients(&[(sum, ones)], &[inputs[0]])?[0].unwrap(),
                ])
            });
            let x = tensor(&device, 1, &[2, 3]);
            let got = read(&call.call(&[&x]).unwrap());
            let factor = (1..uses).sum::<usize>() as f64 + 1.0;
            near(&got[0], &(&read(&[x])[0] * factor), "sum");
            near(&got[1], &ArrayD::from_elem(vec![2, 3], factor), "gradient");
        }
    }
}

/// The same value as output several times, as its own seed's value, and as one that nothing depends on.
#[test]
fn outputs_and_seeds_may_be_one_value() {
    for device in every_device() {
        let call = Function::new(&device, |s, inputs| {
            let [x, other] = [inputs[0], inputs[1]];
            let y = s.map("square", [x], |[x]| x * x)?;
            let d = s.gradients(&[(y, x), (y, x), (x, y)], &[x, y, other])?;
            assert!(d[2].is_none());
            Ok(vec![y, y, x, d[0].unwrap(), d[1].unwrap()])
        });
        let (x, other) = (tensor(&device, 2, &[5]), tensor(&device, 3, &[5]));
        let got = read(&call.call(&[&x, &other]).unwrap());
        let x = &read(&[x])[0];
        near(&got[0], &(x * x), "y");
        near(&got[1], &(x * x), "y again");
        near(&got[2], x, "x");
        // 2 · x · 2x, and x² of x as a value of its own.
        near(&got[3], &(x * x * 5.0), "d x");
        near(&got[4], &(x * 2.0), "d y");
    }
}

/// Values side by side in one tensor, of which some are made of others: dense connections.
#[test]
fn values_beside_what_they_are_made_of() {
    for device in every_device() {
        for axis in [0, 1, 2] {
            let call = Function::new(&device, move |s, inputs| {
                let a = s.map("a", [inputs[0]], |[x]| x * 2.0)?;
                let b = s.map("b", [a], |[a]| a.tanh())?;
                let c = s.rows("c", [a], |row, [a]| a - row.mean(a))?;
                let d = s.rows("d", [a], |row, [a]| a * row.sum(a))?;
                let all = s.concat(&[a, b, a, c, d, b], axis)?;
                let outer = s.concat(&[all, a], axis)?;
                let half = s.map("half", [outer], |[x]| x * 0.5)?;
                let ones = s.constant(&s.shape(half).to_vec(), 1.0);
                let gradient = s.gradients(&[(half, ones)], &[inputs[0]])?[0].unwrap();
                Ok(vec![half, gradient])
            });
            let x = tensor(&device, 4, &[2, 3, 4]);
            let got = read(&call.call(&[&x]).unwrap());
            let x = &read(&[x])[0];
            let a = x * 2.0;
            let sums = a.sum_axis(ndarray::Axis(2)).insert_axis(ndarray::Axis(2));
            let (b, c, d) = (a.mapv(f64::tanh), &a - &(&sums / 4.0), &a * &sums);
            let views = [&a, &b, &a, &c, &d, &b, &a].map(|of| of.view());
            let all = ndarray::concatenate(ndarray::Axis(axis), &views).unwrap() * 0.5;
            near(&got[0], &all, "values");
            // Thrice a, twice tanh, nothing of what is centred, and of a · Σa as much again as the sum of all.
            let slope = b.mapv(|b| 1.0 - b * b) * 2.0 + 3.0 + &sums * 2.0;
            near(&got[1], &slope, "gradient");
        }
    }
}

/// What is added to in place, or handed to a layer that changes it, is read by others as it was.
#[test]
fn values_whose_place_changes_are_read_as_they_were() {
    for device in every_device() {
        let call = Function::new(&device, |s, inputs| {
            let [x, a, b] = [inputs[0], inputs[1], inputs[2]];
            let value = s.map("value", [x], |[x]| x * 3.0)?;
            let seen = s.reshape(value, &[4, 3])?;
            let product = s.matmul(a, b)?;
            let sum = s.add(seen, product)?;
            let turned = s.permute(sum, &[1, 0])?;
            let after = s.map("after", [value], |[value]| value + 1.0)?;
            Ok(vec![turned, after])
        });
        let tensors = [tensor(&device, 1, &[2, 6]), tensor(&device, 2, &[4, 5]), tensor(&device, 3, &[5, 3])];
        let got = read(&call.call(&tensors.each_ref()).unwrap());
        let [x, a, b] = tensors.map(|of| of.to_array::<f64>().unwrap());
        near(&got[1], &(&x * 3.0 + 1.0), &format!("after, on {device}"));
        let as_matrix = |of: ArrayD<f64>| of.into_dimensionality::<ndarray::Ix2>().unwrap();
        let product = as_matrix(a).dot(&as_matrix(b));
        let sum = (x * 3.0).into_shape_with_order((4, 3)).unwrap() + product;
        near(&got[0], &sum.reversed_axes().into_dyn(), &format!("sum, on {device}"));
    }
    // The gradient of a state, which the layer's gradient begins with, as an output too.
    for device in every_device() {
        let layer = || Gru::hidden(3);
        let model = Model::new(&device, OnlyState, &[InputSpec::sequence("x", 3)], 3).unwrap();
        let call = Function::new(&device, move |s, inputs| {
            let (_, last) = s.layer("gru", &layer(), (inputs[0], None))?;
            let loss = s.map("loss", [*last.h()], |[h]| h * h)?;
            let d = s.gradients(&[(loss, inputs[1])], &[*last.h(), inputs[0]])?;
            Ok(vec![*last.h(), d[0].unwrap(), d[1].unwrap()])
        });
        let call = call.with_parameters(model.parameters());
        let (x, seed) = (tensor(&device, 4, &[4, 2, 3]), tensor(&device, 5, &[1, 2, 3]));
        let got = read(&call.call(&[&x, &seed]).unwrap());
        near(&got[1], &(&got[0] * 2.0 * &read(&[seed])[0]), &format!("d h, on {device}"));
    }
}

#[derive(Clone, Debug)]
struct OnlyState;

impl Layer for OnlyState {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        Ok(s.layer("gru", &Gru::hidden(3), (x, None))?.0)
    }
}

/// The gradient of a view is a view: what is not seen has none.
#[test]
fn views() {
    for device in every_device() {
        let call = Function::new(&device, |s, inputs| {
            let x = inputs[0];
            let turned = s.permute(x, &[2, 0, 1])?;
            let part = s.slice(turned, 0, 1, 2)?;
            let flat = s.reshape(part, &[2, 6])?;
            let again = s.permute(flat, &[1, 0])?;
            let seed = s.reshape(inputs[1], &[6, 2])?;
            Ok(vec![
                again,
                s.gradients(&[(again, seed)], &[x])?[0].unwrap(),
            ])
        });
        let x = Tensor::from_array(
            &device,
            &numbers![
                [[0., 1., 2., 3.], [4., 5., 6., 7.], [8., 9., 10., 11.]],
                [
                    [12., 13., 14., 15.],
                    [16., 17., 18., 19.],
                    [20., 21., 22., 23.]
                ]
            ],
        )
        .unwrap();
        let seed = Tensor::from_array(
            &device,
            &(1..13).map(f64::from).collect::<ndarray::Array1<_>>(),
        )
        .unwrap();
        let got = read(&call.call(&[&x, &seed]).unwrap());
        let expected = numbers![
            [1., 2.],
            [5., 6.],
            [9., 10.],
            [13., 14.],
            [17., 18.],
            [21., 22.]
        ];
        assert_eq!(got[0], expected.into_dyn());
        let expected = numbers![
            [[0., 1., 2., 0.], [0., 3., 4., 0.], [0., 5., 6., 0.]],
            [[0., 7., 8., 0.], [0., 9., 10., 0.], [0., 11., 12., 0.]]
        ];
        assert_eq!(got[1], expected.into_dyn());
    }
}

/// An embedding whose table is the last layer's weight too.
#[derive(Clone, Copy, Debug)]
struct Tied;

impl Layer for Tied {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, tokens: Var) -> bptt::Result<Var> {
        let x = s.layer("embedding", &Embedding::new(5, 3), tokens)?;
        let x = s.map("tanh", [x], |[x]| x.tanh())?;
        s.layer(
            "head",
            &Linear::new(5).bias(false).tied("embedding.weight"),
            x,
        )
    }
}

#[test]
fn tied_weights_have_one_gradient() {
    for device in every_device() {
        let model = Model::new(&device, Tied, &[InputSpec::tokens("tokens")], 3).unwrap();
        assert_eq!(
            model.parameters().names().collect::<Vec<_>>(),
            ["embedding.weight"]
        );
        let call = Function::new(&device, |s, inputs| {
            let y = Tied.forward(s, inputs[0])?;
            let weight = s.shared("embedding.weight")?;
            Ok(vec![
                y,
                s.gradients(&[(y, inputs[1])], &[weight])?[0].unwrap(),
            ])
        });
        let call = call.with_parameters(model.parameters());
        let indices = numbers![[0_u32, 3], [1, 3], [4, 9]];
        let tokens = Tensor::from_indices(&device, &indices).unwrap();
        let seed = tensor(&device, 5, &[3, 2, 5]);
        let got = read(&call.call(&[&tokens, &seed]).unwrap());
        let weight = model
            .parameters()
            .to_arrays::<f64>()
            .unwrap()
            .remove("embedding.weight")
            .unwrap();
        let seed = read(&[seed]).remove(0);
        let mut expected = ArrayD::zeros(vec![5, 3]);
        for (place, token) in indices
            .indexed_iter()
            .map(|((t, b), token)| ([t, b], *token as usize))
        {
            let row = |column: usize| {
                if token < 5 {
                    weight[[token, column]]
                } else {
                    0.0
                }
            };
            for column in 0..3 {
                let hidden = row(column).tanh();
                let mut back = 0.0;
                for class in 0..5 {
                    let d = seed[[place[0], place[1], class]];
                    expected[[class, column]] += d * hidden;
                    back += d * weight[[class, column]];
                }
                if token < 5 {
                    expected[[token, column]] += back * (1.0 - hidden * hidden);
                }
            }
        }
        near(&got[1], &expected, "d weight");
    }
}

/// A decoder's lengths are its own, not its encoder's, and states hand gradients from one to the other.
#[derive(Clone, Debug)]
struct TwoLengths;

impl Layer for TwoLengths {
    type Input = [Var; 2];
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, [source, target]: [Var; 2]) -> bptt::Result<Var> {
        let (_, state) = s.layer("encoder", &Lstm::hidden(4), (source, None))?;
        let half = s.map("half", [*state.h()], |[h]| h * 0.5)?;
        let state = State::from_parts(vec![half, *state.c().unwrap()]);
        let (y, last) = s.layer("decoder", &Lstm::hidden(4), (target, Some(state)))?;
        let last = s.reshape(*last.h(), &s.shape(*last.h())[1..].to_vec())?;
        let step = s.layer("last", &LastStep, y)?;
        s.add(step, last)
    }
}

#[test]
fn lengths_travel_with_their_sequence() {
    let double = Device::cpu_f64();
    let (of_source, of_target) = ([5, 2, 0], [1, 3, 4]);
    for device in every_device() {
        let inputs = [
            InputSpec::sequence("source", 3),
            InputSpec::sequence("target", 2),
        ];
        let model = Model::new(&device, TwoLengths, &inputs, 3).unwrap();
        let call = Function::new(&device, |s, inputs| {
            let y = TwoLengths.forward(s, [inputs[0], inputs[1]])?;
            let ones = s.constant(&s.shape(y).to_vec(), 1.0);
            let d = s.gradients(&[(y, ones)], &inputs[..2])?;
            Ok(vec![y, d[0].unwrap(), d[1].unwrap()])
        });
        let call = call.with_parameters(model.parameters());
        let values =
            |device: &Device| [tensor(device, 6, &[5, 3, 3]), tensor(device, 7, &[4, 3, 2])];
        let [source, target] = values(&device);
        let inputs = [
            Input::with_lengths(&source, &of_source),
            Input::with_lengths(&target, &of_target),
        ];
        let got = read(&call.call(&inputs).unwrap());
        // Row by row, each as long as it is.
        for row in 0..3 {
            let cut = |of: &Tensor, len: usize| {
                let all = of.to_array::<f64>().unwrap();
                let row = all.slice_each_axis(|axis| match axis.axis.index() {
                    0 => ndarray::Slice::from(..len),
                    1 => ndarray::Slice::from(row..=row),
                    _ => ndarray::Slice::from(..),
                });
                row.to_owned()
            };
            // A row without a step has no source: its encoder's states are zeros.
            let alone = if of_source[row] == 0 {
                1
            } else {
                of_source[row]
            };
            let (a, b) = (cut(&source, alone), cut(&target, of_target[row]));
            let model = Model::new(
                &double,
                TwoLengths,
                &[
                    InputSpec::sequence("source", 3),
                    InputSpec::sequence("target", 2),
                ],
                3,
            );
            let model = model.unwrap();
            let tensors = [&a, &b].map(|of| Tensor::from_array(&double, of).unwrap());
            let own = Function::new(&double, |s, inputs| {
                Ok(vec![TwoLengths.forward(s, [inputs[0], inputs[1]])?])
            });
            let own = own.with_parameters(model.parameters());
            let lengths = [of_source[row]];
            let input = [
                Input::with_lengths(&tensors[0], &lengths),
                Input::from(&tensors[1]),
            ];
            let expected = read(&own.call(&input).unwrap());
            let got_row = got[0].index_axis(ndarray::Axis(0), row).to_owned();
            near(
                &got_row,
                &expected[0].index_axis(ndarray::Axis(0), 0).to_owned(),
                &format!("row {row} on {device}"),
            );
            // Past their ends inputs have no gradient, before them they have.
            for (gradient, length, steps) in
                [(&got[1], of_source[row], 5), (&got[2], of_target[row], 4)]
            {
                for step in 0..steps {
                    let of_step = gradient.index_axis(ndarray::Axis(0), step);
                    let of_row = of_step.index_axis(ndarray::Axis(0), row);
                    let is_zero = of_row.iter().all(|d| *d == 0.0);
                    assert_eq!(
                        is_zero,
                        step >= length,
                        "step {step} of row {row} on {device}"
                    );
                }
            }
        }
    }
}

/// A gradient with respect to a value on the way, and through another gradient's values.
#[test]
fn gradients_of_activations_and_of_gradients() {
    for device in every_device() {
        let call = Function::new(&device, |s, inputs| {
            let x = inputs[0];
            let y = s.map("cube", [x], |[x]| x * x * x)?;
            let ones = s.constant(&[4], 1.0);
            let first = s.gradients(&[(y, ones)], &[x])?[0].unwrap();
            let second = s.gradients(&[(first, ones)], &[x])?[0].unwrap();
            let of_y = s.gradients(&[(y, first)], &[y])?[0].unwrap();
            Ok(vec![first, second, of_y])
        });
        let x = tensor(&device, 8, &[4]);
        let got = read(&call.call(&[&x]).unwrap());
        let x = &read(&[x])[0];
        near(&got[0], &(x * x * 3.0), "first");
        near(&got[1], &(x * 6.0), "second");
        near(&got[2], &(x * x * 3.0), "of y");
    }
}

/// One layer used twice in a row has one set of weights, whose gradient is the sum of both uses.
#[test]
fn a_layer_used_twice() {
    #[derive(Clone, Debug)]
    struct Twice(bool);
    impl Layer for Twice {
        type Input = Var;
        type Output = Var;
        fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
            let names = if self.0 {
                ["gru", "gru"]
            } else {
                ["gru", "other"]
            };
            let (x, state) = s.layer(names[0], &Gru::hidden(3), (x, None))?;
            Ok(s.layer(names[1], &Gru::hidden(3), (x, Some(state)))?.0)
        }
    }
    for device in every_device() {
        let gradients = |shared: bool| {
            let model =
                Model::new(&device, Twice(shared), &[InputSpec::sequence("x", 3)], 3).unwrap();
            if !shared {
                let weights = model.parameters().to_arrays::<f64>().unwrap();
                for (name, values) in weights.iter().filter(|(name, _)| name.starts_with("gru")) {
                    model
                        .parameters()
                        .set(&name.replace("gru", "other"), values)
                        .unwrap();
                }
            }
            let names: Vec<String> = model.parameters().names().map(str::to_owned).collect();
            let own = names.clone();
            let call = Function::new(&device, move |s, inputs| {
                let y = Twice(shared).forward(s, inputs[0])?;
                let ones = s.constant(&s.shape(y).to_vec(), 1.0);
                let of = own
                    .iter()
                    .map(|name| s.shared(name))
                    .collect::<bptt::Result<Vec<_>>>()?;
                Ok(s.gradients(&[(y, ones)], &of)?
                    .into_iter()
                    .map(Option::unwrap)
                    .collect())
            });
            let call = call.with_parameters(model.parameters());
            let x = tensor(&device, 9, &[4, 2, 3]);
            names
                .into_iter()
                .zip(read(&call.call(&[&x]).unwrap()))
                .collect::<Vec<_>>()
        };
        let apart = gradients(false);
        for (name, got) in gradients(true) {
            let of = |name: &str| apart.iter().find(|(own, _)| own == name).unwrap().1.clone();
            near(
                &got,
                &(of(&name) + of(&name.replace("gru", "other"))),
                &format!("{name} on {device}"),
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let device = Device::cpu();
    let refused = |record: fn(&mut Scope<'_>, &[Var]) -> bptt::Result<Var>| {
        let call = Function::new(&device, move |s, inputs| Ok(vec![record(s, inputs)?]));
        let x = tensor(&device, 1, &[2, 3]);
        let tokens = Tensor::from_indices(&device, &numbers![[0_u32, 1]]).unwrap();
        match call.call(&[&x, &tokens]) {
            Err(error @ (Error::Shape { .. } | Error::Argument { .. })) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (message, expected) in [
        (refused(|s, of| s.reshape(of[0], &[4])), "6 elements"),
        (
            refused(|s, of| s.slice(of[0], 1, 2, 2)),
            "within the 3 of axis 1",
        ),
        (
            refused(|s, of| s.permute(of[0], &[0, 0])),
            "each of the 2 axes once",
        ),
        (
            refused(|s, of| s.concat(&[of[0], of[1]], 0)),
            "like [2, 3] but for axis 0",
        ),
        (refused(|s, of| s.sum(of[0], &[2])), "below 2"),
        (refused(|s, of| s.add(of[0], of[1])), "whole numbers"),
        (refused(|s, of| s.gather(of[0], of[0])), "whole numbers"),
        (
            refused(|s, of| s.matmul(of[0], of[0])),
            "a of a product: shape [2, 3], expected 2 columns",
        ),
        (
            refused(|s, of| s.parameter("w", &[2], Init::Constant(0.0)).map(|_| of[0])),
            "w",
        ),
        (refused(|s, _| s.shared("w")), "w"),
        (
            refused(|s, of| {
                let sum = s.sum(of[0], &[0, 1])?;
                s.rows("softmax", [sum], |row, [x]| x / row.sum(x))
            }),
            "softmax",
        ),
        (
            refused(|s, of| {
                let seed = s.constant(&[3], 1.0);
                Ok(s.gradients(&[(of[0], seed)], &[of[0]])?[0].unwrap())
            }),
            "seed",
        ),
    ] {
        assert!(message.contains(expected), "{message}, without {expected}");
    }
}
