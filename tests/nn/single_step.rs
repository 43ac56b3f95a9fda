//! Cells for streams against layers of the same weights.

use crate::common::{every_device, gpu};
use crate::runs::{Arrays, Results, Run, check, devices_with_tolerances, parts, state, tensor};
use bptt::cell::Cell;
use bptt::nn::{
    Bias, CellVjp, Gru, GruCell, Lstm, LstmCell, Recurrent, RecurrentCell, RecurrentModel, Rnn,
    RnnCell, State,
};
use bptt::{Device, Tensor};
use ndarray::{ArrayD, Axis};

/// What is done with every configuration.
trait Visit {
    fn visit<C: Cell>(&self, config: Recurrent<C>, input: usize);
}

fn every_option(visit: &impl Visit) {
    visit.visit(Rnn::new(3, 7), 3);
    visit.visit(Rnn::new(3, 1).bias(Bias::One), 3);
    visit.visit(Lstm::new(3, 7), 3);
    visit.visit(Lstm::new(3, 5).proj_size(2), 3);
    visit.visit(Lstm::new(3, 5).peepholes(true).bias(false), 3);
    let all = Lstm::new(5, 5).proj_size(4).peepholes(true);
    visit.visit(all.skip_input(true).zoneout(0.2, 0.3), 5);
    // Nothing is drawn at random in single steps.
    let random = Lstm::new(3, 5).input_dropout(0.5);
    visit.visit(random.recurrent_dropout(0.5).weight_dropout(0.5), 3);
    visit.visit(Gru::new(3, 7), 3);
    visit.visit(Gru::new(3, 5).reset_after(false), 3);
    visit.visit(Gru::new(3, 33).reset_after(false).bias(Bias::One), 3);
}

/// A layer, and a cell of its weights: `weight_ih` is the layer's `weight_ih_l0`.
fn pair<C: Cell>(run: &Run<C>, device: &Device) -> (RecurrentModel<C>, RecurrentCell<C>) {
    let layer = run.layer(device);
    // Drawn from another seed: what is not set shows.
    let cell = RecurrentCell::new(device, run.config.clone(), 99).unwrap();
    let weights = layer.parameters().to_arrays::<f64>().unwrap();
    let names: Vec<&str> = cell.parameters().names().collect();
    let of_layer: Vec<&str> = layer.parameters().names().collect();
    let expected: Vec<String> = names.iter().map(|name| format!("{name}_l0")).collect();
    assert_eq!(of_layer, expected);
    for name in names {
        cell.parameters()
            .set(name, &weights[&format!("{name}_l0")])
            .unwrap();
    }
    (layer, cell)
}

/// `[B, ·]` of a step of `[T, B, ·]`, or of the one layer of a state.
fn at(values: &ArrayD<f64>, index: usize) -> ArrayD<f64> {
    values.index_axis(Axis(0), index).to_owned()
}

fn flat(device: &Device, values: &Option<Vec<ArrayD<f64>>>) -> Option<State> {
    let parts = values.as_ref()?;
    let parts: Vec<_> = parts.iter().map(|part| at(part, 0)).collect();
    Some(state(device, &parts))
}

/// T steps, from a given state and from none, and back: by hand what a layer does by itself.
struct Steps;

impl Visit for Steps {
    fn visit<C: Cell>(&self, config: Recurrent<C>, input: usize) {
        for (steps, batch, states) in [(5, 3, true), (4, 2, false), (1, 3, true)] {
            let run = Run {
                initial: states,
                d_last: states,
                ..Run::new(config.clone(), [steps, batch, input])
            };
            for (device, tolerance) in devices_with_tolerances() {
                let (layer, cell) = pair(&run, &device);
                let arrays = run.arrays(&layer);
                let mut expected = run.forward(&layer, &arrays, &device);
                expected.extend(run.vjp(&layer, &arrays, &device));
                let got = by_hand(&run, &cell, &arrays, &device);
                let place = format!("{config:?} on {device}");
                check(&place, &got, &expected, tolerance);
            }
        }
    }
}

