//! What each option of a recurrent layer costs: `cargo bench --bench options -- [--device cpu|gpu] [I,H,T,B] [WORD]`, where WORD is part of the
//! name of a cell or an option.
//!
//! A line of a table for each option and the plain layer: milliseconds of a forward pass and of a training step (as `workloads` has them), each
//! followed by how many times the plain layer's it is, and by the same for each operation on floats that the plan counts. An option that keeps
//! the plain layer's path has about 1 there. Answers are held against the CPU path in f64 first.

mod common;
#[path = "../tests/cells/forward_only.rs"]
mod forward_only;

use bptt::cell::{Activation, Cell, GruUnit, LstmUnit, RnnUnit};
use bptt::data::Batch;
use bptt::nn::{Bias, Gru, Input, Lstm, Model, Recurrent, Rnn, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use common::{numbers, policy};
use forward_only::ForwardOnly;
use std::time::Instant;

/// Batch rows of the lengths that a ragged batch has: T, 3T/4, T/2 and T/4 in turn, so that 5 of 8 steps are left.
const PARTS: usize = 4;

/// A layer with an option.
struct Case {
    cell: &'static str,
    option: &'static str,
    build: Box<dyn Fn(&Device) -> Model>,
    ragged: bool,
}

/// `[I, H, T, B]`
type Sizes = [usize; 4];

/// An option's name, and what it makes of a configuration.
type Named<C> = (&'static str, Box<dyn Fn(Recurrent<C>) -> Recurrent<C>>);

/// The cases of one cell; options as functions of a configuration.
fn cases_of<C: Cell>(
    cell: &'static str,
    [inputs, ..]: Sizes,
    plain: &Recurrent<C>,
    options: Vec<Named<C>>,
) -> Vec<Case> {
    options
        .into_iter()
        .map(|(option, apply)| {
            let config = apply(plain.clone());
            Case {
                cell,
                option,
                build: Box::new(move |device| {
                    Sequential::new(inputs)
                        .recurrent(config.clone())
                        .build(device, 1)
                        .expect("the sizes are positive")
                }),
                ragged: option == "ragged",
            }
        })
        .collect()
}

fn named<C: Cell>(
    name: &'static str,
    apply: impl Fn(Recurrent<C>) -> Recurrent<C> + 'static,
) -> Named<C> {
    (name, Box::new(apply))
}

/// What every cell has.
fn of_every_cell<C: Cell>() -> Vec<Named<C>> {
    vec![
        named("plain", |c| c),
        named("bias none", |c| c.bias(false)),
        named("bias one", |c| c.bias(Bias::One)),
        named("layers 2", |c| c.layers(2)),
        named("bidirectional", |c| c.bidirectional(true)),
        named("ragged", |c| c),
        named("layers 2, dropout", |c| c.layers(2).dropout(0.3)),
        named("input dropout", |c| c.input_dropout(0.3)),
        named("recurrent dropout", |c| c.recurrent_dropout(0.3)),
        named("weight dropout", |c| c.weight_dropout(0.3)),
        named("zoneout", |c| c.zoneout(0.1, 0.1)),
    ]
}

/// The plain layer of a cell as a user's own that gives its forward function only: its WGSL is recorded and its backward function derived.
fn derived<C: Cell + Default>(cell: &'static str, sizes: Sizes) -> Vec<Case> {
    let config = Recurrent::with_cell(ForwardOnly(C::default()), sizes[0], sizes[1]);
    let option = named("backward derived", |c| c);
    cases_of(cell, sizes, &config, vec![option])
}

fn cases(sizes: Sizes) -> Vec<Case> {
    use Activation::{Sigmoid, Softplus, Softsign, Tanh};
    let hidden = sizes[1];
    let hard = Activation::HARD_SIGMOID;
    let mut lstm = of_every_cell::<LstmUnit>();
    lstm.extend([
        named("projection H/2", move |c: Lstm| c.proj_size(hidden / 2)),
        named("peepholes", |c: Lstm| c.peepholes(true)),
        named("input_forget", |c: Lstm| c.input_forget(true)),
        named("clip", |c: Lstm| c.clip(3.0)),
        named("cell clip", |c: Lstm| c.cell_clip(3.0)),
        named("hard sigmoids", move |c: Lstm| {
            c.activations([hard, hard, Tanh, hard, Tanh])
        }),
        named("softsign, softplus", |c: Lstm| {
            c.activations([Sigmoid, Sigmoid, Softsign, Softplus, Softsign])
        }),
    ]);
    let mut gru = of_every_cell::<GruUnit>();
    gru.extend([
        named("reset before", |c: Gru| c.reset_after(false)),
        named("clip", |c: Gru| c.clip(3.0)),
        named("hard sigmoids", move |c: Gru| {
            c.activations([hard, hard, Tanh])
        }),
        named("softsign, softplus", |c: Gru| {
            c.activations([Softplus, Sigmoid, Softsign])
        }),
    ]);
    let mut rnn = of_every_cell::<RnnUnit>();
    rnn.extend([
        named("relu", |c: Rnn| c.nonlinearity(Activation::Relu)),
        named("clip", |c: Rnn| c.clip(3.0)),
        named("softsign", |c: Rnn| c.nonlinearity(Softsign)),
    ]);
    let mut cases = cases_of("lstm", sizes, &Lstm::hidden(hidden), lstm);
    cases.extend(derived::<LstmUnit>("lstm", sizes));
    cases.extend(cases_of("gru", sizes, &Gru::hidden(hidden), gru));
    cases.extend(derived::<GruUnit>("gru", sizes));
    cases.extend(cases_of("rnn", sizes, &Rnn::hidden(hidden), rnn));
    cases.extend(derived::<RnnUnit>("rnn", sizes));
    cases
}

/// A case on a device, ready to run.
struct Bench<'a> {
    case: &'a Case,
    device: Device,
    x: Tensor,
    lengths: Vec<usize>,
}

impl<'a> Bench<'a> {
    fn new(case: &'a Case, device: &Device, [inputs, _, steps, batch]: Sizes) -> Self {
        let length = |row: usize| (steps * (PARTS - row % PARTS)).div_ceil(PARTS);
        Self {
            case,
            device: device.clone(),
            x: numbers(device, [steps, batch, inputs]),
            lengths: (0..batch).map(length).collect(),
        }
    }

    fn model(&self) -> Model {
        (self.case.build)(&self.device)
    }

    fn input(&self) -> Input<'_> {
        if self.case.ragged {
            Input::with_lengths(&self.x, &self.lengths)
        } else {
            (&self.x).into()
        }
    }

    fn trainer(&self) -> (Trainer, Batch) {
        let model = self.model();
        let shape = model.output_shape(&[self.x.shape()]).expect("x fits");
        let shape = shape.try_into().expect("a sequence");
        let batch = Batch::new(self.x.clone(), numbers(&self.device, shape));
        let batch = if self.case.ragged {
            batch.with_lengths(self.lengths.clone())
        } else {
            batch
        };
        let trainer = Trainer::new(model, Adam::new(1e-3)).seed(3).build();
        (trainer.expect("the numbers are in range"), batch)
    }

    fn check(&self, sizes: Sizes) {
        let reference = Bench::new(self.case, &Device::cpu_f64(), sizes);
        let answers = |bench: &Bench| {
            let y = bench.model().forward(bench.input()).expect("x fits");
            let (mut trainer, batch) = bench.trainer();
            trainer.step(&batch).expect("the shapes fit");
            let mut answers = vec![("y".to_owned(), y.to_array::<f64>().expect("it can be read"))];
            answers.extend(trainer.gradients().expect("they can be read"));
            answers
        };
        for ((name, got), (_, expected)) in answers(self).iter().zip(&answers(&reference)) {
            let tolerance = if name == "y" { 1e-4 } else { 1e-3 };
            let what = format!("{} {}, {name}", self.case.cell, self.case.option);
            compare(&what, got, expected, tolerance).expect("the answer comes first");
        }
    }

    /// Milliseconds, and operations on floats in millions: of a forward pass, and of a training step.
    fn time(&self) -> [(f64, f64); 2] {
        let drain = || self.device.wait().expect("the device works");
        let measure = |step: &mut dyn FnMut()| {
            let mut once = || {
                step();
                drain();
            };
            let start = Instant::now();
            once();
            policy::measure(start.elapsed(), once).least
        };
        let model = self.model();
        let flops = model.plan(self.x.shape()).expect("x fits").flops();
        let infer = measure(&mut || {
            model.forward(self.input()).expect("x fits");
        });
        let (mut trainer, batch) = self.trainer();
        let train = measure(&mut || trainer.step(&batch).expect("the shapes fit"));
        let train_flops = trainer.plan(&batch).expect("the shapes fit").flops();
        [
            (infer, flops as f64 / 1e6),
            (train, train_flops as f64 / 1e6),
        ]
    }
}

