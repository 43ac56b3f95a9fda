//! Layers in graphs: tied weights, lengths, weights used twice.

use super::{near, read, tensor};
use crate::common::every_device;
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{
    Embedding, Function, Gru, Input, InputSpec, LastStep, Layer, Linear, Lstm, Model, Scope, State,
};
use bptt::{Device, Tensor};
use ndarray::{ArrayD, array as numbers};

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
        let shape = s.shape(*last.h())[1..].to_vec();
        let last = s.reshape(*last.h(), &shape)?;
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
            let shape = s.shape(y).to_vec();
            let ones = s.constant(&shape, 1.0);
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
                let shape = s.shape(y).to_vec();
                let ones = s.constant(&shape, 1.0);
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
