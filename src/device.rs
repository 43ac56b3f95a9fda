//! Where computations run.

use crate::error::{Error, Result};
use crate::gpu::adapter::Wish;
use crate::gpu::{AdapterInfo, Context, Counters, GemmKernel, RecurrentChoice, adapter};
use crate::program::MOST_ELEMENTS;
#[cfg(not(target_arch = "wasm32"))]
use crate::waiting;
use crate::waiting::Breaths;
use std::sync::Arc;

/// The scalar type of a CPU device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Single precision, as on a GPU.
    F32,
    /// Double precision: the reference.
    F64,
}

/// How a GPU reads the weights of matrix products and recurrences. Everything else is f32 either way: the weights that the optimizer
/// changes and that are read back or saved, activations, gradients, and all sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Weights are read as they are, in f32.
    #[default]
    F32,
    /// From a copy in f16, made anew when they change, with half the bytes to read: 11 bits of mantissa, rounded to nearest even;
    /// below 6e-5 fewer bits, below 3e-8 zero; above 65,504 held at that.
    F16,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Cpu(Scalar),
    Gpu(Arc<Context>),
}

/// Where computations run: a GPU or the CPU. Cheap to clone; clones are the same device.
///
/// A software adapter (lavapipe, SwiftShader, WARP) runs shaders on the CPU, slower than the CPU path: it is taken only where
/// [`Device::gpu`] finds nothing better or its name is asked for.
///
/// ```
/// let device = bptt::Device::best();
/// println!("{device}: {}", device.reason());
/// ```
#[derive(Clone, Debug)]
pub struct Device {
    kind: Kind,
    reason: Arc<str>,
}

impl Device {
    fn new(kind: Kind, reason: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// The CPU path in f32.
    pub fn cpu() -> Self {
        Self::new(Kind::Cpu(Scalar::F32), "the CPU path was asked for")
    }

    /// The CPU path in f64: slower, and the reference for all others.
    pub fn cpu_f64() -> Self {
        Self::new(Kind::Cpu(Scalar::F64), "the CPU path in f64 was asked for")
    }

    /// A hardware adapter where there is one, else the CPU path; never fails. The environment variable `BPTT_ADAPTER` names an
    /// adapter instead (a part of its name, API or driver, in any case), a software adapter too. [`Device::reason`] says what was
    /// chosen and why.
    pub async fn best_async() -> Self {
        let wish = Wish::from_environment(Wish::Hardware);
        match open(wish.clone(), Precision::F32).await {
            Ok(context) => Self::new(Kind::Gpu(Arc::new(context)), format!("{wish} was found")),
            Err(reason) => Self::new(Kind::Cpu(Scalar::F32), reason.to_string()),
        }
    }

    /// The best GPU adapter; a software adapter where there is no other. `BPTT_ADAPTER` names one, as for [`Device::best`].
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none, [`Error::NoDevice`] where it cannot be opened.
    pub async fn gpu_async() -> Result<Self> {
        Self::open(Wish::from_environment(Wish::Any), Precision::F32).await
    }

    /// The best GPU adapter whose name contains `name`, in any case.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none, [`Error::NoDevice`] where it cannot be opened.
    pub async fn gpu_named_async(name: &str) -> Result<Self> {
        Self::open(Wish::Named(name.to_owned()), Precision::F32).await
    }

    /// The GPU adapter of [`Device::gpu`] with [`Precision::F16`], opened with cooperative matrices (tensor cores) where it has
    /// them for f16 with sums in f32. There they take the forward products x Wᵀ whose rows and columns are multiples of 16 (or 8,
    /// as the adapter has it), and round x to f16 as well; see [`GemmKernel::Cooperative`].
    ///
    /// A device of its own, since wgpu has them as an experimental feature under which drivers get all shaders for another memory model.
    /// Errors as [`Device::gpu`].
    pub async fn gpu_f16_async() -> Result<Self> {
        Self::open(Wish::from_environment(Wish::Any), Precision::F16).await
    }

    async fn open(wish: Wish, precision: Precision) -> Result<Self> {
        let reason = format!("{wish} was asked for");
        let context = open(wish, precision).await?;
        Ok(Self::new(Kind::Gpu(Arc::new(context)), reason))
    }

    /// The GPU adapters of this machine, best first. Empty where there is none.
    pub async fn adapters_async() -> Vec<AdapterInfo> {
        #[cfg(not(target_arch = "wasm32"))]
        let adapters = waiting::apart(|| waiting::block_on(adapter::enumerate())).await;
        #[cfg(target_arch = "wasm32")]
        let adapters = adapter::enumerate().await;
        adapters.into_iter().map(|(_, info)| info).collect()
    }

    /// A device and queue that the program already has. Its limits are kept to, its error and loss handlers stay as they are. With the
    /// queue of another device every call is an [`Error::Argument`].
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let context = Arc::new(Context::new(device, queue));
        Self::new(Kind::Gpu(context), "the program's own wgpu device")
    }

    /// Why this device was chosen, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Says whether the device is a GPU (a software adapter included).
    pub fn is_gpu(&self) -> bool {
        matches!(self.kind, Kind::Gpu(_))
    }

