//! Random graphs, written with a scope as anyone can: branches, a value used up to five times, views of views, products, tables,
//! recurrences with states in and out whose weights are used again, lengths that travel with their sequence.
//!
//! Gradients of several outputs with respect to every input and weight are held against differences in f64: what is lost or counted twice on
//! a way shows. Values stay within a few units, as every step's growth is bounded.

use crate::choices::{
    Choices, Results, STEP, check_differences, check_fit, check_single, failed, run,
};
use crate::common::{rng, uniform};
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{
    Function, Gru, Init, Input, InputSpec, LastStep, Layer, Lstm, MaxOverTime, MeanOverTime, Model,
    Rnn, Scope, State,
};
use bptt::{Device, Tensor};
use ndarray::ArrayD;
use proptest::test_runner::TestCaseResult;
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// F: of inputs and of every recurrence's states.
const FEATURES: usize = 3;

/// V, of the table.
const ROWS: usize = 5;

/// Elements of a value, at most.
const MOST: usize = 2000;

const WEIGHTS: [(&str, &[usize]); 4] = [
    ("w", &[FEATURES, FEATURES]),
    ("b", &[FEATURES]),
    ("v", &[4, FEATURES]),
    ("table", &[ROWS, FEATURES]),
];

/// The recurrences: their weights are one set each, however often they are used.
fn lstm() -> Lstm {
    Lstm::hidden(FEATURES).layers(2).dropout(0.3)
}

fn gru() -> Gru {
    Gru::hidden(FEATURES).bidirectional(true)
}

fn rnn() -> Rnn {
    Rnn::hidden(FEATURES).recurrent_dropout(0.2)
}

/// Declares all weights.
#[derive(Debug)]
struct Weights;

impl Layer for Weights {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        for (name, shape) in WEIGHTS {
            s.parameter(name, shape, Init::Uniform(1.0))?;
        }
        s.layer("lstm", &lstm(), (x, None))?;
        s.layer("gru", &gru(), (x, None))?;
        Ok(s.layer("rnn", &rnn(), (x, None))?.0)
    }
}

/// A graph under construction.
struct Recording<'a, 's> {
    s: &'a mut Scope<'s>,
    choices: Choices<'a>,
    values: Vec<Var>,
    tokens: Var,
    weights: Vec<Var>,
    /// By recurrence.
    states: Vec<(usize, State<Var>)>,
    seen: Vec<&'static str>,
    /// For failures: what was done to which shapes.
    log: Vec<String>,
}

/// A function of an element that grows no faster than its argument.
fn function<'t>(which: usize, x: bptt::expr::Expr<'t>) -> bptt::expr::Expr<'t> {
    match which {
        0 => x.tanh(),
        1 => x.sigmoid(),
        2 => x * x.tanh() * 0.5,
        3 => x.softplus() - 0.5,
        4 => x.tanh().exp() * 0.4,
        5 => x * ((x * 0.7).erf() + 1.0) * 0.5,
        6 => x.where_positive(x, x * 0.2),
        _ => x * 0.8 + 0.1,
    }
}

impl Recording<'_, '_> {
    fn pick(&mut self) -> Var {
        let back = self.choices.below(self.values.len());
        self.values[self.values.len() - 1 - back]
    }

    fn shape(&self, of: Var) -> Vec<usize> {
        self.s.shape(of).to_vec()
    }

    /// A value that fits, or the last resort.
    fn pick_like(&mut self, fits: impl Fn(&[usize]) -> bool, otherwise: Var) -> Var {
        for _ in 0..4 {
            let candidate = self.pick();
            if fits(self.s.shape(candidate)) {
                return candidate;
            }
        }
        otherwise
    }

    fn any_function(&mut self, x: Var) -> bptt::Result<Var> {
        let which = self.choices.below(8);
        self.s.map("function", [x], |[x]| function(which, x))
    }

    fn scaled(&mut self, x: Var, factor: f64) -> bptt::Result<Var> {
        self.s.map("scale", [x], |[x]| x * factor)
    }

