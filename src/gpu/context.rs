//! A wgpu device with what this crate keeps beside it.

use super::adapter::{self, AdapterInfo, Wish};
use super::faults::{self, describe, scoped};
use super::in_flight::InFlight;
use super::pipeline::PipelineCache;
#[cfg(not(target_arch = "wasm32"))]
use super::poller::Poller;
use super::recurrent_choice::{self, RecurrentChoice};
use super::store::Store;
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::program::RecurrentShape;
use crate::trusted;
use crate::tuning::Tuner;
use parking_lot::{Mutex, ReentrantMutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much work a device was given since it was opened.
///
/// After the first training step of a shape only `submits`, `dispatches` and `readbacks` grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers created.
    pub buffers: u64,
    /// Bytes of the buffers created. What a model, its trainer and their programs take is the
    /// growth since before they were made; it does not fall when a buffer is dropped.
    pub buffer_bytes: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Compute pipelines created.
    pub pipelines: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Compute dispatches.
    pub dispatches: u64,
    /// Buffers mapped for reading.
    pub readbacks: u64,
}

/// An open GPU device.
pub(crate) struct Context {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) limits: wgpu::Limits,
    pub(super) pipelines: PipelineCache,
    pub(super) counters: Mutex<Counters>,
    pub(super) tuner: Tuner,
    pub(super) store: Store,
    /// Held from where a submit or a write looks at or changes the editions of tensors until it is queued, so that editions
    /// change in the order of the queue. Reentrant, as wgpu calls a program's callbacks from a submit.
    pub(super) order: ReentrantMutex<()>,
    /// Idle readback buffers.
    pub(super) staging: Mutex<Vec<wgpu::Buffer>>,
    pub(crate) info: AdapterInfo,
    /// Whether there are subgroups of at least [`recurrent_choice::SUBGROUP`] invocations.
    pub(super) subgroups: bool,
    precision: Mutex<Precision>,
    /// Rows and columns of the cooperative matrices of f16 with sums in f32 that this device was opened with, if any.
    pub(super) cooperative: Option<u32>,
    /// The first fault that wgpu reported outside an error scope.
    fault: Arc<Mutex<Option<Error>>>,
    /// How much of what was queued may not be done yet.
    pub(super) in_flight: Mutex<InFlight<wgpu::SubmissionIndex>>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) poller: Poller,
    /// How many devices were opened before it: what tells two of one adapter apart.
    pub(crate) number: usize,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.info)
    }
}

/// What is used of a device where its adapter has it; timestamps for profiles only.
const WANTED: wgpu::Features = wgpu::Features::SUBGROUP
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::TIMESTAMP_QUERY);

