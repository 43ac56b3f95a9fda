//! Random cases: every key of `bptt::replay::Configuration`, every tensor that a case may have.

use crate::common::{rng, uniform};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::{bool, option};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::Path;

/// Names, shapes and values of a case's F32 tensors.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A random case.
#[derive(Clone)]
pub struct Draw {
    /// The JSON object of its metadata.
    pub keys: Map<String, Value>,
    pub steps: usize,
    pub batch: usize,
    pub lengths: Option<Vec<usize>>,
    /// Those it has of [`OPTIONAL`].
    pub given: Vec<&'static str>,
    /// The seed of the tensors' values.
    seed: u64,
}

/// The tensors a case may leave out.
pub const OPTIONAL: [&str; 5] = ["h0", "c0", "dy", "dhn", "dcn"];

pub const PLACES: [&str; 4] = [
    "one direction, all T",
    "one direction, ragged",
    "two directions, all T",
    "two directions, ragged",
];

pub const CELLS: [&str; 4] = ["rnn_tanh", "rnn_relu", "gru", "lstm"];

/// A key of the configuration and its value, or its absence.
type Entry = Option<(&'static str, Value)>;

fn key<S: Strategy + 'static>(name: &'static str, chance: f64, values: S) -> BoxedStrategy<Entry>
where
    Value: From<S::Value>,
{
    option::weighted(chance, values)
        .prop_map(move |value| value.map(|value| (name, value.into())))
        .boxed()
}

fn hundredths(range: RangeInclusive<i32>) -> impl Strategy<Value = f64> {
    range.prop_map(|number| f64::from(number) / 100.0)
}

fn rate() -> impl Strategy<Value = f64> {
    hundredths(0..=50)
}

/// An activation: whether it is bounded, and the ranges of alpha and beta in hundredths.
type Activation = (
    &'static str,
    bool,
    Option<RangeInclusive<i32>>,
    Option<RangeInclusive<i32>>,
);

pub const ACTIVATIONS: [Activation; 11] = [
    ("tanh", true, None, None),
    ("sigmoid", true, None, None),
    ("softsign", true, None, None),
    ("scaled_tanh", true, Some(50..=150), Some(50..=120)),
    ("affine", false, Some(-50..=70), Some(-30..=50)),
    ("hard_sigmoid", true, Some(15..=140), Some(30..=60)),
    ("relu", false, None, None),
    ("leaky_relu", false, Some(1..=30), None),
    ("elu", false, Some(50..=120), None),
    ("thresholded_relu", false, Some(-20..=50), None),
    ("softplus", false, None, None),
];

fn activation((name, _, alpha, beta): Activation) -> BoxedStrategy<Value> {
    let number = |range: Option<RangeInclusive<i32>>| {
        let range = range.map(|range| option::of(hundredths(range)).boxed());
        range.unwrap_or_else(|| Just(None).boxed())
    };
    // A slope of 1, the default, would let states grow.
    let alpha = match (name, alpha) {
        ("affine", Some(range)) => hundredths(range).prop_map(Some).boxed(),
        (_, range) => number(range),
    };
    (alpha, number(beta), any::<bool>())
        .prop_map(move |(alpha, beta, object)| {
            let mut item = Map::from_iter([("name".to_owned(), json!(name))]);
            for (key, number) in [("alpha", alpha), ("beta", beta)] {
                item.extend(number.map(|number| (key.to_owned(), json!(number))));
            }
            if item.len() == 1 && !object {
                return json!(name);
            }
            Value::Object(item)
        })
        .boxed()
}

/// One for each slot; `gates` says which are multiplied with a state, which then grows from step to step, and beyond f32, unless the
/// activation is bounded or its argument is.
fn activations(gates: &[bool], bounded_argument: bool) -> BoxedStrategy<Vec<Value>> {
    let slot = |gate: &bool| {
        let list = ACTIVATIONS
            .into_iter()
            .filter(|(_, bounded, ..)| *bounded || bounded_argument || !gate);
        prop::strategy::Union::new(list.map(activation))
    };
    gates.iter().map(slot).collect::<Vec<_>>().boxed()
}

fn clip_and_activations(gates: &'static [bool]) -> BoxedStrategy<Vec<Entry>> {
    let clip = hundredths(20..=150).prop_map(|clip| Some(("clip", json!(clip))));
    prop_oneof![
        2 => vec![key("activations", 0.7, activations(gates, false))],
        1 => vec![clip.boxed(), key("activations", 0.5, activations(gates, true))],
    ]
    .boxed()
}

