//! What a training step of the benchmark's workloads would take on GPUs that are not there, from the plan's own operations, bytes and
//! dispatches against published peaks. Needs no adapter: the plan is made for a device that does nothing.
//!
//! ```text
//! cargo run --release --example roofline -- [--csv] [--gpu PART-OF-ITS-NAME] [WORKLOAD [CELL]]
//! ```

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "this example has no device to choose")]
mod common;
mod gpus;
mod model;
#[path = "../../benches/common/policy.rs"]
#[allow(dead_code, reason = "nothing is timed here")]
mod policy;
#[path = "../../benches/common/workloads.rs"]
mod workloads;

use bptt::data::Batch;
use bptt::profile::ExecutionPlan;
use bptt::train::{Adam, Trainer};
use bptt::{Device, Tensor};
use common::say;
use gpus::{GPUS, Gpu};
use model::{
    BANDWIDTH, CACHE, COMPUTE, IN_FLIGHT, INVOCATIONS_PER_LANE, LATENCY, Limit, STEP, predict,
};
use policy::{Wanted, Workload};
use std::time::Instant;

/// What the command line asks for.
#[derive(Default)]
struct Options {
    csv: bool,
    gpu: String,
    workload: Vec<String>,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("csv") => options.csv = true,
            Long("gpu") => options.gpu = parser.value()?.string()?,
            Value(word) if options.workload.len() < 2 => options.workload.push(word.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

/// A device that does nothing, with a GPU's limits.
fn device(gpu: &Gpu) -> Device {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits {
            max_storage_buffer_binding_size: 1 << 30,
            max_buffer_size: 1 << 30,
            max_compute_workgroup_storage_size: gpu.workgroup_memory,
            max_compute_invocations_per_workgroup: 1024,
            max_compute_workgroup_size_x: 1024,
            ..wgpu::Limits::default()
        },
        ..Default::default()
    });
    Device::from_wgpu(device, queue)
}

/// A trainer of a workload on a device, with a batch.
fn trainer(device: &Device, workload: &Workload) -> bptt::Result<(Trainer, Batch)> {
    let Workload {
        inputs,
        steps,
        batch,
        ..
    } = *workload;
    let model = workloads::model(device, workload);
    let x = Tensor::zeros(device, &[steps, batch, inputs])?;
    let target = Tensor::zeros(device, &[steps, batch, workload.width()])?;
    let batch = Batch::new(x, target);
    let batch = match workload.lengths() {
        Some(lengths) => batch.with_lengths(lengths),
        None => batch,
    };
    Ok((Trainer::new(model, Adam::new(1e-3)).build()?, batch))
}

/// The plan of a training step.
fn plan(gpu: &Gpu, workload: &Workload) -> bptt::Result<ExecutionPlan> {
    let (trainer, batch) = trainer(&device(gpu), workload)?;
    trainer.plan(&batch)
}

/// Seconds that this machine takes to encode and submit a dispatch, without a driver: the shortest of some training steps of W2, which has
/// many dispatches and little to copy.
fn host(gpu: &Gpu) -> bptt::Result<f64> {
    let small = Wanted::new(["W2".to_owned()]).workloads()[0];
    let (mut trainer, batch) = trainer(&device(gpu), &small)?;
    let dispatches = trainer.plan(&batch)?.dispatches() as f64;
    let mut least = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        trainer.step(&batch)?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least / dispatches)
}

/// A workload's training step on a GPU, in milliseconds.
struct Total {
    bound: f64,
    time: f64,
    dispatches: u64,
    /// What most of the time goes to.
    limit: Limit,
}

fn run() -> Result<(), String> {
    let options = options().map_err(|reason| reason.to_string())?;
    let part = options.gpu.to_lowercase();
    let gpus = || {
        GPUS.iter()
            .filter(|gpu| gpu.name.to_lowercase().contains(&part))
    };
    if gpus().next().is_none() {
        let known: Vec<_> = GPUS.iter().map(|gpu| gpu.name).collect();
        return Err(format!(
            "--gpu: {part:?}, expected a part of one of {known:?}"
        ));
    }
    let workloads = Wanted::new(options.workload.iter().cloned()).workloads();
    if workloads.is_empty() {
        let known: Vec<_> = Wanted::new([])
            .workloads()
            .iter()
            .map(|workload| format!("{} {}", workload.name, workload.cell))
            .collect();
        return Err(format!(
            "{:?}, expected one of {known:?}",
            options.workload.join(" ")
        ));
    }
    match options.csv {
        true => say!(
            "workload,cell,gpu,operation,kernel,dispatches,invocations,gflop,gb,bound_ms,predicted_ms,limited_by"
        ),
        false => describe(gpus()).map_err(|reason| reason.to_string())?,
    }
    let mut lines = vec![];
    for workload in &workloads {
        let mut line = format!("| {} {} |", workload.name, workload.cell);
        for gpu in gpus() {
            let plan = plan(gpu, workload).map_err(|reason| reason.to_string())?;
            let total = kernels(&options, workload, gpu, &plan);
            let (time, bound) = (1e3 * total.time, 1e3 * total.bound);
            line += &format!(
                " {time:.3} ({bound:.4}), {}, {} |",
                total.dispatches,
                total.limit.name()
            );
        }
        lines.push(line);
    }
    if !options.csv {
        let names: Vec<_> = gpus().map(|gpu| gpu.name).collect();
        say!(
            "\nA training step: predicted ms (bound ms), dispatches, what most of the time goes to\n"
        );
        say!(
            "| workload | {} |\n|{}",
            names.join(" | "),
            "---|".repeat(names.len() + 1)
        );
        lines.iter().for_each(|line| say!("{line}"));
    }
    Ok(())
}

