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
    /// A key's value, where it is there; an error that says what is expected where `read` cannot tell it.
    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let value = self.0.remove(key);
        let read =
            value.map(|value| read(&value).ok_or_else(|| Error::argument(key, value, expected)));
        read.transpose()
    }

    fn size(&mut self, key: &str, default: Option<usize>) -> Result<usize> {
        let expected = "a whole number, 1 to 4294967295";
        let most = u64::from(u32::MAX);
        let size = self.take(key, expected, |value| {
            value.as_u64().filter(|size| (1..=most).contains(size))
        })?;
        let size = size.map(|size| size as usize).or(default);
        size.ok_or_else(|| Error::argument(key, "missing", expected))
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        Ok(self
            .take(key, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>> {
        self.take(key, "a number", Value::as_f64)
    }

    fn rate(&mut self, key: &str) -> Result<f64> {
        Ok(self.number(key)?.unwrap_or(0.0))
    }

    fn bias(&mut self) -> Result<Bias> {
        let bias = self.take("bias", "true, false or \"one\"", |value| match value {
            Value::Bool(bias) => Some(Bias::from(*bias)),
            value => (value == "one").then_some(Bias::One),
        });
        Ok(bias?.unwrap_or_default())
    }

    fn proj_size(&mut self) -> Result<usize> {
        let expected = "a whole number, 0 to below hidden_size";
        let size = self.take("proj_size", expected, |value| {
            usize::try_from(value.as_u64()?).ok()
        });
        Ok(size?.unwrap_or(0))
    }

    /// Two rates.
    fn zoneout(&mut self) -> Result<[f64; 2]> {
        let rates = self.take("zoneout", "two numbers", |value| {
            match value.as_array()?.as_slice() {
                [h, c] => Some([h.as_f64()?, c.as_f64()?]),
                _ => None,
            }
        });
        Ok(rates?.unwrap_or_default())
    }

    fn train(&mut self) -> Result<Option<(u64, u64)>> {
        let expected = "an object of two whole numbers, seed and step";
        self.take("train", expected, |value| {
            let number = |key: &str| value.get(key)?.as_u64();
            let numbers = (number("seed")?, number("step")?);
            (value.as_object()?.len() == 2).then_some(numbers)
        })
    }

    /// The activations of N slots, where they are given, else the cell's own.
    fn activations<const N: usize>(&mut self, own: [Activation; N]) -> Result<[Activation; N]> {
        let expected = format!("a list of {N} for this cell");
        let list = self.take("activations", &expected, |value| {
            value.as_array().filter(|list| list.len() == N).cloned()
        });
        let mut activations = own;
        for (slot, item) in activations.iter_mut().zip(list?.unwrap_or_default()) {
            *slot = activation(&item)?;
        }
        Ok(activations)
    }

    /// A key that the cell does not have may only switch off what it would switch on.
    fn none(&mut self, key: &str, off: Value) -> Result<()> {
        let expected = format!("absent or {off} for this cell");
        self.take(key, &expected, |value| (*value == off).then_some(()))?;
        Ok(())
    }

    /// What all cells have.
    fn stack<C: Cell>(&mut self, cell: C) -> Result<Recurrent<C>> {
        let [input_size, hidden_size] =
            ["input_size", "hidden_size"].map(|key| self.size(key, None));
        let mut config = Recurrent::with_cell(cell, input_size?, hidden_size?);
        let options = &mut config.options;
        options.layers = self.size("num_layers", Some(1))?;
        options.bidirectional = self.flag("bidirectional", false)?;
        options.bias = self.bias()?;
        options.batch_first = self.flag("batch_first", false)?;
        options.skip_input = self.flag("skip_input", false)?;
        options.regularisers = Regularisers {
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
        let argument = format!("activations: {key}");
        return Err(Error::argument(argument, "present", "absent"));
    }
    let alpha = |default| number("alpha", default);
    let beta = |default| number("beta", default);
    Ok(match name {
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        "hard_sigmoid" => {
            let (alpha, beta) = (alpha(0.2)?, beta(0.5)?);
            Activation::HardSigmoid { alpha, beta }
        }
        "affine" => {
            let (alpha, beta) = (alpha(1.0)?, beta(0.0)?);
            Activation::Affine { alpha, beta }
        }
        "scaled_tanh" => {
            let (alpha, beta) = (alpha(1.0)?, beta(1.0)?);
            Activation::ScaledTanh { alpha, beta }
        }
        "leaky_relu" => Activation::LeakyRelu {
            alpha: alpha(0.01)?,
        },
        "elu" => Activation::Elu { alpha: alpha(1.0)? },
        "thresholded_relu" => Activation::ThresholdedRelu { alpha: alpha(1.0)? },
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
        let argument = "metadata bptt";
        let value: Value = serde_json::from_str(json)
            .map_err(|reason| Error::argument(argument, reason, "a JSON object"))?;
        let Value::Object(object) = value else {
            return Err(Error::argument(argument, value, "a JSON object"));
        };
        let mut keys = Keys(object);
        let cell = keys.take("cell", "a name", |value| value.as_str().map(str::to_owned))?;
        let cell = cell.ok_or_else(|| Error::argument("cell", "missing", CELLS))?;
        let train = keys.train()?;
        let stack = match cell.as_str() {
            "rnn_tanh" | "rnn_relu" => {
                let mut rnn = RnnUnit::default();
                if cell == "rnn_relu" {
                    rnn.activation = Activation::Relu;
                    keys.none("activations", Value::Null)?;
                } else {
                    [rnn.activation] = keys.activations([rnn.activation])?;
                }
                rnn.clip = keys.number("clip")?;
                erased(keys.stack(rnn)?)?
            }
            "gru" => {
                let mut gru = GruUnit::default();
                gru.activations = keys.activations(gru.activations)?;
                gru.clip = keys.number("clip")?;
                let reset_after = keys.flag("reset_after", true)?;
                erased(keys.stack(gru)?.reset_after(reset_after))?
            }
            "lstm" => {
                let mut lstm = LstmUnit::default();
                lstm.activations = keys.activations(lstm.activations)?;
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
