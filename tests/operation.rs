//! Operations of a user's own: in graphs, trained through, and what their check names.

#[path = "common/mod.rs"]
mod common;

use bptt::data::Batch;
use bptt::graph::Var;
use bptt::nn::{Function, Gru, Layer, Scope, Sequential};
use bptt::train::{Sgd, Trainer};
use bptt::verify::{check_operation, compare};
use bptt::{Error, Operation, OperationRef, Real, Tensor};
use common::{array, devices, every_device, gpu, rng, uniform};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

/// a·b and a/(1 + b²), of two inputs of one shape.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    /// Whether this is the gradient.
    back: bool,
    /// What is wrong with it.
    fault: Fault,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    Gradient,
    Wgsl,
    Unwritten,
    Text,
}

impl Operation for Pair {
    fn name(&self) -> &'static str {
        if self.back { "pair_gradient" } else { "pair" }
    }
    fn shapes(&self, inputs: &[&[usize]]) -> bptt::Result<Vec<Vec<usize>>> {
        let expected = if self.back { 4 } else { 2 };
        if inputs.len() != expected {
            return Err(Error::argument(
                "inputs of pair",
                inputs.len(),
                expected.to_string(),
            ));
        }
        match inputs.iter().find(|shape| **shape != inputs[0]) {
            Some(other) => Err(Error::shape(
                "input of pair",
                other,
                format!("{:?}", inputs[0]),
            )),
            None => Ok(vec![inputs[0].to_vec(); 2]),
        }
    }
    fn run<F: Real>(&self, inputs: &[ArrayViewD<'_, F>], outputs: &mut [ArrayViewMutD<'_, F>]) {
        let one = F::one();
        let sign = if self.fault == Fault::Gradient {
            -one
        } else {
            one
        };
        let [first, second] = outputs else {
            unreachable!("there are two outputs")
        };
        for (index, (first, second)) in first.iter_mut().zip(second).enumerate() {
            let at = |input: usize| *inputs[input].iter().nth(index).unwrap();
            let (a, b) = (at(0), at(1));
            let share = one / (one + b * b);
            if self.back {
                let (d_product, d_share) = (at(2), at(3));
                *first = d_product * b + d_share * share;
                *second =
                    sign * d_product * a - d_share * a * F::from_double(2.0) * b * share * share;
            } else {
                (*first, *second) = (a * b, a * share);
            }
        }
    }
    fn wgsl(&self) -> String {
        let text = if self.back {
            "fn invocation(index: u32) {
                let a = input_0(index);
                let b = input_1(index);
                let share = 1.0 / (1.0 + b * b);
                set_output_0(index, input_2(index) * b + input_3(index) * share);
                set_output_1(index, input_2(index) * a - input_3(index) * a * 2.0 * b * share * share);
            }"
        } else {
            "fn invocation(index: u32) {
                let a = input_0(index);
                let b = input_1(index);
                set_output_0(index, a * b);
                set_output_1(index, a / (1.0 + b * b));
            }"
        };
        match self.fault {
            Fault::Wgsl => text.replace("1.0 +", "2.0 +"),
            Fault::Unwritten => text.replace("set_output_1(index,", "set_output_1(index + 1u,"),
            Fault::Text => text.replace("let b", "lett b"),
            Fault::None | Fault::Gradient => text.to_owned(),
        }
    }
    fn gradient(&self) -> Option<OperationRef> {
        let back = Self {
            back: true,
            ..*self
        };
        (!self.back).then(|| OperationRef::new(back))
    }
}

const SHAPES: [&[usize]; 2] = [&[5, 3, 7], &[5, 3, 7]];

#[test]
fn agrees_on_every_device() {
    let pair = OperationRef::new(Pair::default());
    let worst = check_operation(&pair, &SHAPES, &devices()).unwrap();
    assert!(worst < 2e-5, "{worst}");
}

#[test]
fn what_is_wrong_is_named() {
    let found = |fault, devices: &[bptt::Device]| {
        let pair = OperationRef::new(Pair {
            fault,
            ..Pair::default()
        });
        check_operation(&pair, &SHAPES, devices)
            .unwrap_err()
            .to_string()
    };
    let text = found(Fault::Gradient, &[]);
    assert!(
        text.contains("pair_gradient: the gradient of input 1"),
        "{text}"
    );
    let Some(gpu) = gpu() else { return };
    let gpu = [gpu];
    let text = found(Fault::Wgsl, &gpu);
    assert!(text.contains("pair: output 1 on "), "{text}");
    let text = found(Fault::Unwritten, &gpu);
    assert!(text.contains("pair: output 1 on "), "{text}");
    // The third line of the text, in a file of the operation's name.
    let text = found(Fault::Text, &gpu);
    assert!(text.contains("pair:3"), "{text}");
}

/// y + pair(y, x)₀ + pair(y, x)₁ by the operation, or by an expression.
#[derive(Debug)]
struct Paired(bool);

