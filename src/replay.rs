//! One recurrent stack as a file, to check it against another framework.
//!
//! A case is a safetensors file. Its metadata has one key, `bptt`, whose value is a JSON object: `cell` (`rnn_tanh`, `rnn_relu`,
//! `lstm`, `gru`), `input_size`, `hidden_size`, and where they differ from the default `num_layers` (1), `bidirectional` (false),
//! `bias` (true), `batch_first` (false). Its tensors, F32: `x [T, B, I]` (`[B, T, I]` with `batch_first`); `h0 [L·D, B, H]`,
//! `c0 [L·D, B, H]`, zeros where absent; `lengths [B]` (I64, 0 … T), all T where absent; the weights under PyTorch's names; `dy`, like y: without it no gradients are computed;
//! `dhn`, `dcn`, zeros where absent.
//!
//! The results: `y`, `hn`, `cn`, and with `dy` the gradients `dx`, `dh0`, `dc0` and `d.NAME` of every weight.

use crate::Real;
use crate::cell::builtin;
use crate::device::Device;
use crate::error::{Error, Result, check_shape};
use crate::interop::{read_file, write_file};
use crate::nn::{Bias, Input, Module, Parameters, RecurrentStack, Stack, State, Weights};
use crate::tensor::Tensor;
use ndarray::ArrayD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The results of a case, by name.
pub type Results<F> = BTreeMap<String, ArrayD<F>>;

/// A case, read and checked.
#[derive(Clone, Debug)]
pub struct Case {
    stack: Stack,
    batch_first: bool,
    lengths: Option<Vec<usize>>,
    tensors: Weights,
}

/// A case on a device.
struct Loaded {
    layer: RecurrentStack,
    x: Tensor,
    initial: Option<State>,
    d_y: Option<Tensor>,
    d_last: Option<State>,
}

/// Takes the values of known keys out of the object, so that the unknown ones are left.
struct Keys(Map<String, Value>);

