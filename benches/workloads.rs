//! The workloads that other libraries are timed at: `cargo bench --bench workloads [-- --device cpu|gpu] [WORKLOAD [CELL [PHASE]]]`.
//!
//! One line for each workload and phase: library, device, threads, workload, cell, phase, repetitions, then milliseconds: minimum,
//! median, first call. `infer` is a forward pass over the whole sequence, `train` forward, mean squared error to a random target
//! over all steps, backward and Adam. A GPU's queue is drained before the clock stops. `benches/peers` prints the same lines for
//! other libraries, with the same policy: warm-up for 0.25 s and 3 calls, then 2 s and at least 3.

use bptt::data::Batch;
use bptt::nn::{GruConfig, LstmConfig, RnnConfig, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::{Device, Tensor};
use ndarray::Array3;
use std::time::{Duration, Instant};

/// Name, cell, I, H, T, B.
const WORKLOADS: [(&str, &str, [usize; 4]); 10] = [
    ("W1", "rnn", [3, 5, 4, 1]),
    ("W1", "lstm", [3, 5, 4, 1]),
    ("W1", "gru", [3, 5, 4, 1]),
    ("W2", "lstm", [32, 64, 256, 1]),
    ("W3", "lstm", [64, 128, 128, 32]),
    ("W3", "gru", [64, 128, 128, 32]),
    ("W4", "lstm", [128, 512, 64, 64]),
    ("W5", "lstm", [512, 512, 100, 64]),
    ("W5b", "lstm", [768, 768, 256, 16]),
    ("W6", "gru", [16, 64, 2048, 8]),
];

fn model(device: &Device, cell: &str, [inputs, hidden, _, _]: [usize; 4]) -> Sequential {
    let model = Sequential::new(inputs);
    let model = match cell {
        "rnn" => model.rnn(RnnConfig::hidden(hidden)),
        "lstm" => model.lstm(LstmConfig::hidden(hidden)),
        _ => model.gru(GruConfig::hidden(hidden)),
    };
    model.build(device, 1).expect("the sizes are positive")
}

fn numbers(device: &Device, [steps, batch, features]: [usize; 3]) -> Tensor {
    let values = Array3::from_shape_fn((steps, batch, features), |(t, b, f)| {
        ((t * 7 + b * 13 + f * 5) as f32 * 0.1).sin()
    });
    Tensor::from_array(device, &values).expect("the workloads fit")
}

/// Times a step and prints its line; `drain` waits for the device.
fn measure(start: &str, mut step: impl FnMut(), drain: impl Fn()) {
    let mut once = || {
        let start = Instant::now();
        step();
        drain();
        start.elapsed()
    };
    let first = once();
    let (mut warm, mut count) = (first, 1);
    while count < 3 || (warm < Duration::from_millis(250) && count < 200) {
        warm += once();
        count += 1;
    }
    let (mut times, mut total) = (vec![], Duration::ZERO);
    while times.len() < 3 || (total < Duration::from_secs(2) && times.len() < 5000) {
        let time = once();
        times.push(time.as_secs_f64() * 1e3);
        total += time;
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{start},{},{:.4},{:.4},{:.3}",
        times.len(),
        times[0],
        times[times.len() / 2],
        first.as_secs_f64() * 1e3
    );
}

fn bench(
    device: &Device,
    label: &str,
    (name, cell, shape): (&str, &str, [usize; 4]),
    phase: Option<&str>,
) {
    let [inputs, hidden, steps, batch] = shape;
    let threads = std::env::var("RAYON_NUM_THREADS").unwrap_or_else(|_| "all".to_owned());
    let line = |phase: &str| format!("bptt,{label},{threads},{name},{cell},{phase}");
    let x = numbers(device, [steps, batch, inputs]);
    let target = numbers(device, [steps, batch, hidden]);
    let drain = || device.wait().expect("the device works");

    let network = model(device, cell, shape);
    let infer = || {
        network.forward(&x).expect("the shapes fit");
    };
    if phase != Some("train") {
        measure(&line("infer"), infer, drain);
    }
    if phase == Some("infer") {
        return;
    }

    let mut trainer = Trainer::new(network, Adam::new(1e-3)).expect("the numbers are in range");
    let data = Batch::new(x.clone(), target);
    let train = || trainer.step(&data).expect("the shapes fit");
    measure(&line("train"), train, drain);
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut device = (Device::cpu(), "cpu");
    let mut words = vec![];
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--device" => {
                if arguments.next().as_deref() == Some("gpu") {
                    device = (Device::gpu().expect("there is an adapter"), "gpu");
                }
            }
            "bench" => {}
            _ => words.push(word),
        }
    }
    for workload in WORKLOADS {
        let wanted = match &words[..] {
            [] => true,
            [name] => workload.0 == name,
            [name, cell, ..] => workload.0 == name && workload.1 == cell,
        };
        if wanted {
            let phase = words.get(2).map(String::as_str);
            bench(&device.0, device.1, workload, phase);
        }
    }
}
