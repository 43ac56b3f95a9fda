//! Programs compiled for a device.

use crate::cpu::{self, Buffer, LockOrder, Memory};
use crate::device::{Device, Kind, Scalar};
use crate::error::{Error, Result, check_shape, require};
use crate::gpu::{self, Plan};
use crate::profile::{ExecutionPlan, Launch};
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::{KernelTime, Profile, groups};
use crate::program::{Op, Program, Role, TensorId};
use crate::rows::RowScalar;
use crate::tensor::{Storage, Tensor};
use crate::threads::flushing_denormals;
use crate::tuning::Effort;
use std::borrow::Cow;
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

/// Elements above which a tensor is not copied where another can stand in for it.
const WORTH_STANDING_IN: usize = 1024;

/// A [`Program`] with its memory on a device, ready to run any number of times.
///
/// On a GPU a run is one submit of one compute pass and does not wait; nothing is created. Reading a tensor waits.
#[derive(Debug)]
pub struct Executable {
    device: Device,
    program: Program,
    tensors: Vec<Tensor>,
    /// The elements of its own tensors.
    own_len: usize,
    backend: Backend,
}

/// What runs a program.
#[derive(Debug)]
enum Backend {
    Cpu(Box<dyn RunsOnCpu>),
    Gpu(Arc<gpu::Context>, Plan),
}

impl Executable {
    /// Checks the program, allocates its tensors and builds its plan. `externals` are the tensors that its
    /// [`Role::External`] tensors stand for.
    ///
    /// # Errors
    /// [`Error::Argument`] for an inconsistent program or an external tensor of another device, [`Error::Shape`] for one of
    /// another shape; [`Error::Limit`] and [`Error::OutOfMemory`] on a GPU that cannot hold it.
    pub fn new(device: &Device, program: Program, externals: &[Tensor]) -> Result<Self> {
        let memory = program.memory()?;
        let blocks = memory.largest().iter().map(|id| program.spec(*id));
        let blocks = blocks.map(|spec| Tensor::named(device, &spec.name, &spec.shape));
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        let tensors = program
            .ids()
            .map(|id| {
                let spec = program.spec(id);
                let index = match spec.role {
                    Role::External(index) => index,
                    Role::Owned | Role::Temporary => {
                        let block = memory.block_of(id).expect("it is not external");
                        return Ok(blocks[block].start(&spec.shape));
                    }
                };
                let tensor = externals.get(index).ok_or_else(|| {
                    let got = format!("{} tensors", externals.len());
                    Error::argument("externals", got, format!("one for {}", spec.name))
                })?;
                tensor.check_device(&spec.name, device)?;
                check_shape(&spec.name, tensor.shape(), &spec.shape)?;
                Ok(tensor.clone())
            })
            .collect::<Result<Vec<_>>>()?;
        let external = |id: &TensorId| memory.block_of(*id).is_none();
        let given: Vec<_> = program.ids().filter(external).collect();
        for (index, id) in given.iter().enumerate() {
            let shares = |other: &TensorId| tensors[id.0].shares_memory_with(&tensors[other.0]);
            let expected = "a tensor that no other one shares its memory with";
            let alone = !given[..index].iter().any(shares);
            require(&program.spec(*id).name, "given twice", alone, expected)?;
        }
        if matches!(device.kind(), Kind::Cpu(_)) {
            // As on GPUs, an unknown word is an error; what runs later could not say so.
            Effort::from_environment()?;
        }
        let backend = match device.kind() {
            Kind::Cpu(Scalar::F32) => OnCpu::backend(&program, &tensors, Storage::f32),
            Kind::Cpu(Scalar::F64) => OnCpu::backend(&program, &tensors, Storage::f64),
            Kind::Gpu(context) => {
                let buffers = tensors.iter().filter_map(Tensor::gpu_buffer);
                let buffers: Vec<_> = buffers.cloned().collect();
                let plan = gpu::lower(context, &program, &buffers)?;
                Backend::Gpu(Arc::clone(context), plan)
            }
        };
        Ok(Self {
            device: device.clone(),
            program,
            tensors,
            own_len: memory.len(),
            backend,
        })
    }

    /// Runs the program: on a CPU to its end, on a GPU as one submit, without waiting.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], and faults the driver reported since the last check.
    pub fn run(&self) -> Result<()> {
        self.run_with(&[], &[])
    }

