//! The Huber loss against its definition and differences.

use crate::common::every_device;
use bptt::nn::{Function, Sequential};
use bptt::train::{Huber, Loss, Sgd, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use ndarray::{ArrayD, arr1};

const DELTA: f64 = 0.75;

/// The loss of each element, and the gradient of their sum with respect to the output.
fn run(device: &Device, output: &ArrayD<f64>, target: &ArrayD<f64>) -> [ArrayD<f64>; 2] {
    let call = Function::new(device, |s, inputs| {
        let loss = Huber(DELTA).elements(s, inputs[0], inputs[1])?;
        let shape = s.shape(loss).to_vec();
        let ones = s.constant(&shape, 1.0);
        let gradient = s.gradients(&[(loss, ones)], &inputs[..1])?[0];
        Ok(vec![
            loss,
            gradient.expect("the loss depends on the output"),
        ])
    });
    let tensor = |array| Tensor::from_array(device, array).unwrap();
    let got = call.call(&[&tensor(output), &tensor(target)]).unwrap();
    [0, 1].map(|index| got[index].to_array().unwrap())
}

#[test]
fn huber() {
    let errors = [-9.0, -0.8, -0.7, -0.1, 0.0, 0.2, 0.74, 0.76, 3.0];
    let target = arr1(&[0.5, 0.25, -0.5, 1.0, 2.0, -1.0, 0.125, 0.0, -2.0]).into_dyn();
    let output = &target + &arr1(&errors).into_dyn();
    let values = arr1(&errors)
        .into_dyn()
        .mapv(|error: f64| match error.abs() {
            e if e <= DELTA => 0.5 * e * e,
            e => DELTA * (e - 0.5 * DELTA),
        });
    let slopes = arr1(&errors)
        .into_dyn()
        .mapv(|error| error.clamp(-DELTA, DELTA));
    for device in every_device() {
        let [loss, gradient] = run(&device, &output, &target);
        compare("loss", &loss, &values, 1e-5).unwrap();
        compare("gradient", &gradient, &slopes, 1e-5).unwrap();
    }
    let device = Device::cpu_f64();
    let loss = |by: f64| run(&device, &output.mapv(|x| x + by), &target)[0].clone();
    let differences = (loss(1e-5) - loss(-1e-5)) / 2e-5;
    let gradient = &run(&device, &output, &target)[1];
    compare("gradient", gradient, &differences, 1e-6).unwrap();
}

#[test]
fn delta_outside_of_its_range() {
    for delta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let model = Sequential::new(2).linear(1);
        let model = model.build(&Device::cpu(), 1).unwrap();
        let trainer = Trainer::new(model, Sgd::new(0.1)).loss(Huber(delta));
        let error = trainer.build().unwrap_err().to_string();
        assert!(error.starts_with("delta: "), "{error}");
    }
}
