//! The workloads that other libraries are timed at: `cargo bench --bench workloads -- [--device cpu|gpu] [--profile FILE] [WORKLOAD [CELL [PHASE]]]`.
//!
//! The answers come first: output and gradients against the CPU path in f64. Then one line for each workload and phase: library, device,
//! threads, workload, cell, phase, repetitions; milliseconds: minimum, median, first call; GFLOP/s of the matrix products in the minimum, and their
//! share, in percent, of multiply-adds in registers. `infer` is a forward pass over the whole sequence, `train` forward, mean squared error to a random target
//! over all steps, backward and Adam. A GPU's queue is drained before the clock stops. `benches/peers` prints the same lines for
//! other libraries, with the same policy: warm-up for 0.25 s and 3 calls, then 2 s and at least 3.
//!
//! `--profile FILE` runs one training step with every kernel timed instead: a table, FILE for `chrome://tracing` or Perfetto and
//! FILE.csv, the name of each workload put into FILE's where there are several.

mod common;

use bptt::data::Batch;
use bptt::train::{Adam, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use common::workloads::{WORKLOADS, model};
use ndarray::{Array3, ArrayD};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn numbers(device: &Device, [steps, batch, features]: [usize; 3]) -> Tensor {
    let values = Array3::from_shape_fn((steps, batch, features), |(t, b, f)| {
        ((t * 7 + b * 13 + f * 5) as f32 * 0.1).sin()
    });
    Tensor::from_array(device, &values).expect("the workloads fit")
}

/// A workload on a device.
struct Bench {
    cell: &'static str,
    shape: [usize; 4],
    device: Device,
}

impl Bench {
    fn x(&self) -> Tensor {
        let [inputs, _, steps, batch] = self.shape;
        numbers(&self.device, [steps, batch, inputs])
    }

    fn trainer(&self) -> (Trainer, Batch) {
        let [_, hidden, steps, batch] = self.shape;
        let network = model(&self.device, self.cell, self.shape);
        let trainer = Trainer::new(network, Adam::new(1e-3)).expect("the numbers are in range");
        let target = numbers(&self.device, [steps, batch, hidden]);
        (trainer, Batch::new(self.x(), target))
    }

    /// The output and the gradients of a training step.
    fn answers(&self) -> Vec<(String, ArrayD<f64>)> {
        let network = model(&self.device, self.cell, self.shape);
        let y = network.forward(&self.x()).expect("the shapes fit");
        let (mut trainer, data) = self.trainer();
        trainer.step(&data).expect("the shapes fit");
        let mut answers = vec![("y".to_owned(), y.to_array().expect("it can be read"))];
        answers.extend(trainer.gradients().expect("they can be read"));
        answers
    }

    fn check(&self) {
        let reference = Bench {
            device: Device::cpu_f64(),
            ..*self
        };
        for ((name, got), (_, expected)) in self.answers().iter().zip(&reference.answers()) {
            // A gradient passes through every step, so rounding errors of all of them meet in it.
            let tolerance = if name == "y" { 1e-4 } else { 1e-3 };
            compare(name, got, expected, tolerance).expect("the answer comes first");
        }
    }

    /// GFLOP of the matrix products of a forward pass; a training step takes three times that but for the gradient of x, which is not
    /// computed.
    fn work(&self, train: bool) -> f64 {
        let [inputs, hidden, steps, batch] = self.shape;
        let gates = match self.cell {
            "rnn" => 1,
            "lstm" => 4,
            _ => 3,
        };
        let widths = if train {
            2 * inputs + 3 * hidden
        } else {
            inputs + hidden
        };
        (2 * steps * batch * gates * hidden * widths) as f64 / 1e9
    }

    /// One profiled training step, after others that warm up.
    fn profile(&self, name: &str, file: &Path) {
        self.check();
        let (mut trainer, data) = self.trainer();
        (0..3).for_each(|_| trainer.step(&data).expect("the shapes fit"));
        self.device.wait().expect("the device works");
        let profile = trainer
            .profile_step(&data)
            .expect("the device has timestamps");
        println!("{name} {}, a training step on {profile}", self.cell);
        std::fs::write(file, profile.to_chrome_trace()).expect("FILE can be written");
        let lines = profile.to_csv();
        let (heading, lines) = lines.split_once('\n').expect("there is a heading");
        let lines = lines
            .lines()
            .map(|line| format!("{name},{},{line}\n", self.cell));
        let csv = format!("workload,cell,{heading}\n{}", lines.collect::<String>());
        let path = format!("{}.csv", file.display());
        std::fs::write(path, csv).expect("FILE.csv can be written");
    }

    /// Times both phases, or one, and prints their lines.
    fn run(&self, label: &str, name: &str, phase: Option<&str>, peak: f64) {
        self.check();
        let start = format!("bptt,{label},{},{name},{}", common::threads(), self.cell);
        let drain = || self.device.wait().expect("the device works");
        let rate = |train: bool, milliseconds: f64| {
            let rate = self.work(train) / milliseconds * 1e3;
            format!("{rate:.1},{:.1}", 100.0 * rate / peak)
        };
        if phase != Some("train") {
            let network = model(&self.device, self.cell, self.shape);
            let x = self.x();
            let infer = || {
                network.forward(&x).expect("the shapes fit");
                drain();
            };
            let (line, least) = measure(infer);
            println!("{start},infer,{line},{}", rate(false, least));
        }
        if phase != Some("infer") {
            let (mut trainer, data) = self.trainer();
            let train = || {
                trainer.step(&data).expect("the shapes fit");
                drain();
            };
            let (line, least) = measure(train);
            println!("{start},train,{line},{}", rate(true, least));
        }
    }
}

/// Times a step: the numbers of its line, and the minimum.
fn measure(mut step: impl FnMut()) -> (String, f64) {
    let mut once = || {
        let start = Instant::now();
        step();
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
    let median = times[times.len() / 2];
    let first = first.as_secs_f64() * 1e3;
    let line = format!("{},{:.4},{median:.4},{first:.3}", times.len(), times[0]);
    (line, times[0])
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut device, mut label) = (Device::cpu(), "cpu");
    let mut profile: Option<PathBuf> = None;
    let mut words = vec![];
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--device" if arguments.next().as_deref() == Some("gpu") => {
                device = Device::gpu().expect("there is an adapter");
                label = "gpu";
            }
            "--profile" => profile = Some(arguments.next().expect("--profile FILE").into()),
            "--device" | "bench" => {}
            _ => words.push(word),
        }
    }
    let wanted = |(name, cell, _): &(&str, &str, _)| match &words[..] {
        [] => true,
        [one] => name == one,
        [one, other, ..] => name == one && cell == other,
    };
    let workloads: Vec<_> = WORKLOADS.into_iter().filter(wanted).collect();
    let bench = |cell, shape| Bench {
        cell,
        shape,
        device: device.clone(),
    };
    if let Some(file) = profile {
        let several = workloads.len() > 1;
        for (name, cell, shape) in workloads {
            let file = match several {
                true => file.with_extension(format!("{name}-{cell}.json")),
                false => file.clone(),
            };
            bench(cell, shape).profile(name, &file);
        }
        return;
    }
    let peak = common::peak(&device);
    eprintln!("{device}: {peak:.0} GFLOP/s of multiply-adds in registers");
    for (name, cell, shape) in workloads {
        bench(cell, shape).run(label, name, words.get(2).map(String::as_str), peak);
    }
}