/// Says what is known and what is assumed.
fn describe(gpus: impl Iterator<Item = &'static Gpu>) -> bptt::Result<()> {
    say!("Published, but for the time of a dispatch, which is assumed:");
    for gpu in gpus {
        say!(
            "  {}: {:.2} TFLOP/s, {:.0} GB/s, a dispatch {:.1} µs ({})",
            gpu.name,
            gpu.flops / 1e12,
            gpu.bandwidth / 1e9,
            gpu.dispatch * 1e6,
            gpu.source
        );
    }
    say!(
        "Assumed of all: {INVOCATIONS_PER_LANE} invocations a lane fill a GPU, and {:.0} % of its peak and {:.0} % of its bandwidth are then reached;\nan \
         invocation has {IN_FLIGHT} bytes on their way at a time, {:.2} µs from memory, {:.2} µs from the last cache; what steps need again comes from \
         there\nif it fits, at {CACHE} times the memory's bandwidth; a step inside a dispatch takes at least {:.2} µs. The bound knows none of this: all lanes busy, every operand moved once, dispatches free.",
        100.0 * COMPUTE,
        100.0 * BANDWIDTH,
        1e6 * LATENCY[0],
        1e6 * LATENCY[1],
        1e6 * STEP,
    );
    let host = 1e6 * host(&GPUS[0])?;
    say!(
        "Measured here: the host takes {host:.2} µs to encode and submit a dispatch, without a driver."
    );
    Ok(())
}

/// Prints the kernels of a plan, and adds them up.
fn kernels(options: &Options, workload: &Workload, gpu: &Gpu, plan: &ExecutionPlan) -> Total {
    let Workload { name, cell, .. } = workload;
    if !options.csv {
        let shape = [
            workload.inputs,
            workload.hidden,
            workload.steps,
            workload.batch,
        ];
        say!("\n{name} {cell}, I/H/T/B {shape:?}, on {}:", gpu.name);
        say!(
            "{:>3}  {:26} {:>10} {:>11} {:>10} {:>9} {:>10} {:>13}  limited by",
            "#",
            "kernel",
            "dispatches",
            "invocations",
            "MFLOP",
            "MB",
            "bound ms",
            "predicted ms"
        );
    }
    let mut by_limit = std::collections::BTreeMap::new();
    let (mut bound, mut time) = (0.0, 0.0);
    for kernel in &plan.kernels {
        let prediction = predict(kernel, gpu);
        bound += prediction.bound;
        time += prediction.time;
        *by_limit.entry(prediction.limit).or_insert(0.0) += prediction.time;
        let (operation, limit) = (kernel.operation, prediction.limit.name());
        let (dispatches, invocations) = (kernel.dispatches, kernel.invocations);
        let (flops, bytes) = (kernel.flops as f64, kernel.bytes as f64);
        let [least, probable] = [prediction.bound, prediction.time].map(|seconds| 1e3 * seconds);
        match options.csv {
            true => say!(
                "{name},{cell},{},{operation},{},{dispatches},{invocations},{:.6},{:.6},{least:.6},{probable:.6},{limit}",
                gpu.name,
                kernel.kernel,
                flops / 1e9,
                bytes / 1e9,
            ),
            false => say!(
                "{operation:>3}  {:26} {dispatches:>10} {invocations:>11} {:>10.3} {:>9.3} {least:>10.5} {probable:>13.4}  {limit}",
                kernel.kernel,
                flops / 1e6,
                bytes / 1e6,
            ),
        }
    }
    let limit = by_limit.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    if !options.csv {
        say!(
            "     in all: {:.4} ms of {} dispatches, bound {:.5} ms; memory {:.1} MB",
            1e3 * time,
            plan.dispatches(),
            1e3 * bound,
            plan.memory() as f64 / 1e6,
        );
    }
    Total {
        bound,
        time,
        dispatches: plan.dispatches(),
        limit: limit.map_or(Limit::Dispatch, |(limit, _)| limit),
    }
}

fn main() -> std::process::ExitCode {
    common::finish(run())
}
