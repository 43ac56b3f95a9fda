//! A case's configuration, as JSON.

use crate::cell::{Activation, Cell, GruUnit, LstmUnit, RnnUnit};
use crate::error::{Error, Result};
use crate::graph::Regularisers;
use crate::nn::{Bias, Recurrent, Stack, StackModel};
use serde_json::{Map, Value};

/// The configuration of a [`Case`](super::Case): a JSON object of these keys, unknown ones being errors.
///
/// | key | values | default |
/// |---|---|---|
/// | `cell` | `rnn_tanh`, `rnn_relu`, `lstm`, `gru` | required |
/// | `input_size`, `hidden_size` | ≥ 1 | required |
/// | `num_layers` | ≥ 1 | 1 |
/// | `bidirectional`, `batch_first` | bool | false |
/// | `bias` | true for two, `"one"` (`bias_ih` only), false | true |
/// | `proj_size` | LSTM: 1 to below `hidden_size`, 0 for none | 0 |
/// | `reset_after` | GRU: whether the reset gate acts after the recurrent product | true |
/// | `activations` | one for each slot, a name (`hard_sigmoid`) or `{"name", "alpha", "beta"}`: RNN \[h\] (`cell` being `rnn_tanh`), GRU \[r, z, n\], LSTM \[i, f, g, o, c\] | the cell's |
/// | `clip` | above 0: bound of the pre-activations | none |
/// | `cell_clip` | LSTM, above 0: bound of c | none |
/// | `peepholes`, `input_forget` | LSTM, bool | false |
/// | `skip_input` | bool: no `weight_ih_l0` | false |
/// | `dropout`, `input_dropout`, `recurrent_dropout`, `weight_dropout` | 0 to below 1, with `train` | 0 |
/// | `zoneout` | \[h, c\], each 0 to below 1 | \[0, 0\] |
/// | `train` | `{"seed", "step"}`: what is dropped at random | nothing is |
#[derive(Clone, Debug)]
pub struct Configuration {
    pub(super) stack: Stack,
    pub(super) train: Option<(u64, u64)>,
}

/// Takes the values of known keys out of the object, so that the unknown ones are left.
struct Keys(Map<String, Value>);

impl Keys {
    fn size(&mut self, key: &str, default: Option<usize>) -> Result<usize> {
        let expected = "a whole number, 1 to 4294967295";
        match self.0.remove(key) {
            None => default.ok_or_else(|| Error::argument(key, "missing", expected)),
            Some(value) => match value.as_u64() {
                Some(number @ 1..=0xffff_ffff) => Ok(number as usize),
                _ => Err(Error::argument(key, value, expected)),
            },
        }
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.0.remove(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| Error::argument(key, value, "true or false")),
        }
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>> {
        let number = self.0.remove(key).map(|value| {
            let number = value.as_f64();
            number.ok_or_else(|| Error::argument(key, value, "a number"))
        });
        number.transpose()
    }

    fn rate(&mut self, key: &str) -> Result<f64> {
        Ok(self.number(key)?.unwrap_or(0.0))
    }

    fn bias(&mut self) -> Result<Bias> {
        match self.0.remove("bias") {
            None => Ok(Bias::Two),
            Some(Value::Bool(bias)) => Ok(Bias::from(bias)),
            Some(Value::String(bias)) if bias == "one" => Ok(Bias::One),
            Some(other) => Err(Error::argument("bias", other, "true, false or \"one\"")),
        }
    }

    fn proj_size(&mut self) -> Result<usize> {
        let expected = "a whole number, 0 to below hidden_size";
        let size = self.0.remove("proj_size").map(|value| {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| Error::argument("proj_size", value, expected))
        });
        Ok(size.transpose()?.unwrap_or(0))
    }

    /// Two rates.
    fn zoneout(&mut self) -> Result<[f64; 2]> {
        let Some(value) = self.0.remove("zoneout") else {
            return Ok([0.0; 2]);
        };
        match value.as_array().map(Vec::as_slice) {
            Some([h, c]) => match (h.as_f64(), c.as_f64()) {
                (Some(h), Some(c)) => Ok([h, c]),
                _ => Err(Error::argument("zoneout", value, "two numbers")),
            },
            _ => Err(Error::argument("zoneout", value, "two numbers")),
        }
    }

    fn train(&mut self) -> Result<Option<(u64, u64)>> {
        let expected = "an object of two whole numbers, seed and step";
        let Some(value) = self.0.remove("train") else {
            return Ok(None);
        };
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let keys = value.as_object().map_or(0, Map::len);
        match (number("seed"), number("step")) {
            (Some(seed), Some(step)) if keys == 2 => Ok(Some((seed, step))),
            _ => Err(Error::argument("train", value, expected)),
        }
    }

    /// The activations of N slots.
    fn activations<const N: usize>(&mut self) -> Result<Option<[Activation; N]>> {
        let Some(value) = self.0.remove("activations") else {
            return Ok(None);
        };
        let list = value.as_array().filter(|list| list.len() == N);
        let list = list.ok_or_else(|| {
            Error::argument(
                "activations",
                &value,
                format!("a list of {N} for this cell"),
            )
        })?;
        let mut activations = [Activation::Tanh; N];
        for (slot, item) in activations.iter_mut().zip(list) {
            *slot = activation(item)?;
        }
        Ok(Some(activations))
    }

    /// A key that the cell does not have may only switch off what it would switch on.
    fn none(&mut self, key: &str, off: Value) -> Result<()> {
        match self.0.remove(key) {
            Some(value) if value != off => {
                let expected = format!("absent or {off} for this cell");
                Err(Error::argument(key, value, expected))
            }
            _ => Ok(()),
        }
    }

    /// What all cells have.
    fn stack<C: Cell>(&mut self, cell: C) -> Result<Recurrent<C>> {
        let mut config = Recurrent::with_cell(
            cell,
            self.size("input_size", None)?,
            self.size("hidden_size", None)?,
        );
        config.options.layers = self.size("num_layers", Some(1))?;
        config.options.bidirectional = self.flag("bidirectional", false)?;
        config.options.bias = self.bias()?;
        config.options.batch_first = self.flag("batch_first", false)?;
        config.options.skip_input = self.flag("skip_input", false)?;
        config.options.regularisers = Regularisers {
            dropout: self.rate("dropout")?,
            input_dropout: self.rate("input_dropout")?,
            recurrent_dropout: self.rate("recurrent_dropout")?,
            weight_dropout: self.rate("weight_dropout")?,
            zoneout: self.zoneout()?,
        };
        Ok(config)
    }
}

