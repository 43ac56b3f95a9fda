//! Arrays on a device.

use crate::Real;
use crate::cpu::Buffer;
use crate::device::{Device, Kind, Scalar};
use crate::elements::{check_range, count_elements, zeros};
use crate::error::{Error, Result, check_shape, require};
use crate::gpu::{self, Words};
use crate::graph::Dtype;
use crate::program::product;
use ndarray::{Array, ArrayD, ArrayRef, Dimension};
use std::ops::Range;

#[derive(Clone, Debug)]
pub(crate) enum Storage {
    F32(Buffer<f32>),
    F64(Buffer<f64>),
    Gpu(gpu::Buffer),
}

impl Storage {
    pub(crate) fn f32(&self) -> Option<&Buffer<f32>> {
        match self {
            Self::F32(buffer) => Some(buffer),
            _ => None,
        }
    }
    pub(crate) fn f64(&self) -> Option<&Buffer<f64>> {
        match self {
            Self::F64(buffer) => Some(buffer),
            _ => None,
        }
    }
}

/// A row-major array of floats on a device: f32, or f64 on [`Device::cpu_f64`]. Clones share their memory.
#[derive(Clone, Debug)]
pub struct Tensor {
    device: Device,
    shape: Vec<usize>,
    dtype: Dtype,
    storage: Storage,
}