/// What this cell alone has; nothing in a quarter of the draws, so that the plain kernels are drawn too.
fn cell_keys(cell: &str) -> BoxedStrategy<Vec<Entry>> {
    let flag = |name| key(name, 0.5, bool::weighted(0.8));
    let (further, general) = match cell {
        "rnn_tanh" => (vec![], clip_and_activations(&[false])),
        // Its activation is its name.
        "rnn_relu" => (vec![], vec![key("clip", 0.5, hundredths(20..=150))].boxed()),
        "gru" => (
            vec![key("reset_after", 0.6, bool::weighted(0.2))],
            clip_and_activations(&[true, true, false]),
        ),
        _ => (
            vec![
                flag("peepholes"),
                flag("input_forget"),
                key("cell_clip", 0.4, hundredths(20..=100)),
            ],
            clip_and_activations(&[true, true, false, true, false]),
        ),
    };
    let both = (further, general).prop_map(|(further, general)| [further, general].concat());
    prop_oneof![1 => Just(vec![]), 3 => both].boxed()
}

/// What all cells have; and `proj_size`, any number here.
fn common_keys(cell: &str) -> Vec<BoxedStrategy<Entry>> {
    let random = any::<u64>().no_shrink();
    let bias = prop_oneof![Just(json!(true)), Just(json!("one")), Just(json!(false))];
    let train = (random, random).prop_map(|(seed, step)| json!({"seed": seed, "step": step}));
    let mut keys = vec![
        key("num_layers", 0.5, 1..=3_u64),
        key("bidirectional", 0.7, bool::weighted(0.7)),
        key("bias", 0.5, bias),
        key("batch_first", 0.4, bool::weighted(0.8)),
        key("skip_input", 0.3, bool::weighted(0.8)),
        key("dropout", 0.3, rate()),
        key("input_dropout", 0.3, rate()),
        key("recurrent_dropout", 0.3, rate()),
        key("weight_dropout", 0.3, rate()),
        key("zoneout", 0.3, vec![rate().boxed(), rate().boxed()]),
        key("train", 0.7, train),
    ];
    if cell == "lstm" {
        keys.push(key("proj_size", 0.4, 0..=33_u64));
    }
    keys
}

fn size() -> BoxedStrategy<u64> {
    prop_oneof![3 => 1..=8_u64, 1 => 9..=33_u64].boxed()
}

/// The metadata of a case.
fn configuration() -> BoxedStrategy<Map<String, Value>> {
    let cell = |cell: &'static str| {
        let keys = (cell_keys(cell), common_keys(cell), size(), size());
        keys.prop_map(move |(own, common, input, hidden)| {
            let entries = [own, common].concat().into_iter().flatten();
            let mut keys: Map<_, _> = entries.map(|(k, v)| (k.to_owned(), v)).collect();
            let skip_input = keys.get("skip_input") == Some(&json!(true));
            let input = if skip_input { hidden } else { input };
            keys.extend([
                ("cell".to_owned(), json!(cell)),
                ("input_size".to_owned(), json!(input)),
                ("hidden_size".to_owned(), json!(hidden)),
            ]);
            if let Some(size) = keys.get_mut("proj_size") {
                *size = json!(size.as_u64().unwrap() % hidden);
            }
            keys
        })
        .boxed()
    };
    prop::strategy::Union::new_weighted(vec![
        (2, cell("rnn_tanh")),
        (1, cell("rnn_relu")),
        (3, cell("gru")),
        (4, cell("lstm")),
    ])
    .boxed()
}

/// Every case.
pub fn draws() -> impl Strategy<Value = Draw> {
    let lengths = prop_oneof![
        5 => Just(None),
        1 => Just(Some(vec![0; 7])),
        4 => vec(0..=9_usize, 7).prop_map(Some),
    ];
    let present = vec(bool::weighted(0.75), OPTIONAL.len());
    let seed = any::<u64>().no_shrink();
    (
        configuration(),
        1..=9_usize,
        1..=7_usize,
        lengths,
        present,
        seed,
    )
        .prop_map(|(keys, steps, batch, lengths, present, seed)| {
            let of_cell = |name: &str| keys["cell"] == "lstm" || !name.contains('c');
            let given = OPTIONAL.into_iter().zip(present);
            let given = given.filter(|(name, present)| *present && of_cell(name));
            Draw {
                given: given.map(|(name, _)| name).collect(),
                lengths: lengths.map(|rows: Vec<usize>| {
                    rows[..batch]
                        .iter()
                        .map(|length| length % (steps + 1))
                        .collect()
                }),
                keys,
                steps,
                batch,
                seed,
            }
        })
}

impl Draw {
    pub fn json(&self) -> String {
        Value::Object(self.keys.clone()).to_string()
    }

    fn size(&self, key: &str, default: usize) -> usize {
        let size = self.keys.get(key).map(|size| size.as_u64().unwrap());
        size.map_or(default, |size| usize::try_from(size).unwrap())
    }

    fn flag(&self, key: &str) -> bool {
        self.keys.get(key) == Some(&json!(true))
    }

    pub fn cell(&self) -> &str {
        self.keys["cell"].as_str().unwrap()
    }