    fn step(&mut self) -> bptt::Result<()> {
        let x = self.pick();
        let shape = self.shape(x);
        let rank = shape.len();
        let len: usize = shape.iter().product();
        let (name, y) = match self.choices.below(28) {
            0 | 1 => ("function", self.any_function(x)?),
            2 => {
                let repeats = |other: &[usize]| {
                    let pairs = other.iter().rev().zip(shape.iter().rev());
                    pairs.into_iter().all(|(a, b)| a == b || *a == 1 || *b == 1)
                        && other.len() * shape.len() < 17
                };
                let z = self.pick_like(repeats, x);
                let larger = self
                    .s
                    .map("mixed", [x, z], |[x, z]| (x * z.tanh()) * 0.5 + z * 0.3)?;
                if self.s.ty(larger).len() > MOST {
                    return Ok(());
                }
                ("two", larger)
            }
            3 => {
                let z = self.pick_like(|other| other == shape, x);
                let y = self.s.add(x, z)?;
                ("sum of two", y)
            }
            4 if rank > 0 => {
                let which = self.choices.below(3);
                let y = self.s.rows("rows", [x], |row, [x]| match which {
                    0 => {
                        let e = (x - row.max(x)).exp();
                        e / row.sum(e)
                    }
                    1 => {
                        let centered = x - row.mean(x);
                        centered / (row.mean(centered * centered) + 0.3).sqrt()
                    }
                    _ => {
                        let most = row.max(x);
                        x - most - row.sum((x - most).exp()).ln()
                    }
                })?;
                ("rows", y)
            }
            5 if rank > 0 => {
                let which = self.choices.below(3);
                let y = self.s.fold_rows("fold", [x], |row, [x]| match which {
                    0 => row.mean(x * x.tanh()),
                    1 => {
                        let most = row.max(x);
                        row.sum((x - most).exp()).ln() + most
                    }
                    _ => (row.mean(x * x) + 0.2).sqrt(),
                })?;
                ("folded rows", y)
            }
            6 => {
                let axes: Vec<_> = (0..rank).filter(|_| self.choices.chance(50)).collect();
                let count: usize = axes.iter().map(|axis| shape[*axis]).product();
                let y = self.s.sum(x, &axes)?;
                ("sum", self.scaled(y, 1.0 / count as f64)?)
            }
            7 => {
                let mut to = shape.clone();
                match self.choices.below(3) {
                    0 if rank > 1 => {
                        let axis = self.choices.below(rank - 1);
                        to[axis] *= to.remove(axis + 1);
                    }
                    1 if rank > 0 && rank < 4 => {
                        let axis = self.choices.below(rank);
                        for factor in [2, 3, 5, 7] {
                            if to[axis].is_multiple_of(factor) && to[axis] > 0 {
                                to[axis] /= factor;
                                to.insert(axis, factor);
                                break;
                            }
                        }
                    }
                    _ if rank < 4 => to.insert(self.choices.below(rank + 1), 1),
                    _ => to = vec![len],
                }
                ("reshape", self.s.reshape(x, &to)?)
            }
            8 | 9 if rank > 0 => {
                let axis = self.choices.below(rank);
                let size = shape[axis];
                let len = size - self.choices.below(size);
                let start = self.choices.below(size - len + 1);
                ("slice", self.s.slice(x, axis, start, len)?)
            }
            10 | 11 if rank > 1 => {
                let mut order: Vec<_> = (0..rank).collect();
                for axis in 1..rank {
                    order.swap(axis, self.choices.below(axis + 1));
                }
                ("permute", self.s.permute(x, &order)?)
            }
            12 | 13 if rank > 0 => {
                let axis = self.choices.below(rank);
                let mut all = vec![x];
                for _ in 0..1 + self.choices.below(3) {
                    let fits = |other: &[usize]| {
                        let same =
                            |(index, (a, b)): (usize, (&usize, &usize))| index == axis || a == b;
                        other.len() == rank && other.iter().zip(&shape).enumerate().all(same)
                    };
                    all.push(self.pick_like(fits, x));
                }
                if self.choices.chance(50) {
                    all.swap(0, 1);
                }
                ("concat", self.s.concat(&all, axis)?)
            }
            14 | 15 if shape.last() == Some(&FEATURES) => {
                let [w, b] = [self.weights[0], self.weights[1]];
                let y = match self.choices.below(3) {
                    0 => self.s.linear(x, w, Some(b))?,
                    1 => self.s.linear(x, w, None)?,
                    _ => self.s.matmul(x, w)?,
                };
                ("weights", self.scaled(y, 0.5)?)
            }
            16 if rank > 0 => {
                let columns = shape[rank - 1];
                let transposed = self.choices.chance(50);
                let last = if rank == 2 && transposed {
                    self.s.permute(x, &[1, 0])?
                } else {
                    x
                };
                let fits =
                    |other: &[usize]| other.len() == 2 && other[usize::from(transposed)] == columns;
                let none = self.weights[0];
                let z = self.pick_like(fits, none);
                let [k, n] = self.s.shape(z) else {
                    return Ok(());
                };
                let (k, n) = if transposed { (*n, *k) } else { (*k, *n) };
                if k != columns || len / columns.max(1) * n > MOST {
                    return Ok(());
                }
                let y = match transposed {
                    true => self.s.linear(x, z, None)?,
                    false => self.s.matmul(x, z)?,
                };
                let y = self.scaled(y, 1.0 / columns as f64)?;
                // What was turned stays among the values.
                self.values.push(last);
                ("product", y)
            }
            17 => {
                let table = self.weights[3];
                let table = self.pick_like(|other| other.len() == 2 && other[1] < 9, table);
                let y = self.s.gather(table, self.tokens)?;
                ("gather", y)
            }
            18 | 24 | 25 | 26 if rank == 3 && shape[2] == FEATURES => {
                let which = self.choices.below(3);
                let batch = shape[1];
                let own = self
                    .states
                    .iter()
                    .rposition(|(of, state)| *of == which && self.s.shape(*state.h())[1] == batch);
                let state = match self.choices.below(3) {
                    0 => None,
                    1 => own.map(|index| self.states[index].1.clone()),
                    _ => {
                        // One value as all states.
                        let layers = if which == 2 { 1 } else { 2 };
                        let states = if which == 0 { 2 } else { 1 };
                        let wanted = [layers, batch, FEATURES];
                        let found = self.pick_like(|other| other == wanted, x);
                        let fits = self.s.shape(found) == wanted;
                        fits.then(|| State::from_parts(vec![found; states]))
                    }
                };
                if state.is_some() {
                    self.seen.push("states in");
                }
                let (y, last) = match which {
                    0 => self.s.layer("lstm", &lstm(), (x, state))?,
                    1 => self.s.layer("gru", &gru(), (x, state))?,
                    _ => self.s.layer("rnn", &rnn(), (x, state))?,
                };
                if self.choices.chance(50) {
                    self.values.extend(last.parts());
                }
                self.states.push((which, last));
                ("recurrence", y)
            }
            19 if rank == 3 => {
                let y = match self.choices.below(3) {
                    0 => self.s.layer("last", &LastStep, x)?,
                    1 => self.s.layer("mean", &MeanOverTime, x)?,
                    _ => self.s.layer("max", &MaxOverTime, x)?,
                };
                ("over time", y)
            }
            20 => ("dropout", self.s.dropout(x, 0.25)?),
            21 => {
                // One value five times, the last time as it is.
                let mut sum = x;
                for _ in 0..4 {
                    let part = self.any_function(x)?;
                    sum = self.s.add(part, sum)?;
                }
                ("five uses", self.scaled(sum, 0.3)?)
            }
            22 => {
                let classes = self.shape(self.tokens);
                if rank != classes.len() + 1 || shape[..rank - 1] != classes {
                    return Ok(());
                }
                let tokens = self.tokens;
                let y = self
                    .s
                    .fold_rows_of_class("class", x, tokens, |row, x, class| {
                        let most = row.max(x);
                        let picked = row.sum(row.is(class, x, x.zero()));
                        row.sum((x - most).exp()).ln() + most - picked
                    })?;
                ("classes", y)
            }
            _ => {
                let which = self.choices.below(self.weights.len());
                ("weight", self.any_function(self.weights[which])?)
            }
        };
        self.seen.push(name);
        self.log
            .push(format!("{name} {shape:?} -> {:?}", self.s.shape(y)));
        if self.s.ty(y).len() <= MOST {
            self.values.push(y);
        }
        Ok(())
    }
}

