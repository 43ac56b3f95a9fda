//! One recurrent stack as a file, to check it against another framework.
//!
//! A case is a safetensors file. Its metadata has one key, `bptt`, whose value is a JSON object: `cell` (`rnn_tanh`, `rnn_relu`,
//! `lstm`, `gru`), `input_size`, `hidden_size`, and where they differ from the default `num_layers` (1), `bidirectional` (false),
//! `bias` (true), `batch_first` (false). Its tensors, F32: `x [T, B, I]` (`[B, T, I]` with `batch_first`); `h0 [L·D, B, H]`,
//! `c0 [L·D, B, H]`, zeros where absent; the weights under PyTorch's names; `dy`, like y: without it no gradients are computed;
//! `dhn`, `dcn`, zeros where absent.
//!
//! The results: `y`, `hn`, `cn`, and with `dy` the gradients `dx`, `dh0`, `dc0` and `d.NAME` of every weight.

use crate::Real;
use crate::cell::{Cell, Nonlinearity};
use crate::device::Device;
use crate::error::{Error, Result, check_shape};
use crate::interop::{read_file, write_file};
use crate::nn::{GruConfig, LstmConfig, Recurrent, RecurrentConfig, RnnConfig, State, Weights};
use crate::tensor::Tensor;
use ndarray::ArrayD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The results of a case, by name.
pub type Results<F> = BTreeMap<String, ArrayD<F>>;

/// A case, read and checked but for the shapes that only running it tells.
#[derive(Clone, Debug)]
pub struct Case {
    cell: String,
    input_size: usize,
    hidden_size: usize,
    layers: usize,
    bidirectional: bool,
    bias: bool,
    batch_first: bool,
    tensors: Weights,
}

/// Takes the values of known keys out of the object, so that the unknown ones are left.
struct Keys(Map<String, Value>);

