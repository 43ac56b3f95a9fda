//! Random graphs, written with a scope as anyone can: branches, a value used up to five times, views of views, products, tables,
//! recurrences with states in and out whose weights are used again, lengths that travel with their sequence.
//!
//! Gradients of several outputs with respect to every input and weight are held against differences in f64: what is lost or counted twice on
//! a way shows. Values stay within a few units, as every step's growth is bounded.

mod record;
mod weights;

use crate::choices::{
    Choices, Results, STEP, check_differences, check_fit, check_single, failed, run,
};
use crate::common::{rng, uniform};
use bptt::graph::Var;
use bptt::nn::{Function, Input, Scope};
use bptt::{Device, Tensor};
use ndarray::{ArrayD, Axis};
use proptest::test_runner::TestCaseResult;
use rand::RngExt;
use record::record;
use std::collections::BTreeMap;
use std::sync::Mutex;
use weights::{FEATURES, ROWS, WEIGHTS, model, names};

/// The values of a case.
#[derive(Clone)]
struct Values {
    /// Inputs, then weights in the order of [`Recorded::of`].
    floats: Vec<ArrayD<f32>>,
    tokens: ArrayD<u32>,
    /// The lengths of both sequences.
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
        let ragged = std::sync::Arc::new(Mutex::new(vec![]));
        let (own, told) = (numbers.to_vec(), (seen.clone(), ragged.clone()));
        let forward = Function::new(device, move |s, inputs| {
            let recorded = record(s, inputs, &own)?;
            // The input whose lengths each output has.
            let lengths = |s: &Scope<'_>, var: Var| s.ty(var).lengths;
            let input = |output: &Var| {
                let own = lengths(s, *output)?;
                inputs.iter().position(|var| lengths(s, *var) == Some(own))
            };
            *told.1.lock().unwrap() = recorded.outputs.iter().map(input).collect();
            *told.0.lock().unwrap() = recorded.seen;
            Ok(recorded.outputs)
        });
        let forward = forward.with_parameters(parameters);
        let outputs = forward.call(&self.inputs(&tensors))?;
        let mut rng = rng(2);
        let mut results = vec![];
        for (index, output) in outputs.iter().enumerate() {
            let mut values = output.to_array::<f64>()?;
            if let Some(input) = ragged.lock().unwrap()[index] {
                // Where seeds have no effect.
                let lengths = self.lengths[input % 4].as_ref().expect("it has some");
                for (mut row, length) in values.axis_iter_mut(Axis(1)).zip(lengths) {
                    row.slice_axis_mut(Axis(0), (*length..).into()).fill(0.0);
                }
            }
            results.push((format!("output {index}"), values));
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