/// What is recorded, and what has gradients: floats among the inputs, then the weights.
struct Recorded {
    outputs: Vec<Var>,
    of: Vec<Var>,
    seen: Vec<&'static str>,
    log: Vec<String>,
}

/// Inputs: x `[T, B, F]`, another sequence `[T₂, B, F]`, `[2, B, F]`, `[B, F]`, tokens `[T, B]`.
fn record(s: &mut Scope<'_>, inputs: &[Var], numbers: &[u32]) -> bptt::Result<Recorded> {
    let weights = WEIGHTS
        .iter()
        .map(|(name, shape)| s.parameter(name, shape, Init::Uniform(1.0)));
    let weights = weights.collect::<bptt::Result<Vec<_>>>()?;
    let floats = &inputs[..4];
    let mut recording = Recording {
        s,
        choices: Choices::new(numbers),
        // x is the first to be picked.
        values: floats.iter().rev().copied().collect(),
        tokens: inputs[4],
        weights: weights.clone(),
        states: vec![],
        seen: vec![],
        log: vec![],
    };
    for _ in 0..1 + recording.choices.below(14) {
        recording.step()?;
    }
    let mut outputs = vec![*recording.values.last().expect("there are inputs")];
    for _ in 0..recording.choices.below(3) {
        outputs.push(recording.pick());
    }
    let (seen, log) = (recording.seen, recording.log);
    let mut of = floats.to_vec();
    of.extend(weights);
    // Those of the recurrences, by the model's names.
    for name in names() {
        of.push(s.shared(name)?);
    }
    Ok(Recorded {
        outputs,
        of,
        seen,
        log,
    })
}