/// What [`Run::on`] gives, from single steps.
fn by_hand<C: Cell>(
    run: &Run<C>,
    cell: &RecurrentCell<C>,
    arrays: &Arrays,
    device: &Device,
) -> Results {
    let steps = run.size[0];
    let x: Vec<Tensor> = (0..steps)
        .map(|t| tensor(device, &at(&arrays.x, t)))
        .collect();
    let mut before = vec![flat(device, &arrays.initial)];
    for x in &x {
        let new = cell.step(x, before.last().unwrap().as_ref()).unwrap();
        before.push(Some(new));
    }
    let mut results = Results::new();
    let mut insert_state = |name: &str, state: &State| {
        for (index, part) in parts(state).into_iter().enumerate() {
            results.insert(format!("{name} {index}"), part.insert_axis(Axis(0)));
        }
    };
    let last = before.pop().flatten().unwrap();
    insert_state("forward state", &last);
    insert_state("state", &last);
    // Every step's h, then backwards: the gradient of a step's h is that of y and what the later steps bring.
    let (mut y, mut d_x) = (vec![], vec![]);
    let mut d_weights: Option<Results> = None;
    let zeros = |part: &ArrayD<f64>| ArrayD::zeros(part.shape());
    let mut d_state = match flat(device, &arrays.d_last) {
        Some(d_last) => parts(&d_last),
        None => parts(&last).iter().map(zeros).collect(),
    };
    for t in (0..steps).rev() {
        d_state[0] += &at(&arrays.d_y, t);
        let d_new = state(device, &d_state);
        let CellVjp {
            state: new,
            d_x: d_x_t,
            d_state: d_before,
            d_weights: d_weights_t,
        } = cell.vjp(&x[t], before[t].as_ref(), &d_new).unwrap();
        y.push(parts(&new).remove(0));
        d_x.push(d_x_t.to_array().unwrap());
        d_state = parts(&d_before);
        let d_weights_t = d_weights_t.to_arrays::<f64>().unwrap();
        d_weights = Some(match d_weights {
            None => d_weights_t,
            Some(sum) => sum
                .into_iter()
                .map(|(name, sum)| (name.clone(), sum + &d_weights_t[&name]))
                .collect(),
        });
    }
    insert_state("d_state", &state(device, &d_state));
    for (name, values) in [("y", &y), ("forward y", &y), ("d_x", &d_x)] {
        let views: Vec<_> = values.iter().rev().map(|values| values.view()).collect();
        results.insert(name.to_owned(), ndarray::stack(Axis(0), &views).unwrap());
    }
    for (name, gradient) in d_weights.unwrap() {
        results.insert(format!("d {name}_l0"), gradient);
    }
    results
}

#[test]
fn steps_are_a_layers_forward_and_back() {
    every_option(&Steps);
}

/// The new state that [`RecurrentCell::vjp`] gives is that of [`RecurrentCell::step`].
struct SameState;

impl Visit for SameState {
    fn visit<C: Cell>(&self, config: Recurrent<C>, input: usize) {
        let run = Run::new(config, [1, 3, input]);
        for device in every_device() {
            let (layer, cell) = pair(&run, &device);
            let arrays = run.arrays(&layer);
            let x = tensor(&device, &at(&arrays.x, 0));
            let before = flat(&device, &arrays.initial);
            let d_new = flat(&device, &arrays.d_last).unwrap();
            let step = cell.step(&x, before.as_ref()).unwrap();
            let vjp = cell.vjp(&x, before.as_ref(), &d_new).unwrap();
            assert_eq!(parts(&step), parts(&vjp.state), "{device}");
            assert_eq!(vjp.d_x.shape(), x.shape());
            for (d, part) in vjp.d_state.parts().iter().zip(step.parts()) {
                assert_eq!(d.shape(), part.shape());
            }
        }
    }
}

#[test]
fn step_and_vjp_give_the_same_state() {
    every_option(&SameState);
}

#[test]
fn states_stay_on_the_device() {
    let Some(device) = gpu() else { return };
    // Counters of its own: other tests run beside this one.
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let device = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let cell = LstmCell::new(&device, Lstm::new(3, 5), 1).unwrap();
    let x = tensor(&device, &ArrayD::ones(&[2, 3][..]));
    let first = cell.step(&x, None).unwrap();
    let mut state = cell.step(&x, Some(&first)).unwrap();
    let before = device.counters();
    for _ in 0..10 {
        state = cell.step(&x, Some(&state)).unwrap();
        let on_device = |part: &Tensor| part.wgpu_buffer().is_some();
        assert!(state.parts().iter().all(on_device));
    }
    let after = device.counters();
    assert_eq!(after.submits - before.submits, 10);
    assert_eq!(
        (after.readbacks, after.bind_groups, after.pipelines),
        (before.readbacks, before.bind_groups, before.pipelines)
    );
}