impl Context {
    /// Opens the best adapter that a wish allows, with all the limits it offers, and with
    /// cooperative matrices where it has some for the precision.
    pub(crate) async fn open(wish: &Wish, precision: Precision) -> Result<Self> {
        let (adapter, info) = adapter::choose(wish).await?;
        let cooperative = match precision {
            Precision::F16 => adapter::cooperative(&adapter),
            Precision::F32 => None,
        };
        let mut descriptor = wgpu::DeviceDescriptor {
            label: Some("bptt"),
            required_limits: adapter.limits(),
            required_features: adapter.features() & WANTED,
            ..Default::default()
        };
        if cooperative.is_some() {
            descriptor.required_features |= adapter::COOPERATIVE;
            descriptor.experimental_features = trusted::experimental_features();
        }
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|reason| Error::NoDevice {
                adapter: info.to_string(),
                reason: reason.to_string(),
            })?;
        let context = Self {
            precision: Mutex::new(precision),
            cooperative,
            ..Self::new(device, queue)
        };
        // The device is this crate's own, so its handlers are too; without one, wgpu panics on a fault.
        let fault = Arc::clone(&context.fault);
        context
            .device
            .on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
                if !faults::provoked() {
                    let error = describe("a GPU operation", error);
                    fault.lock().get_or_insert(error);
                }
            }));
        let fault = Arc::clone(&context.fault);
        context
            .device
            .set_device_lost_callback(move |reason, message| {
                // A loss outranks whatever was reported before it.
                *fault.lock() = Some(Error::DeviceLost {
                    reason: format!("{reason:?}: {message}"),
                });
            });
        Ok(context)
    }

    /// A device that belongs to somebody else: its error and loss handlers stay theirs.
    pub(crate) fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let info = device.adapter_info();
        let fault =
            (faults::is_alive(&device) && !faults::owns_queue(&device, &queue)).then(|| {
                let (got, expected) = ("a queue of another wgpu device", "the device's own");
                Error::argument("queue", got, expected)
            });
        Self {
            limits: device.limits(),
            subgroups: device.features().contains(wgpu::Features::SUBGROUP)
                && info.subgroup_min_size >= recurrent_choice::SUBGROUP,
            precision: Mutex::default(),
            cooperative: None,
            tuner: Tuner::default(),
            store: Store::open(&device),
            order: ReentrantMutex::default(),
            info: info.into(),
            device,
            queue,
            pipelines: PipelineCache::default(),
            counters: Mutex::default(),
            staging: Mutex::default(),
            fault: Arc::new(Mutex::new(fault)),
            in_flight: Mutex::default(),
            #[cfg(not(target_arch = "wasm32"))]
            poller: Poller::default(),
            number: OPENED.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// How a recurrence of a cell with `gates` gates may run, the best guess first.
    pub(super) fn recurrent_choices(
        &self,
        shape: &RecurrentShape,
        gates: usize,
    ) -> Vec<RecurrentChoice> {
        let bytes = match self.precision() {
            Precision::F32 => 4,
            Precision::F16 => 2,
        };
        RecurrentChoice::candidates(self.info.kind, self.subgroups, shape, gates, bytes)
    }

    /// Replaces the choice for programs compiled from now on.
    pub(crate) fn set_recurrent_choice(&self, choice: Option<RecurrentChoice>) -> Result<()> {
        choice.map_or(Ok(()), |choice| choice.check())?;
        if choice.is_some_and(|choice| choice.subgroups) && !self.subgroups {
            let expected = format!(
                "a device with subgroups of at least {}",
                recurrent_choice::SUBGROUP
            );
            return Err(Error::argument(
                "choice.subgroups",
                self.info.to_string(),
                expected,
            ));
        }
        self.tuner.force(choice);
        Ok(())
    }

    pub(crate) fn precision(&self) -> Precision {
        *self.precision.lock()
    }

    pub(crate) fn set_precision(&self, precision: Precision) {
        *self.precision.lock() = precision;
    }

    pub(crate) fn force_gemm(&self, kernel: Option<super::GemmKernel>) {
        self.tuner.force(kernel);
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.counters.lock()
    }

    /// The fault that the driver reported since the last check, if any. A lost device stays lost, and so does one whose queue is not its
    /// own.
    pub(crate) fn check(&self) -> Result<()> {
        let mut fault = self.fault.lock();
        match &*fault {
            Some(Error::DeviceLost { reason }) => Err(Error::DeviceLost {
                reason: reason.clone(),
            }),
            Some(Error::Argument {
                argument,
                got,
                expected,
            }) => Err(Error::argument(argument, got, expected)),
            _ => fault.take().map_or(Ok(()), Err),
        }
    }

    /// `Ok` where the device is not lost.
    pub(super) fn alive(&self) -> Result<()> {
        if faults::is_alive(&self.device) {
            return Ok(());
        }
        // The reason comes with a callback, which is called by a poll only.
        self.device.poll(wgpu::PollType::Poll).ok();
        Err(self.lost("it does nothing any more"))
    }

    /// `Ok` where a buffer of the program around this crate may be used with this device.
    pub(crate) fn check_buffer(&self, buffer: &wgpu::Buffer) -> Result<()> {
        self.check()?;
        self.alive()?;
        match faults::unusable(&self.device, buffer) {
            None => Ok(()),
            Some(what) => {
                let expected = format!("one made by the wgpu device of GPU: {}", self.name());
                Err(Error::argument(
                    "buffer",
                    what,
                    expected + ", and not in other use",
                ))
            }
        }
    }

    /// The adapter's name, with the device's number.
    pub(crate) fn name(&self) -> String {
        format!("{}, device {}", self.info, self.number)
    }

    /// The fault that kept something from being done: what the driver reported, else that the device is lost.
    pub(super) fn lost(&self, reason: impl ToString) -> Error {
        self.check().err().unwrap_or(Error::DeviceLost {
            reason: reason.to_string(),
        })
    }

    /// Runs a function that creates or uses wgpu objects; what goes wrong in it becomes an error that names `what`.
    pub(super) fn guarded<T>(&self, what: &str, create: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        let (created, error) = scoped(&self.device, create);
        // A loss may show first as invalid objects.
        self.alive()?;
        self.check()?;
        error.map_or(Ok(created), |error| Err(describe(what, error)))
    }

    /// The most words of a storage buffer.
    pub(crate) fn most_words(&self) -> usize {
        let limits = &self.limits;
        let bytes = limits
            .max_buffer_size
            .min(limits.max_storage_buffer_binding_size);
        usize::try_from(bytes / 4).unwrap_or(usize::MAX)
    }

    /// Storage for `len` floats, zeroed.
    pub(crate) fn storage(&self, what: &str, len: usize) -> Result<wgpu::Buffer> {
        let bytes = 4 * (len.max(1) as u64);
        let most = self.limits.max_storage_buffer_binding_size;
        check_limit(what, bytes, "max_storage_buffer_binding_size", most)?;
        check_limit(what, bytes, "max_buffer_size", self.limits.max_buffer_size)?;
        self.buffer(
            what,
            bytes,
            wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
        )
    }

    pub(super) fn buffer(
        &self,
        what: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer> {
        let mut counters = self.counters.lock();
        counters.buffers += 1;
        counters.buffer_bytes += size;
        drop(counters);
        let descriptor = wgpu::BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: false,
        };
        self.guarded(what, || self.device.create_buffer(&descriptor))
    }

    /// Submits what is encoded.
    pub(super) fn submit(
        &self,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> wgpu::SubmissionIndex {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        let mut encoder = self.device.create_command_encoder(&descriptor);
        encode(&mut encoder);
        self.submit_encoded(Some(encoder.finish()))
    }

    fn submit_encoded(&self, commands: Option<wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        self.counters.lock().submits += 1;
        let index = self.queue.submit(commands);
        self.in_flight.lock().submit(index.clone());
        index
    }

    /// Counts bytes that wait to be written by the next submit, which is made at once where they are many.
    pub(super) fn count_written(&self, bytes: u64) {
        if self.in_flight.lock().write(bytes) {
            self.submit_encoded(None);
        }
    }
}

/// `Ok` where a device's limit allows what is needed.
pub(super) fn check_limit(
    what: &str,
    needed: u64,
    limit: &'static str,
    available: u64,
) -> Result<()> {
    if needed <= available {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        needed,
        limit,
        available,
    })
}
