//! The numbers of the tutorial this crate grew out of (`tests/golden/tutorial.py` draws the weights and states the numbers).

use crate::common::devices;
use crate::golden::{golden, read};
use bptt::data::Batch;
use bptt::interop::ConcatenatedLstm;
use bptt::nn::{Bias, Lstm, Model, Rnn, Sequential};
use bptt::train::{Mse, Sgd, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use ndarray::{Array2, Array3, ArrayD, Axis, Ix3, arr1, arr2};
use std::collections::BTreeMap;

const HIDDEN: [f64; 5] = [
    0.95516432,
    -0.99182894,
    -0.03554066,
    -0.99213409,
    -0.12484929,
];
const OUTPUTS: [[f64; 2]; 4] = [
    [2.70878155, -0.35994001],
    [0.41051732, -3.81326106],
    [1.45961374, 1.14008039],
    [1.95410691, -1.2282841],
];
const LOSSES: [&str; 21] = [
    "5.5586", "1.6068", "1.0345", "0.7091", "0.4858", "0.3457", "0.2433", "0.1678", "0.1156",
    "0.1289", "0.1353", "0.1073", "0.0860", "0.0688", "0.0548", "0.0436", "0.0347", "0.0277",
    "0.0221", "0.0177", "0.0142",
];

fn arrays() -> BTreeMap<String, ArrayD<f64>> {
    read(&golden("tutorial.safetensors"))
}

/// The Elman network with its weights.
fn model(device: &Device) -> Model {
    let arrays = arrays();
    let config = Rnn::hidden(5).bias(Bias::One);
    let model = Sequential::new(3)
        .rnn(config)
        .linear(2)
        .build(device, 0)
        .unwrap();
    let vector = |name: &str| arrays[name].clone().remove_axis(Axis(1));
    model
        .parameters()
        .load(&BTreeMap::from([
            ("0.weight_ih_l0".into(), arrays["W_xh"].clone()),
            ("0.weight_hh_l0".into(), arrays["W_hh"].clone()),
            ("0.bias_ih_l0".into(), vector("b_h")),
            ("1.weight".into(), arrays["W_hy"].clone()),
            ("1.bias".into(), vector("b_y")),
        ]))
        .unwrap();
    model
}

/// `[T, F, 1]` as drawn to `[T, 1, F]`.
fn time_major(name: &str) -> Array3<f64> {
    let mut array = arrays()[name].clone().into_dimensionality::<Ix3>().unwrap();
    array.swap_axes(1, 2);
    array
}

fn all_devices() -> impl Iterator<Item = (Device, f64)> {
    std::iter::once((Device::cpu_f64(), 1e-8))
        .chain(devices().into_iter().map(|device| (device, 1e-5)))
}

/// The published numbers have eight decimals; the tolerances are absolute.
fn close(name: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{name}");
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (got - expected).abs() <= tolerance,
            "{name}: {got}, expected {expected} within {tolerance:e}"
        );
    }
}

#[test]
fn elman_forward() {
    for (device, tolerance) in all_devices() {
        let x = time_major("X");
        let outputs = model(&device).predict(&x).unwrap();
        assert_eq!(outputs.shape(), [4, 1, 2]);
        let expected: Vec<f64> = OUTPUTS.iter().flatten().copied().collect();
        close("outputs", outputs.as_slice().unwrap(), &expected, tolerance);

        let layer = Rnn::new(3, 5).bias(Bias::One).build(&device, 0).unwrap();
        for name in ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"] {
            let weights = model(&device).parameters().to_arrays::<f64>().unwrap();
            layer
                .parameters()
                .set(name, &weights[&format!("0.{name}")])
                .unwrap();
        }
        let (_, state) = layer
            .forward(&Tensor::from_array(&device, &x).unwrap(), None)
            .unwrap();
        close(
            "hidden",
            state.h().to_array::<f64>().unwrap().as_slice().unwrap(),
            &HIDDEN,
            tolerance,
        );
    }
}

/// Trains as the tutorial does; gives the mean square before each of the 201 updates and after the last.
fn train(device: &Device) -> Vec<f64> {
    let mut trainer = Trainer::new(model(device), Sgd::new(0.01))
        .loss(Mse::half_sum())
        .build()
        .unwrap();
    let batch = Batch::new(time_major("X"), time_major("Y"));
    // The gradient is that of half the sum over 4 steps of 2 outputs; printed is the mean.
    let to_mean = 2.0 / 8.0;
    let mut losses: Vec<f64> = (0..=200)
        .map(|_| {
            trainer.step(&batch).unwrap();
            trainer.take_loss().unwrap() * to_mean
        })
        .collect();
    let outputs = trainer.model().predict(&time_major("X")).unwrap();
    losses.push(
        (outputs - time_major("Y").into_dyn())
            .mapv(|x| x * x)
            .mean()
            .unwrap(),
    );
    losses
}

#[test]
fn elman_training_in_f64_prints_every_digit() {
    let losses = train(&Device::cpu_f64());
    let printed: Vec<String> = losses
        .iter()
        .step_by(10)
        .take(21)
        .map(|loss| format!("{loss:.4}"))
        .collect();
    assert_eq!(printed, LOSSES);
    assert_eq!(format!("{:.5}", losses[201]), "0.01239");
}