    /// Directions and lengths: one of [`PLACES`].
    pub fn place(&self) -> &'static str {
        let lengths = self.lengths.iter().flatten();
        let ragged = lengths.into_iter().any(|length| *length < self.steps);
        PLACES[2 * usize::from(self.flag("bidirectional")) + usize::from(ragged)]
    }

    /// What it has that is not the default, and that has an effect: options, activations and what is absent.
    pub fn features(&self) -> Vec<String> {
        let off = [json!(false), json!(0), json!(0.0), json!([0.0, 0.0])];
        let train = self.keys.contains_key("train");
        let between = self.size("num_layers", 1) > 1;
        let mut features = vec![];
        for (key, value) in self.keys.iter().filter(|(_, value)| !off.contains(value)) {
            let named = match (key.as_str(), value) {
                ("cell" | "input_size" | "hidden_size" | "bidirectional" | "train", _) => None,
                ("bias" | "reset_after", Value::Bool(_)) => None,
                ("activations", Value::Array(list)) => {
                    let name = |item: &Value| item.get("name").unwrap_or(item).clone();
                    features.extend(
                        list.iter()
                            .filter_map(|item| Some(name(item).as_str()?.to_owned())),
                    );
                    None
                }
                ("num_layers", _) => between.then_some("num_layers"),
                ("dropout", _) => (train && between).then_some("dropout"),
                (key, _) if key.ends_with("_dropout") => train.then_some(key),
                ("zoneout", _) if train => Some("zoneout in training"),
                ("bias", _) => Some("one bias"),
                (key, _) => Some(key),
            };
            features.extend(named.map(str::to_owned));
        }
        for (key, name) in [("bias", "no bias"), ("reset_after", "reset before")] {
            features.extend((self.keys.get(key) == Some(&json!(false))).then(|| name.to_owned()));
        }
        let all_zero = |lengths: &Vec<usize>| lengths.iter().all(|length| *length == 0);
        features.extend(
            self.lengths
                .as_ref()
                .is_some_and(all_zero)
                .then(|| "all lengths 0".into()),
        );
        let absent = OPTIONAL.iter().filter(|name| !self.given.contains(name));
        features.extend(absent.map(|name| format!("no {name}")));
        features
    }

    /// The case's tensors. With wider weights a tanh whose gradient is the only one in a tensor may come too close to 1 for f32.
    pub fn tensors(&self, weights: Vec<(String, Vec<usize>)>) -> Tensors {
        let (layers, hidden) = (self.size("num_layers", 1), self.size("hidden_size", 0));
        let directions = 1 + usize::from(self.flag("bidirectional"));
        let output = match self.size("proj_size", 0) {
            0 => hidden,
            size => size,
        };
        let sequence = |features: usize| match self.flag("batch_first") {
            true => vec![self.batch, self.steps, features],
            false => vec![self.steps, self.batch, features],
        };
        let state = |width: usize| vec![layers * directions, self.batch, width];
        let mut all = vec![("x".to_owned(), sequence(self.size("input_size", 0)), 1.0)];
        for name in &self.given {
            let shape = match *name {
                "dy" => sequence(directions * output),
                "h0" | "dhn" => state(output),
                _ => state(hidden),
            };
            all.push(((*name).to_owned(), shape, 1.0));
        }
        for (name, shape) in weights {
            let bound = match shape[..] {
                [_, inputs] => 1.0 / (inputs as f32).sqrt(),
                _ => 0.7,
            };
            all.push((name, shape, bound));
        }
        let mut rng = rng(self.seed);
        let tensor = |(name, shape, bound): (String, Vec<usize>, f32)| {
            let values = uniform(&mut rng, shape.iter().product(), bound);
            (name, (shape, values))
        };
        all.into_iter().map(tensor).collect()
    }

    /// Writes the case.
    pub fn write(&self, tensors: &Tensors, path: &Path) {
        let mut views: Vec<(&str, TensorView<'_>)> = vec![];
        for (name, (shape, values)) in tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            views.push((name, view.unwrap()));
        }
        let lengths = self.lengths.as_ref().map(|lengths| {
            let lengths = lengths.iter().map(|length| *length as i64);
            lengths.collect::<Vec<_>>()
        });
        if let Some(lengths) = &lengths {
            let view = TensorView::new(Dtype::I64, vec![self.batch], bytemuck::cast_slice(lengths));
            views.push(("lengths", view.unwrap()));
        }
        let metadata = HashMap::from([("bptt".to_owned(), self.json())]);
        safetensors::serialize_to_file(views, Some(metadata), path).unwrap();
    }
}

impl std::fmt::Debug for Draw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            steps,
            batch,
            lengths,
            given,
            ..
        } = self;
        write!(
            f,
            "{} with T = {steps}, B = {batch}, lengths {lengths:?}, given {given:?}",
            self.json()
        )
    }
}
