//! Weights: one flat tensor a model, so that an optimizer step is one dispatch.

use crate::Real;
use crate::device::Device;
use crate::elements::{check_range, zeros};
use crate::error::{Error, Result, check_shape};
use crate::program::Slice;
use crate::tensor::Tensor;
use ndarray::{ArrayD, ArrayRef, Dimension};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::collections::BTreeMap;

/// Weights by name, as read from and written to files.
pub type Weights = BTreeMap<String, ArrayD<f32>>;

/// How a weight is first set.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Drawn uniformly from ± this.
    Uniform(f64),
    /// Drawn from a normal distribution of mean 0 and this deviation.
    Normal(f64),
    /// This everywhere.
    Constant(f64),
    /// Drawn uniformly from ± the bound, then a part (first, length) set to a value: the forget gate's bias.
    UniformExcept {
        /// The bound.
        bound: f64,
        /// First element and length of the part.
        part: (usize, usize),
        /// What the part is set to.
        value: f64,
    },
}

impl Init {
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        let numbers = match *self {
            Self::Uniform(number) | Self::Normal(number) | Self::Constant(number) => [number, 0.0],
            Self::UniformExcept { bound, value, .. } => [bound, value],
        };
        if numbers.iter().all(|number| (*number as f32).is_finite()) {
            return Ok(());
        }
        let argument = format!("the first values of {name}");
        Err(Error::argument(
            argument,
            format!("{self:?}"),
            "finite numbers, in f32 too",
        ))
    }

    /// Draws a weight.
    fn draw(&self, values: &mut [f32], rng: &mut ChaCha8Rng) {
        let mut uniform = |bound: f64| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32;
        match *self {
            Self::Uniform(bound) => values.fill_with(|| uniform(bound)),
            Self::UniformExcept {
                bound,
                part: (first, count),
                value,
            } => {
                values.fill_with(|| uniform(bound));
                values[first..first + count].fill(value as f32);
            }
            Self::Constant(value) => values.fill(value as f32),
            // Box & Muller, 1958.
            Self::Normal(deviation) => values.fill_with(|| {
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                let angle = std::f64::consts::TAU * rng.random::<f64>();
                (deviation * radius * angle.cos()) as f32
            }),
        }
    }
}

/// A weight's name, shape and first values.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSpec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    init: Init,
    /// Where it starts in the tensor of all weights, once there is one.
    pub(crate) offset: usize,
}

impl ParameterSpec {
    pub(crate) fn new(name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            init,
            offset: 0,
        }
    }

    fn len(&self) -> usize {
        let sizes = self.shape.iter();
        sizes.fold(1, |len, size| len.saturating_mul(*size))
    }

    /// The place of the weight among all weights.
    fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// The weights of a model, on its device, with PyTorch's names and shapes.
#[derive(Clone, Debug)]
pub struct Parameters {
    specs: Vec<ParameterSpec>,
    flat: Tensor,
}

/// Weights start at multiples of this: 16 bytes, the alignment of a `vec4<f32>`.
const ALIGNMENT: usize = 4;

impl Parameters {
    /// Draws all weights from one generator (ChaCha8) in order, so that they are the same on every device.
    pub(crate) fn new(device: &Device, mut specs: Vec<ParameterSpec>, seed: u64) -> Result<Self> {
        let mut end = 0_usize;
        for spec in &mut specs {
            spec.offset = end;
            // Where this saturates, there is no such tensor.
            end = end
                .saturating_add(spec.len())
                .checked_next_multiple_of(ALIGNMENT)
                .unwrap_or(usize::MAX);
        }
        // Before anything is drawn: it may be too large.
        let flat = Tensor::named(device, "the weights", &[end])?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = zeros::<f32>("the weights", &[end], end)?;
        for spec in &specs {
            spec.init.draw(&mut values[spec.range()], &mut rng);
        }
        flat.write_slice(0, &values)?;
        Ok(Self { specs, flat })
    }

    /// A tensor of zeros of the same names and shapes.
    pub(crate) fn like(&self) -> Result<Self> {
        let flat = Tensor::named(self.flat.device(), "gradients", self.flat.shape())?;
        let specs = self.specs.clone();
        Ok(Self { specs, flat })
    }

