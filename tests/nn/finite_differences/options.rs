//! Every option of a recurrent stack alone, every pair of them, and every option with two directions and lengths.

use super::compare_run;
use crate::runs::Run;
use bptt::cell::{Activation, Cell, GruUnit, LstmUnit, RnnUnit};
use bptt::nn::{Bias, Recurrent};

/// Where a value is closer to a kink of its activation or clip than it moves, differences say nothing of the derivative, which jumps.
/// With about a hundred values a stack and 1e-5 for the way it seldom happens, but there are some thousand stacks: this is a
/// seed at which it does not. A wrong derivative is wrong at every seed.
const SEED: u64 = 1;

/// An option.
struct Choice<C> {
    name: String,
    /// A kind of which there can only be one option.
    kind: &'static str,
    change: Box<dyn Fn(Run<C>) -> Run<C>>,
}

fn choice<C>(
    kind: &'static str,
    name: &str,
    change: impl Fn(Run<C>) -> Run<C> + 'static,
) -> Choice<C> {
    Choice {
        name: format!("{kind}{name}"),
        kind,
        change: Box::new(change),
    }
}

/// An option of the configuration.
fn configured<C: Cell>(
    kind: &'static str,
    name: &str,
    change: impl Fn(Recurrent<C>) -> Recurrent<C> + 'static,
) -> Choice<C> {
    choice(kind, name, move |run: Run<C>| Run {
        config: change(run.config),
        ..run
    })
}

/// A regulariser in training.
fn trained<C: Cell>(
    kind: &'static str,
    change: impl Fn(Recurrent<C>) -> Recurrent<C> + 'static,
) -> Choice<C> {
    choice(kind, " in training", move |run: Run<C>| Run {
        config: change(run.config),
        train: Some((0x1234_5678_9abc, 5)),
        ..run
    })
}

const SKIP_INPUT: &str = "skip_input";
const BIDIRECTIONAL: &str = "bidirectional";
const LENGTHS: &str = "lengths";

/// Those of all cells.
fn common<C: Cell>() -> Vec<Choice<C>> {
    vec![
        configured("layers", "", |config| config.layers(2)),
        configured(BIDIRECTIONAL, "", |config| config.bidirectional(true)),
        configured("bias", " one", |config| config.bias(Bias::One)),
        configured("bias", " none", |config| config.bias(Bias::None)),
        configured(SKIP_INPUT, "", |config| config.skip_input(true)),
        choice("batch_first", "", |run| Run {
            batch_first: true,
            ..run
        }),
        choice(LENGTHS, "", |run| {
            let [steps, _, input] = run.size;
            let size = [steps, 3, input];
            Run { size, ..run }.ragged()
        }),
        choice("no initial states", "", |run| Run {
            initial: false,
            ..run
        }),
        choice("no gradient of the last states", "", |run| Run {
            d_last: false,
            ..run
        }),
        trained("dropout", |config| config.layers(2).dropout(0.4)),
        trained("input_dropout", |config| config.input_dropout(0.3)),
        trained("recurrent_dropout", |config| config.recurrent_dropout(0.4)),
        trained("weight_dropout", |config| config.weight_dropout(0.3)),
        trained("zoneout", |config| config.zoneout(0.4, 0.3)),
        configured("zoneout", "", |config| config.zoneout(0.4, 0.3)),
    ]
}

/// Each with numbers that put some values on either side of its kinks.
const ACTIVATIONS: [Activation; 11] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::HardSigmoid {
        alpha: 1.3,
        beta: 0.4,
    },
    Activation::Softsign,
    Activation::LeakyRelu { alpha: 0.2 },
    Activation::Elu { alpha: 0.7 },
    Activation::Affine {
        alpha: 0.6,
        beta: 0.2,
    },
    Activation::ScaledTanh {
        alpha: 1.3,
        beta: 0.7,
    },
    Activation::ThresholdedRelu { alpha: 0.1 },
    Activation::Softplus,
];