    /// Runs the program with copies before and after it, on a GPU in the same submit.
    pub(crate) fn run_with(
        &self,
        before: &[TensorCopy<'_>],
        after: &[TensorCopy<'_>],
    ) -> Result<()> {
        match &self.backend {
            Backend::Cpu(program) => program.run(&self.program, before, after),
            Backend::Gpu(context, plan) => {
                plan.run(context, &gpu_copies(before), &gpu_copies(after))?;
            }
        }
        Ok(())
    }

    /// The bytes that it has for itself.
    pub(crate) fn own_bytes(&self) -> usize {
        let scratch = match &self.backend {
            Backend::Gpu(_, plan) => plan.scratch(),
            Backend::Cpu(_) => &[],
        };
        let scratch = scratch.iter().map(|(_, len)| *len);
        let len = scratch.fold(self.own_len, usize::saturating_add);
        len.saturating_mul(self.device.element_size())
    }

    /// What a run does, and the memory it takes.
    pub fn plan(&self) -> ExecutionPlan {
        let scratch = match &self.backend {
            Backend::Gpu(_, plan) => plan.scratch(),
            Backend::Cpu(_) => &[],
        };
        let device = self.device.to_string();
        ExecutionPlan::new(
            device,
            &self.program,
            &self.launches(),
            scratch,
            self.element(),
        )
    }

    /// Runs the program and times each part of it; waits until it is done. All parts run, those too that [`Executable::run`]
    /// leaves out on a GPU as their results still hold (weights are packed once until they change).
    ///
    /// # Errors
    /// [`Error::Feature`] on a GPU device that was opened without `TIMESTAMP_QUERY` (a [`Device`] of this crate's opening has it where
    /// the adapter does); as [`Executable::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&self) -> Result<Profile> {
        self.profile_with(&[], &[])
    }

    /// Profiles with copies before and after the run.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn profile_with(
        &self,
        before: &[TensorCopy<'_>],
        after: &[TensorCopy<'_>],
    ) -> Result<Profile> {
        let groups = groups(&self.program, &self.launches(), self.element());
        let (times, wall) = match &self.backend {
            Backend::Gpu(context, plan) => {
                let counts = groups.iter().map(|group| group.dispatches as usize);
                let counts: Vec<_> = counts.collect();
                let (before, after) = (gpu_copies(before), gpu_copies(after));
                let times = plan.profile(context, &before, &after, &counts)?;
                (times.passes, times.wall)
            }
            Backend::Cpu(program) => {
                let start = Instant::now();
                before.iter().for_each(TensorCopy::run_on_cpu);
                let times = program.profile(&self.program, start);
                after.iter().for_each(TensorCopy::run_on_cpu);
                (times, start.elapsed())
            }
        };
        let origin = times.first().map_or(0, |[start, _]| *start);
        let times = groups.into_iter().zip(times);
        Ok(Profile {
            device: self.device.to_string(),
            times: times
                .map(|(kernel, [start, end])| KernelTime {
                    kernel,
                    start: start.saturating_sub(origin),
                    duration: end.saturating_sub(start),
                })
                .collect(),
            wall: wall.as_nanos() as u64,
        })
    }

    /// The dispatches, or on a CPU the operations.
    fn launches(&self) -> Vec<Launch<'_>> {
        if let Backend::Gpu(_, plan) = &self.backend {
            return plan.launches();
        }
        let launch = |(operation, op): (usize, &'_ Op)| Launch {
            operation,
            kernel: op.label(),
            workgroups: 0,
            invocations: 0,
        };
        self.program.ops().iter().enumerate().map(launch).collect()
    }

    /// Bytes of an element.
    fn element(&self) -> u64 {
        self.device.element_size() as u64
    }

    /// A tensor of the program, sharing its memory: what is written to it is what the next run reads, unless it is
    /// [temporary](Role::Temporary), when other tensors use its memory too. Panics on an id of another
    /// program that is past this one's tensors.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The kernels a first run dispatches, in order; none on a CPU. Later runs leave out those that pack weights which did not change.
    pub fn kernels(&self) -> Vec<&str> {
        match &self.backend {
            Backend::Gpu(_, plan) => plan.kernels().collect(),
            Backend::Cpu(_) => vec![],
        }
    }
}

/// A program for a scalar type of the CPU.
trait RunsOnCpu: std::fmt::Debug + Send + Sync {
    fn run(&self, program: &Program, before: &[TensorCopy<'_>], after: &[TensorCopy<'_>]);
    #[cfg(not(target_arch = "wasm32"))]
    fn profile(&self, program: &Program, start: Instant) -> Vec<[u64; 2]>;
}

#[derive(Debug)]
struct OnCpu<F> {
    prepared: cpu::PreparedProgram<F>,
    buffers: Vec<Buffer<F>>,
    order: LockOrder,
    select: fn(&Storage) -> Option<&Buffer<F>>,
}

impl<F: RowScalar> OnCpu<F> {
    fn backend(
        program: &Program,
        tensors: &[Tensor],
        select: fn(&Storage) -> Option<&Buffer<F>>,
    ) -> Backend {
        let buffers = tensors.iter().filter_map(|tensor| select(tensor.storage()));
        let buffers: Vec<_> = buffers.cloned().collect();
        let prepared = cpu::PreparedProgram::new(program);
        Backend::Cpu(Box::new(Self {
            order: LockOrder::new(&buffers, &prepared.written),
            prepared,
            buffers,
            select,
        }))
    }

