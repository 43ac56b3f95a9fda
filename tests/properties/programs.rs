//! Random programs, as anyone can put them together: every operation, over matrices inside larger tensors, with temporary tensors that share memory,
//! outputs that others add to, whole numbers out of range.
//!
//! The CPU path in f32 and the GPU are held against the CPU path in f64. Programs with one number spoiled, by anything up to the largest there is, are
//! refused or run, and never panic.

mod draft;
mod spoil;

use crate::choices::{Choices, Results, STEP, check_fit, check_single, failed, run};
use crate::common::rng;
use bptt::{Device, Executable};
use draft::Draft;
use ndarray::ArrayD;
use proptest::test_runner::TestCaseResult;
use rand::RngExt;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Operations of a program.
const OPERATIONS: usize = 6;

const REQUIRED: [&str; 14] = [
    "product",
    "copy",
    "repeat",
    "multiply",
    "mask",
    "last rows",
    "sums of columns",
    "sums of repeats",
    "softmax",
    "in place",
    "scatter",
    "recurrence",
    "recurrence back",
    "temporary",
];

fn draft(numbers: &[u32]) -> Draft {
    let choices = &mut Choices::new(numbers);
    let mut draft = Draft::default();
    for _ in 0..1 + choices.below(OPERATIONS) {
        draft.operation(choices);
    }
    draft
}

/// What a program leaves in all tensors that outlive it. `moved`: how far its floats are moved.
fn results(draft: &Draft, device: &Device, moved: f32) -> bptt::Result<Results> {
    let program = Executable::new(device, draft.program.clone(), &[])?;
    let mut rng = rng(1);
    for (slice, values) in &draft.floats {
        let mut values = values.clone();
        for value in &mut values {
            *value *= 1.0 + moved * rng.random_range(-1.0..=1.0);
        }
        program.tensor(slice.tensor).write(&values)?;
    }
    for (slice, values) in &draft.wholes {
        program.tensor(slice.tensor).write_indices(values)?;
    }
    program.run()?;
    let read = |(slice, _): &(bptt::program::Slice, ArrayD<f32>)| {
        let name = draft.program.spec(slice.tensor).name.clone();
        Ok((name, program.tensor(slice.tensor).to_array::<f64>()?))
    };
    draft.floats.iter().map(read).collect()
}

fn check(
    numbers: &[u32],
    devices: &[Device],
    seen: &mut BTreeMap<String, usize>,
) -> TestCaseResult {
    let draft = draft(numbers);
    let run = |device: &Device, moved: f32| {
        results(&draft, device, moved).map_err(|reason| failed(format!("on {device}: {reason}")))
    };
    let double = Device::cpu_f64();
    let expected = run(&double, 0.0)?;
    check_fit(&expected, [&run(&double, STEP)?, &run(&double, -STEP)?])?;
    for device in devices {
        check_single(device, &run(device, 0.0)?, &expected)?;
    }
    for name in &draft.seen {
        *seen.entry((*name).to_owned()).or_insert(0) += 1;
    }
    Ok(())
}

/// A program with a number spoiled is an error, or runs; whatever comes out.
fn check_spoiled(numbers: &[u32], device: &Device) -> TestCaseResult {
    let (own, rest) = numbers.split_at(numbers.len().min(3));
    let mut draft = draft(rest);
    let told = spoil::one_number(&mut draft.program, &mut Choices::new(own));
    let outcome = catch_unwind(AssertUnwindSafe(|| results(&draft, device, 0.0).is_ok()));
    match outcome {
        Ok(_) => Ok(()),
        Err(_) => Err(failed(format!("a panic on {device}: {told}"))),
    }
}

#[test]
fn on_the_cpu() {
    run(60_000, 120, &REQUIRED, |numbers, seen| {
        check(numbers, &[Device::cpu()], seen)
    });
}

#[test]
fn on_the_gpu() {
    if let Some(gpu) = crate::common::gpu() {
        run(3000, 120, &[], |numbers, seen| {
            check(numbers, std::slice::from_ref(&gpu), seen)
        });
    }
}

#[test]
fn spoiled_on_the_cpu() {
    for device in [Device::cpu(), Device::cpu_f64()] {
        run(60_000, 120, &[], |numbers, _| {
            check_spoiled(numbers, &device)
        });
    }
}

#[test]
fn spoiled_on_the_gpu() {
    if let Some(gpu) = crate::common::gpu() {
        run(3000, 120, &[], |numbers, _| check_spoiled(numbers, &gpu));
    }
}
