//! A layer on random numbers: its forward pass and its vector-Jacobian product, on any device, all results by name.

pub use crate::common::SINGLE_THROUGH_TIME;
use crate::common::{array, devices, rng, uniform};
use bptt::cell::Cell;
use bptt::nn::{Input, Recurrent, RecurrentModel, State, Vjp};
use bptt::verify::{DOUBLE, compare};
use bptt::{Device, Error, Tensor};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Every device with how exact its results are: the reference, then the f32 devices.
pub fn devices_with_tolerances() -> Vec<(Device, f64)> {
    let single = |device| (device, SINGLE_THROUGH_TIME);
    std::iter::once((Device::cpu_f64(), DOUBLE))
        .chain(devices().into_iter().map(single))
        .collect()
}

/// Arrays by name.
pub type Results = BTreeMap<String, ArrayD<f64>>;

/// Numbers in ±1, exact in f32.
pub fn random(seed: u64, shape: &[usize]) -> ArrayD<f64> {
    array(shape, uniform(&mut rng(seed), shape.iter().product(), 1.0)).mapv(f64::from)
}

pub fn tensor(device: &Device, values: &ArrayD<f64>) -> Tensor {
    Tensor::from_array(device, values).unwrap()
}

pub fn state(device: &Device, parts: &[ArrayD<f64>]) -> State {
    State::from_parts(parts.iter().map(|part| tensor(device, part)).collect())
}

pub fn parts(state: &State) -> Vec<ArrayD<f64>> {
    let read = |part: &Tensor| part.to_array().unwrap();
    state.parts().iter().map(read).collect()
}

/// Lengths of every kind in no order: 0, T and between.
pub fn lengths(steps: usize, batch: usize) -> Vec<usize> {
    (0..batch).map(|row| (3 * row) % (steps + 1)).collect()
}

/// Panics where results are not the expected ones, all of them.
pub fn check(place: &str, got: &Results, expected: &Results, tolerance: f64) {
    let names = |results: &Results| results.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(got), names(expected), "{place}");
    for (name, expected) in expected {
        if let Err(mismatch) = compare(name, &got[name], expected, tolerance) {
            panic!("{place}: {mismatch}");
        }
    }
}

/// What the error of a budget of one byte says is needed.
pub fn least(error: &Error) -> usize {
    let text = error.to_string();
    assert!(text.starts_with("memory_budget: 1 bytes"), "{text}");
    let number = text.split("at least the ").nth(1).unwrap();
    number.split(' ').next().unwrap().parse().unwrap()
}

/// A layer and what it is run on. Weights and numbers are drawn from fixed seeds, the same on every device.
#[derive(Clone, Debug)]
pub struct Run<C> {
    pub config: Recurrent<C>,
    /// T, B and I.
    pub size: [usize; 3],
    pub lengths: Option<Vec<usize>>,
    /// Whether initial states are given.
    pub initial: bool,
    /// Whether gradients of the last states are given.
    pub d_last: bool,
    /// Seed and step of what is drawn in training.
    pub train: Option<(u64, u64)>,
    pub batch_first: bool,
    /// The bytes that the vector-Jacobian product may work in.
    pub memory_budget: Option<usize>,
    /// What the seeds of the weights and of all numbers start from.
    pub seed: u64,
}

/// The arrays a [`Run`] is made of.
#[derive(Clone, Debug)]
pub struct Arrays {
    pub x: ArrayD<f64>,
    pub initial: Option<Vec<ArrayD<f64>>>,
    pub d_y: ArrayD<f64>,
    pub d_last: Option<Vec<ArrayD<f64>>>,
}

impl<C: Cell> Run<C> {
    /// All rows of length T, states given, nothing random.
    pub fn new(config: Recurrent<C>, size: [usize; 3]) -> Self {
        Self {
            config,
            size,
            lengths: None,
            initial: true,
            d_last: true,
            train: None,
            batch_first: false,
            memory_budget: None,
            seed: 0,
        }
    }

    /// With lengths of every kind.
    pub fn ragged(self) -> Self {
        let [steps, batch, _] = self.size;
        Self {
            lengths: Some(lengths(steps, batch)),
            ..self
        }
    }

    pub fn layer(&self, device: &Device) -> RecurrentModel<C> {
        let config = self.config.clone().batch_first(self.batch_first);
        let layer = config.build(device, self.seed + 3).unwrap();
        layer.memory_budget(self.memory_budget)
    }

