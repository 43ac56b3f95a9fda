//! What functions make of the zeros past the lengths.

use super::{B, I, LENGTHS, T, check_training, results};
use crate::common::every_device;
use crate::runs::{random, tensor};
use bptt::data::{Batch, Sequence, Values};
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{Input, Layer, MaxOverTime, Scope, Sequential};
use bptt::train::{Mse, Sgd, Trainer};
use bptt::{Device, Operation, OperationRef, Real};
use ndarray::{ArrayViewD, ArrayViewMutD, arr1};

/// 1/x, or its gradient: not finite at the zeros past the lengths.
#[derive(Debug)]
struct Reciprocal {
    back: bool,
}

impl Operation for Reciprocal {
    fn name(&self) -> &'static str {
        if self.back {
            "reciprocal_gradient"
        } else {
            "reciprocal"
        }
    }
    fn shapes(&self, inputs: &[&[usize]]) -> bptt::Result<Vec<Vec<usize>>> {
        Ok(vec![inputs[0].to_vec()])
    }
    fn run<F: Real>(&self, inputs: &[ArrayViewD<'_, F>], outputs: &mut [ArrayViewMutD<'_, F>]) {
        for (index, (y, x)) in outputs[0].iter_mut().zip(&inputs[0]).enumerate() {
            *y = match self.back {
                true => -*inputs[1].iter().nth(index).unwrap() / (*x * *x),
                false => F::one() / *x,
            };
        }
    }
    fn wgsl(&self) -> String {
        let result = match self.back {
            true => "-input_1(index) / (input_0(index) * input_0(index))",
            false => "1.0 / input_0(index)",
        };
        format!("fn invocation(index: u32) {{ set_output_0(index, {result}); }}")
    }
    fn gradient(&self) -> Option<OperationRef> {
        (!self.back).then(|| OperationRef::new(Self { back: true }))
    }
}

/// A function whose value past the lengths is not finite, between two linear layers.
#[derive(Debug)]
struct Between(bool);

impl Layer for Between {
    type Input = Var;
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        if self.0 {
            let operation = OperationRef::new(Reciprocal { back: false });
            return Ok(s.apply(&operation, &[x])?[0]);
        }
        let large = s.map("large", [x], |[x]| x * -190.0 + 100.0)?;
        s.map("exp", [large], |[x]| x.exp())
    }
}

#[test]
fn what_functions_leave_past_the_lengths_has_no_effect() {
    for of_user in [false, true] {
        let model = |device: &Device| {
            let model = Sequential::new(I).add(Between(of_user)).linear(2);
            model.build(device, 3).unwrap()
        };
        check_training(model, Mse::mean(), None);
        for device in every_device() {
            let mut trainer = Trainer::new(model(&device), Sgd::new(0.0)).build().unwrap();
            let x = random(1, &[T, B, I]).mapv(|x| x.abs() + 0.5);
            let x = Sequence::new(Values::from(x)).with_lengths(LENGTHS.into());
            let results = results(&mut trainer, &Batch::of([x], random(2, &[T, B, 2])));
            for (name, values) in results {
                assert!(values.iter().all(|x| x.is_finite()), "{name} on {device}");
            }
        }
    }
}

#[test]
fn a_maximum_is_that_of_the_valid_steps_whatever_they_are() {
    for device in every_device() {
        let model = Sequential::new(1)
            .add(MaxOverTime)
            .build(&device, 1)
            .unwrap();
        let below = if device.to_string().contains("f64") {
            -1e39
        } else {
            -3e38
        };
        for (x, length, expected) in [
            ([below, 0.0], 1, below),
            ([f64::NEG_INFINITY, 1.0], 2, 1.0),
            ([f64::INFINITY, 1.0], 2, f64::INFINITY),
            ([f64::NEG_INFINITY, 7.0], 1, f64::NEG_INFINITY),
        ] {
            // A GPU's compiler may take it that there are no infinite numbers.
            if device.is_gpu() && x[0].is_infinite() {
                continue;
            }
            let x = tensor(
                &device,
                &arr1(&x)
                    .into_shape_with_order((2, 1, 1))
                    .unwrap()
                    .into_dyn(),
            );
            let y = model.forward(Input::with_lengths(&x, &[length])).unwrap();
            let y = y.to_array::<f64>().unwrap()[[0, 0]];
            assert!(
                y == expected || (y / expected - 1.0).abs() < 1e-6,
                "{y}, {expected}, {device}"
            );
        }
    }
}