    /// The adapter, where it is a GPU.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        self.context().ok().map(|context| &context.info)
    }

    /// The wgpu device and queue, where it is a GPU.
    pub fn wgpu(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        let context = self.context().ok()?;
        Some((&context.device, &context.queue))
    }

    /// How much work the GPU was given; all zeros on a CPU.
    pub fn counters(&self) -> Counters {
        let context = self.context();
        context.map_or_else(|_| Counters::default(), |context| context.counters())
    }

    /// Replaces how recurrent layers run on this GPU, for what is compiled from now on; `None` gives the choice back to the crate. For
    /// measurements and tests: the crate's own choice is meant to be the best.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is a CPU, where the choice wants subgroups and the device has none, and for numbers that
    /// [`RecurrentChoice::new`] refuses.
    pub fn set_recurrent_choice(&self, choice: Option<RecurrentChoice>) -> Result<()> {
        self.context()?.set_recurrent_choice(choice)
    }

    /// Makes programs compiled from now on use one kernel for every matrix product that it can take; `None` ends that. For
    /// measurements and for finding faults: left alone, the fastest is found by itself.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is a CPU.
    pub fn set_gemm_kernel(&self, kernel: Option<GemmKernel>) -> Result<()> {
        self.context()?.force_gemm(kernel);
        Ok(())
    }

    /// How this GPU reads weights from now on, [`Precision::F32`] at first. Layers, models and trainers follow at their next call; an
    /// [`Executable`](crate::Executable) stays as it was compiled.
    ///
    /// ```no_run
    /// # fn main() -> bptt::Result<()> {
    /// let device = bptt::Device::gpu()?;
    /// device.set_precision(bptt::Precision::F16)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where it is a CPU.
    pub fn set_precision(&self, precision: Precision) -> Result<()> {
        self.context()?.set_precision(precision);
        Ok(())
    }

    /// How weights are read; F32 where it is a CPU, whatever its scalar type.
    pub fn precision(&self) -> Precision {
        let context = self.context();
        context.map_or(Precision::F32, |context| context.precision())
    }

    /// Waits until the GPU has done all work submitted so far; at once on a CPU.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or a fault that the driver reported since the last check.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self) -> Result<()> {
        let Ok(context) = self.context() else {
            return Ok(());
        };
        context.wait(None)?;
        context.check()
    }

    /// The most elements of what is fed together, where that is worth it.
    pub(crate) fn fed_together(&self) -> Option<usize> {
        self.is_gpu().then(|| self.most_elements())
    }

    /// The most elements of a tensor.
    pub(crate) fn most_elements(&self) -> usize {
        match self.kind() {
            Kind::Cpu(_) => MOST_ELEMENTS,
            Kind::Gpu(context) => MOST_ELEMENTS.min(context.most_words()),
        }
    }

    /// Bytes of a tensor's element.
    pub(crate) fn element_size(&self) -> usize {
        match self.kind() {
            Kind::Cpu(Scalar::F64) => 8,
            _ => 4,
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn context(&self) -> Result<&Arc<Context>> {
        match &self.kind {
            Kind::Gpu(context) => Ok(context),
            Kind::Cpu(_) => Err(Error::argument("device", self, "a GPU device")),
        }
    }

    /// Lets other tasks of an executor run, and waits where the device is too far behind.
    pub(crate) async fn breathe(&self, breaths: &mut Breaths) -> Result<()> {
        if let Kind::Gpu(context) = &self.kind {
            context.room().await?;
        }
        breaths.take().await;
        Ok(())
    }

    /// The names of two devices, with their numbers where the names are one.
    pub(crate) fn names(devices: [&Self; 2]) -> [String; 2] {
        let names = devices.map(Self::to_string);
        match devices.map(Self::context) {
            [Ok(a), Ok(b)] if names[0] == names[1] => {
                [a, b].map(|context| format!("GPU: {}", context.name()))
            }
            _ => names,
        }
    }

    /// Says whether both are one device, so that their tensors may meet.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Cpu(a), Kind::Cpu(b)) => a == b,
            (Kind::Gpu(a), Kind::Gpu(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Opens a device. Drivers take their time.
#[cfg(not(target_arch = "wasm32"))]
async fn open(wish: Wish, precision: Precision) -> Result<Context> {
    waiting::apart(move || waiting::block_on(Context::open(&wish, precision))).await
}

/// Opens a device.
#[cfg(target_arch = "wasm32")]
async fn open(wish: Wish, precision: Precision) -> Result<Context> {
    Context::open(&wish, precision).await
}

#[cfg(not(target_arch = "wasm32"))]
impl Device {
    /// Blocking [`Device::best_async`].
    pub fn best() -> Self {
        waiting::block_on(Self::best_async())
    }

    /// Blocking [`Device::gpu_async`], with its errors.
    pub fn gpu() -> Result<Self> {
        waiting::block_on(Self::gpu_async())
    }

    /// Blocking [`Device::gpu_f16_async`], with its errors.
    pub fn gpu_f16() -> Result<Self> {
        waiting::block_on(Self::gpu_f16_async())
    }

    /// Blocking [`Device::gpu_named_async`], with its errors.
    pub fn gpu_named(name: &str) -> Result<Self> {
        waiting::block_on(Self::gpu_named_async(name))
    }

    /// Blocking [`Device::adapters_async`].
    pub fn adapters() -> Vec<AdapterInfo> {
        waiting::block_on(Self::adapters_async())
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Cpu(Scalar::F32) => f.write_str("CPU (f32)"),
            Kind::Cpu(Scalar::F64) => f.write_str("CPU (f64)"),
            Kind::Gpu(context) => write!(f, "GPU: {}", context.info),
        }
    }
}
