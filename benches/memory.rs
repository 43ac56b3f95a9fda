//! What a training step costs within a memory budget: `cargo bench --bench memory [-- --device cpu|gpu] [WORKLOAD]`.
//!
//! A line of a table for each workload and budget: the budget as a share of what a step takes without one, the bytes the step works in, the
//! shortest and the median step, and its time as a multiple of that without a budget. Gradients are held against those without a budget
//! first. Steps within each budget take turns, so that a change of the machine's speed meets all of them.

mod common;

use bptt::Device;
use bptt::data::Batch;
use bptt::nn::{Gru, Lstm, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::verify::compare;
use common::numbers;
use std::time::{Duration, Instant};

/// Name, cell, I, H, T, B; as in `workloads`.
const WORKLOADS: [(&str, &str, [usize; 4]); 6] = [
    ("W3", "lstm", [64, 128, 128, 32]),
    ("W3", "gru", [64, 128, 128, 32]),
    ("W4", "lstm", [128, 512, 64, 64]),
    ("W5", "lstm", [512, 512, 100, 64]),
    ("W5b", "lstm", [768, 768, 256, 16]),
    ("W6", "gru", [16, 64, 2048, 8]),
];

/// Shares of what a step takes without a budget.
const SHARES: [f64; 6] = [1.0, 0.8, 0.6, 0.5, 0.4, 0.3];

fn trainer(
    device: &Device,
    cell: &str,
    [inputs, hidden, ..]: [usize; 4],
    budget: Option<usize>,
) -> Trainer {
    let model = Sequential::new(inputs);
    let model = match cell {
        "lstm" => model.lstm(Lstm::hidden(hidden)),
        _ => model.gru(Gru::hidden(hidden)),
    };
    let model = model.build(device, 1).expect("the sizes are positive");
    let trainer = Trainer::new(model, Adam::new(1e-3)).memory_budget(budget);
    trainer.build().expect("the numbers are in range")
}

/// A trainer within a share of the memory, and the times of its steps.
struct Budgeted {
    share: f64,
    bytes: usize,
    trainer: Trainer,
    times: Vec<f64>,
}

fn run(device: &Device, name: &str, cell: &str, shape: [usize; 4]) {
    let [inputs, hidden, steps, batch] = shape;
    let x = numbers(device, [steps, batch, inputs]);
    let batch = Batch::new(x, numbers(device, [steps, batch, hidden]));
    let free = trainer(device, cell, shape, None);
    let whole = free.step_memory(&batch).expect("the shapes fit") as f64;
    let mut budgeted: Vec<Budgeted> = vec![];
    for share in SHARES {
        let trainer = trainer(device, cell, shape, Some((whole * share) as usize));
        match trainer.step_memory(&batch) {
            Ok(bytes) => budgeted.push(Budgeted {
                share,
                bytes,
                trainer,
                times: vec![],
            }),
            Err(reason) => {
                println!("| {name} {cell} | {:.0} % | {reason} | | |", 100.0 * share);
                break;
            }
        }
    }
    let step = |budgeted: &mut Budgeted| {
        let start = Instant::now();
        budgeted.trainer.step(&batch).expect("the shapes fit");
        device.wait().expect("the device works");
        start.elapsed()
    };
    for budgeted in &mut budgeted {
        step(budgeted);
    }
    let gradients = |trainer: &Trainer| trainer.gradients().expect("they can be read");
    let expected = gradients(&budgeted[0].trainer);
    for budgeted in &budgeted {
        for (name, got) in gradients(&budgeted.trainer) {
            compare(&name, &got, &expected[&name], 1e-4).expect("the answer comes first");
        }
    }
    let mut total = Duration::ZERO;
    while budgeted[0].times.len() < 3 || total < Duration::from_secs(6) {
        for budgeted in &mut budgeted {
            let time = step(budgeted);
            budgeted.times.push(time.as_secs_f64() * 1e3);
            total += time;
        }
    }
    let mut first = None;
    for Budgeted {
        share,
        bytes,
        mut times,
        ..
    } in budgeted
    {
        times.sort_by(f64::total_cmp);
        let (least, median) = (times[0], times[times.len() / 2]);
        let ratio = least / *first.get_or_insert(least);
        println!(
            "| {name} {cell} | {:.0} % | {:.1} | {least:.1} / {median:.1} | {ratio:.2} |",
            100.0 * share,
            bytes as f64 / (1 << 20) as f64
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut device, mut wanted) = (Device::cpu(), None);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--device" if arguments.next().as_deref() == Some("gpu") => {
                device = Device::gpu().expect("there is an adapter");
            }
            "--device" => {}
            _ => wanted = Some(word),
        }
    }
    println!("{device}, {} threads", common::policy::threads());
    println!("| workload | budget | MiB | ms, shortest / median | time |");
    println!("|---|---|---|---|---|");
    for (name, cell, shape) in WORKLOADS {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            run(&device, name, cell, shape);
        }
    }
}
