//! What the benches share.
#![allow(dead_code, reason = "each bench uses its part")]

use bptt::Device;
use criterion::Criterion;
use std::time::Duration;

/// The CPU path and, where there is one, the best GPU adapter (a software adapter too; `BPTT_ADAPTER` chooses).
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", Device::cpu())];
    match Device::gpu() {
        Ok(device) => devices.push(("gpu", device)),
        Err(reason) => println!("SKIPPED on the GPU: {reason}"),
    }
    for (name, device) in &devices {
        println!("{name}: {device}");
    }
    devices
}

/// Few samples: some of what is timed takes seconds.
pub fn criterion() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// The shortest of several runs of `run`, after one that is not counted: at least 5 runs and 0.3 s.
pub fn shortest(mut run: impl FnMut()) -> f64 {
    run();
    let started = std::time::Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || started.elapsed().as_secs_f64() < 0.3 {
        let start = std::time::Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}