/// Every activation but the default in one slot.
fn slot<C: Cell>(
    kind: &'static str,
    default: Activation,
    set: impl Fn(Recurrent<C>, Activation) -> Recurrent<C> + Copy + 'static,
) -> Vec<Choice<C>> {
    let others = ACTIVATIONS.into_iter().filter(|other| *other != default);
    let choice = |activation| {
        let change = move |config| set(config, activation);
        configured(kind, &format!(" {activation:?}"), change)
    };
    others.map(choice).collect()
}

const CLIP: f64 = 0.4;

fn rnn() -> Vec<Choice<RnnUnit>> {
    let mut choices = slot("h", Activation::Tanh, Recurrent::nonlinearity);
    choices.push(configured("clip", "", |config: Recurrent<RnnUnit>| {
        config.clip(CLIP)
    }));
    choices
}

fn gru() -> Vec<Choice<GruUnit>> {
    let mut choices = vec![
        configured("reset before", "", |config| config.reset_after(false)),
        configured("clip", "", |config: Recurrent<GruUnit>| config.clip(CLIP)),
    ];
    for (index, kind) in ["r", "z", "n"].into_iter().enumerate() {
        let default = GruUnit::default().activations[index];
        choices.extend(slot(
            kind,
            default,
            move |config: Recurrent<GruUnit>, activation| {
                let mut activations = config.cell().activations;
                activations[index] = activation;
                config.activations(activations)
            },
        ));
    }
    choices
}

fn lstm() -> Vec<Choice<LstmUnit>> {
    let mut choices = vec![
        configured("proj_size", "", |config| config.proj_size(2)),
        configured("peepholes", "", |config| config.peepholes(true)),
        configured("input_forget", "", |config| config.input_forget(true)),
        configured("clip", "", |config: Recurrent<LstmUnit>| config.clip(CLIP)),
        configured("cell_clip", "", |config| config.cell_clip(0.2)),
    ];
    for (index, kind) in ["i", "f", "g", "o", "c"].into_iter().enumerate() {
        let default = LstmUnit::default().activations[index];
        choices.extend(slot(
            kind,
            default,
            move |config: Recurrent<LstmUnit>, activation| {
                let mut activations = config.cell().activations;
                activations[index] = activation;
                config.activations(activations)
            },
        ));
    }
    choices
}

/// Checks every option, every pair, and every option with two directions and lengths.
fn check<C: Cell + Default>(own: Vec<Choice<C>>) {
    let choices: Vec<Choice<C>> = own.into_iter().chain(common()).collect();
    let mut sets: Vec<Vec<&Choice<C>>> = choices.iter().map(|choice| vec![choice]).collect();
    for (index, first) in choices.iter().enumerate() {
        let others = choices[index + 1..].iter();
        let pairs = others.filter(|second| second.kind != first.kind);
        sets.extend(pairs.map(|second| vec![first, second]));
    }
    let shape = |choice: &&Choice<C>| [BIDIRECTIONAL, LENGTHS].contains(&choice.kind);
    let (shapes, others): (Vec<_>, Vec<_>) = choices.iter().partition(shape);
    sets.extend(
        others
            .into_iter()
            .map(|other| vec![other, shapes[0], shapes[1]]),
    );
    let mut wrong = vec![];
    let count = sets.len();
    for (number, set) in sets.into_iter().enumerate() {
        let hidden = 3;
        let square = set.iter().any(|choice| choice.kind == SKIP_INPUT);
        let input = if square { hidden } else { 2 };
        let mut run = Run {
            seed: SEED + 40 * number as u64,
            ..Run::new(Recurrent::new(input, hidden), [3, 2, input])
        };
        for choice in &set {
            run = (choice.change)(run);
        }
        if let Err(mismatch) = compare_run(&run) {
            let names: Vec<&str> = set.iter().map(|choice| choice.name.as_str()).collect();
            wrong.push(format!("{}: {mismatch}", names.join(" and ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn of_the_rnn() {
    check(rnn());
}

#[test]
fn of_the_gru() {
    check(gru());
}

#[test]
fn of_the_lstm() {
    check(lstm());
}