fn main() {
    let (mut device, mut sizes) = (Device::cpu(), [64, 128, 128, 32]);
    let mut word = String::new();
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(argument) = arguments.next() {
        let numbers: Vec<usize> = argument.split(',').flat_map(str::parse).collect();
        if argument == "--device" {
            if arguments.next().as_deref() == Some("gpu") {
                device = Device::gpu().expect("there is an adapter");
            }
        } else if let Ok(given) = <[usize; 4]>::try_from(numbers) {
            sizes = given;
        } else {
            word = argument;
        }
    }
    let [inputs, hidden, steps, batch] = sizes;
    println!("{device}, I/H/T/B {inputs}/{hidden}/{steps}/{batch}\n");
    println!(
        "| cell | option | forward, ms | of plain | a flop | training step, ms | of plain | a flop |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut plain = [(1.0, 1.0); 2];
    for case in cases(sizes) {
        let wanted = case.cell.contains(&word) || case.option.contains(&word);
        if !wanted && case.option != "plain" {
            continue;
        }
        let bench = Bench::new(&case, &device, sizes);
        bench.check(sizes);
        let times = bench.time();
        if case.option == "plain" {
            plain = times;
        }
        let columns: String = times
            .iter()
            .zip(&plain)
            .map(|((time, flops), (of_plain, flops_of_plain))| {
                let ratio = time / of_plain;
                let each = ratio * flops_of_plain / flops;
                format!(" {time:.2} | {ratio:.2} | {each:.2} |")
            })
            .collect();
        println!("| {} | {} |{columns}", case.cell, case.option);
    }
}
