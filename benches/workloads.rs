//! The workloads that other libraries are timed at: `cargo bench --bench workloads -- [--device cpu|gpu] [--f16] [--profile FILE]
//! [WORKLOAD [CELL [PHASE]]]`.
//!
//! The answers come first: output and gradients against the CPU path in f64 or, with `--reference FOLDER`, against PyTorch's
//! (`benches/peers/reference.py`). Then one line for each workload and phase: library, device,
//! threads, workload, cell, phase, repetitions; milliseconds: minimum, median, first call; GFLOP/s of the matrix products in the minimum, and their
//! share, in percent, of multiply-adds in registers. `infer` is a forward pass over the whole sequence, `train` forward, mean squared error to a random target
//! over all steps, backward and Adam. A GPU's queue is drained before the clock stops. `benches/peers` prints the same lines for
//! other libraries, with the same policy (`common/policy.rs`). The phase `memory`, which must be asked for, prints the peak memory of a training
//! step in MiB instead: of the process on the CPU, of the buffers on a GPU. With `--f16` a GPU reads weights in f16, and the device is called
//! `gpu-f16`.
//!
//! `--profile FILE` runs one training step with every kernel timed instead: a table, FILE for `chrome://tracing` or Perfetto and
//! FILE.csv, the name of each workload put into FILE's where there are several.

mod common;
#[path = "../src/files.rs"]
mod files;
#[path = "common/reference.rs"]
mod reference;

use bptt::data::Batch;
use bptt::nn::{Input, Model};
use bptt::train::{Adam, Trainer};
use bptt::verify::compare;
use bptt::{Device, Precision, Tensor};
use common::numbers;
use common::policy::{self, Timing, Wanted, Workload};
use common::workloads::model;
use ndarray::ArrayD;
use reference::Reference;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A workload on a device.
struct Bench {
    workload: Workload,
    device: Device,
    reference: Option<Reference>,
}

impl Bench {
    fn network(&self) -> Model {
        let network = model(&self.device, &self.workload);
        if let Some(reference) = &self.reference {
            let weights = reference.weights().into_iter();
            let named = weights.map(|(name, weight)| (format!("0.{name}"), array(weight)));
            let weights: BTreeMap<_, _> = named.collect();
            network.parameters().load(&weights).expect("PyTorch's fit");
        }
        network
    }

    /// `x` `[T, B, I]` or `target` `[T, B, D·H]`.
    fn sequence(&self, name: &str) -> Tensor {
        let Workload {
            inputs,
            steps,
            batch,
            ..
        } = self.workload;
        if let Some(reference) = &self.reference {
            let values = array(reference.get(name));
            return Tensor::from_array(&self.device, &values).expect("the workloads fit");
        }
        let features = if name == "x" {
            inputs
        } else {
            self.workload.width()
        };
        numbers(&self.device, [steps, batch, features])
    }

    fn trainer(&self) -> (Trainer, Batch) {
        let trainer = Trainer::new(self.network(), Adam::new(1e-3)).build();
        let data = Batch::new(self.sequence("x"), self.sequence("target"));
        let data = match self.workload.lengths() {
            Some(lengths) => data.with_lengths(lengths),
            None => data,
        };
        (trainer.expect("the numbers are in range"), data)
    }

    /// A forward pass.
    fn infer(&self, network: &Model, x: &Tensor) -> Tensor {
        let y = match self.workload.lengths() {
            Some(lengths) => network.forward(Input::with_lengths(x, &lengths)),
            None => network.forward(x),
        };
        y.expect("the shapes fit")
    }

    /// The output and the gradients of a training step.
    fn answers(&self) -> Vec<(String, ArrayD<f64>)> {
        let y = self.infer(&self.network(), &self.sequence("x"));
        let (mut trainer, data) = self.trainer();
        trainer.step(&data).expect("the shapes fit");
        let mut answers = vec![("y".to_owned(), y.to_array().expect("it can be read"))];
        answers.extend(trainer.gradients().expect("they can be read"));
        answers
    }

    fn check(&self) {
        let answers = self.answers();
        if let Some(reference) = &self.reference {
            for (name, got) in &answers {
                let name = name.replace("0.", "grad.");
                let got: Vec<_> = got.iter().map(|value| *value as f32).collect();
                reference.check("bptt", &name, &got);
            }
            return;
        }
        let expected = Bench {
            device: Device::cpu_f64(),
            reference: None,
            workload: self.workload,
        };
        for ((name, got), (_, expected)) in answers.iter().zip(&expected.answers()) {
            // A gradient passes through every step, so rounding errors of all of them meet in it.
            let single = if name == "y" { 1e-4 } else { 1e-3 };
            // A weight in f16 is off by up to 5e-4.
            let half = self.device.precision() == Precision::F16;
            let tolerance = if half { 3e-2 } else { single };
            compare(name, got, expected, tolerance).expect("the answer comes first");
        }
    }

