//! Sizes of any kind: every constructor gives what fits, or an error.

use bptt::cell::{Cell, Forward, Inner, Lanes};
use bptt::data::{Batch, Dataset, Sequences, Windows};
use bptt::gpu::{RecurrentChoice, RecurrentWalk};
use bptt::graph::Var;
use bptt::nn::{
    Embedding, Function, Gru, InputSpec, Layer, Linear, Lstm, MaxOverTime, Model, Recurrent, Rnn,
    Scope, Sequential,
};
use bptt::train::{Sgd, Trainer};
use bptt::{Device, Error, Tensor};
use ndarray::{Array2, Array3, s};
#[cfg(target_os = "linux")]
use std::process::Command;

/// None so large that what it asks for would be there and slow to fill.
const SIZES: [usize; 8] = [
    0,
    1,
    2,
    1 << 16,
    1 << 32,
    1 << 53,
    usize::MAX / 2,
    usize::MAX,
];

fn pairs() -> impl Iterator<Item = [usize; 2]> {
    SIZES.into_iter().flat_map(|a| SIZES.map(|b| [a, b]))
}

fn triples() -> impl Iterator<Item = [usize; 3]> {
    pairs().flat_map(|[a, b]| SIZES.map(|c| [a, b, c]))
}

fn devices() -> [Device; 2] {
    [Device::cpu(), Device::cpu_f64()]
}

#[test]
fn tensors_of_any_shape() {
    let device = Device::cpu();
    for shape in triples() {
        let mut huge = shape.iter().filter(|size| **size > 0);
        let elements = huge.try_fold(1_usize, |all, size| all.checked_mul(*size));
        let few = elements.is_some_and(|elements| elements <= 1 << 32);
        if few && !shape.contains(&0) && elements > Some(1 << 18) {
            continue;
        }
        let tensor = Tensor::zeros(&device, &shape);
        if let Ok(tensor) = &tensor {
            assert_eq!(tensor.to_array::<f32>().unwrap().shape(), shape);
            assert_eq!(tensor.len(), shape.iter().product::<usize>());
        }
        assert_eq!(
            tensor.is_ok(),
            few && elements < Some(1 << 32),
            "{shape:?}: {tensor:?}"
        );
        for of in [
            Tensor::zeros(&device, &[0]).unwrap(),
            Tensor::zeros(&device, &[4]).unwrap(),
        ] {
            if let Ok(other) = of.reshape(&shape) {
                assert_eq!(other.to_array::<f32>().unwrap().len(), of.len());
            }
        }
    }
}

#[test]
fn layers_of_any_size() {
    for device in devices() {
        for [inputs, hidden, more] in triples() {
            for both in [false, true] {
                let lstm = Lstm::new(inputs, hidden).layers(more).bidirectional(both);
                drop(lstm.build(&device, 0));
                let lstm = Lstm::new(inputs, hidden)
                    .proj_size(more)
                    .bidirectional(both);
                drop(lstm.peepholes(true).build(&device, 0));
                let gru = Gru::new(inputs, hidden).layers(more).bidirectional(both);
                drop(gru.skip_input(both).build(&device, 0));
                let rnn = Rnn::new(inputs, hidden)
                    .bidirectional(both)
                    .batch_first(both);
                drop(rnn.weight_dropout(0.5).build(&device, 0));
                drop(Lstm::hidden(hidden).bidirectional(both).build(&device, 0));
                let model = Sequential::new(inputs).lstm(Lstm::hidden(hidden).bidirectional(both));
                let model = model.layer_norm().last_step().linear(more);
                drop(model.build(&device, 0));
            }
            drop(
                Sequential::new(inputs)
                    .linear(hidden)
                    .linear(more)
                    .build(&device, 0),
            );
        }
    }
}

#[derive(Debug)]
struct Tokens(Embedding, Linear);

impl bptt::nn::Layer for Tokens {
    type Input = bptt::graph::Var;
    type Output = bptt::graph::Var;
    fn forward(
        &self,
        s: &mut bptt::nn::Scope<'_>,
        x: bptt::graph::Var,
    ) -> bptt::Result<bptt::graph::Var> {
        let x = s.layer("embedding", &self.0, x)?;
        s.layer("linear", &self.1, x)
    }
}