fn message<T>(result: bptt::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn configurations_that_are_no_cells_are_refused() {
    let device = Device::cpu();
    assert_eq!(
        message(GruCell::new(&device, Gru::new(3, 5).layers(2), 0)),
        "config: 2 layers, 1 directions, expected one of each for a cell"
    );
    let both = Rnn::new(3, 5).bidirectional(true);
    assert_eq!(
        message(RnnCell::new(&device, both, 0)),
        "config: 1 layers, 2 directions, expected one of each for a cell"
    );
    let batch_first = Lstm::new(3, 5).batch_first(true);
    assert_eq!(
        message(LstmCell::new(&device, batch_first, 0)),
        "batch_first: true, expected false: a step has no time axis"
    );
    assert_eq!(
        message(LstmCell::new(&device, Lstm::hidden(5), 0)),
        "input_size: 0, expected at least 1"
    );
}

#[test]
fn inputs_and_states_that_do_not_fit_are_named() {
    let device = Device::cpu();
    let zeros = |shape: &[usize]| Tensor::zeros(&device, shape).unwrap();
    let cell = LstmCell::new(&device, Lstm::new(3, 5).proj_size(2), 0).unwrap();
    let state = |h: &[usize], c: &[usize]| State::with_cell(zeros(h), zeros(c));
    let (x, right) = (zeros(&[4, 3]), state(&[4, 2], &[4, 5]));
    assert!(cell.vjp(&x, Some(&right), &right).is_ok());
    for (shape, got) in [(&[4, 5][..], "[4, 5]"), (&[1, 4, 3], "[1, 4, 3]")] {
        let expected = format!("x: shape {got}, expected [B, 3]");
        assert_eq!(message(cell.step(&zeros(shape), None)), expected);
    }
    let nothing = message(cell.step(&zeros(&[0, 3]), None));
    assert_eq!(nothing, "x: B: 0, expected at least 1");
    for (state, expected) in [
        (state(&[3, 2], &[3, 5]), ".h: shape [3, 2], expected [4, 2]"),
        (state(&[4, 5], &[4, 5]), ".h: shape [4, 5], expected [4, 2]"),
        (state(&[4, 2], &[4, 2]), ".c: shape [4, 2], expected [4, 5]"),
        (
            state(&[1, 4, 2], &[1, 4, 5]),
            ".h: shape [1, 4, 2], expected [4, 2]",
        ),
        (
            State::new(zeros(&[4, 2])),
            ": 1 states, expected 2 for lstm",
        ),
        (State::from_parts(vec![]), ": 0 states, expected 2 for lstm"),
        (
            State::from_parts([[4, 2], [4, 5], [4, 9]].map(|shape| zeros(&shape)).to_vec()),
            ": 3 states, expected 2 for lstm",
        ),
    ] {
        let step = message(cell.step(&x, Some(&state)));
        assert_eq!(step, format!("state{expected}"));
        let vjp = message(cell.vjp(&x, Some(&state), &right));
        assert_eq!(vjp, format!("state{expected}"));
        let vjp = message(cell.vjp(&x, Some(&right), &state));
        assert_eq!(vjp, format!("d_new{expected}"));
    }
    let elsewhere = |shape: &[usize]| Tensor::zeros(&Device::cpu_f64(), shape).unwrap();
    let other = "a tensor on CPU (f64), expected one on CPU (f32)";
    let x_elsewhere = message(cell.step(&elsewhere(&[4, 3]), None));
    assert_eq!(x_elsewhere, format!("x: {other}"));
    let state = State::with_cell(zeros(&[4, 2]), elsewhere(&[4, 5]));
    let state_elsewhere = message(cell.step(&x, Some(&state)));
    assert_eq!(state_elsewhere, format!("state.c: {other}"));
}