impl Layer for Paired {
    type Input = Var;
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        let y = s.map("half", [x], |[x]| x * 0.5)?;
        let [product, share] = if self.0 {
            let outputs = s.apply(&OperationRef::new(Pair::default()), &[y, x])?;
            [outputs[0], outputs[1]]
        } else {
            [
                s.map("product", [y, x], |[a, b]| a * b)?,
                s.map("share", [y, x], |[a, b]| a / (b * b + 1.0))?,
            ]
        };
        let sum = s.add(y, product)?;
        s.add(sum, share)
    }
}

#[test]
fn models_train_through_it_as_through_an_expression() {
    for device in every_device() {
        let losses = |paired: Paired| -> Vec<f64> {
            let model = Sequential::new(3)
                .recurrent(Gru::hidden(5))
                .add(paired)
                .last_step()
                .linear(2)
                .build(&device, 3)
                .unwrap();
            let mut trainer = Trainer::new(model, Sgd::new(0.5))
                .clip_norm(1.0)
                .build()
                .unwrap();
            let x = array(&[6, 4, 3], uniform(&mut rng(1), 72, 1.0))
                .into_dimensionality::<ndarray::Ix3>()
                .unwrap();
            let y = array(&[4, 2], uniform(&mut rng(2), 8, 1.0));
            let batch = Batch::new(x, y).with_lengths(vec![6, 2, 5, 1]);
            let step = |_| {
                trainer.step(&batch).unwrap();
                trainer.take_loss().unwrap()
            };
            (0..5).map(step).collect()
        };
        let (own, expression) = (losses(Paired(true)), losses(Paired(false)));
        assert!(own[4] < own[0], "{own:?}");
        for (own, expression) in own.iter().zip(&expression) {
            assert!(
                (own - expression).abs() < 1e-5 * expression,
                "{own} is not {expression}"
            );
        }
    }
}

/// Views, one output of two, the same input twice: gradients by the product rule.
#[test]
fn gradients_through_views_and_one_output() {
    for device in every_device() {
        let call = Function::new(&device, |s, inputs| {
            let part = s.slice(inputs[0], 1, 1, 2)?;
            let square = s.apply(&OperationRef::new(Pair::default()), &[part, part])?[0];
            let ones = s.constant(&[3, 2], 1.0);
            let d = s.gradients(&[(square, ones)], &[inputs[0]])?[0];
            Ok(vec![square, d.expect("it is used")])
        });
        let x = array(&[3, 4], uniform(&mut rng(4), 12, 1.0));
        let outputs = call
            .call(&[&Tensor::from_array(&device, &x).unwrap()])
            .unwrap();
        let x = x.mapv(f64::from);
        let mut d = ArrayD::zeros(vec![3, 4]);
        for row in 0..3 {
            for column in 1..3 {
                d[[row, column]] = 2.0 * x[[row, column]];
            }
        }
        compare("gradient", &outputs[1].to_array().unwrap(), &d, 2e-5).unwrap();
    }
}

#[test]
fn bad_inputs_are_named() {
    let device = bptt::Device::cpu();
    let error = |count: usize, back: bool, gradients: bool| {
        let call = Function::new(&device, move |s, inputs| {
            let pair = OperationRef::new(Pair {
                back,
                ..Pair::default()
            });
            let y = s.apply(&pair, &inputs[..count])?[0];
            if gradients {
                let ones = s.constant(&[2, 2], 1.0);
                s.gradients(&[(y, ones)], &[inputs[0]])?;
            }
            Ok(vec![y])
        });
        let tensor = |shape: &[usize]| Tensor::zeros(&device, shape).unwrap();
        let x = [
            tensor(&[2, 2]),
            tensor(&[2, 2]),
            tensor(&[2, 3]),
            tensor(&[2, 2]),
        ];
        call.call(&[&x[0], &x[1], &x[if back { 3 } else { 2 }], &x[3]])
            .unwrap_err()
            .to_string()
    };
    let text = error(1, false, false);
    assert!(
        text.contains("inputs of pair") && text.contains("1"),
        "{text}"
    );
    let text = error(4, true, true);
    assert!(text.contains("gradient of pair_gradient"), "{text}");
    let shapes = Function::new(&device, |s, inputs| {
        s.apply(&OperationRef::new(Pair::default()), inputs)
    });
    let (a, b) = (
        Tensor::zeros(&device, &[2, 2]).unwrap(),
        Tensor::zeros(&device, &[2, 3]).unwrap(),
    );
    let text = shapes.call(&[&a, &b]).unwrap_err().to_string();
    assert!(
        text.contains("input of pair") && text.contains("[2, 3]"),
        "{text}"
    );
    let classes =
        Tensor::from_indices(&device, &ndarray::arr2(&[[1_u32, 2], [3, 4]]).into_dyn()).unwrap();
    let text = shapes.call(&[&a, &classes]).unwrap_err().to_string();
    assert!(text.contains("input 1 of pair"), "{text}");
}