#[test]
fn tables_and_inputs_of_any_size() {
    let device = Device::cpu();
    let model = Sequential::new(3).lstm(Lstm::hidden(4)).linear(2);
    let model = model.build(&device, 0).unwrap();
    for [a, b, c] in triples() {
        let layer = Tokens(Embedding::new(a, b), Linear::new(c));
        drop(Model::new(&device, layer, &[InputSpec::tokens("x")], 0));
        let inputs = [InputSpec::sequence("x", a), InputSpec::features("y", b)];
        drop(Model::new(&device, Linear::new(c), &inputs[..1], 0));
        let _ = model.output_shape(&[&[a, b, c]]);
        if a.saturating_mul(b) < 1 << 17 || a.max(b) >= 1 << 32 {
            let _ = model.output_shape(&[&[a, b, 3]]);
            let _ = model.plan(&[a, b, 3]);
        }
    }
}

#[test]
fn graphs_of_any_size() {
    let device = Device::cpu();
    let x = Tensor::zeros(&device, &[2, 3]).unwrap();
    for [a, b, c] in triples() {
        let of = |record: fn(
            &mut bptt::nn::Scope<'_>,
            bptt::graph::Var,
            [usize; 3],
        ) -> bptt::Result<bptt::graph::Var>| {
            let function = Function::new(&device, move |s, inputs| {
                Ok(vec![record(s, inputs[0], [a, b, c])?])
            });
            let _ = function.plan(&[&x]);
        };
        of(|s, x, [a, b, _]| s.reshape(x, &[a, b]));
        of(|s, x, [a, b, c]| s.slice(x, a, b, c));
        of(|s, x, [a, b, _]| s.permute(x, &[a, b]));
        of(|s, x, [a, _, _]| s.concat(&[x, x], a));
        of(|s, _, [a, b, c]| {
            let value = s.constant(&[a, b], 1.0);
            s.reshape(value, &[c])
        });
        of(|s, _, shape| {
            let value = s.constant(&shape, 1.0);
            s.map("twice", [value], |[x]| x + x)
        });
        of(|s, x, shape| {
            let value = s.constant(&shape, 1.0);
            s.add(x, value)
        });
        of(|s, _, [a, b, _]| {
            let [first, second] = [a, b].map(|len| s.constant(&[len], 1.0));
            s.concat(&[first, second], 0)
        });
    }
}

/// None of a sequence's steps.
#[derive(Debug)]
struct NoStep;

impl Layer for NoStep {
    type Input = Var;
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        s.slice(x, 0, 0, 0)
    }
}

#[test]
fn sequences_of_no_steps_are_named() {
    let device = Device::cpu();
    let x = Tensor::zeros(&device, &[2, 3, 4]).unwrap();
    for layer in [
        |model: Sequential| model.lstm(Lstm::hidden(3)),
        |model: Sequential| model.last_step(),
        |model: Sequential| model.add(MaxOverTime),
    ] {
        let model = layer(Sequential::new(4).add(NoStep)).build(&device, 1);
        let error = model.and_then(|model| model.forward(&x)).unwrap_err();
        assert!(error.to_string().contains("at least one step"), "{error}");
    }
}

#[test]
fn windows_batches_and_choices_of_any_size() {
    for [rows, features, window] in triples() {
        if rows.max(features) > 1 << 16 || rows.saturating_mul(features) > 1 << 17 {
            continue;
        }
        let x = Array2::<f32>::zeros((rows, features));
        for every_step in [false, true] {
            let Ok(mut windows) = Windows::new(x.clone(), x.clone(), window) else {
                continue;
            };
            if every_step {
                windows = windows.every_step();
            }
            assert_eq!(windows.batch(&[]).x().shape(), [window, 0, features]);
            let _ = windows.batch(&[0, windows.len() - 1]);
        }
        let empty = Array3::<f32>::zeros((rows.min(2), 0, features));
        let target = Array2::<f32>::zeros((0, features));
        if let Ok(data) = Sequences::many_to_one(empty, target) {
            let _ = data.batch(&[]);
        }
    }
    for [a, b] in pairs() {
        for walk in [RecurrentWalk::Device, RecurrentWalk::Workgroup] {
            drop(RecurrentChoice::new(walk, a, b, false));
        }
    }
}

