//! Graphs by hand: values used again, views, lengths and weights, whose gradients are known or are held against differences.

#[path = "../common/mod.rs"]
mod common;
mod layers;
mod rms_norm;

use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{Function, Gru, Init, InputSpec, Layer, Model, Scope};
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

/// What has no second derivative says so, instead of leaving it out.
#[test]
fn a_gradient_of_what_is_a_gradient_only_is_an_error() {
    let device = Device::cpu();
    let twice = |s: &mut Scope<'_>, of: Var, y: Var| {
        let shape = s.shape(y).to_vec();
        let ones = s.constant(&shape, 1.0);
        let d = s.gradients(&[(y, ones)], &[of])?[0].expect("y depends on it");
        let square = s.map("square", [d, of], |[d, x]| d * d + x)?;
        let shape = s.shape(square).to_vec();
        let ones = s.constant(&shape, 1.0);
        Ok(vec![s.gradients(&[(square, ones)], &[of])?[0].unwrap()])
    };
    let of_layer = Function::new(&device, move |s, inputs| {
        let (y, _) = s.layer("gru", &Gru::hidden(3), (inputs[0], None))?;
        twice(s, inputs[0], y)
    });
    let inputs = [InputSpec::sequence("x", 3)];
    let model = Model::new(&device, OnlyState, &inputs, 3).unwrap();
    let of_layer = of_layer.with_parameters(model.parameters());
    let x = tensor(&device, 1, &[4, 2, 3]);
    let error = of_layer.call(&[&x]).unwrap_err().to_string();
    assert!(
        error.contains("a gradient of the gradient of a recurrent layer"),
        "{error}"
    );
    let of_table = Function::new(&device, move |s, inputs| {
        let y = s.gather(inputs[0], inputs[1])?;
        let y = s.map("square", [y], |[y]| y * y)?;
        twice(s, inputs[0], y)
    });
    let tokens = Tensor::from_indices(&device, &numbers![1_u32, 0, 1]).unwrap();
    let table = tensor(&device, 2, &[2, 3]);
    let error = of_table.call(&[&table, &tokens]).unwrap_err().to_string();
    assert!(
        error.contains("a gradient of the gradient of a table"),
        "{error}"
    );
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
                let shape = s.shape(half).to_vec();
                let ones = s.constant(&shape, 1.0);
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
        let tensors = [
            tensor(&device, 1, &[2, 6]),
            tensor(&device, 2, &[4, 5]),
            tensor(&device, 3, &[5, 3]),
        ];
        let got = read(&call.call(&tensors.each_ref()).unwrap());
        let [x, a, b] = tensors.map(|of| of.to_array::<f64>().unwrap());
        near(&got[1], &(&x * 3.0 + 1.0), &format!("after, on {device}"));
        let as_matrix = |of: ArrayD<f64>| of.into_dimensionality::<ndarray::Ix2>().unwrap();
        let product = as_matrix(a).dot(&as_matrix(b));
        let sum = (x * 3.0).into_shape_with_order((4, 3)).unwrap() + product;
        near(
            &got[0],
            &sum.reversed_axes().into_dyn(),
            &format!("sum, on {device}"),
        );
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
        let (x, seed) = (
            tensor(&device, 4, &[4, 2, 3]),
            tensor(&device, 5, &[1, 2, 3]),
        );
        let got = read(&call.call(&[&x, &seed]).unwrap());
        near(
            &got[1],
            &(&got[0] * 2.0 * &read(&[seed])[0]),
            &format!("d h, on {device}"),
        );
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

/// An axis that is named twice goes once.
#[test]
fn a_sum_over_an_axis_named_twice_is_over_it_once() {
    let device = Device::cpu_f64();
    let sums = Function::new(&device, |s, of| {
        Ok(vec![s.sum(of[0], &[0, 0])?, s.sum(of[0], &[0])?])
    });
    let got = read(&sums.call(&[&tensor(&device, 3, &[2, 3])]).unwrap());
    assert_eq!(got[0], got[1]);
}
