//! The first page: an Elman network forward, its training by backpropagation through time, and one LSTM step, each small enough to
//! follow by hand.
//!
//! ```text
//! cargo run --release --example tutorial -- --device auto|cpu|gpu
//! ```
//!
//! The numbers are those of a NumPy notebook (`np.random.seed(42)`; tests/golden/tutorial.py draws the weights).

use bptt::data::Batch;
use bptt::interop::ConcatenatedLstm;
use bptt::nn::{Bias, Lstm, Rnn, Sequential};
use bptt::train::{Mse, Sgd, Trainer};
use bptt::{Device, Tensor};
use common::say;
use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, Ix3};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

mod common;

fn main() -> std::process::ExitCode {
    common::finish(run())
}

fn run() -> Result<(), String> {
    let mut arguments = lexopt::Parser::from_env();
    let mut word = "auto".to_owned();
    while let Some(argument) = arguments.next().map_err(|reason| reason.to_string())? {
        match argument {
            lexopt::Arg::Long("device") => {
                let value = arguments.value().map_err(|reason| reason.to_string())?;
                word = value.to_string_lossy().into_owned();
            }
            lexopt::Arg::Long("help") => {
                say!("tutorial [--device {}]", common::DEVICES);
                return Ok(());
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    // The notebook computes in f64, so the CPU does here too.
    let device = match common::device(&word)? {
        device if device.is_gpu() => device,
        _ => Device::cpu_f64(),
    };
    tutorial(&device).map_err(|reason| reason.to_string())
}

/// The arrays the notebook drew.
fn arrays() -> BTreeMap<String, ArrayD<f64>> {
    let bytes = include_bytes!("../tests/golden/tutorial.safetensors");
    let file = SafeTensors::deserialize(bytes).expect("the file is part of the source");
    let array = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let values = bytemuck::pod_collect_to_vec(view.data());
        (
            name,
            ArrayD::from_shape_vec(view.shape(), values).expect("the shape is the file's"),
        )
    };
    file.tensors().into_iter().map(array).collect()
}

fn tutorial(device: &Device) -> bptt::Result<()> {
    say!("Device: {device}\n");
    let arrays = arrays();
    // The notebook has column vectors, [T, F, 1]; this crate has batches, [T, B, F].
    let sequence = |name: &str| -> Array3<f64> {
        let mut values = arrays[name]
            .clone()
            .into_dimensionality::<Ix3>()
            .expect("[T, F, 1]");
        values.swap_axes(1, 2);
        values
    };
    let vector = |name: &str| arrays[name].clone().remove_axis(Axis(1));
    let (x, target) = (sequence("X"), sequence("Y"));

    say!("1. An Elman network: h_t = tanh(W_xh x_t + W_hh h_(t-1) + b_h), o_t = W_hy h_t + b_y");
    let model = Sequential::new(3)
        .rnn(Rnn::hidden(5).bias(Bias::One))
        .linear(2)
        .build(device, 0)?;
    model.parameters().load(&BTreeMap::from([
        ("0.weight_ih_l0".to_owned(), arrays["W_xh"].clone()),
        ("0.weight_hh_l0".to_owned(), arrays["W_hh"].clone()),
        ("0.bias_ih_l0".to_owned(), vector("b_h")),
        ("1.weight".to_owned(), arrays["W_hy"].clone()),
        ("1.bias".to_owned(), vector("b_y")),
    ]))?;
    let layer = Rnn::new(3, 5).bias(Bias::One).build(device, 0)?;
    layer.parameters().load(&BTreeMap::from([
        ("weight_ih_l0".to_owned(), arrays["W_xh"].clone()),
        ("weight_hh_l0".to_owned(), arrays["W_hh"].clone()),
        ("bias_ih_l0".to_owned(), vector("b_h")),
    ]))?;
    let (_, state) = layer.forward(&Tensor::from_array(device, &x)?, None)?;
    print_numbers("   final hidden state", state.h().to_array::<f64>()?.iter());
    for (t, outputs) in model.predict(&x)?.outer_iter().enumerate() {
        print_numbers(&format!("   output at t = {t}"), outputs.iter());
    }

    say!("\n2. Its training: backpropagation through time, gradient descent, learning rate 0.01");
    say!(
        "   The gradient is that of half the sum of squares; printed is the mean square before the update."
    );
    let mut trainer = Trainer::new(model, Sgd::new(0.01))
        .loss(Mse::half_sum())
        .build()?;
    let batch = Batch::new(&x, &target);
    for epoch in 0..=200 {
        trainer.step(&batch)?;
        let mean_square = trainer.take_loss()? * 2.0 / target.len() as f64;
        if epoch % 10 == 0 {
            say!("   epoch {epoch:3}: {mean_square:.4}");
        }
    }
    let outputs = trainer.model().predict(&x)?;
    let mean_square = (outputs - target.into_dyn())
        .mapv(|d| d * d)
        .mean()
        .unwrap_or(f64::NAN);
    say!("   after the last update: {mean_square:.5}");
    say!(
        "   (Around epoch 80 the step is too long for the valley and rounding errors grow tenfold an epoch:"
    );
    say!(
        "   f32 leaves the notebook's path there, which is f64's, and comes back towards it from epoch 140 on.)"
    );

    say!("\n3. One step of an LSTM whose gates act on [h; x], as textbooks write it");
    let gate = |name: &str| -> Array2<f64> {
        arrays[name]
            .clone()
            .into_dimensionality::<Ix2>()
            .expect("[H, H + I]")
    };
    let textbook = ConcatenatedLstm {
        forget: gate("W_f"),
        input: gate("W_i"),
        candidate: gate("W_C"),
        output: gate("W_o"),
        biases: None,
    };
    let lstm = Lstm::new(3, 5).build(device, 0)?;
    lstm.parameters().load(&textbook.to_pytorch()?)?;
    let x = arrays["x"].to_shape((1, 1, 3)).expect("[3, 1]").to_owned();
    let (_, state) = lstm.forward(&Tensor::from_array(device, &x)?, None)?;
    print_numbers("   h", state.h().to_array::<f64>()?.iter());
    if let Some(c) = state.c() {
        print_numbers("   C", c.to_array::<f64>()?.iter());
    }
    Ok(())
}

fn print_numbers<'a>(label: &str, numbers: impl Iterator<Item = &'a f64>) {
    let numbers: Vec<String> = numbers.map(|number| format!("{number:11.8}")).collect();
    say!("{label}: {}", numbers.join(" "));
}
