//! What random graphs have weights for.

use bptt::Device;
use bptt::graph::Var;
use bptt::nn::{Gru, Init, InputSpec, Layer, Lstm, Model, Rnn, Scope};

/// F: of inputs and of every recurrence's states.
pub(super) const FEATURES: usize = 3;

/// V, of the table.
pub(super) const ROWS: usize = 5;

pub(super) const WEIGHTS: [(&str, &[usize]); 4] = [
    ("w", &[FEATURES, FEATURES]),
    ("b", &[FEATURES]),
    ("v", &[4, FEATURES]),
    ("table", &[ROWS, FEATURES]),
];

/// The recurrences: their weights are one set each, however often they are used.
pub(super) fn lstm() -> Lstm {
    Lstm::hidden(FEATURES).layers(2).dropout(0.3)
}

pub(super) fn gru() -> Gru {
    Gru::hidden(FEATURES).bidirectional(true)
}

pub(super) fn rnn() -> Rnn {
    Rnn::hidden(FEATURES).recurrent_dropout(0.2)
}

/// Declares all weights.
#[derive(Debug)]
pub(super) struct Weights;

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

/// The recurrences' weights.
pub(super) fn names() -> &'static [String] {
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

pub(super) fn model(device: &Device) -> Model {
    Model::new(device, Weights, &[InputSpec::sequence("x", FEATURES)], 3).unwrap()
}