impl Keys {
    fn size(&mut self, key: &str, default: Option<usize>) -> Result<usize> {
        let expected = "a whole number, 1 to 4294967295";
        match self.0.remove(key) {
            None => default.ok_or_else(|| Error::argument(key, "missing", expected)),
            Some(value) => match value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
            {
                Some(number) if number >= 1 && number <= u32::MAX as usize => Ok(number),
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
    /// range, or an option that is not supported yet (`proj_size`, `reset_after` false).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let mut file = read_file(path.as_ref())?;
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
        let cell = builtin()
            .into_iter()
            .find(|known| known.name() == cell)
            .ok_or_else(|| Error::argument("cell", &cell, CELLS))?;
        let stack = Stack {
            cell,
            input_size: keys.size("input_size", None)?,
            hidden_size: keys.size("hidden_size", None)?,
            layers: keys.size("num_layers", Some(1))?,
            directions: if keys.flag("bidirectional", false)? {
                2
            } else {
                1
            },
            bias: Bias::from(keys.flag("bias", true)?),
            forget_bias: None,
        };
        let batch_first = keys.flag("batch_first", false)?;
        keys.only("proj_size", &Value::from(0))?;
        keys.only("reset_after", &Value::from(true))?;
        if let Some(key) = keys.0.keys().next() {
            return Err(Error::argument(key, "present", "absent: no such key"));
        }
        if let Some(name) = file.doubles.first() {
            return Err(Error::argument(name, "an F64 tensor", "F32"));
        }
        let lengths = file.integers.remove("lengths").map(|lengths| {
            let length = |length: &i64| {
                let expected = "whole numbers, 0 to T";
                usize::try_from(*length).map_err(|_| Error::argument("lengths", length, expected))
            };
            lengths.iter().map(length).collect::<Result<Vec<_>>>()
        });
        if let Some(name) = file.integers.keys().next() {
            return Err(Error::argument(name, "an I64 tensor", "F32"));
        }
        let case = Self {
            stack,
            batch_first,
            lengths: lengths.transpose()?,
            tensors: file.tensors,
        };
        // On the CPU, so that what is wrong is known before a GPU is opened.
        case.load(&Device::cpu())?;
        Ok(case)
    }

    /// Runs the case on a device.
    ///
    /// # Errors
    /// The GPU's errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run<F: Real>(&self, device: &Device) -> Result<Results<F>> {
        let loaded = self.load(device)?;
        let (x, initial) = (self.input(&loaded.x), loaded.initial.as_ref());
        let mut results = Results::new();
        let mut put = |name: &str, tensor: &Tensor| -> Result<()> {
            results.insert(name.to_owned(), tensor.to_array()?);
            Ok(())
        };
        let mut put_state = |state: &State, h: &str, c: &str| -> Result<()> {
            put(h, state.h())?;
            state.c().map_or(Ok(()), |tensor| put(c, tensor))
        };
        match &loaded.d_y {
            None => {
                let (y, last) = loaded.layer.forward(x, initial)?;
                put_state(&last, "hn", "cn")?;
                put("y", &y)?;
            }
            Some(d_y) => {
                let vjp = loaded.layer.vjp(x, initial, d_y, loaded.d_last.as_ref())?;
                put_state(&vjp.state, "hn", "cn")?;
                put_state(&vjp.d_state, "dh0", "dc0")?;
                put("y", &vjp.y)?;
                put("dx", &vjp.d_x)?;
                let weights = vjp.d_weights.to_arrays()?.into_iter();
                results.extend(weights.map(|(name, values)| (format!("d.{name}"), values)));
            }
        }
        if self.batch_first {
            for name in ["y", "dx"] {
                results
                    .entry(name.to_owned())
                    .and_modify(|values| values.swap_axes(0, 1));
            }
        }
        Ok(results)
    }

    fn load(&self, device: &Device) -> Result<Loaded> {
        // Before anything is allocated for weights that the case may not have.
        if self.stack.layers > self.tensors.len() {
            let expected = "at most as many as the case has weights for";
            return Err(Error::argument("num_layers", self.stack.layers, expected));
        }
        Parameters::check(&self.stack.parameters(), &self.tensors)?;
        let layer = RecurrentStack::new(device, self.stack.clone(), 0)?;
        let mut rest = self.tensors.clone();
        let mut sequence = |name: &str| {
            let values = rest
                .remove(name)
                .map(|values| self.time_major(name, values));
            values.transpose()
        };
        let x = sequence("x")?.ok_or_else(|| Error::argument("x", "missing", "a tensor"))?;
        let d_y = sequence("dy")?;
        let [_, batch, _] = *x.shape() else {
            return Err(Error::shape("x", x.shape(), "three dimensions"));
        };
        let initial = self.state(device, &mut rest, ["h0", "c0"], batch)?;
        let d_last = self.state(device, &mut rest, ["dhn", "dcn"], batch)?;
        layer.parameters().load(&rest)?;
        let x = Tensor::from_array(device, &x)?;
        let d_y = d_y
            .map(|d_y| Tensor::from_array(device, &d_y))
            .transpose()?;
        layer.check(self.input(&x), initial.as_ref())?;
        if let Some(d_y) = &d_y {
            check_shape("dy", d_y.shape(), &self.stack.output_shape(x.shape())?)?;
        }
        Ok(Loaded {
            layer,
            x,
            initial,
            d_y,
            d_last,
        })
    }

    fn input<'a>(&'a self, x: &'a Tensor) -> Input<'a> {
        match &self.lengths {
            Some(lengths) => Input::with_lengths(x, lengths),
            None => Input::from(x),
        }
    }

    /// Takes a state out of the tensors; zeros for a part that is absent, `None` where all are.
    fn state(
        &self,
        device: &Device,
        rest: &mut Weights,
        names: [&str; 2],
        batch: usize,
    ) -> Result<Option<State>> {
        let shape = &self.stack.state_shape(batch)[1..];
        let names = &names[..self.stack.cell.states()];
        if !names.iter().any(|name| rest.contains_key(*name)) {
            return Ok(None);
        }
        let parts = names.iter().map(|name| {
            let values = rest.remove(*name).unwrap_or_else(|| ArrayD::zeros(shape));
            check_shape(name, values.shape(), shape)?;
            Tensor::from_array(device, &values)
        });
        Ok(Some(State::from_parts(parts.collect::<Result<_>>()?)))
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
}

const CELLS: &str = "one of rnn_tanh, rnn_relu, lstm, gru";

/// Writes results as F32 or F64 tensors. The file appears whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub fn write<F: Real>(path: impl AsRef<Path>, results: &Results<F>) -> Result<()> {
    write_file(path.as_ref(), results)
}