    /// Runs a function over the tensors' memory, locked as a whole: in f32 without numbers too small for all their digits.
    fn locked<R>(
        &self,
        buffers: &[Buffer<F>],
        order: &LockOrder,
        run: impl FnOnce(&Memory<'_, F>) -> R,
    ) -> R {
        let memory = Memory::lock(buffers, order);
        if size_of::<F>() == size_of::<f32>() {
            flushing_denormals(|| run(&memory))
        } else {
            run(&memory)
        }
    }
}

impl<F: RowScalar> RunsOnCpu for OnCpu<F> {
    /// Large tensors that are to be copied whole are not: the program works on the caller's instead.
    fn run(&self, program: &Program, before: &[TensorCopy<'_>], after: &[TensorCopy<'_>]) {
        let mut buffers = Cow::Borrowed(&self.buffers);
        let mut stand_in = |copy: &TensorCopy<'_>,
                            (inner, outer): (&Tensor, &Tensor),
                            input: bool| {
            let place = |tensor: &Tensor| {
                let buffer = (self.select)(tensor.storage())?;
                self.buffers.iter().position(|own| own.is(buffer))
            };
            let whole =
                copy.len >= WORTH_STANDING_IN && copy.len == inner.len() && copy.len == outer.len();
            let mentioned = |other: &&TensorCopy<'_>| {
                let tensors = [other.from.0, other.to.0];
                tensors
                    .into_iter()
                    .any(|tensor| tensor.shares_memory_with(inner))
            };
            let once = before.iter().chain(after).filter(mentioned).count() == 1;
            match (place(inner), place(outer), (self.select)(outer.storage())) {
                (Some(index), None, Some(buffer))
                    if whole && once && !(input && self.prepared.written[index]) =>
                {
                    buffers.to_mut()[index] = buffer.clone();
                    true
                }
                _ => false,
            }
        };
        for copy in before {
            if !stand_in(copy, (copy.to.0, copy.from.0), true) {
                copy.run_on_cpu();
            }
        }
        let remaining: Vec<_> = after
            .iter()
            .filter(|copy| !stand_in(copy, (copy.from.0, copy.to.0), false))
            .collect();
        let run = |memory: &Memory<'_, F>| self.prepared.run(program, memory);
        match &buffers {
            Cow::Borrowed(buffers) => self.locked(buffers, &self.order, run),
            Cow::Owned(buffers) => {
                let order = LockOrder::new(buffers, &self.prepared.written);
                self.locked(buffers, &order, run);
            }
        }
        remaining.into_iter().for_each(TensorCopy::run_on_cpu);
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn profile(&self, program: &Program, start: Instant) -> Vec<[u64; 2]> {
        self.locked(&self.buffers, &self.order, |memory| {
            self.prepared.profile(program, memory, start)
        })
    }
}

/// A copy of `len` elements between two tensors of one device, each with the element it starts at.
pub(crate) struct TensorCopy<'a> {
    pub(crate) from: (&'a Tensor, usize),
    pub(crate) to: (&'a Tensor, usize),
    pub(crate) len: usize,
}

impl TensorCopy<'_> {
    fn run_on_cpu(&self) {
        self.to
            .0
            .copy_slice(self.to.1, self.from.0, self.from.1, self.len);
    }
}

/// Copies tensors, each into another of the same shape, all on one device; on a GPU as one submit.
pub(crate) fn copy_all(pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    let mut copies = vec![];
    for (from, to) in pairs {
        check_shape("tensor", from.shape(), to.shape())?;
        from.check_device("tensor", to.device())?;
        copies.push(TensorCopy {
            from: (*from, 0),
            to: (*to, 0),
            len: from.len(),
        });
    }
    match pairs.first().map(|(_, to)| to.device().kind()) {
        Some(Kind::Gpu(context)) => context.copy(&gpu_copies(&copies))?,
        _ => copies.iter().for_each(TensorCopy::run_on_cpu),
    }
    Ok(())
}

fn gpu_copies<'a>(copies: &[TensorCopy<'a>]) -> Vec<gpu::BufferCopy<'a>> {
    let place = |(tensor, offset): (&'a Tensor, usize)| {
        let buffer = tensor.gpu_buffer();
        (
            buffer.expect("tensors of a GPU program are on the GPU"),
            offset,
        )
    };
    let copy = |copy: &TensorCopy<'a>| gpu::BufferCopy {
        from: place(copy.from),
        to: place(copy.to),
        len: copy.len,
    };
    copies.iter().map(copy).collect()
}
