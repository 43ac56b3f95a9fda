//! One recurrent stack as a file, to check it against another framework.
//!
//! A case is a safetensors file. Its metadata has one key, `bptt`, whose value is a JSON object, described at [`Configuration`].
//! A case's tensors, F32: `x [T, B, I]` (`[B, T, I]` with `batch_first`); `h0 [L·D, B, P]`, `c0 [L·D, B, H]`, zeros where absent;
//! `lengths [B]` (I64, 0 … T), all T where absent; the weights under PyTorch's names; `dy`, like y: without it no gradients are
//! computed; `dhn`, `dcn`, zeros where absent.
//!
//! The results: `y`, `hn`, `cn`, and with `dy` the gradients `dx`, `dh0`, `dc0` and `d.NAME` of every weight.

mod configuration;

pub use configuration::Configuration;

use crate::Real;
use crate::device::Device;
use crate::error::{Error, Result, check_shape, require};
use crate::interop::{read_file, write_file};
use crate::nn::{Input, Parameters, Stack, StackModel, State, Weights};
use crate::tensor::Tensor;
use ndarray::ArrayD;
use std::collections::BTreeMap;
use std::path::Path;

/// The results of a case, by name.
pub type Results<F> = BTreeMap<String, ArrayD<F>>;

/// A case, read and checked.
#[derive(Clone, Debug)]
pub struct Case {
    stack: Stack,
    /// Seed and step of what is dropped at random.
    train: Option<(u64, u64)>,
    lengths: Option<Vec<usize>>,
    tensors: Weights,
}

/// A case on a device.
struct Loaded {
    layer: StackModel,
    x: Tensor,
    initial: Option<State>,
    d_y: Option<Tensor>,
    d_last: Option<State>,
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read; [`Error::Argument`] that names an unknown key or tensor or a value out of
    /// range.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let mut file = read_file(path.as_ref())?;
        for key in file.metadata.keys() {
            let known = key == "bptt" || key == "format";
            require(
                &format!("metadata {key}"),
                "present",
                known,
                "only the key bptt",
            )?;
        }
        let json = file.metadata.get("bptt");
        let json = json.ok_or_else(|| Error::file(&path, "no metadata key bptt"))?;
        let Configuration { stack, train } = Configuration::parse(json)?;
        if let Some(name) = file.doubles.keys().next() {
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
            train,
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
        Ok(results)
    }

    fn load(&self, device: &Device) -> Result<Loaded> {
        // Before anything is allocated for weights that the case may not have.
        let (layers, most) = (self.stack.options.layers, self.tensors.len());
        let expected = "at most as many as the case has weights for";
        require("num_layers", layers, layers <= most, expected)?;
        Parameters::check(&StackModel::specs(&self.stack)?, &self.tensors)?;
        let layer = StackModel::new(device, self.stack.clone(), 0)?;
        let mut rest = self.tensors.clone();
        let x = rest.remove("x");
        let x = x.ok_or_else(|| Error::argument("x", "missing", "a tensor"))?;
        let d_y = rest.remove("dy");
        let [first, second, _] = *x.shape() else {
            return Err(Error::shape("x", x.shape(), "three dimensions"));
        };
        let batch = match self.stack.options.batch_first {
            true => first,
            false => second,
        };
        let initial = self.state(device, &mut rest, ["h0", "c0"], batch)?;
        let d_last = self.state(device, &mut rest, ["dhn", "dcn"], batch)?;
        layer.parameters().load(&rest)?;
        let x = Tensor::from_array(device, &x)?;
        let d_y = d_y.map(|d_y| Tensor::from_array(device, &d_y));
        let d_y = d_y.transpose()?;
        layer.check(self.input(&x), initial.as_ref())?;
        if let Some(d_y) = &d_y {
            check_shape("dy", d_y.shape(), &layer.y_shape(x.shape()))?;
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
        Input {
            x,
            lengths: self.lengths.as_deref(),
            random: self.train,
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
        let names = &names[..self.stack.cell.states()];
        if !names.iter().any(|name| rest.contains_key(*name)) {
            return Ok(None);
        }
        let parts = names.iter().enumerate().map(|(index, name)| {
            let shape = self.stack.options.state_shape(index, batch);
            let Some(values) = rest.remove(*name) else {
                return Tensor::zeros(device, &shape);
            };
            check_shape(name, values.shape(), &shape)?;
            Tensor::from_array(device, &values)
        });
        Ok(Some(State::from_parts(parts.collect::<Result<_>>()?)))
    }
}

/// Writes results as F32 or F64 tensors. The file appears whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub fn write<F: Real>(path: impl AsRef<Path>, results: &Results<F>) -> Result<()> {
    write_file(path.as_ref(), results)
}
