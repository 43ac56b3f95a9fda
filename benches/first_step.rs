//! From the start of a process to the end of its first training step, LSTM 64/128/128/32: `cargo bench --bench first_step`.
//!
//! A process of its own each time: first with empty caches (the crate's and Mesa's), then with what that one left, for each `BPTT_TUNE`.

use bptt::data::Batch;
use bptt::nn::{Lstm, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::{Device, Tensor};
use ndarray::Array3;
use std::process::Command;
use std::time::Instant;

const CHILD: &str = "BPTT_FIRST_STEP";

/// The process that is timed.
fn step() -> bptt::Result<()> {
    let device = Device::gpu()?;
    let model = Sequential::new(64)
        .lstm(Lstm::hidden(128))
        .build(&device, 1)?;
    let mut trainer = Trainer::new(model, Adam::new(1e-3)).build()?;
    let x = Array3::from_shape_fn((128, 32, 64), |(t, b, f)| {
        ((t * 7 + b * 13 + f) as f32).sin()
    });
    let target = Array3::<f32>::zeros((128, 32, 128));
    let batch = Batch::new(
        Tensor::from_array(&device, &x)?,
        Tensor::from_array(&device, &target)?,
    );
    trainer.step(&batch)?;
    let loss = trainer.take_loss()?;
    assert!(loss.is_finite());
    Ok(())
}

fn main() {
    if std::env::var_os(CHILD).is_some() {
        step().expect("a GPU and a step on it");
        return;
    }
    if let Err(reason) = Device::gpu() {
        println!("SKIPPED: {reason}");
        return;
    }
    let this = std::env::current_exe().expect("a bench has a path");
    let caches = std::env::temp_dir().join(format!("bptt-first-step-{}", std::process::id()));
    println!("BPTT_TUNE,caches,seconds");
    for tune in ["off", "quick"] {
        std::fs::remove_dir_all(&caches).ok();
        for state in ["empty", "filled"] {
            let start = Instant::now();
            let status = Command::new(&this)
                .env(CHILD, "1")
                .env("BPTT_TUNE", tune)
                .env("XDG_CACHE_HOME", &caches)
                .env("MESA_SHADER_CACHE_DIR", &caches)
                .status()
                .expect("the bench can run itself");
            assert!(status.success());
            println!("{tune},{state},{:.2}", start.elapsed().as_secs_f64());
        }
    }
    std::fs::remove_dir_all(&caches).ok();
}