/// The recurrences' weights.
fn names() -> &'static [String] {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| {
        let names = model(&Device::cpu())
            .parameters()
            .names()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        names
            .into_iter()
            .filter(|name| name.contains('.'))
            .collect()
    })
}

fn model(device: &Device) -> Model {
    Model::new(device, Weights, &[InputSpec::sequence("x", FEATURES)], 3).unwrap()
}

/// The values of a case.
#[derive(Clone)]
struct Values {
    /// Inputs, then weights in the order of [`Recorded::of`].
    floats: Vec<ArrayD<f32>>,
    tokens: ArrayD<u32>,
    /// Of both sequences.
    lengths: [Option<Vec<usize>>; 2],
    training: bool,
}

impl Values {
    fn new(numbers: &[u32]) -> (Self, &[u32]) {
        let (own, rest) = numbers.split_at(numbers.len().min(8));
        let choices = &mut Choices::new(own);
        let [steps, batch, others] = [
            1 + choices.below(5),
            1 + choices.below(4),
            1 + choices.below(4),
        ];
        let mut rng = rng(u64::from(own.iter().fold(0_u32, |seed, number| {
            seed.wrapping_mul(31).wrapping_add(*number)
        })));
        let ragged = [choices.chance(40), choices.chance(40)];
        let mut of = |steps: usize, ragged: bool| {
            ragged.then(|| {
                (0..batch)
                    .map(|_| rng.random_range(0..=steps))
                    .collect::<Vec<_>>()
            })
        };
        let lengths = [of(steps, ragged[0]), of(others, ragged[1])];
        let mut shapes = vec![
            vec![steps, batch, FEATURES],
            vec![others, batch, FEATURES],
            vec![2, batch, FEATURES],
            vec![batch, FEATURES],
        ];
        shapes.extend(WEIGHTS.iter().map(|(_, shape)| shape.to_vec()));
        let cpu = model(&Device::cpu());
        shapes.extend(
            names()
                .iter()
                .map(|name| cpu.parameters().shape(name).unwrap().to_vec()),
        );
        let floats = shapes.into_iter().map(|shape| {
            let values = uniform(&mut rng, shape.iter().product(), 1.0);
            ArrayD::from_shape_vec(shape, values).unwrap()
        });
        let floats = floats.collect();
        // One past the table's last now and then.
        let tokens = (0..steps * batch)
            .map(|_| rng.random_range(0..=ROWS as u32))
            .collect();
        let values = Self {
            floats,
            tokens: ArrayD::from_shape_vec(vec![steps, batch], tokens).unwrap(),
            lengths,
            training: choices.chance(50),
        };
        (values, rest)
    }