    /// GFLOP of the matrix products of a forward pass over the steps that rows have; a training step takes three times that but for the
    /// gradient of x, which is not computed.
    fn work(&self, train: bool) -> f64 {
        let Workload {
            inputs,
            hidden,
            steps,
            batch,
            layers,
            directions,
            ..
        } = self.workload;
        let all = self
            .workload
            .lengths()
            .map_or(steps * batch, |lengths| lengths.iter().sum());
        let gates = match self.workload.cell {
            "rnn" => 1,
            "lstm" => 4,
            _ => 3,
        };
        let above = (layers - 1) * self.workload.width();
        let widths = if train {
            2 * inputs + 3 * (above + layers * hidden)
        } else {
            inputs + above + layers * hidden
        };
        (2 * all * directions * gates * hidden * widths) as f64 / 1e9
    }

    /// One profiled training step, after others that warm up.
    fn profile(&self, file: &Path) {
        let Workload { name, cell, .. } = self.workload;
        self.check();
        let (mut trainer, data) = self.trainer();
        (0..3).for_each(|_| trainer.step(&data).expect("the shapes fit"));
        self.device.wait().expect("the device works");
        let profile = trainer
            .profile_step(&data)
            .expect("the device has timestamps");
        println!("{name} {cell}, a training step on {profile}");
        files::replace(file, profile.to_chrome_trace().as_bytes()).expect("FILE can be written");
        let lines = profile.to_csv();
        let (heading, lines) = lines.split_once('\n').expect("there is a heading");
        let lines = lines.lines().map(|line| format!("{name},{cell},{line}\n"));
        let csv = format!("workload,cell,{heading}\n{}", lines.collect::<String>());
        let path = format!("{}.csv", file.display());
        files::replace(Path::new(&path), csv.as_bytes()).expect("FILE.csv can be written");
    }

    /// Times both phases, or one, and prints their lines.
    fn run(&self, label: &str, wanted: &Wanted, peak: f64) {
        self.check();
        let print = |phase: &str, timing: Timing| {
            let rate = self.work(phase == "train") / timing.least * 1e3;
            let share = 100.0 * rate / peak;
            let line = policy::line("bptt", label, &self.workload, phase, timing);
            println!("{line},{rate:.1},{share:.1}");
        };
        let drain = || self.device.wait().expect("the device works");
        if wanted.phase("infer") {
            let (network, x) = (self.network(), self.sequence("x"));
            let infer = || {
                self.infer(&network, &x);
                drain();
            };
            let ((), first) = policy::first(infer);
            print("infer", policy::measure(first, infer));
        }
        if wanted.phase("train") {
            let (mut trainer, data) = self.trainer();
            let mut train = || {
                trainer.step(&data).expect("the shapes fit");
                drain();
            };
            let ((), first) = policy::first(&mut train);
            print("train", policy::measure(first, train));
        }
    }

    /// Prints the peak memory of a training step.
    fn memory(&self, label: &str) {
        let tiny = Bench {
            workload: policy::TINY,
            device: self.device.clone(),
            reference: None,
        };
        let (mut trainer, data) = tiny.trainer();
        trainer.step(&data).expect("the shapes fit");
        let gpu = self.device.wgpu().is_some();
        let used = || {
            if gpu {
                self.device.counters().buffer_bytes as f64 / 1024.0 / 1024.0
            } else {
                policy::resident().1
            }
        };
        let before = if gpu { used() } else { policy::resident().0 };
        let (mut trainer, data) = self.trainer();
        let step = || {
            trainer.step(&data).expect("the shapes fit");
            self.device.wait().expect("the device works");
        };
        let memory = policy::peak_memory(before, used, step);
        let line = policy::line("bptt", label, &self.workload, "memory", memory);
        println!("{line}");
    }
}

fn array((values, shape): reference::Elements) -> ArrayD<f32> {
    ArrayD::from_shape_vec(shape, values).expect("the length is the shape's")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut device, mut label) = (Device::cpu(), "cpu");
    let (mut words, mut folder) = (vec![], None);
    let mut profile: Option<PathBuf> = None;
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--device" => {
                if arguments.next().as_deref() == Some("gpu") {
                    device = Device::gpu().expect("there is an adapter");
                    label = "gpu";
                }
            }
            "--f16" => {
                device = Device::gpu_f16().expect("there is an adapter");
                label = "gpu-f16";
            }
            "--profile" => profile = Some(arguments.next().expect("--profile FILE").into()),
            "--reference" => folder = arguments.next().map(PathBuf::from),
            _ => words.push(word),
        }
    }
    let wanted = Wanted::new(words);
    if let Some(file) = profile {
        let workloads = wanted.workloads();
        let several = workloads.len() > 1;
        for workload in workloads {
            let file = match several {
                true => file.with_extension(format!("{}-{}.json", workload.name, workload.cell)),
                false => file.clone(),
            };
            let bench = Bench {
                workload,
                device: device.clone(),
                reference: None,
            };
            bench.profile(&file);
        }
        return;
    }
    let memory = wanted.phase("memory");
    eprintln!("{device}");
    // What memory takes is no matter of speed.
    let peak = if memory {
        f64::NAN
    } else {
        let peak = common::peak(&device);
        eprintln!("{peak:.0} GFLOP/s of multiply-adds in registers");
        peak
    };
    for workload in wanted.workloads() {
        let read = |folder: &PathBuf| Reference::read(folder, &workload);
        let bench = Bench {
            workload,
            device: device.clone(),
            reference: folder.as_ref().filter(|_| !memory).map(read),
        };
        if memory {
            bench.memory(label);
        } else {
            bench.run(label, &wanted, peak);
        }
    }
}
