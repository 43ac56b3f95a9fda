//! What is drawn at random in training: the same forward and backward and on every device, by seed and step; nothing outside of training.

use crate::common::{devices, every_device};
use crate::finite_differences::check_run;
use crate::runs::{Results, Run, check, random};
use bptt::Device;
use bptt::cell::Cell;
use bptt::data::{Batch, Sequences};
use bptt::nn::{Gru, Lstm, Recurrent, Rnn, Sequential};
use bptt::train::{Mse, Sgd, Trainer};
use bptt::verify::{DOUBLE, compare};
use ndarray::{ArrayD, Ix2, Ix3};

const TRAIN: Option<(u64, u64)> = Some((0x1234_5678_9abc, 3));

/// What is done with a configuration that has regularisers, and the same without.
trait Visit {
    fn visit<C: Cell>(&self, name: &str, plain: Recurrent<C>, random: Recurrent<C>);
}

/// One option that draws at random, by name.
type Regulariser<C> = (&'static str, fn(Recurrent<C>) -> Recurrent<C>);

fn regularisers<C: Cell>() -> [Regulariser<C>; 6] {
    [
        ("dropout", |config| config.dropout(0.4)),
        ("input_dropout", |config| config.input_dropout(0.3)),
        ("recurrent_dropout", |config| config.recurrent_dropout(0.35)),
        ("weight_dropout", |config| config.weight_dropout(0.25)),
        ("zoneout of h", |config| config.zoneout(0.3, 0.0)),
        ("all", |config| {
            let config = config.dropout(0.2).input_dropout(0.1).zoneout(0.15, 0.25);
            config.recurrent_dropout(0.3).weight_dropout(0.4)
        }),
    ]
}

/// Two layers of a cell in both directions with each regulariser, and with all.
fn each<C: Cell>(cell: &str, config: Recurrent<C>, visit: &impl Visit) {
    let plain = config.layers(2).bidirectional(true);
    for (name, with) in regularisers() {
        let name = format!("{name} of {cell}");
        visit.visit(&name, plain.clone(), with(plain.clone()));
    }
}

fn every_cell(visit: &impl Visit) {
    each("rnn", Rnn::new(3, 5), visit);
    each("lstm", Lstm::new(3, 5), visit);
    let projected = Lstm::new(5, 5).proj_size(3).peepholes(true);
    each("projected lstm", projected.skip_input(true), visit);
    each("gru", Gru::new(3, 7), visit);
    let before = Gru::new(3, 5).reset_after(false);
    each("gru, reset before", before, visit);
}

fn run<C: Cell>(name: &str, config: Recurrent<C>) -> Run<C> {
    let input = if name.contains("projected") { 5 } else { 3 };
    Run::new(config, [4, 3, input])
}

/// Devices agree, forward and backward, and results change with seed and step.
struct Agreement;

impl Visit for Agreement {
    fn visit<C: Cell>(&self, name: &str, plain: Recurrent<C>, random: Recurrent<C>) {
        let plain = run(name, plain).on(&Device::cpu_f64());
        let train = Run {
            train: TRAIN,
            ..run(name, random)
        };
        let results = train.check(name);
        assert_eq!(results["y"], results["forward y"], "{name}");
        train.clone().ragged().check(&format!("{name}, ragged"));
        let Some((seed, step)) = TRAIN else {
            unreachable!()
        };
        let mut others = vec![plain];
        for other in [(seed + 1, step), (seed, step + 1), (seed + (1 << 40), step)] {
            let other = Run {
                train: Some(other),
                ..train.clone()
            };
            others.push(other.on(&Device::cpu_f64()));
        }
        for (number, other) in others.iter().enumerate() {
            for result in ["y", "d_x", "d weight_hh_l0"] {
                assert!(other[result] != results[result], "{result} {number} {name}");
            }
        }
    }
}

#[test]
fn devices_agree_and_draws_differ_by_seed_and_step() {
    every_cell(&Agreement);
}

/// The same bits again, from a new layer and from one that has drawn others between.
struct Repetition;

impl Visit for Repetition {
    fn visit<C: Cell>(&self, name: &str, _: Recurrent<C>, random: Recurrent<C>) {
        let train = Run {
            train: TRAIN,
            ..run(name, random)
        };
        let other = Run {
            train: Some((1, 1)),
            ..train.clone()
        };
        let outside = Run {
            train: None,
            ..train.clone()
        };
        for device in devices() {
            let layer = train.layer(&device);
            let arrays = train.arrays(&layer);
            let results = |run: &Run<C>| -> Results {
                let mut results = run.forward(&layer, &arrays, &device);
                results.extend(run.vjp(&layer, &arrays, &device));
                results
            };
            let first = results(&train);
            let between = [results(&other), results(&outside)];
            assert!(between.iter().all(|between| *between != first), "{name}");
            assert!(results(&train) == first, "{name} on {device}");
            assert!(train.on(&device) == first, "{name} on {device}, made anew");
        }
    }
}

#[test]
fn draws_repeat_to_the_bit() {
    each("lstm", Lstm::new(3, 5), &Repetition);
    let before = Gru::new(3, 5).reset_after(false);
    each("gru, reset before", before, &Repetition);
}

/// Outside of training only zoneout's mean acts.
struct Outside;

impl Visit for Outside {
    fn visit<C: Cell>(&self, name: &str, plain: Recurrent<C>, random: Recurrent<C>) {
        if name.starts_with("all") || name.starts_with("zoneout") {
            return;
        }
        for device in every_device() {
            let expected = run(name, plain.clone()).on(&device);
            let got = run(name, random.clone()).on(&device);
            check(&format!("{name} on {device}"), &got, &expected, 0.0);
        }
    }
}

#[test]
fn nothing_is_drawn_outside_of_training() {
    every_cell(&Outside);
}

#[test]
fn dropout_between_layers_needs_two_of_them() {
    let train = |config| Run {
        train: TRAIN,
        ..Run::new(config, [4, 3, 3])
    };
    for device in every_device() {
        let expected = train(Gru::new(3, 5)).on(&device);
        let got = train(Gru::new(3, 5).dropout(0.5)).on(&device);
        check(&format!("{device}"), &got, &expected, 0.0);
    }
}

/// The gradient of what was drawn, seeds and steps being held.
struct Gradient;

impl Visit for Gradient {
    fn visit<C: Cell>(&self, name: &str, _: Recurrent<C>, random: Recurrent<C>) {
        let train = Run {
            train: TRAIN,
            ..run(name, random)
        };
        check_run(&train);
        if name.starts_with("all") {
            check_run(&train.ragged());
        }
    }
}

#[test]
fn gradients_are_those_of_the_draw() {
    every_cell(&Gradient);
}

/// Each state of one step, by zoneout, from the old and the plain new one.
fn zoned<C: Cell>(
    config: Recurrent<C>,
    rates: [f64; 2],
    train: Option<(u64, u64)>,
) -> Vec<[ArrayD<f64>; 3]> {
    let plain = Run {
        train,
        ..Run::new(config.clone(), [1, 33, 3])
    };
    let zoneout = Run {
        config: config.zoneout(rates[0], rates[1]),
        ..plain.clone()
    };
    let device = Device::cpu_f64();
    let old = plain.arrays(&plain.layer(&device)).initial.unwrap();
    let (new, got) = (plain.on(&device), zoneout.on(&device));
    let name = |index: usize| format!("state {index}");
    let state = |(index, old)| [old, new[&name(index)].clone(), got[&name(index)].clone()];
    old.into_iter().enumerate().map(state).collect()
}

#[test]
fn zoneouts_mean_lies_between_old_and_new() {
    let rates = [0.3, 0.8];
    let mut all = zoned(Lstm::new(3, 17), rates, None);
    all.extend(zoned(Gru::new(3, 17), rates, None));
    for ([old, new, got], rate) in all.into_iter().zip([0.3, 0.8, 0.3]) {
        let expected = old * rate + new * (1.0 - rate);
        compare("state", &got, &expected, DOUBLE).unwrap();
    }
}

#[test]
fn zoneout_keeps_units_as_often_as_its_rates_say() {
    let rates = [0.3, 0.8];
    let mut all = zoned(Lstm::new(3, 65), rates, TRAIN);
    let before = Gru::new(3, 65).reset_after(false);
    all.extend(zoned(before, rates, TRAIN));
    for ([old, new, got], rate) in all.into_iter().zip([0.3, 0.8, 0.3]) {
        let mut kept = 0;
        for ((old, new), got) in old.iter().zip(&new).zip(&got) {
            let is_old = (got - old).abs() < DOUBLE;
            assert!(is_old || (got - new).abs() < DOUBLE, "{old} {new} {got}");
            kept += usize::from(is_old);
        }
        let share = kept as f64 / got.len() as f64;
        assert!((share - rate).abs() < 0.04, "{share} of {rate}");
    }
}

/// A model with something at random in each of its recurrent layers.
fn trainer(device: &Device, is_random: bool, seed: u64) -> Trainer {
    let rate = |rate: f64| if is_random { rate } else { 0.0 };
    let lstm = Lstm::hidden(9).layers(2).dropout(rate(0.3));
    let gru = Gru::hidden(5).input_dropout(rate(0.2));
    let model = Sequential::new(3)
        .lstm(lstm.recurrent_dropout(rate(0.2)))
        .gru(gru.weight_dropout(rate(0.3)))
        .last_step()
        .linear(2);
    Trainer::new(model.build(device, 4).unwrap(), Sgd::new(0.1))
        .loss(Mse::mean())
        .seed(seed)
        .build()
        .unwrap()
}

fn data() -> (ArrayD<f32>, ArrayD<f32>) {
    let single = |values: ArrayD<f64>| values.mapv(|value| value as f32);
    (single(random(1, &[5, 7, 3])), single(random(2, &[7, 2])))
}

fn batch() -> Batch {
    let (x, target) = data();
    Batch::new(x, target)
}

#[test]
fn training_repeats_by_its_seed() {
    for device in devices() {
        let weights = |seed: u64| {
            let mut trainer = trainer(&device, true, seed);
            (0..5).for_each(|_| trainer.step(&batch()).unwrap());
            trainer.model().parameters().to_arrays::<f32>().unwrap()
        };
        let first = weights(8);
        assert!(weights(8) == first, "{device}");
        assert!(weights(9) != first, "{device}");
        assert!(weights(0) != first, "{device}");
    }
}

#[test]
fn every_step_of_training_draws_anew() {
    for device in devices() {
        // A learning rate of 0: the weights and so everything else stay.
        let mut trainer = trainer(&device, true, 8);
        trainer.set_learning_rate(0.0).unwrap();
        let mut losses: Vec<f64> = vec![];
        for _ in 0..4 {
            trainer.step(&batch()).unwrap();
            let loss = trainer.take_loss().unwrap();
            assert!(!losses.contains(&loss), "{loss} on {device}");
            losses.push(loss);
        }
    }
}

#[test]
fn a_model_is_evaluated_without_dropout() {
    let (x, target) = data();
    let x = x.into_dimensionality::<Ix3>().unwrap();
    let target = target.into_dimensionality::<Ix2>().unwrap();
    let data = Sequences::many_to_one(x.clone(), target).unwrap();
    for device in devices() {
        let mut with = trainer(&device, true, 8);
        let mut without = trainer(&device, false, 8);
        let expected = without.evaluate(&data, 7).unwrap();
        assert_eq!(with.evaluate(&data, 7).unwrap(), expected, "{device}");
        // A step of training between does not change that.
        with.set_learning_rate(0.0).unwrap();
        with.step(&batch()).unwrap();
        assert!(with.take_loss().unwrap() != expected, "{device}");
        assert_eq!(with.evaluate(&data, 7).unwrap(), expected, "{device}");
        let predicted = |trainer: &Trainer| trainer.model().predict(&x).unwrap();
        assert_eq!(predicted(&with), predicted(&without), "{device}");
    }
}