    fn moved(&self, sign: f32) -> Self {
        let mut rng = rng(1);
        let mut moved = self.clone();
        for value in moved.floats.iter_mut().flatten() {
            *value *= 1.0 + sign * STEP * rng.random_range(-1.0..=1.0);
        }
        moved
    }

    /// Outputs, then the gradients of Σ ⟨seed, output⟩.
    fn run(&self, numbers: &[u32], device: &Device) -> bptt::Result<(Results, Vec<&'static str>)> {
        let model = model(device);
        let parameters = model.parameters();
        let weights = WEIGHTS
            .iter()
            .map(|(name, _)| *name)
            .chain(names().iter().map(String::as_str));
        for (name, values) in weights.zip(&self.floats[4..]) {
            parameters.set(name, values)?;
        }
        let mut tensors = vec![];
        for values in &self.floats[..4] {
            tensors.push(Tensor::from_array(device, values)?);
        }
        tensors.push(Tensor::from_indices(device, &self.tokens)?);
        let seen = std::sync::Arc::new(Mutex::new(vec![]));
        let (own, told) = (numbers.to_vec(), seen.clone());
        let forward = Function::new(device, move |s, inputs| {
            let recorded = record(s, inputs, &own)?;
            *told.lock().unwrap() = recorded.seen;
            Ok(recorded.outputs)
        });
        let forward = forward.with_parameters(parameters);
        let outputs = forward.call(&self.inputs(&tensors))?;
        let mut rng = rng(2);
        let mut results = vec![];
        for (index, output) in outputs.iter().enumerate() {
            results.push((format!("output {index}"), output.to_array::<f64>()?));
            let seed = uniform(&mut rng, output.len(), 1.0);
            let seed = ArrayD::from_shape_vec(output.shape(), seed).unwrap();
            tensors.push(Tensor::from_array(device, &seed)?);
        }
        let own = numbers.to_vec();
        let backward = Function::new(device, move |s, inputs| {
            let recorded = record(s, inputs, &own)?;
            let seeds: Vec<_> = recorded
                .outputs
                .iter()
                .copied()
                .zip(inputs[5..].iter().copied())
                .collect();
            let shapes: Vec<_> = recorded
                .outputs
                .iter()
                .map(|var| s.shape(*var).to_vec())
                .collect();
            let log = &recorded.log;
            let found = s
                .gradients(&seeds, &recorded.of)
                .inspect_err(|_| eprintln!("{log:#?} {shapes:?}"))?;
            let mut gradients = vec![];
            for (gradient, of) in found.into_iter().zip(&recorded.of) {
                let shape = s.shape(*of).to_vec();
                gradients.push(match gradient {
                    Some(gradient) => gradient,
                    None => s.constant(&shape, 0.0),
                });
            }
            Ok(gradients)
        });
        let backward = backward.with_parameters(parameters);
        for (index, gradient) in backward.call(&self.inputs(&tensors))?.iter().enumerate() {
            results.push((format!("gradient {index}"), gradient.to_array::<f64>()?));
        }
        let seen = seen.lock().unwrap().clone();
        Ok((results, seen))
    }

