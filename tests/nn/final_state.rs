//! What a recurrent stack ends with, as a layer: the states that the stack itself gives.

use crate::finite_differences::check_trainer;
use crate::runs::{devices_with_tolerances, random, tensor};
use bptt::Device;
use bptt::cell::Cell;
use bptt::data::Batch;
use bptt::nn::{FinalState, Gru, Input, Lstm, Recurrent, Rnn, Sequential};
use bptt::train::{Mse, Sgd, Trainer};
use bptt::verify::compare;
use ndarray::{Array2, Array3, Axis, concatenate};

const T: usize = 7;
const B: usize = 5;
const I: usize = 3;
/// Lengths of every kind in no order: 0, T and between.
const LENGTHS: [usize; B] = [4, T, 0, 1, 3];

fn x() -> Array3<f64> {
    random(1, &[T, B, I]).into_dimensionality().unwrap()
}

/// `[B, D·P]` of h `[L·D, B, P]`: the last D beside each other.
fn beside(h: Array3<f64>, directions: usize) -> Array2<f64> {
    let first = h.len_of(Axis(0)) - directions;
    let views: Vec<_> = (first..first + directions)
        .map(|index| h.index_axis(Axis(0), index))
        .collect();
    concatenate(Axis(1), &views).unwrap()
}

fn check_stack<C: Cell>(bare: Recurrent<C>, of: Recurrent<C>, directions: usize) {
    for (device, tolerance) in devices_with_tolerances() {
        let stack = of.clone().build(&device, 3).unwrap();
        let model = Sequential::new(I).add(FinalState(bare.clone()));
        let model = model.build(&device, 9).unwrap();
        for (name, values) in stack.parameters().to_arrays::<f64>().unwrap() {
            model
                .parameters()
                .set(&format!("0.{name}"), &values)
                .unwrap();
        }
        let on_device = tensor(&device, &x().into_dyn());
        for lengths in [None, Some(&LENGTHS)] {
            let input = match lengths {
                None => Input::from(&on_device),
                Some(lengths) => Input::with_lengths(&on_device, lengths),
            };
            let (_, state) = stack.forward(input, None).unwrap();
            let h = state.h().to_array::<f64>().unwrap();
            let expected = beside(h.into_dimensionality().unwrap(), directions);
            let got = match lengths {
                None => model.predict(&x()).unwrap(),
                Some(lengths) => model.predict_ragged(&x(), lengths).unwrap(),
            };
            compare("h", &got, &expected.into_dyn(), tolerance)
                .unwrap_or_else(|mismatch| panic!("{bare:?}, {lengths:?} on {device}: {mismatch}"));
            if lengths.is_some() {
                assert!(got.index_axis(Axis(0), 2).iter().all(|h| *h == 0.0));
            }
        }
    }
}

#[test]
fn every_cell_one_direction_and_both() {
    for both in [false, true] {
        let directions = 1 + usize::from(both);
        let rnn = |of: Recurrent<_>| of.layers(2).bidirectional(both);
        check_stack(rnn(Rnn::hidden(5)), rnn(Rnn::new(I, 5)), directions);
        let gru = |of: Recurrent<_>| of.bidirectional(both);
        check_stack(gru(Gru::hidden(17)), gru(Gru::new(I, 17)), directions);
        let lstm = |of: Recurrent<_>| of.layers(2).proj_size(2).bidirectional(both);
        check_stack(lstm(Lstm::hidden(4)), lstm(Lstm::new(I, 4)), directions);
    }
}

#[test]
fn gradients_are_those_of_the_loss() {
    let lstm = Lstm::hidden(4).layers(2).bidirectional(true);
    let model = Sequential::new(I).add(FinalState(lstm)).linear(2);
    let model = model.build(&Device::cpu_f64(), 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.0)).loss(Mse::mean());
    let batch = Batch::new(x(), random(2, &[B, 2])).with_lengths(LENGTHS.into());
    check_trainer(trainer.build().unwrap(), &batch);
}