    /// The names, in PyTorch's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.specs.iter().map(|spec| spec.name.as_str())
    }

    /// The number of weights.
    pub fn count(&self) -> usize {
        self.specs.iter().map(ParameterSpec::len).sum()
    }

    /// All weights in one tensor, with gaps.
    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    fn spec(&self, name: &str) -> Result<&ParameterSpec> {
        let found = self.specs.iter().find(|spec| spec.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.names().collect();
            Error::argument("name", name, format!("one of {}", names.join(", ")))
        })
    }

    /// A weight's shape.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none of that name.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.spec(name)?.shape)
    }

    /// Sets a weight.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none of that name, or for an f64 past the range of the device's f32; [`Error::Shape`] where it
    /// has another shape.
    pub fn set<F: Real, D: Dimension>(&self, name: &str, values: &ArrayRef<F, D>) -> Result<()> {
        let spec = self.spec(name)?;
        check_shape(name, values.shape(), &spec.shape)?;
        check_range(name, values, self.flat.device())?;
        self.flat.write_part(spec.offset, values)
    }

    /// Sets all weights. Nothing is changed where anything is wrong.
    ///
    /// # Errors
    /// [`Error::Argument`] that names a weight that is missing, one too many, or one with an f64 past the range of the device's f32;
    /// [`Error::Shape`] for another shape.
    pub fn load<F: Real>(&self, weights: &BTreeMap<String, ArrayD<F>>) -> Result<()> {
        self.load_into(&self.flat, weights)
    }

    /// `Ok` where every weight is there in its shape.
    pub(crate) fn check<F>(
        specs: &[ParameterSpec],
        weights: &BTreeMap<String, ArrayD<F>>,
    ) -> Result<()> {
        for ParameterSpec { name, shape, .. } in specs {
            let expected = || format!("a tensor of shape {shape:?}");
            let values = weights.get(name);
            let values = values.ok_or_else(|| Error::argument(name, "missing", expected()))?;
            check_shape(name, values.shape(), shape)?;
        }
        Ok(())
    }

    /// Sets all values of a tensor that is laid out like the weights, such as their gradients.
    pub(crate) fn load_into<F: Real>(
        &self,
        flat: &Tensor,
        weights: &BTreeMap<String, ArrayD<F>>,
    ) -> Result<()> {
        Self::check(&self.specs, weights)?;
        if let Some(name) = weights.keys().find(|name| self.spec(name).is_err()) {
            let expected = "absent, as the model has no such weight";
            return Err(Error::argument(name, "present", expected));
        }
        for (name, values) in weights {
            check_range(name, values, flat.device())?;
        }
        let mut specs = self.specs.iter();
        specs.try_for_each(|spec| flat.write_part(spec.offset, &weights[&spec.name]))
    }

    /// Reads all weights.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn to_arrays_async<F: Real>(&self) -> Result<BTreeMap<String, ArrayD<F>>> {
        self.read(&self.flat).await
    }

    /// Blocking [`Parameters::to_arrays_async`], with its errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_arrays<F: Real>(&self) -> Result<BTreeMap<String, ArrayD<F>>> {
        crate::waiting::block_on(self.to_arrays_async())
    }

    /// Reads a tensor that is laid out like the weights, such as their gradients.
    pub(crate) async fn read<F: Real>(&self, flat: &Tensor) -> Result<BTreeMap<String, ArrayD<F>>> {
        let values = flat.read_slice::<F>(0, flat.len()).await?;
        let array = |spec: &ParameterSpec| {
            let part = values[spec.range()].to_vec();
            let array = ArrayD::from_shape_vec(spec.shape.clone(), part);
            (spec.name.clone(), array.expect("the length is the shape's"))
        };
        Ok(self.specs.iter().map(array).collect())
    }

    /// The weights in a program, in order, of which the tensor of all of them (or of their gradients) is given.
    pub(crate) fn slices(&self, flat: Slice) -> Vec<Slice> {
        let slice = |spec: &ParameterSpec| flat.part(spec.offset, spec.len());
        self.specs.iter().map(slice).collect()
    }

    /// Names, shapes and places, in order.
    pub(crate) fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }
}
