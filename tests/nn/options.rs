//! Every option of a recurrent stack: the weights it gives, the batch-first layout, and what is refused.

use crate::common::every_device;
use crate::runs::{Run, check, time_major};
use bptt::cell::{Activation, Cell};
use bptt::nn::{Bias, Gru, Input, Lstm, Parameters, Recurrent, Rnn, Sequential, State};
use bptt::{Device, Error, Tensor, replay};

/// A name and a shape.
type Weight<'a> = (&'a str, &'a [usize]);

fn weights(parameters: &Parameters) -> Vec<Weight<'_>> {
    let shape = |name| parameters.shape(name).unwrap();
    parameters.names().map(|name| (name, shape(name))).collect()
}

/// Builds a stack, which must have these weights, and runs it, which must give these widths of y and of the states.
fn check_weights<C: Cell>(
    config: Recurrent<C>,
    input: usize,
    expected: &[Weight<'_>],
    widths: (usize, &[usize]),
) {
    let layer = config.build(&Device::cpu(), 1).unwrap();
    assert_eq!(weights(layer.parameters()), expected);
    let elements = |(_, shape): &Weight<'_>| shape.iter().product::<usize>();
    let count = expected.iter().map(elements).sum::<usize>();
    assert_eq!(layer.parameters().count(), count);
    let x = Tensor::zeros(&Device::cpu(), &[4, 2, input]).unwrap();
    let (y, state) = layer.forward(&x, None).unwrap();
    assert_eq!(y.shape(), [4, 2, widths.0]);
    let stacked = (expected.iter())
        .filter(|(name, _)| name.starts_with("weight_hh"))
        .count();
    let shapes: Vec<&[usize]> = state.parts().iter().map(|part| part.shape()).collect();
    let expected: Vec<_> = widths.1.iter().map(|width| [stacked, 2, *width]).collect();
    assert_eq!(shapes, expected);
}

#[test]
fn biases() {
    let config = || Gru::new(3, 5);
    let two: [Weight<'_>; 4] = [
        ("weight_ih_l0", &[15, 3]),
        ("weight_hh_l0", &[15, 5]),
        ("bias_ih_l0", &[15]),
        ("bias_hh_l0", &[15]),
    ];
    check_weights(config(), 3, &two, (5, &[5]));
    check_weights(config().bias(true), 3, &two, (5, &[5]));
    check_weights(config().bias(Bias::Two), 3, &two, (5, &[5]));
    check_weights(config().bias(Bias::One), 3, &two[..3], (5, &[5]));
    check_weights(config().bias(Bias::None), 3, &two[..2], (5, &[5]));
    check_weights(config().bias(false), 3, &two[..2], (5, &[5]));
}

#[test]
fn a_projection_narrows_what_h_enters() {
    let config = Lstm::new(3, 5).proj_size(2).layers(2);
    let expected: [Weight<'_>; 20] = [
        ("weight_ih_l0", &[20, 3]),
        ("weight_hh_l0", &[20, 2]),
        ("bias_ih_l0", &[20]),
        ("bias_hh_l0", &[20]),
        ("weight_hr_l0", &[2, 5]),
        ("weight_ih_l0_reverse", &[20, 3]),
        ("weight_hh_l0_reverse", &[20, 2]),
        ("bias_ih_l0_reverse", &[20]),
        ("bias_hh_l0_reverse", &[20]),
        ("weight_hr_l0_reverse", &[2, 5]),
        ("weight_ih_l1", &[20, 4]),
        ("weight_hh_l1", &[20, 2]),
        ("bias_ih_l1", &[20]),
        ("bias_hh_l1", &[20]),
        ("weight_hr_l1", &[2, 5]),
        ("weight_ih_l1_reverse", &[20, 4]),
        ("weight_hh_l1_reverse", &[20, 2]),
        ("bias_ih_l1_reverse", &[20]),
        ("bias_hh_l1_reverse", &[20]),
        ("weight_hr_l1_reverse", &[2, 5]),
    ];
    check_weights(config.bidirectional(true), 3, &expected, (4, &[2, 5]));
    // 0 is none.
    let none = Lstm::new(3, 5).proj_size(2).proj_size(0).bias(false);
    let expected: [Weight<'_>; 2] = [("weight_ih_l0", &[20, 3]), ("weight_hh_l0", &[20, 5])];
    check_weights(none, 3, &expected, (5, &[5, 5]));
}

#[test]
fn peepholes_are_diagonals_of_three_gates() {
    let config = Lstm::new(3, 5).peepholes(true);
    let expected: [Weight<'_>; 6] = [
        ("weight_ih_l0", &[20, 3]),
        ("weight_hh_l0", &[20, 2]),
        ("bias_ih_l0", &[20]),
        ("bias_hh_l0", &[20]),
        ("weight_hr_l0", &[2, 5]),
        ("weight_diag_l0", &[15]),
    ];
    check_weights(config.proj_size(2), 3, &expected, (2, &[2, 5]));
}

#[test]
fn skipped_input_weights_are_the_first_layers_only() {
    let config = Rnn::new(5, 5).skip_input(true).layers(2);
    let expected: [Weight<'_>; 10] = [
        ("weight_hh_l0", &[5, 5]),
        ("bias_ih_l0", &[5]),
        ("weight_hh_l0_reverse", &[5, 5]),
        ("bias_ih_l0_reverse", &[5]),
        ("weight_ih_l1", &[5, 10]),
        ("weight_hh_l1", &[5, 5]),
        ("bias_ih_l1", &[5]),
        ("weight_ih_l1_reverse", &[5, 10]),
        ("weight_hh_l1_reverse", &[5, 5]),
        ("bias_ih_l1_reverse", &[5]),
    ];
    let config = config.bidirectional(true).bias(Bias::One);
    check_weights(config, 5, &expected, (10, &[5]));
}

#[test]
fn options_without_weights_change_none() {
    let plain = Lstm::new(3, 5).build(&Device::cpu(), 1).unwrap();
    let config = Lstm::new(3, 5)
        .clip(3.0)
        .cell_clip(2.0)
        .input_forget(true)
        .batch_first(true)
        .activations([Activation::HARD_SIGMOID; 5])
        .dropout(0.1)
        .input_dropout(0.2)
        .recurrent_dropout(0.3)
        .weight_dropout(0.4)
        .zoneout(0.5, 0.6);
    let other = config.build(&Device::cpu(), 1).unwrap();
    assert_eq!(weights(plain.parameters()), weights(other.parameters()));
    assert_eq!(
        plain.parameters().to_arrays::<f32>().unwrap(),
        other.parameters().to_arrays::<f32>().unwrap()
    );
}

/// A batch-first run is the time-major one with its axes swapped, bit for bit.
fn check_batch_first<C: Cell>(config: Recurrent<C>) {
    let run = Run::new(config, [4, 3, 5]);
    let random = Run {
        train: Some((7, 2)),
        ..run.clone()
    };
    for run in [run.clone(), run.ragged(), random.clone(), random.ragged()] {
        for device in every_device() {
            let batch_first = Run {
                batch_first: true,
                ..run.clone()
            };
            let got = time_major(batch_first.on(&device));
            check(&format!("{run:?} on {device}"), &got, &run.on(&device), 0.0);
        }
    }
}

#[test]
fn batch_first_is_time_major_with_axes_swapped() {
    let lstm = Lstm::new(5, 5).layers(2).bidirectional(true);
    let lstm = lstm.proj_size(2).peepholes(true).skip_input(true);
    check_batch_first(lstm.dropout(0.3).recurrent_dropout(0.4).zoneout(0.2, 0.3));
    let gru = Gru::new(5, 7).reset_after(false).layers(2);
    check_batch_first(gru.input_dropout(0.3).weight_dropout(0.2));
    check_batch_first(Rnn::new(5, 1).bidirectional(true));
}

fn message<T>(result: bptt::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

/// A configuration that must be refused alike as a layer and in a model.
fn check_refused<C: Cell>(config: Recurrent<C>, expected: &str) {
    let device = Device::cpu();
    let layer = message(config.clone().build(&device, 0));
    assert_eq!(layer, expected);
    let model = Sequential::new(3).recurrent(config).build(&device, 0);
    assert_eq!(message(model), expected);
}

#[test]
fn projections_and_skipped_inputs_that_do_not_fit() {
    for size in [5, 6] {
        let expected = format!("proj_size: {size}, expected 1 to below the hidden size, 5");
        check_refused(Lstm::new(3, 5).proj_size(size), &expected);
    }
    let expected = "proj_size: 1, expected 1 to below the hidden size, 1";
    check_refused(Lstm::new(3, 1).proj_size(1), expected);
    let expected = "input_size: 3, expected the hidden size, 5, with skip_input";
    check_refused(Gru::new(3, 5).skip_input(true), expected);
    let expected = "forget_bias: set, expected unset where there is no bias";
    let config = Lstm::new(3, 5).forget_bias(1.0);
    check_refused(config.bias(Bias::None), expected);
    let expected = "forget_bias: inf, expected a finite number";
    check_refused(Lstm::new(3, 5).forget_bias(f32::INFINITY), expected);
}

#[test]
fn rates_outside_of_their_range() {
    for rate in [1.0, -0.1, 1.5, f64::INFINITY, f64::NAN] {
        let lstm = || Lstm::new(3, 5);
        for (config, name) in [
            (lstm().dropout(rate), "dropout"),
            (lstm().input_dropout(rate), "input_dropout"),
            (lstm().recurrent_dropout(rate), "recurrent_dropout"),
            (lstm().weight_dropout(rate), "weight_dropout"),
            (lstm().zoneout(rate, 0.0), "zoneout of h"),
            (lstm().zoneout(0.0, rate), "zoneout of c"),
        ] {
            check_refused(config, &format!("{name}: {rate}, expected 0 to below 1"));
        }
    }
}

#[test]
fn bounds_and_numbers_of_activations_outside_of_their_range() {
    for bound in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let expected = |name: &str| format!("{name}: {bound}, expected a finite number above 0");
        check_refused(Rnn::new(3, 5).clip(bound), &expected("clip"));
        check_refused(Gru::new(3, 5).clip(bound), &expected("clip"));
        check_refused(Lstm::new(3, 5).clip(bound), &expected("clip"));
        let lstm = Lstm::new(3, 5).cell_clip(bound);
        check_refused(lstm, &expected("cell_clip"));
    }
    let infinite = Activation::Elu {
        alpha: f64::INFINITY,
    };
    let expected = |slot: &str| {
        format!("activation{slot}: Elu {{ alpha: inf }}, expected finite alpha and beta")
    };
    let rnn = Rnn::new(3, 5).nonlinearity(infinite);
    check_refused(rnn, &expected(""));
    for (slot, name) in ["i", "f", "g", "o", "c"].iter().enumerate() {
        let mut activations = [Activation::Tanh; 5];
        activations[slot] = infinite;
        let lstm = Lstm::new(3, 5).activations(activations);
        check_refused(lstm, &expected(&format!(" of {name}")));
    }
    for (slot, name) in ["r", "z", "n"].iter().enumerate() {
        let mut activations = [Activation::Tanh; 3];
        activations[slot] = infinite;
        let gru = Gru::new(3, 5).activations(activations);
        check_refused(gru, &expected(&format!(" of {name}")));
    }
    let beta = f64::NAN;
    let affine = Activation::Affine { alpha: 1.0, beta };
    let message = message(Rnn::new(3, 5).nonlinearity(affine).build(&Device::cpu(), 0));
    assert!(message.starts_with("activation: Affine"), "{message}");
}

#[test]
fn stacks_too_large_for_any_device_are_refused() {
    for device in every_device() {
        for size in [1 << 20, 1 << 40, usize::MAX / 8, usize::MAX] {
            let lstm = Lstm::new(3, size).layers(2).bidirectional(true);
            let lstm = lstm.peepholes(true).proj_size(size - 1).forget_bias(1.0);
            let model = Sequential::new(3).lstm(lstm.clone()).build(&device, 0);
            for error in [lstm.build(&device, 0).unwrap_err(), model.unwrap_err()] {
                assert!(matches!(error, Error::Limit { .. }), "{size}: {error}");
            }
            let wide = Rnn::new(size, 1 << 13).build(&device, 0);
            let error = wide.unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{size}: {error}");
        }
    }
}

#[test]
fn states_and_lengths_beside_options() {
    let device = Device::cpu();
    let zeros = |shape: &[usize]| Tensor::zeros(&device, shape).unwrap();
    let config = Lstm::new(3, 5).proj_size(2).layers(2);
    let layer = config.batch_first(true).build(&device, 0).unwrap();
    let (x, d_y) = (zeros(&[4, 6, 3]), zeros(&[4, 6, 2]));
    // States are [L, B, ·] in a batch-first stack too: h as wide as the projection, c as the cell.
    let states = |shapes: &[[usize; 3]]| {
        State::from_parts(shapes.iter().map(|shape| zeros(shape)).collect())
    };
    let right = states(&[[2, 4, 2], [2, 4, 5]]);
    assert!(layer.vjp(&x, Some(&right), &d_y, Some(&right)).is_ok());
    for (shapes, expected) in [
        (
            &[[2, 4, 5], [2, 4, 5]][..],
            ".h: shape [2, 4, 5], expected [2, 4, 2]",
        ),
        (
            &[[2, 4, 2], [2, 4, 2]],
            ".c: shape [2, 4, 2], expected [2, 4, 5]",
        ),
        (
            &[[4, 2, 2], [2, 4, 5]],
            ".h: shape [4, 2, 2], expected [2, 4, 2]",
        ),
        (&[[2, 4, 2]], ": 1 states, expected 2 for lstm"),
        (
            &[[2, 4, 2], [2, 4, 5], [2, 4, 5]],
            ": 3 states, expected 2 for lstm",
        ),
        (&[], ": 0 states, expected 2 for lstm"),
    ] {
        let wrong = states(shapes);
        let forward = message(layer.forward(&x, Some(&wrong)));
        assert_eq!(forward, format!("state{expected}"));
        let vjp = message(layer.vjp(&x, None, &d_y, Some(&wrong)));
        assert_eq!(vjp, format!("d_state{expected}"));
    }
    let swapped = message(layer.vjp(&x, None, &zeros(&[6, 4, 2]), None));
    assert_eq!(swapped, "d_y: shape [6, 4, 2], expected [4, 6, 2]");
    let wide = message(layer.forward(&zeros(&[4, 6, 5]), None));
    assert_eq!(wide, "x: shape [4, 6, 5], expected [B, T, 3]");
    for (lengths, expected) in [
        (&[6, 6, 6][..], "lengths: shape [3], expected [4]"),
        (&[6; 6], "lengths: shape [6], expected [4]"),
        (&[6, 7, 0, 0], "lengths: 7, expected 0 to T = 6"),
    ] {
        let input = || Input::with_lengths(&x, lengths);
        assert_eq!(message(layer.forward(input(), None)), expected);
        assert_eq!(message(layer.vjp(input(), None, &d_y, None)), expected);
    }
}

#[test]
fn a_model_is_time_major() {
    let config = Gru::hidden(5).batch_first(true);
    let model = Sequential::new(3).gru(config).build(&Device::cpu(), 0);
    let message = message(model);
    assert!(message.starts_with("batch_first: true"), "{message}");
}

#[test]
fn a_case_refuses_the_options_of_other_cells() {
    let parse = |cell: &str, key: &str, value: &str| {
        replay::Configuration::parse(&format!(
            r#"{{"cell": "{cell}", "input_size": 3, "hidden_size": 5, "{key}": {value}}}"#
        ))
    };
    for (key, value, off, owner) in [
        ("proj_size", "2", "0", "lstm"),
        ("peepholes", "true", "false", "lstm"),
        ("input_forget", "true", "false", "lstm"),
        ("cell_clip", "0.5", "null", "lstm"),
        ("reset_after", "false", "true", "gru"),
    ] {
        assert!(parse(owner, key, value).is_ok(), "{key}");
        for cell in ["rnn_tanh", "rnn_relu", "gru", "lstm"] {
            if cell == owner {
                continue;
            }
            let expected = format!("{key}: {value}, expected absent or {off} for this cell");
            assert_eq!(message(parse(cell, key, value)), expected);
            assert!(parse(cell, key, off).is_ok(), "{key} of {cell}");
        }
    }
    // The activation of this cell is its name.
    let error = message(parse("rnn_relu", "activations", r#"["tanh"]"#));
    assert!(error.starts_with("activations: "), "{error}");
}
