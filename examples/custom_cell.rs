//! A cell of one's own, defined outside the crate: checked, then trained beside the GRU.
//!
//! ```text
//! cargo run --release --example custom_cell [-- --device cpu|gpu]
//! ```
//!
//! The cell is the minimal gated unit. Its forward functions are all that is written: from them come
//! what it saves, its backward functions and its WGSL. The check compares the derivatives with finite
//! differences and the WGSL with the Rust on every device there is. The task is to remember: of a
//! sequence of random numbers the two marked ones are to be added (Hochreiter & Schmidhuber, 1997).

#[path = "common/mod.rs"]
mod common;

use bptt::cell::{Cell, Forward, GruUnit, Inner, Lanes};
use bptt::data::Sequences;
use bptt::nn::{Recurrent, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::{Device, verify};
use common::say;
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// The minimal gated unit (Zhou, Wu, Zhang & Zhou, "Minimal gated unit for recurrent neural
/// networks", 2016): a GRU with one gate.
///
/// ```text
/// f = σ(x_f + R_f h₋ + b_f)   n = tanh(x_n + R_n (f⊙h₋) + b_n)   h = (1−f)⊙h₋ + f⊙n
/// ```
///
/// Gates f, n. R_n takes f⊙h₋ and not h₋, so f is the early gate and n a late one.
#[derive(Clone, Copy, Debug, Default)]
struct Mgu;

impl Cell for Mgu {
    fn name(&self) -> &'static str {
        "mgu"
    }
    fn gates(&self) -> usize {
        2
    }
    fn early_gates(&self) -> usize {
        1
    }
    fn states(&self) -> usize {
        1
    }

    #[inline(always)]
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        (unit.x[0] + unit.r[0]).sigmoid() * unit.state[0]
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let forget = (unit.x[0] + unit.r[0]).sigmoid();
        let candidate = (unit.x[1] + unit.r[1]).tanh();
        unit.state[0] = forget.complement() * unit.state[0] + forget * candidate;
    }
}

const STEPS: usize = 20;
const HIDDEN: usize = 32;

fn main() -> std::process::ExitCode {
    common::finish(run())
}

fn run() -> Result<(), String> {
    let mut word = "auto".to_owned();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
        match argument {
            lexopt::Arg::Long("device") => {
                let value = arguments.value().map_err(|error| error.to_string())?;
                word = value.to_string_lossy().into_owned();
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let device = common::device(&word)?;
    let mut devices = vec![Device::cpu()];
    match Device::gpu() {
        Ok(gpu) => devices.push(gpu),
        Err(reason) => say!("the WGSL half is not checked: {reason}"),
    }
    match verify::check_cell(&Mgu, &devices) {
        Ok(report) => say!("{report}\n"),
        Err(faults) => {
            say!("{faults}");
            return Err(format!("the cell is wrong in {} places", faults.0.len()));
        }
    }

    say!(
        "training on {device}; mean squared error of the sum of two marked numbers among {STEPS}:"
    );
    train(&device, Mgu).map_err(|error| error.to_string())?;
    train(&device, GruUnit::default()).map_err(|error| error.to_string())
}

/// 2,000 sequences `[T, N, 2]`: numbers, and marks at two of the steps.
fn sequences(seed: u64) -> bptt::Result<Sequences> {
    let count = 2000;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut x = Array3::<f32>::zeros((STEPS, count, 2));
    let mut target = Array2::<f32>::zeros((count, 1));
    for sequence in 0..count {
        for t in 0..STEPS {
            x[[t, sequence, 0]] = rng.random_range(-1.0..1.0);
        }
        for half in 0..2 {
            let t = half * STEPS / 2 + rng.random_range(0..STEPS / 2);
            x[[t, sequence, 1]] = 1.0;
            target[[sequence, 0]] += x[[t, sequence, 0]];
        }
    }
    Sequences::many_to_one(x, target)
}

fn train<C: Cell>(device: &Device, cell: C) -> bptt::Result<()> {
    let name = cell.name();
    let model = Sequential::new(2)
        .recurrent(Recurrent::with_cell(cell, 2, HIDDEN))
        .last_step()
        .linear(1)
        .build(device, 1)?;
    let weights = model.parameters().count();
    let mut trainer = Trainer::new(model, Adam::new(5e-3))
        .clip_norm(1.0)
        .build()?;
    let (training, validation) = (sequences(1)?, sequences(2)?);
    let fit = trainer.fit(&training).validation(&validation);
    let history = fit.epochs(20).run()?;
    let losses: Vec<String> = history
        .epochs
        .iter()
        .filter(|epoch| epoch.number == 1 || epoch.number % 5 == 0)
        .filter_map(|epoch| Some(format!("{} {:.4}", epoch.number, epoch.validation?)))
        .collect();
    say!(
        "{name:>4}, {weights} weights, by epoch: {}",
        losses.join(", ")
    );
    Ok(())
}