impl Tensor {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::OutOfMemory`] where the device cannot hold it.
    pub fn zeros(device: &Device, shape: &[usize]) -> Result<Self> {
        Self::named(device, "a tensor", shape)
    }

    /// A tensor of zeros that errors call `name`.
    pub(crate) fn named(device: &Device, name: &str, shape: &[usize]) -> Result<Self> {
        let len = count_elements(name, shape)?;
        let storage = match device.kind() {
            Kind::Cpu(Scalar::F32) => Storage::F32(Buffer::new(zeros(name, shape, len)?)),
            Kind::Cpu(Scalar::F64) => Storage::F64(Buffer::new(zeros(name, shape, len)?)),
            Kind::Gpu(context) => {
                let buffer = context.storage(&format!("{name} {shape:?}"), len)?;
                Storage::Gpu(gpu::Buffer::new(buffer))
            }
        };
        Ok(Self {
            device: device.clone(),
            shape: shape.to_vec(),
            dtype: Dtype::Float,
            storage,
        })
    }

    /// A copy of an array, f32 or f64, of any layout. Errors as [`Tensor::zeros`] and [`Tensor::write`].
    pub fn from_array<F: Real, D: Dimension>(
        device: &Device,
        array: &ArrayRef<F, D>,
    ) -> Result<Self> {
        let tensor = Self::zeros(device, array.shape())?;
        tensor.write(array)?;
        Ok(tensor)
    }

    /// Whole numbers, such as classes or tokens. Errors as [`Tensor::zeros`].
    pub fn from_indices<D: Dimension>(device: &Device, array: &ArrayRef<u32, D>) -> Result<Self> {
        let tensor = Self {
            dtype: Dtype::Index,
            ..Self::zeros(device, array.shape())?
        };
        tensor.write_wholes(0, &array.iter().copied().collect::<Vec<_>>())?;
        Ok(tensor)
    }

    /// A buffer of f32 that the program already has, used as it is. It must belong to the device and have the usages `STORAGE`,
    /// `COPY_SRC` and `COPY_DST`.
    ///
    /// # Errors
    /// [`Error::Argument`] where the device is not a GPU, the buffer is smaller than the shape, lacks a usage, is mapped or destroyed, or
    /// another wgpu device made it: wgpu then tells that device of an error, too. [`Error::DeviceLost`].
    pub fn from_wgpu(device: &Device, buffer: wgpu::Buffer, shape: &[usize]) -> Result<Self> {
        let limits = &device.context()?.limits;
        let available = limits.max_storage_buffer_binding_size;
        if buffer.size() > available {
            return Err(Error::Limit {
                what: "buffer".to_owned(),
                needed: buffer.size(),
                limit: "max_storage_buffer_binding_size",
                available,
            });
        }
        let needed = 4 * count_elements("shape", shape)?.max(1) as u64;
        let got = format!("{} bytes", buffer.size());
        let expected = format!("at least the {needed} bytes of shape {shape:?}");
        require("buffer", got, buffer.size() >= needed, expected)?;
        let usages = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let (got, fits) = (buffer.usage(), buffer.usage().contains(usages));
        require("buffer", format!("{got:?}"), fits, format!("{usages:?}"))?;
        device.context()?.check_buffer(&buffer)?;
        Ok(Self {
            device: device.clone(),
            shape: shape.to_vec(),
            dtype: Dtype::Float,
            storage: Storage::Gpu(gpu::Buffer::shared(buffer)),
        })
    }

    /// The tensor's buffer, where it is on a GPU. As the caller may write to it at any time, what is made of a weight for the kernels is made
    /// anew at every run from then on.
    pub fn wgpu_buffer(&self) -> Option<&wgpu::Buffer> {
        self.gpu_buffer().map(gpu::Buffer::share)
    }

    /// The tensor's buffer, for this crate.
    pub(crate) fn gpu_buffer(&self) -> Option<&gpu::Buffer> {
        match &self.storage {
            Storage::Gpu(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// The device that the tensor is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What its elements are.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The tensor's shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        product(&self.shape)
    }

    /// Says whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn shares_memory_with(&self, other: &Self) -> bool {
        match (&self.storage, &other.storage) {
            (Storage::F32(a), Storage::F32(b)) => a.is(b),
            (Storage::F64(a), Storage::F64(b)) => a.is(b),
            (Storage::Gpu(a), Storage::Gpu(b)) => **a == **b,
            _ => false,
        }
    }

    /// The same elements in another shape, sharing the memory.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs; [`Error::Limit`] for sizes past all bounds.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if count_elements("shape", shape)? != self.len() {
            let expected = format!("{} elements, as {:?}", self.len(), self.shape);
            return Err(Error::shape("shape", shape, expected));
        }
        Ok(self.start(shape))
    }

    /// The first elements in another shape, sharing the memory.
    pub(crate) fn start(&self, shape: &[usize]) -> Self {
        debug_assert!(product(shape) <= self.len());
        Self {
            shape: shape.to_vec(),
            ..self.clone()
        }
    }

    /// Overwrites all elements with those of an array of the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ; [`Error::Argument`] for an f64 past the range of f32 where the device computes in that;
    /// [`Error::DeviceLost`].
    pub fn write<F: Real, D: Dimension>(&self, array: &ArrayRef<F, D>) -> Result<()> {
        check_shape("array", array.shape(), &self.shape)?;
        let expected = "whole numbers, with write_indices";
        require("array", "floats", self.dtype == Dtype::Float, expected)?;
        check_range("array", array, &self.device)?;
        self.write_part(0, array)
    }

    /// Overwrites elements from `offset` on with those of an array.
    pub(crate) fn write_part<F: Real, D: Dimension>(
        &self,
        offset: usize,
        array: &ArrayRef<F, D>,
    ) -> Result<()> {
        match array.as_slice() {
            Some(values) => self.write_slice(offset, values),
            None => self.write_slice(offset, &array.iter().copied().collect::<Vec<_>>()),
        }
    }

    /// Overwrites all elements with whole numbers of the same shape, as what reads them as such expects.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ; [`Error::DeviceLost`].
    pub fn write_indices<D: Dimension>(&self, array: &ArrayRef<u32, D>) -> Result<()> {
        check_shape("array", array.shape(), &self.shape)?;
        self.write_wholes(0, &array.iter().copied().collect::<Vec<_>>())
    }

    /// Overwrites elements from `offset` on.
    pub(crate) fn write_slice<F: Real>(&self, offset: usize, values: &[F]) -> Result<()> {
        let place = offset..offset + values.len();
        match &self.storage {
            Storage::F32(buffer) => convert(values, &mut buffer.write()[place]),
            Storage::F64(buffer) => convert(values, &mut buffer.write()[place]),
            Storage::Gpu(buffer) => match bytemuck::try_cast_slice::<F, f32>(values) {
                Ok(values) if size_of::<F>() == size_of::<f32>() => {
                    self.device.context()?.write(buffer, offset, values)?;
                }
                _ => {
                    let values = values.iter().map(|value| value.to_double() as f32);
                    let values: Vec<f32> = values.collect();
                    self.device.context()?.write(buffer, offset, &values)?;
                }
            },
        }
        Ok(())
    }

    /// Overwrites elements from `offset` on with whole numbers, which lie there as bits.
    pub(crate) fn write_wholes(&self, offset: usize, wholes: &[u32]) -> Result<()> {
        fn put<F: Real>(buffer: &Buffer<F>, offset: usize, wholes: &[u32]) {
            let mut buffer = buffer.write();
            let to = buffer[offset..offset + wholes.len()].iter_mut();
            to.zip(wholes)
                .for_each(|(to, whole)| *to = F::from_whole(*whole));
        }
        match &self.storage {
            Storage::F32(buffer) => put(buffer, offset, wholes),
            Storage::F64(buffer) => put(buffer, offset, wholes),
            Storage::Gpu(_) => {
                self.write_words(offset, wholes.len(), |to| to.copy(wholes))?;
            }
        }
        Ok(())
    }

    /// Zeros in some ranges of a CPU's tensor.
    pub(crate) fn clear(&self, ranges: impl Iterator<Item = Range<usize>>) {
        let mut ranges = ranges.peekable();
        if ranges.peek().is_none() {
            return;
        }
        match &self.storage {
            Storage::F32(buffer) => clear(&mut buffer.write(), ranges),
            Storage::F64(buffer) => clear(&mut buffer.write(), ranges),
            Storage::Gpu(_) => unreachable!("a GPU's tensors are written as words"),
        }
    }

    /// Overwrites `len` words of a GPU's tensor from `offset` on, which `fill` writes where they are handed over.
    pub(crate) fn write_words(
        &self,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut Words<'_>),
    ) -> Result<()> {
        match &self.storage {
            Storage::Gpu(buffer) => self.device.context()?.write_with(buffer, offset, len, fill),
            _ => unreachable!("words are a GPU's"),
        }
    }

    /// Copies `len` elements of another tensor of the same CPU device.
    pub(crate) fn copy_slice(&self, offset: usize, from: &Self, from_offset: usize, len: usize) {
        match (&self.storage, &from.storage) {
            (Storage::F32(to), Storage::F32(from)) => to.copy(offset, from, from_offset, len),
            (Storage::F64(to), Storage::F64(from)) => to.copy(offset, from, from_offset, len),
            _ => unreachable!("tensors of one CPU device have one storage"),
        }
    }

    /// Reads elements, once all work submitted before is done.
    pub(crate) async fn read_slice<F: Real>(&self, offset: usize, len: usize) -> Result<Vec<F>> {
        let mut values = zeros("an array", &self.shape, len)?;
        match &self.storage {
            Storage::F32(buffer) => self.take(&buffer.read()[offset..offset + len], &mut values),
            Storage::F64(buffer) => self.take(&buffer.read()[offset..offset + len], &mut values),
            Storage::Gpu(buffer) => {
                let read = self.device.context()?.read(buffer, offset, len).await?;
                self.take(&read, &mut values);
            }
        }
        Ok(values)
    }

    /// Elements as numbers.
    fn take<A: Real, B: Real>(&self, from: &[A], to: &mut [B]) {
        match self.dtype {
            Dtype::Float => convert(from, to),
            Dtype::Index => {
                let pairs = to.iter_mut().zip(from);
                pairs.for_each(|(to, from)| *to = B::from_double(from.to_whole().into()));
            }
        }
    }

    /// Reads the tensor as an array of f32 or f64 (rounded or widened where the device computes in the other).
    ///
    /// # Errors
    /// [`Error::DeviceLost`], and faults the driver reported since the last check.
    pub async fn to_array_async<F: Real>(&self) -> Result<ArrayD<F>> {
        let values = self.read_slice(0, self.len()).await?;
        Ok(Array::from_shape_vec(self.shape.clone(), values).expect("the length is the shape's"))
    }

    /// Blocking [`Tensor::to_array_async`], with its errors.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_array<F: Real>(&self) -> Result<ArrayD<F>> {
        crate::waiting::block_on(self.to_array_async())
    }

    /// `Ok` where the tensor is on the device, else an error that names the argument.
    pub(crate) fn check_device(&self, argument: &str, device: &Device) -> Result<()> {
        if self.device.is_same(device) {
            return Ok(());
        }
        let [own, other] = Device::names([&self.device, device]);
        let (got, expected) = (format!("a tensor on {own}"), format!("one on {other}"));
        Err(Error::argument(argument, got, expected))
    }
}

fn convert<A: Real, B: Real>(from: &[A], to: &mut [B]) {
    let pairs = to.iter_mut().zip(from);
    pairs.for_each(|(to, from)| *to = B::from_double(from.to_double()));
}

fn clear<F: Real>(values: &mut [F], ranges: impl Iterator<Item = Range<usize>>) {
    ranges.for_each(|range| values[range].fill(F::zero()));
}
