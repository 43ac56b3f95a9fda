//! Numbers too small for all their digits, which slow many processors down a hundred times: `cargo bench --bench denormals`.
//!
//! Each row is one program on the CPU path, with numbers of an ordinary size and with numbers that fade to almost nothing: gradients that vanish on
//! their way back through many steps, and states that decay in silence after sound. Milliseconds of each, and how many times the first
//! the second takes. Answers are held against the CPU path in f64 first.

mod common;

use bptt::data::Batch;
use bptt::nn::{Lstm, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use common::{numbers, shortest};
use ndarray::{Array3, ArrayD, s};

const INPUTS: usize = 16;
const HIDDEN: usize = 64;
const BATCH: usize = 32;

/// Milliseconds of a training step: for a number at every step, or at the last only, so that gradients vanish on their way back.
fn training(steps: usize, at_last: bool) -> f64 {
    let trainer = |device: &Device| {
        let model = Sequential::new(INPUTS).lstm(Lstm::hidden(HIDDEN));
        let model = if at_last { model.last_step() } else { model };
        let model = model
            .linear(1)
            .build(device, 1)
            .expect("the sizes are positive");
        let x = numbers(device, [steps, BATCH, INPUTS]);
        let y = model.output_shape(&[x.shape()]).expect("x fits");
        let target = Tensor::from_array(device, &ArrayD::<f32>::ones(y)).expect("it fits");
        let trainer = Trainer::new(model, Adam::new(1e-3)).build();
        (trainer.expect("it fits"), Batch::new(x, target))
    };
    let gradients = |device: &Device| {
        let (mut trainer, batch) = trainer(device);
        trainer.step(&batch).expect("it fits");
        trainer.gradients::<f64>().expect("there was a step")
    };
    let expected = gradients(&Device::cpu_f64());
    for (name, gradient) in gradients(&Device::cpu()) {
        compare(&name, &gradient, &expected[&name], 1e-4).expect("the answer is right");
    }
    let (mut trainer, batch) = trainer(&Device::cpu());
    1e3 * shortest(|| trainer.step(&batch).expect("it ran before"))
}

/// Milliseconds of a forward pass over sound and, where `silent`, silence after a tenth of it.
fn forward(steps: usize, silent: bool) -> f64 {
    let layer = Lstm::hidden(HIDDEN).bias(false);
    let model = |device: &Device| {
        let model = Sequential::new(INPUTS).lstm(layer.clone()).build(device, 1);
        model.expect("the sizes are positive")
    };
    let x = numbers(&Device::cpu(), [steps, BATCH, INPUTS]);
    let mut x: Array3<f32> = x
        .to_array()
        .expect("it is on the CPU")
        .into_dimensionality()
        .expect("[T, B, I]");
    if silent {
        x.slice_mut(s![steps / 10.., .., ..]).fill(0.0);
    }
    let y = |device: &Device| model(device).predict(&x.mapv(f64::from)).expect("x fits");
    compare("y", &y(&Device::cpu()), &y(&Device::cpu_f64()), 1e-5).expect("the answer is right");
    let model = model(&Device::cpu());
    let x = Tensor::from_array(&Device::cpu(), &x).expect("it fits");
    1e3 * shortest(|| drop(model.forward(&x).expect("it ran before")))
}

fn main() {
    println!("LSTM, I {INPUTS}, H {HIDDEN}, B {BATCH}; milliseconds, the shortest of many runs");
    println!("| | T | ordinary | fading | times |");
    println!("|---|---|---|---|---|");
    type Run = fn(usize, bool) -> f64;
    let rows: [(&str, usize, Run); 4] = [
        ("training, gradients vanish", 250, training),
        ("training, gradients vanish", 1000, training),
        ("forward, silence after sound", 1000, forward),
        ("forward, silence after sound", 4000, forward),
    ];
    for (name, steps, run) in rows {
        let (ordinary, fading) = (run(steps, false), run(steps, true));
        println!(
            "| {name} | {steps} | {ordinary:.2} | {fading:.2} | {:.2} |",
            fading / ordinary
        );
    }
}
