//! Forward pass and training step, CPU against GPU: `cargo bench --bench recurrent`.
//!
//! Training: forward, mean squared error to a random target over all steps, backward, Adam. One element of the throughput is one
//! floating-point operation of the matrix products (forward 1, training 3 times: the input's gradient is not computed).

mod common;

use bptt::data::Batch;
use bptt::nn::{GruConfig, LstmConfig, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::{Array3, ArrayD};

#[derive(Clone, Copy)]
enum Cell {
    Lstm,
    Gru,
}

/// I, H, T, B.
const SHAPES: [(Cell, [usize; 4]); 6] = [
    (Cell::Lstm, [3, 5, 4, 1]),
    (Cell::Lstm, [32, 64, 256, 1]),
    (Cell::Lstm, [64, 128, 128, 32]),
    (Cell::Gru, [64, 128, 128, 32]),
    (Cell::Lstm, [128, 512, 64, 64]),
    (Cell::Gru, [16, 64, 2048, 8]),
];

struct Workload {
    name: String,
    cell: Cell,
    shape: [usize; 4],
}

impl Workload {
    fn model(&self, device: &Device) -> Sequential {
        let [inputs, hidden, _, _] = self.shape;
        let model = Sequential::new(inputs);
        let model = match self.cell {
            Cell::Lstm => model.lstm(LstmConfig::hidden(hidden)),
            Cell::Gru => model.gru(GruConfig::hidden(hidden)),
        };
        model.build(device, 1).expect("the sizes are positive")
    }

    fn numbers(&self, features: usize) -> Array3<f32> {
        let [_, _, steps, batch] = self.shape;
        Array3::from_shape_fn((steps, batch, features), |(t, b, f)| {
            ((t * 7 + b * 13 + f * 5) as f32 * 0.1).sin()
        })
    }

    /// Operations of the matrix products of a forward pass.
    fn flops(&self) -> u64 {
        let [inputs, hidden, steps, batch] = self.shape;
        let gates = match self.cell {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        };
        (2 * steps * batch * gates * hidden * (inputs + hidden)) as u64
    }

    fn trainer(&self, device: &Device) -> (Trainer, Batch) {
        let trainer =
            Trainer::new(self.model(device), Adam::new(1e-3)).expect("the numbers are in range");
        let tensor =
            |values: &Array3<f32>| Tensor::from_array(device, values).expect("it fits the device");
        let target = self.numbers(self.shape[1]).mapv(|x| x * 0.5);
        (
            trainer,
            Batch::new(tensor(&self.numbers(self.shape[0])), tensor(&target)),
        )
    }

    fn output(&self, device: &Device) -> ArrayD<f64> {
        self.model(device)
            .predict(&self.numbers(self.shape[0]).mapv(f64::from))
            .expect("it runs")
    }

    fn gradients(&self, device: &Device) -> Vec<(String, ArrayD<f64>)> {
        let (mut trainer, batch) = self.trainer(device);
        trainer.step(&batch).expect("it runs");
        trainer
            .gradients::<f64>()
            .expect("it can be read")
            .into_iter()
            .collect()
    }

    /// The answer comes first.
    fn check(&self, devices: &[(&str, Device)]) {
        let reference = Device::cpu_f64();
        let (output, gradients) = (self.output(&reference), self.gradients(&reference));
        for (_, device) in devices {
            compare(&self.name, &self.output(device), &output, 1e-4).expect("the outputs agree");
            for ((name, got), (_, expected)) in self.gradients(device).iter().zip(&gradients) {
                compare(name, got, expected, 1e-3).expect("the gradients agree");
            }
        }
    }
}

fn main() {
    let devices = common::devices();
    let mut criterion = common::criterion();
    for (cell, shape) in SHAPES {
        let [inputs, hidden, steps, batch] = shape;
        let kind = match cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        };
        let workload = Workload {
            name: format!("{kind} {inputs}x{hidden}x{steps}x{batch}"),
            cell,
            shape,
        };
        workload.check(&devices);
        for (device_name, device) in &devices {
            forward(&mut criterion, &workload, device_name, device);
            training(&mut criterion, &workload, device_name, device);
        }
    }
    criterion.final_summary();
}

fn forward(criterion: &mut Criterion, workload: &Workload, device_name: &str, device: &Device) {
    let model = workload.model(device);
    let x = Tensor::from_array(device, &workload.numbers(workload.shape[0]))
        .expect("it fits the device");
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements(workload.flops()));
    group.bench_function(BenchmarkId::new(&workload.name, device_name), |bencher| {
        bencher.iter(|| {
            let y = model.forward(&x).expect("it runs");
            device.wait().expect("the device is there");
            y
        });
    });
}

fn training(criterion: &mut Criterion, workload: &Workload, device_name: &str, device: &Device) {
    let (mut trainer, batch) = workload.trainer(device);
    let mut group = criterion.benchmark_group("training step");
    group.throughput(Throughput::Elements(3 * workload.flops()));
    group.bench_function(BenchmarkId::new(&workload.name, device_name), |bencher| {
        bencher.iter(|| {
            trainer.step(&batch).expect("it runs");
            device.wait().expect("the device is there");
        });
    });
}
