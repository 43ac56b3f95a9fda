//! RMSNorm against its definition and differences.

use super::{near, read, tensor};
use crate::common::every_device;
use bptt::nn::{Function, InputSpec, Model, RmsNorm};
use bptt::{Device, Tensor};
use ndarray::{ArrayD, Axis};

const EPSILON: f64 = 1e-3;

/// y, and the gradients of ⟨seed, y⟩ with respect to x and the weight.
fn run(device: &Device, x: &Tensor, weight: &ArrayD<f64>, seed: &Tensor) -> Vec<ArrayD<f64>> {
    let features = [InputSpec::sequence("x", 5)];
    let model = Model::new(device, RmsNorm(EPSILON), &features, 1).unwrap();
    model.parameters().set("weight", weight).unwrap();
    let call = Function::new(device, |s, inputs| {
        let y = bptt::nn::Layer::forward(&RmsNorm(EPSILON), s, inputs[0])?;
        let weight = s.shared("weight")?;
        let d = s.gradients(&[(y, inputs[1])], &[inputs[0], weight])?;
        Ok(vec![y, d[0].unwrap(), d[1].unwrap()])
    });
    let call = call.with_parameters(model.parameters());
    read(&call.call(&[x, seed]).unwrap())
}

#[test]
fn rms_norm() {
    for device in every_device() {
        let [x, seed] = [1, 2].map(|number| tensor(&device, number, &[3, 2, 5]));
        let weight = read(&[tensor(&device, 3, &[5])]).remove(0);
        let got = run(&device, &x, &weight, &seed);
        let array = read(&[x]).remove(0);
        let mean = (&array * &array).mean_axis(Axis(2)).unwrap();
        let scale = mean
            .mapv(|mean| (mean + EPSILON).sqrt())
            .insert_axis(Axis(2));
        near(&got[0], &(&array / &scale * &weight), "y");
    }
    let device = Device::cpu_f64();
    let [x, seed] = [1, 2].map(|number| tensor(&device, number, &[3, 2, 5]));
    let weight = read(&[tensor(&device, 3, &[5])]).remove(0);
    let got = run(&device, &x, &weight, &seed);
    let array = read(&[x]).remove(0);
    let value = |x: &ArrayD<f64>, weight: &ArrayD<f64>| {
        let x = Tensor::from_array(&device, x).unwrap();
        (&run(&device, &x, weight, &seed)[0] * &read(std::slice::from_ref(&seed))[0]).sum()
    };
    let differences = |at: &ArrayD<f64>, value: &dyn Fn(&ArrayD<f64>) -> f64| {
        let mut gradient = ArrayD::zeros(at.shape());
        for index in 0..at.len() {
            let moved = |by: f64| {
                let mut moved = at.clone();
                moved.as_slice_mut().unwrap()[index] += by;
                value(&moved)
            };
            gradient.as_slice_mut().unwrap()[index] = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        }
        gradient
    };
    let d_x = differences(&array, &|x| value(x, &weight));
    let d_weight = differences(&weight, &|weight| value(&array, weight));
    near(&got[1], &d_x, "d x");
    near(&got[2], &d_weight, "d weight");
}
