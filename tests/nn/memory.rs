//! Training within a memory budget: the same gradients as without one, from less memory, or an error that says how much it takes.

use crate::common::{devices, rng};
use crate::runs::{Run, check, least};
use bptt::Device;
use bptt::cell::Cell;
use bptt::data::Batch;
use bptt::nn::{Bias, Gru, Lstm, Recurrent, Rnn, Sequential};
use bptt::train::{Sgd, Trainer, TrainerBuilder};
use ndarray::{Array2, Array3};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// What all cells have, at random.
fn options<C: Cell>(config: Recurrent<C>, rng: &mut ChaCha8Rng) -> Recurrent<C> {
    let mut rate = || if rng.random_bool(0.3) { 0.3 } else { 0.0 };
    let config = config
        .dropout(rate())
        .input_dropout(rate())
        .recurrent_dropout(rate())
        .weight_dropout(rate())
        .zoneout(rate(), rate());
    let bias = [Bias::None, Bias::One, Bias::Two];
    config
        .layers(rng.random_range(1..=3))
        .bidirectional(rng.random_bool(0.5))
        .bias(bias[rng.random_range(0..3)])
}

/// A stack without and with a budget: the least it takes, and more.
fn compare<C: Cell>(
    (config, input): (Recurrent<C>, usize),
    draw: &mut ChaCha8Rng,
    devices: &[Device],
) {
    let size = [draw.random_range(5..=13), draw.random_range(2..=4), input];
    let run = Run {
        initial: draw.random_bool(0.6),
        d_last: draw.random_bool(0.6),
        train: draw.random_bool(0.8).then(|| draw.random()),
        batch_first: draw.random_bool(0.2),
        ..Run::new(config, size)
    };
    let run = if draw.random_bool(0.5) {
        run.ragged()
    } else {
        run
    };
    for device in devices {
        let within = |bytes: usize| {
            let memory_budget = Some(bytes);
            let run = run.clone();
            Run {
                memory_budget,
                ..run
            }
        };
        let expected = run.on(device);
        let least = run.least_budget(device);
        for budget in [least, least + least / 6, 2 * least] {
            let run = within(budget);
            let exact = if device.to_string() == "CPU (f64)" {
                1e-12
            } else {
                1e-5
            };
            let results = run.on(device);
            check(&format!("{run:?} on {device}"), &results, &expected, exact);
        }
    }
}

/// Random stacks of every cell.
fn compare_many(count: usize, devices: &[Device]) {
    let mut rng = rng(7);
    let draw = &mut rng;
    for _ in 0..count {
        let hidden = draw.random_range(2..=9);
        let lstm = options(Lstm::new(5, hidden), draw);
        let lstm = lstm.peepholes(draw.random_bool(0.4));
        let projected = if draw.random_bool(0.4) { hidden / 2 } else { 0 };
        compare((lstm.proj_size(projected), 5), draw, devices);
        let gru = options(Gru::new(4, hidden), draw);
        let gru = gru.reset_after(draw.random_bool(0.4));
        compare((gru, 4), draw, devices);
        let rnn = options(Rnn::new(2, hidden), draw);
        compare((rnn, 2), draw, devices);
    }
}

#[test]
fn gradients_are_those_without_a_budget() {
    compare_many(40, &[Device::cpu_f64(), Device::cpu()]);
    compare_many(3, &devices()[1..]);
}

fn trainer(device: &Device, last_step: bool) -> TrainerBuilder {
    let model = Sequential::new(6)
        .lstm(Lstm::hidden(16).layers(2).bidirectional(true).dropout(0.2))
        .gru(Gru::hidden(12).recurrent_dropout(0.3));
    let model = if last_step { model.last_step() } else { model };
    let model = model.linear(2).build(device, 3).unwrap();
    Trainer::new(model, Sgd::new(0.1))
}

/// The least that the steps of a trainer with this batch need.
fn least_of(trainer: TrainerBuilder, batch: &Batch) -> usize {
    let trainer = trainer.memory_budget(1).build().unwrap();
    least(&trainer.step_memory(batch).unwrap_err())
}

#[test]
fn a_model_trains_the_same_from_less_memory() {
    let value = |t: usize, b: usize, f: usize| ((t * 7 + b * 3 + f * 5) as f32).sin();
    let x = Array3::from_shape_fn((90, 3, 6), |(t, b, f)| value(t, b, f));
    let every = Array3::from_shape_fn((90, 3, 2), |(t, b, f)| value(t, b, f + 1));
    let last = Array2::from_shape_fn((3, 2), |(b, f)| value(1, b, f));
    let batches = [
        Batch::new(x.clone(), every.clone()),
        Batch::new(x.clone(), every).with_lengths(vec![90, 17, 64]),
        Batch::new(x.clone(), last.clone()),
        Batch::new(x, last).with_lengths(vec![31, 90, 0]),
    ];
    for device in devices() {
        for (index, batch) in batches.iter().enumerate() {
            let free = trainer(&device, index >= 2).build().unwrap();
            let all = free.step_memory(batch).unwrap();
            let least = least_of(trainer(&device, index >= 2), batch);
            assert!(5 * least < 3 * all, "{least} of {all} bytes");
            let mut last = usize::MAX;
            for budget in [all, (all + least) / 2, least] {
                let within = trainer(&device, index >= 2).memory_budget(budget);
                let mut within = within.build().unwrap();
                let needed = within.step_memory(batch).unwrap();
                assert!(needed <= budget && needed < last, "{needed} of {budget}");
                last = needed;
                let mut free = trainer(&device, index >= 2).build().unwrap();
                for step in 0..2 {
                    free.step(batch).unwrap();
                    within.step(batch).unwrap();
                    let expected = free.gradients().unwrap();
                    let place = format!("step {step} within {budget} bytes on {device}");
                    check(&place, &within.gradients().unwrap(), &expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn too_small_a_budget_says_what_is_needed() {
    let batch = Batch::new(
        Array3::<f32>::ones((50, 2, 6)),
        Array3::<f32>::ones((50, 2, 2)),
    );
    let device = Device::cpu();
    let least = least_of(trainer(&device, false), &batch);
    let within = |bytes: Option<usize>| {
        let trainer = trainer(&device, false).memory_budget(bytes);
        trainer.build().unwrap().step(&batch)
    };
    let error = within(Some(least - 1)).unwrap_err().to_string();
    let expected = format!(
        "memory_budget: {} bytes, expected at least the {least} bytes that these 50 steps need",
        least - 1
    );
    assert_eq!(error, expected);
    within(Some(least)).unwrap();
    within(None).unwrap();
}