impl Keys {
    fn size(&mut self, key: &str, default: Option<usize>) -> Result<usize> {
        let expected = "a whole number, at least 1";
        match self.0.remove(key) {
            None => default.ok_or_else(|| Error::argument(key, "missing", expected)),
            Some(value) => match value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
            {
                Some(number) if number >= 1 => Ok(number),
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

    /// An option that is not built yet may only have the value that switches it off.
    fn only(&mut self, key: &str, off: &Value) -> Result<()> {
        match self.0.remove(key) {
            Some(value) if value != *off => Err(Error::argument(
                key,
                value,
                format!("{off}: anything else is not supported yet"),
            )),
            _ => Ok(()),
        }
    }
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read; [`Error::Argument`] that names an unknown key or tensor, a value out of
    /// range, or an option that is not supported yet (`proj_size`, `reset_after` false, `lengths`).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let file = read_file(path.as_ref())?;
        if let Some(key) = file
            .metadata
            .keys()
            .find(|key| *key != "bptt" && *key != "format")
        {
            return Err(Error::argument(
                format!("metadata {key}"),
                "present",
                "only the key bptt",
            ));
        }
        let json = file
            .metadata
            .get("bptt")
            .ok_or_else(|| Error::file(&path, "no metadata key bptt"))?;
        let value: Value = serde_json::from_str(json)
            .map_err(|reason| Error::file(&path, format!("metadata bptt: {reason}")))?;
        let Value::Object(object) = value else {
            return Err(Error::argument("metadata bptt", value, "a JSON object"));
        };
        let mut keys = Keys(object);
        let cell = match keys.0.remove("cell") {
            Some(Value::String(cell)) => cell,
            Some(other) => return Err(Error::argument("cell", other, "a name")),
            None => return Err(Error::argument("cell", "missing", CELLS)),
        };
        let case = Self {
            cell,
            input_size: keys.size("input_size", None)?,
            hidden_size: keys.size("hidden_size", None)?,
            layers: keys.size("num_layers", Some(1))?,
            bidirectional: keys.flag("bidirectional", false)?,
            bias: keys.flag("bias", true)?,
            batch_first: keys.flag("batch_first", false)?,
            tensors: file.tensors,
        };
        keys.only("proj_size", &Value::from(0))?;
        keys.only("reset_after", &Value::from(true))?;
        if let Some(key) = keys.0.keys().next() {
            return Err(Error::argument(key, "present", "absent: no such key"));
        }
        if let Some(name) = file.integers.first() {
            let expected = if name == "lengths" {
                "absent: lengths are not supported yet"
            } else {
                "F32"
            };
            return Err(Error::argument(name, "an I64 tensor", expected));
        }
        Ok(case)
    }

    /// Runs the case on a device.
    ///
    /// # Errors
    /// [`Error::Argument`] for an unknown cell or tensor or a missing one, [`Error::Shape`] for a tensor that does not fit; the
    /// GPU's errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run<F: Real>(&self, device: &Device) -> Result<Results<F>> {
        let (inputs, hidden) = (self.input_size, self.hidden_size);
        match self.cell.as_str() {
            "rnn_tanh" => self.run_as(device, RnnConfig::new(inputs, hidden)),
            "rnn_relu" => self.run_as(
                device,
                RnnConfig::new(inputs, hidden).nonlinearity(Nonlinearity::Relu),
            ),
            "lstm" => self.run_as(device, LstmConfig::new(inputs, hidden)),
            "gru" => self.run_as(device, GruConfig::new(inputs, hidden)),
            other => Err(Error::argument("cell", other, CELLS)),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn run_as<C: Cell, F: Real>(
        &self,
        device: &Device,
        config: RecurrentConfig<C>,
    ) -> Result<Results<F>> {
        let config = config
            .layers(self.layers)
            .bidirectional(self.bidirectional)
            .bias(self.bias);
        let has_cell_state = Cell::states(&config.cell) > 1;
        let layer = Recurrent::new(device, config, 0)?;
        let mut rest = self.tensors.clone();
        let x = self.time_major("x", rest.remove("x").ok_or_else(|| missing("x"))?)?;
        let [_, batch, _] = *x.shape() else {
            return Err(Error::shape("x", x.shape(), "three dimensions"));
        };
        let directions = if self.bidirectional { 2 } else { 1 };
        let state_shape = [self.layers * directions, batch, self.hidden_size];
        let dy = rest
            .remove("dy")
            .map(|dy| self.time_major("dy", dy))
            .transpose()?;
        let mut state = |h: &str, c: &str| -> Result<Option<State>> {
            let mut part = |name: &str| match rest.remove(name) {
                None => Ok((false, ArrayD::zeros(&state_shape[..]))),
                Some(values) => {
                    check_shape(name, values.shape(), &state_shape)?;
                    Ok((true, values))
                }
            };
            let (has_h, h) = part(h)?;
            let h = Tensor::from_array(device, &h)?;
            if !has_cell_state {
                return Ok(has_h.then(|| State::new(h)));
            }
            let (has_c, c) = part(c)?;
            let c = Tensor::from_array(device, &c)?;
            Ok((has_h || has_c).then(|| State::with_cell(h, c)))
        };
        let initial = state("h0", "c0")?;
        let d_last = state("dhn", "dcn")?;
        layer.parameters().load(&rest)?;

        let x = Tensor::from_array(device, &x)?;
        let mut results = Results::new();
        let mut put = |name: &str, tensor: &Tensor| -> Result<()> {
            results.insert(name.to_owned(), tensor.to_array()?);
            Ok(())
        };
        let Some(dy) = dy else {
            let (y, last) = layer.forward(&x, initial.as_ref())?;
            put("y", &y)?;
            put("hn", last.h())?;
            last.c().map_or(Ok(()), |c| put("cn", c))?;
            return Ok(self.restore_order(results));
        };
        let vjp = layer.vjp(
            &x,
            initial.as_ref(),
            &Tensor::from_array(device, &dy)?,
            d_last.as_ref(),
        )?;
        put("y", &vjp.y)?;
        put("hn", vjp.state.h())?;
        vjp.state.c().map_or(Ok(()), |c| put("cn", c))?;
        put("dx", &vjp.d_x)?;
        put("dh0", vjp.d_state.h())?;
        vjp.d_state.c().map_or(Ok(()), |c| put("dc0", c))?;
        let weights = vjp.d_weights.to_arrays()?;
        results.extend(
            weights
                .into_iter()
                .map(|(name, values)| (format!("d.{name}"), values)),
        );
        Ok(self.restore_order(results))
    }

    fn time_major(&self, name: &str, mut values: ArrayD<f32>) -> Result<ArrayD<f32>> {
        if self.batch_first {
            if values.ndim() != 3 {
                return Err(Error::shape(name, values.shape(), "three dimensions"));
            }
            values.swap_axes(0, 1);
        }
        Ok(values)
    }

    /// Lays y and dx out as x was given.
    fn restore_order<F: Real>(&self, mut results: Results<F>) -> Results<F> {
        if self.batch_first {
            for name in ["y", "dx"] {
                results
                    .entry(name.to_owned())
                    .and_modify(|values| values.swap_axes(0, 1));
            }
        }
        results
    }
}

const CELLS: &str = "one of rnn_tanh, rnn_relu, lstm, gru";

fn missing(name: &str) -> Error {
    Error::argument(name, "missing", "a tensor")
}

/// Writes results as F32 or F64 tensors. The file appears whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub fn write<F: Real>(path: impl AsRef<Path>, results: &Results<F>) -> Result<()> {
    write_file(path.as_ref(), results)
}
