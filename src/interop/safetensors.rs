//! safetensors files.

use crate::Real;
use crate::error::{Error, Result};
use crate::files;
use crate::nn::{Parameters, Weights};
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A file's tensors, and its metadata.
pub(crate) struct File {
    pub(crate) tensors: Weights,
    /// Tensors of F64.
    pub(crate) doubles: BTreeMap<String, ArrayD<f64>>,
    /// Tensors of whole numbers (I64).
    pub(crate) integers: BTreeMap<String, ArrayD<i64>>,
    pub(crate) metadata: HashMap<String, String>,
}

/// Reads a file of F32 or F64 tensors.
pub(crate) fn read_file(path: &Path) -> Result<File> {
    let bytes = std::fs::read(path).map_err(|reason| Error::file(path, reason))?;
    let damaged = |reason| Error::file(path, format!("not a safetensors file: {reason}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut tensors = Weights::new();
    let (mut doubles, mut integers) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in file.tensors() {
        match view.dtype() {
            Dtype::F32 => drop(tensors.insert(name, array(path, &view)?)),
            Dtype::F64 => drop(doubles.insert(name, array(path, &view)?)),
            Dtype::I64 => drop(integers.insert(name, array(path, &view)?)),
            other => {
                let reason = format!("tensor {name} is {other:?}, expected F32 or F64");
                return Err(Error::file(path, reason));
            }
        }
    }
    Ok(File {
        tensors,
        doubles,
        integers,
        metadata: header.metadata().clone().unwrap_or_default(),
    })
}

fn array<T: bytemuck::Pod>(path: &Path, view: &TensorView<'_>) -> Result<ArrayD<T>> {
    // The bytes may lie anywhere, so they are collected instead of cast.
    let values = bytemuck::pod_collect_to_vec(view.data());
    ArrayD::from_shape_vec(view.shape(), values).map_err(|reason| Error::file(path, reason))
}

/// Writes arrays as F32 or F64 tensors. The file appears whole or not at all.
pub(crate) fn write_file<F: Real>(
    path: &Path,
    tensors: &BTreeMap<String, ArrayD<F>>,
) -> Result<()> {
    let dtype = match size_of::<F>() {
        8 => Dtype::F64,
        _ => Dtype::F32,
    };
    let contiguous: Vec<_> = (tensors.values())
        .map(|array| array.iter().copied().collect::<Vec<F>>())
        .collect();
    let views = tensors
        .iter()
        .zip(&contiguous)
        .map(|((name, array), values)| {
            let shape = array.shape().to_vec();
            let view = TensorView::new(dtype, shape, bytemuck::cast_slice(values));
            (name.as_str(), view.expect("the length is the shape's"))
        });
    let bytes = safetensors::serialize(views, None).map_err(|reason| Error::file(path, reason))?;
    files::replace(path, &bytes).map_err(|reason| Error::file(path, reason))
}

impl Parameters {
    /// Writes all weights under their names: F32, or F64 where the device computes in f64.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::DeviceLost`].
    pub async fn save_async(&self, path: impl AsRef<Path>) -> Result<()> {
        match self.flat().device().element_size() {
            8 => self.save_as::<f64>(path.as_ref()).await,
            _ => self.save_as::<f32>(path.as_ref()).await,
        }
    }

    async fn save_as<F: Real>(&self, path: &Path) -> Result<()> {
        let (weights, path) = (self.to_arrays_async::<F>().await?, path.to_owned());
        let write = move || write_file(&path, &weights);
        #[cfg(not(target_arch = "wasm32"))]
        return crate::waiting::apart(write).await;
        #[cfg(target_arch = "wasm32")]
        write()
    }

    /// Blocking [`Parameters::save_async`], with its errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::waiting::block_on(self.save_async(path))
    }

    /// Sets all weights from a file of F32 or F64 tensors with their names and shapes, such as PyTorch's `state_dict` saved by
    /// `safetensors.torch.save_file`. Numbers of F64 are rounded where the device computes in f32, and kept where it computes in f64.
    /// Nothing is changed where anything is wrong.
    ///
    /// # Errors
    /// [`Error::File`] where the file cannot be read; as [`Parameters::load`].
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = read_file(path.as_ref())?;
        if let Some(name) = file.integers.keys().next() {
            let reason = format!("tensor {name} is I64, expected F32 or F64");
            return Err(Error::file(path, reason));
        }
        if file.doubles.is_empty() {
            return self.load(&file.tensors);
        }
        let mut all = file.doubles;
        let widened = file.tensors.into_iter();
        all.extend(widened.map(|(name, values)| (name, values.mapv(f64::from))));
        self.load(&all)
    }
}