    fn inputs<'a>(&'a self, tensors: &'a [Tensor]) -> Vec<Input<'a>> {
        let [first, second] = &self.lengths;
        let lengths = [first, second, &None, &None, first];
        let input = |(index, tensor): (usize, &'a Tensor)| {
            let lengths = lengths.get(index).and_then(|lengths| lengths.as_deref());
            let input = match lengths {
                Some(lengths) => Input::with_lengths(tensor, lengths),
                None => Input::from(tensor),
            };
            if self.training {
                input.train(3, 4)
            } else {
                input
            }
        };
        tensors.iter().enumerate().map(input).collect()
    }
}

fn check(
    numbers: &[u32],
    devices: &[Device],
    seen: &mut BTreeMap<String, usize>,
) -> TestCaseResult {
    let (values, numbers) = Values::new(numbers);
    let double = Device::cpu_f64();
    let run = |values: &Values, device: &Device| {
        values
            .run(numbers, device)
            .map_err(|reason| failed(format!("on {device}: {reason}")))
    };
    let (results, of) = run(&values, &double)?;
    let moved = [1.0, -1.0].map(|sign| values.moved(sign));
    let [plus, minus] = [run(&moved[0], &double)?.0, run(&moved[1], &double)?.0];
    check_fit(&results, [&plus, &minus])?;
    let outputs = results
        .iter()
        .filter(|(name, _)| name.starts_with("output"))
        .count();
    let mut terms = vec![];
    for (index, (_, gradient)) in results[outputs..].iter().enumerate() {
        let moves = moved[0].floats[index].iter().zip(&moved[1].floats[index]);
        for (d, (plus, minus)) in gradient.iter().zip(moves) {
            terms.push(d * (f64::from(*plus) - f64::from(*minus)));
        }
    }
    // The seeds, drawn as they were.
    let mut rng = rng(2);
    let mut changes = vec![];
    for ((_, plus), (_, minus)) in plus[..outputs].iter().zip(&minus[..outputs]) {
        let seeds = uniform(&mut rng, plus.len(), 1.0);
        for ((plus, minus), seed) in plus.iter().zip(minus).zip(seeds) {
            changes.push([plus * f64::from(seed), minus * f64::from(seed)]);
        }
    }
    check_differences(terms, changes)?;
    for device in devices {
        check_single(device, &run(&values, device)?.0, &results)?;
    }
    for name in of {
        *seen.entry(name.to_owned()).or_insert(0) += 1;
    }
    for (index, lengths) in values.lengths.iter().enumerate() {
        if lengths.is_some() {
            *seen.entry(format!("ragged {index}")).or_insert(0) += 1;
        }
    }
    if values.training {
        *seen.entry("training".to_owned()).or_insert(0) += 1;
    }
    Ok(())
}

const REQUIRED: [&str; 24] = [
    "function",
    "two",
    "sum of two",
    "rows",
    "folded rows",
    "sum",
    "reshape",
    "slice",
    "permute",
    "concat",
    "weights",
    "product",
    "gather",
    "recurrence",
    "states in",
    "over time",
    "dropout",
    "five uses",
    "classes",
    "weight",
    "ragged 0",
    "ragged 1",
    "training",
    "training",
];

#[test]
fn on_the_cpu() {
    run(4000, 120, &REQUIRED, |numbers, seen| {
        check(numbers, &[Device::cpu()], seen)
    });
}

#[test]
fn on_the_gpu() {
    if let Some(gpu) = crate::common::gpu() {
        run(200, 120, &REQUIRED, |numbers, seen| {
            check(numbers, std::slice::from_ref(&gpu), seen)
        });
    }
}