#[test]
fn elman_training_in_f32_follows_it() {
    let expected = train(&Device::cpu_f64());
    for device in devices() {
        let losses = train(&device);
        // To epoch 60 rounding stays rounding: 9e-7 relative in the worst of 30 orders of summation.
        for (epoch, (got, expected)) in losses.iter().zip(&expected).take(61).enumerate() {
            assert!(
                (got / expected - 1.0).abs() <= 1e-5,
                "epoch {epoch} on {device}: {got}, expected {expected}"
            );
        }
        // From epoch 70 to 130 the learning rate is too large for the curvature and every rounding error grows about tenfold an
        // epoch: f32 leaves the valley a few epochs early, and no tolerance but the run's boundedness holds.
        for (epoch, got) in losses.iter().enumerate().skip(61) {
            assert!(
                got.is_finite() && *got < 2.0,
                "epoch {epoch} on {device}: {got}"
            );
        }
        // After it the loss falls as before, off by a quarter at most in the worst of 30 orders of summation.
        for (epoch, (got, expected)) in losses.iter().zip(&expected).enumerate().skip(140) {
            assert!(
                (got / expected - 1.0).abs() <= 0.35,
                "epoch {epoch} on {device}: {got}, expected {expected}"
            );
        }
    }
}

/// Sharper than any tolerance on the run: at the f64 run's own weights of every epoch, chaotic ones included, f32's loss and
/// gradients are right.
#[test]
fn f32_gradients_are_right_at_every_epoch_of_the_f64_run() {
    let batch = Batch::new(time_major("X"), time_major("Y"));
    let mut reference = Trainer::new(model(&Device::cpu_f64()), Sgd::new(0.01))
        .loss(Mse::half_sum())
        .build()
        .unwrap();
    let mut others: Vec<Trainer> = devices()
        .iter()
        .map(|device| {
            Trainer::new(model(device), Sgd::new(0.0))
                .loss(Mse::half_sum())
                .build()
                .unwrap()
        })
        .collect();
    for epoch in 0..=200 {
        let weights = reference.model().parameters().to_arrays::<f64>().unwrap();
        reference.step(&batch).unwrap();
        let loss = arr1(&[reference.take_loss().unwrap()]).into_dyn();
        let gradients = reference.gradients::<f64>().unwrap();
        for trainer in &mut others {
            trainer.model().parameters().load(&weights).unwrap();
            trainer.step(&batch).unwrap();
            let place = format!("epoch {epoch} on {}", trainer.model().device());
            let got = arr1(&[trainer.take_loss().unwrap()]).into_dyn();
            compare("loss", &got, &loss, 1e-4).unwrap();
            for (name, got) in trainer.gradients::<f64>().unwrap() {
                // Near the minimum the gradient is a difference of nearly equal numbers, so it is judged beside the weights' scale.
                let largest = got
                    .iter()
                    .zip(&gradients[&name])
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f64::max);
                assert!(largest <= 2e-5, "{name}, {place}: off by {largest:e}");
            }
        }
    }
}

#[test]
fn lstm_cell_step_through_the_conversion() {
    let arrays = arrays();
    let gate = |name: &str| {
        arrays[name]
            .clone()
            .into_dimensionality::<ndarray::Ix2>()
            .unwrap()
    };
    let lstm = ConcatenatedLstm {
        forget: gate("W_f"),
        input: gate("W_i"),
        candidate: gate("W_C"),
        output: gate("W_o"),
        biases: None,
    };
    for (device, tolerance) in all_devices() {
        let layer = Lstm::new(3, 5).build(&device, 0).unwrap();
        layer
            .parameters()
            .load(&lstm.to_pytorch().unwrap())
            .unwrap();
        let x = arrays["x"].to_shape((1, 1, 3)).unwrap().to_owned();
        let (_, state) = layer
            .forward(&Tensor::from_array(&device, &x).unwrap(), None)
            .unwrap();
        let h = state.h().to_array::<f64>().unwrap();
        let c = state.c().unwrap().to_array::<f64>().unwrap();
        let expected_h = [
            0.10300916,
            0.03630028,
            -0.49784764,
            -0.19816366,
            -0.08696417,
        ];
        let expected_c = [0.77549715, 0.0670822, -0.65920812, -0.39389873, -0.67070856];
        close("h", h.as_slice().unwrap(), &expected_h, tolerance);
        close("C", c.as_slice().unwrap(), &expected_c, tolerance);
    }
}

#[test]
fn the_conversion_puts_biases_where_they_belong_and_checks_shapes() {
    let gate = |value: f64| arr2(&[[value, value + 0.5]]);
    let mut lstm = ConcatenatedLstm {
        forget: gate(1.0),
        input: gate(2.0),
        candidate: gate(3.0),
        output: gate(4.0),
        biases: Some([10.0, 20.0, 30.0, 40.0].map(|bias| arr1(&[bias]))),
    };
    let weights = lstm.to_pytorch().unwrap();
    assert_eq!(
        weights["weight_hh_l0"],
        arr2(&[[2.0], [1.0], [3.0], [4.0]]).into_dyn()
    );
    assert_eq!(
        weights["weight_ih_l0"],
        arr2(&[[2.5], [1.5], [3.5], [4.5]]).into_dyn()
    );
    assert_eq!(
        weights["bias_ih_l0"],
        arr1(&[20.0, 10.0, 30.0, 40.0]).into_dyn()
    );
    assert_eq!(weights["bias_hh_l0"], arr1(&[0.0; 4]).into_dyn());
    lstm.output = Array2::zeros((1, 3));
    assert_eq!(
        lstm.to_pytorch().unwrap_err().to_string(),
        "output: shape [1, 3], expected [1, 2]"
    );
}