/// A cell that says what it likes of itself.
#[derive(Clone, Copy, Debug)]
struct Counted([usize; 5]);

impl Cell for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }
    fn gates(&self) -> usize {
        self.0[0]
    }
    fn states(&self) -> usize {
        self.0[1]
    }
    fn saved(&self) -> usize {
        self.0[2]
    }
    fn diagonals(&self) -> usize {
        self.0[3]
    }
    fn early_gates(&self) -> usize {
        self.0[4]
    }
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        unit.state[0] = unit.x[0] + unit.r[0];
    }
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        unit.state[0]
    }
}

#[test]
fn cells_of_any_counts() {
    let device = Device::cpu();
    let good = [2, 1, 0, 0, 2];
    for place in 0..5 {
        for count in [0, 1, 2, 8, 9, 17, 1 << 32, usize::MAX] {
            let mut counts = good;
            counts[place] = count;
            let cell = Counted(counts);
            let built = Recurrent::with_cell(cell, 3, 4).layers(2).build(&device, 0);
            if let Err(error) = &built {
                assert!(
                    error.to_string().contains(" of counted: "),
                    "{counts:?}: {error}"
                );
            }
            let [gates, states, saved, diagonals, early] = counts;
            let fits = (1..=8).contains(&gates)
                && (1..=8).contains(&states)
                && saved <= 8
                && diagonals <= 8
                && (1..=gates).contains(&early);
            assert_eq!(built.is_ok(), fits, "{counts:?}");
            assert!(
                fits || bptt::verify::check_cell(&cell, &[]).is_err(),
                "{counts:?}"
            );
            let _ = bptt::CellRef::new(cell);
        }
    }
}

#[test]
fn a_long_sequence_is_predicted() {
    let model = Sequential::new(1)
        .lstm(Lstm::hidden(64).layers(2))
        .last_step()
        .linear(1);
    let model = model.build(&Device::cpu(), 1).unwrap();
    let x = Array3::<f32>::ones((400_000, 1, 1));
    let y = model.predict(&x).unwrap();
    // The state has come to rest long before.
    let short = model.predict(&x.slice(s![..2000, .., ..])).unwrap();
    bptt::verify::compare("y", &y.mapv(f64::from), &short.mapv(f64::from), 1e-5).unwrap();
}

/// The test above once more, as a process with less memory than the forward pass as a whole works in: it goes through in segments.
#[cfg(target_os = "linux")]
#[test]
fn a_long_sequence_is_predicted_from_little_memory() {
    let mut run = Command::new("sh");
    run.args(["-c", "ulimit -v 400000; exec \"$@\"", "sh"]);
    run.arg(std::env::current_exe().unwrap()).args([
        "--exact",
        "sizes::a_long_sequence_is_predicted",
        "--test-threads=1",
    ]);
    let ran = run.env("MALLOC_ARENA_MAX", "1").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{run:?}: {said}"
    );
}

/// Examples without end.
struct Endless;

impl Dataset for Endless {
    fn len(&self) -> usize {
        usize::MAX
    }

    fn batch(&self, examples: &[usize]) -> Batch {
        let x = Array3::<f32>::ones((2, examples.len(), 1));
        Batch::new(x, Array2::<f32>::zeros((examples.len(), 1)))
    }
}

#[test]
fn more_examples_than_there_is_memory_for_their_order() {
    let model = Sequential::new(1).last_step().linear(1);
    let model = model.build(&Device::cpu(), 1).unwrap();
    let mut trainer = Trainer::new(model, Sgd::new(0.1)).build().unwrap();
    let error = trainer.fit(&Endless).run().unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}