    pub fn arrays(&self, layer: &RecurrentModel<C>) -> Arrays {
        let [steps, batch, input] = self.size;
        let weights = layer.parameters();
        let cell = self.config.cell();
        let [gate_width, output] = *weights.shape("weight_hh_l0").unwrap() else {
            unreachable!("a matrix")
        };
        let hidden = gate_width / cell.gates();
        let stacked = (weights.names())
            .filter(|name| name.starts_with("weight_hh"))
            .count();
        let reverse = weights.names().any(|name| name.ends_with("_reverse"));
        let directions = if reverse { 2 } else { 1 };
        let states = |seed: u64, given: bool| {
            let seed = self.seed + seed;
            let width = |state: usize| if state == 0 { output } else { hidden };
            let part = |state: usize| random(seed + state as u64, &[stacked, batch, width(state)]);
            given.then(|| (0..cell.states()).map(part).collect::<Vec<_>>())
        };
        let sequence = |seed: u64, features: usize| {
            let mut sequence = random(self.seed + seed, &[steps, batch, features]);
            if self.batch_first {
                sequence.swap_axes(0, 1);
            }
            sequence.as_standard_layout().into_owned()
        };
        Arrays {
            x: sequence(1, input),
            initial: states(20, self.initial),
            d_y: sequence(2, directions * output),
            d_last: states(30, self.d_last),
        }
    }

    pub fn input<'a>(&'a self, x: &'a Tensor) -> Input<'a> {
        let input = match &self.lengths {
            Some(lengths) => Input::with_lengths(x, lengths),
            None => Input::from(x),
        };
        match self.train {
            Some((seed, step)) => input.train(seed, step),
            None => input,
        }
    }

    pub fn forward(&self, layer: &RecurrentModel<C>, arrays: &Arrays, device: &Device) -> Results {
        let initial = arrays.initial.as_ref().map(|parts| state(device, parts));
        let x = tensor(device, &arrays.x);
        let (y, last) = layer.forward(self.input(&x), initial.as_ref()).unwrap();
        let mut results = Results::from([("forward y".to_owned(), y.to_array().unwrap())]);
        for (index, part) in parts(&last).into_iter().enumerate() {
            results.insert(format!("forward state {index}"), part);
        }
        results
    }

    /// The vector-Jacobian product.
    pub fn product(
        &self,
        layer: &RecurrentModel<C>,
        arrays: &Arrays,
        device: &Device,
    ) -> bptt::Result<Vjp> {
        let given = |parts: &Option<Vec<_>>| parts.as_ref().map(|parts| state(device, parts));
        let (initial, d_last) = (given(&arrays.initial), given(&arrays.d_last));
        let (x, d_y) = (tensor(device, &arrays.x), tensor(device, &arrays.d_y));
        layer.vjp(self.input(&x), initial.as_ref(), &d_y, d_last.as_ref())
    }

    /// The least bytes that the vector-Jacobian product can work in.
    pub fn least_budget(&self, device: &Device) -> usize {
        let layer = self.layer(device).memory_budget(Some(1));
        let outcome = self.product(&layer, &self.arrays(&layer), device);
        least(&outcome.unwrap_err())
    }

    pub fn vjp(&self, layer: &RecurrentModel<C>, arrays: &Arrays, device: &Device) -> Results {
        let Vjp {
            y,
            state,
            d_x,
            d_state,
            d_weights,
        } = self.product(layer, arrays, device).unwrap();
        let mut results = Results::from([
            ("y".to_owned(), y.to_array().unwrap()),
            ("d_x".to_owned(), d_x.to_array().unwrap()),
        ]);
        for (name, state) in [("state", state), ("d_state", d_state)] {
            for (index, part) in parts(&state).into_iter().enumerate() {
                results.insert(format!("{name} {index}"), part);
            }
        }
        for (name, gradient) in d_weights.to_arrays().unwrap() {
            results.insert(format!("d {name}"), gradient);
        }
        results
    }

    /// Both.
    pub fn on(&self, device: &Device) -> Results {
        let layer = self.layer(device);
        let arrays = self.arrays(&layer);
        let mut results = self.forward(&layer, &arrays, device);
        results.extend(self.vjp(&layer, &arrays, device));
        results
    }

    /// Every f32 device must agree with the reference, whose results it gives.
    pub fn check(&self, place: &str) -> Results {
        let expected = self.on(&Device::cpu_f64());
        for device in devices() {
            let place = format!("{place} on {device}");
            check(&place, &self.on(&device), &expected, SINGLE_THROUGH_TIME);
        }
        expected
    }
}

/// The results of a batch-first run as those of a time-major one.
pub fn time_major(mut results: Results) -> Results {
    for name in ["forward y", "y", "d_x"] {
        let values = results.get_mut(name).expect("every run has it");
        values.swap_axes(0, 1);
    }
    results
}
