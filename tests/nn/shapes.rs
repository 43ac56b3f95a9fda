//! Layers at sizes where something is at its smallest or largest: forward and backward, every f32 device against the reference.

use crate::common::{devices, every_device};
use crate::runs::Run;
use bptt::Error;
use bptt::cell::Cell;
use bptt::nn::{Gru, Lstm, Recurrent, Rnn};
use ndarray::ArrayD;

/// What is done with every cell.
trait Visit {
    fn visit<C: Cell>(&self, name: &str, config: Recurrent<C>);
}

/// Each kind of recurrence: one product a step, a projection behind it, late gates. There is a projection where H is above 1.
fn every_cell(input: usize, hidden: usize, visit: &impl Visit) {
    visit.visit("rnn", Rnn::new(input, hidden));
    visit.visit("lstm", Lstm::new(input, hidden));
    if hidden > 1 {
        let projected = Lstm::new(input, hidden).proj_size(hidden.div_ceil(2));
        visit.visit("projected lstm", projected);
    }
    visit.visit("gru", Gru::new(input, hidden));
    let before = Gru::new(input, hidden).reset_after(false);
    visit.visit("gru, reset before", before);
}

/// Runs a size as it is, and ragged in both directions.
struct Size([usize; 3]);

impl Visit for Size {
    fn visit<C: Cell>(&self, name: &str, config: Recurrent<C>) {
        Run::new(config.clone(), self.0).check(name);
        let run = Run::new(config.bidirectional(true), self.0).ragged();
        run.check(&format!("{name}, ragged, both directions"));
    }
}

/// Runs a size as it is only, as it is large.
struct LargeSize([usize; 3]);

impl Visit for LargeSize {
    fn visit<C: Cell>(&self, name: &str, config: Recurrent<C>) {
        Run::new(config, self.0).check(name);
    }
}

#[test]
fn one_step() {
    every_cell(3, 7, &Size([1, 5, 3]));
}

#[test]
fn one_row() {
    every_cell(3, 7, &Size([5, 1, 3]));
}

#[test]
fn one_unit() {
    every_cell(3, 1, &Size([5, 4, 3]));
}

#[test]
fn one_of_everything() {
    every_cell(1, 1, &Size([1, 1, 1]));
}

#[test]
fn one_unit_behind_the_projection() {
    let config = Lstm::new(3, 2).proj_size(1);
    Size([5, 4, 3]).visit("projected lstm", config);
}

#[test]
fn more_features_than_units() {
    every_cell(300, 3, &Size([3, 4, 300]));
}

#[test]
fn more_units_than_a_workgroup_and_a_row_of_1024() {
    every_cell(3, 1025, &LargeSize([2, 2, 3]));
}

#[test]
fn more_rows_of_all_steps_than_16_bits_count() {
    every_cell(1, 2, &LargeSize([3, 22_000, 1]));
}

#[test]
fn more_rows_than_16_bits_count() {
    every_cell(1, 1, &LargeSize([2, 65_541, 1]));
    let projected = Lstm::new(1, 2).proj_size(1);
    LargeSize([2, 65_541, 1]).visit("projected lstm", projected);
}

#[test]
fn many_ragged_rows_in_both_directions() {
    let run = Run::new(Gru::new(1, 2).bidirectional(true), [3, 22_000, 1]);
    run.ragged().check("gru, ragged, both directions");
}

#[test]
fn many_steps() {
    every_cell(1, 3, &LargeSize([700, 2, 1]));
}

/// All lengths 0: nothing happens to the states, nothing else has a gradient.
struct Nothing;

impl Visit for Nothing {
    fn visit<C: Cell>(&self, name: &str, config: Recurrent<C>) {
        for states in [true, false] {
            let config = config.clone().layers(2).bidirectional(true);
            let run = Run {
                lengths: Some(vec![0; 5]),
                initial: states,
                d_last: states,
                ..Run::new(config, [3, 5, 4])
            };
            for device in every_device() {
                let place = format!("{name} on {device}, states given: {states}");
                let arrays = run.arrays(&run.layer(&device));
                let results = run.on(&device);
                let zeros = |values: &ArrayD<f64>| values.iter().all(|value| *value == 0.0);
                let mut states = 0;
                for (key, got) in &results {
                    let given = match key.rsplit_once(' ') {
                        Some(("forward state" | "state", index)) => Some((&arrays.initial, index)),
                        Some(("d_state", index)) => Some((&arrays.d_last, index)),
                        _ => None,
                    };
                    match given {
                        Some((Some(given), index)) => {
                            states += 1;
                            let expected = &given[index.parse::<usize>().unwrap()];
                            assert_eq!(got, expected, "{key} of {place}");
                        }
                        _ => assert!(zeros(got), "{key} of {place}: {got}"),
                    }
                }
                let expected = if run.d_last {
                    3 * run.config.cell().states()
                } else {
                    0
                };
                assert_eq!(states, expected, "{place}");
            }
        }
    }
}

#[test]
fn lengths_of_zero_hand_the_states_through() {
    every_cell(4, 3, &Nothing);
}

/// A hidden size at which an invocation's loops take almost, or more than, all the rounds that drivers give them.
#[test]
fn wide_projections_are_right_or_refused() {
    let run = |hidden| Run::new(Lstm::new(1, hidden).proj_size(2), [2, 5, 1]);
    run(50_000).check("a hidden size of 50,000");
    for hidden in [60_000, 70_000] {
        let run = run(hidden);
        for device in devices() {
            let layer = run.layer(&device);
            let arrays = run.arrays(&layer);
            match run.product(&layer, &arrays, &device) {
                Ok(_) if !device.is_gpu() => {}
                Err(Error::Limit { what, .. }) if device.is_gpu() => {
                    assert!(what.contains(&format!("hidden size {hidden}")), "{what}");
                }
                Ok(_) => panic!("{hidden} is taken on {device}"),
                Err(other) => panic!("{hidden} on {device}: {other}"),
            }
        }
    }
}