fn activation(item: &Value) -> Result<Activation> {
    const NAMES: &str = "sigmoid, tanh, relu, hard_sigmoid, softsign, leaky_relu, elu, affine, scaled_tanh, thresholded_relu \
                         or softplus, or an object with it as name, and alpha, beta";
    let wrong = || Error::argument("activations", item, NAMES);
    let name = item
        .get("name")
        .unwrap_or(item)
        .as_str()
        .ok_or_else(wrong)?;
    let number = |key: &str, default: f64| match item.get(key) {
        None => Ok(default),
        Some(value) => value.as_f64().ok_or_else(wrong),
    };
    let known = ["name", "alpha", "beta"];
    if let Some(object) = item.as_object()
        && let Some(key) = object.keys().find(|key| !known.contains(&key.as_str()))
    {
        return Err(Error::argument(
            format!("activations: {key}"),
            "present",
            "absent",
        ));
    }
    Ok(match name {
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "hard_sigmoid" => Activation::HardSigmoid {
            alpha: number("alpha", 0.2)?,
            beta: number("beta", 0.5)?,
        },
        "softsign" => Activation::Softsign,
        "leaky_relu" => Activation::LeakyRelu {
            alpha: number("alpha", 0.01)?,
        },
        "elu" => Activation::Elu {
            alpha: number("alpha", 1.0)?,
        },
        "affine" => Activation::Affine {
            alpha: number("alpha", 1.0)?,
            beta: number("beta", 0.0)?,
        },
        "scaled_tanh" => Activation::ScaledTanh {
            alpha: number("alpha", 1.0)?,
            beta: number("beta", 1.0)?,
        },
        "thresholded_relu" => Activation::ThresholdedRelu {
            alpha: number("alpha", 1.0)?,
        },
        "softplus" => Activation::Softplus,
        _ => return Err(wrong()),
    })
}

const CELLS: &str = "one of rnn_tanh, rnn_relu, lstm, gru";

/// A stack without its cell's type.
fn erased<C: Cell>(stack: Recurrent<C>) -> Result<Stack> {
    stack.stack(stack.options.input_size)
}

impl Configuration {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::Argument`] that names an unknown key or a value out of range.
    pub fn parse(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json)
            .map_err(|reason| Error::argument("metadata bptt", reason, "a JSON object"))?;
        let Value::Object(object) = value else {
            return Err(Error::argument("metadata bptt", value, "a JSON object"));
        };
        let mut keys = Keys(object);
        let cell = match keys.0.remove("cell") {
            Some(Value::String(cell)) => cell,
            Some(other) => return Err(Error::argument("cell", other, "a name")),
            None => return Err(Error::argument("cell", "missing", CELLS)),
        };
        let train = keys.train()?;
        let stack = match cell.as_str() {
            "rnn_tanh" | "rnn_relu" => {
                let mut rnn = RnnUnit::default();
                if cell == "rnn_relu" {
                    rnn.activation = Activation::Relu;
                    keys.none("activations", Value::Null)?;
                } else if let Some([activation]) = keys.activations()? {
                    rnn.activation = activation;
                }
                rnn.clip = keys.number("clip")?;
                erased(keys.stack(rnn)?)?
            }
            "gru" => {
                let mut gru = GruUnit::default();
                if let Some(activations) = keys.activations()? {
                    gru.activations = activations;
                }
                gru.clip = keys.number("clip")?;
                let reset_after = keys.flag("reset_after", true)?;
                erased(keys.stack(gru)?.reset_after(reset_after))?
            }
            "lstm" => {
                let mut lstm = LstmUnit::default();
                if let Some(activations) = keys.activations()? {
                    lstm.activations = activations;
                }
                lstm.clip = keys.number("clip")?;
                lstm.cell_clip = keys.number("cell_clip")?;
                lstm.peepholes = keys.flag("peepholes", false)?;
                lstm.input_forget = keys.flag("input_forget", false)?;
                let proj_size = keys.proj_size()?;
                erased(keys.stack(lstm)?.proj_size(proj_size))?
            }
            _ => return Err(Error::argument("cell", &cell, CELLS)),
        };
        for (key, off) in [
            ("proj_size", Value::from(0)),
            ("reset_after", Value::from(true)),
            ("peepholes", Value::from(false)),
            ("input_forget", Value::from(false)),
            ("cell_clip", Value::Null),
        ] {
            keys.none(key, off)?;
        }
        if let Some(key) = keys.0.keys().next() {
            return Err(Error::argument(key, "present", "absent: no such key"));
        }
        Ok(Self { stack, train })
    }

    /// The names and shapes of the weights it needs.
    ///
    /// # Errors
    /// [`Error::Argument`] where a size is out of range.
    pub fn weights(&self) -> Result<Vec<(String, Vec<usize>)>> {
        let specs = StackModel::specs(&self.stack)?.into_iter();
        Ok(specs.map(|spec| (spec.name, spec.shape)).collect())
    }
}
