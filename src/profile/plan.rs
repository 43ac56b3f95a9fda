//! What an executable will do, as data.

use super::table::table;
use crate::gpu::{Shader, generated};
use crate::program::{Cost, Op, Program, Role};
use std::borrow::Cow;
use std::fmt;

/// A dispatch, or an operation on a CPU.
pub(crate) struct Launch<'a> {
    /// Index of the operation it belongs to.
    pub(crate) operation: usize,
    pub(crate) kernel: Cow<'a, str>,
    pub(crate) workgroups: u64,
    pub(crate) invocations: u64,
}

/// The dispatches of one kernel for one operation; on a CPU the operation itself, with neither workgroups nor invocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedKernel {
    /// Index of the operation in [`Program::ops`].
    pub operation: usize,
    /// The operation's name.
    pub name: &'static str,
    /// The kernel's name, with the cell's where it has one: `recurrent_forward.lstm`.
    pub kernel: String,
    /// How many times the kernel is dispatched.
    pub dispatches: u64,
    /// Workgroups of all its dispatches.
    pub workgroups: u64,
    /// Invocations of the largest of its dispatches.
    pub invocations: u64,
    /// Steps of which each needs the one before: T of a recurrence, else 1; 0 as `flops`.
    pub steps: u64,
    /// The operation's [`flops`](crate::program::Cost::flops), and those of input products fused
    /// with a recurrence. 0 for a kernel that only prepares or finishes what another does.
    pub flops: u64,
    /// Bytes it must move, [`Cost::bytes_in`](crate::program::Cost::bytes_in) so many dispatches; 0 as `flops`.
    pub bytes: u64,
    /// The part of `bytes` that was moved at a step before already: recurrent weights and states.
    pub again: u64,
}

/// Whose a tensor's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The executable's: activations, gradients of activations, inputs.
    Executable,
    /// Somebody else's, shared with other executables: weights, their gradients, the optimizer's states.
    Shared,
    /// A device's own, inside one operation: packed weights, partial sums.
    Scratch,
}

/// A tensor of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTensor {
    /// The tensor's name.
    pub name: String,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// The tensor's size in bytes.
    pub bytes: u64,
    /// Whose it is.
    pub owner: Owner,
}

/// What an [`Executable`](crate::Executable) does when it runs, in order, and the memory it takes.
/// `{plan}` prints it as tables.
///
/// ```
/// use bptt::{Device, nn::{Lstm, Sequential}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).lstm(Lstm::hidden(16)).build(&Device::best(), 42)?;
/// let plan = model.plan(&[10, 4, 3])?; // [T, B, F]
/// println!("{plan}");
/// assert!(plan.flops() > 10 * 4 * 2 * 4 * 16 * (3 + 16));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionPlan {
    /// The device.
    pub device: String,
    /// The kernels by operation, each operation's in the order they first run.
    pub kernels: Vec<PlannedKernel>,
    /// The tensors, the program's first, then the device's own.
    pub tensors: Vec<PlannedTensor>,
    shaders: Vec<Shader>,
}

impl ExecutionPlan {
    /// `scratch`: name and elements of the device's own tensors. `width`: bytes of an element.
    pub(crate) fn new(
        device: String,
        program: &Program,
        launches: &[Launch<'_>],
        scratch: &[(String, usize)],
        width: u64,
    ) -> Self {
        let mut kernels: Vec<PlannedKernel> = vec![];
        for group in groups(program, launches, width) {
            let known = kernels
                .iter_mut()
                .rev()
                .find(|known| known.operation == group.operation && known.kernel == group.kernel);
            match known {
                Some(known) => known.add(&group),
                None => kernels.push(group),
            }
        }
        let own = program.tensors().iter().map(|spec| PlannedTensor {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            bytes: width * spec.len() as u64,
            owner: match spec.role {
                Role::Owned | Role::Temporary => Owner::Executable,
                Role::External(_) => Owner::Shared,
            },
        });
        let scratch = scratch.iter().map(|(name, len)| PlannedTensor {
            name: name.clone(),
            shape: vec![*len],
            bytes: width * *len as u64,
            owner: Owner::Scratch,
        });
        Self {
            device,
            kernels,
            tensors: own.chain(scratch).collect(),
            shaders: generated(program),
        }
    }

    /// The kernels that a GPU runs for its expressions, as WGSL; on a CPU those that it would run.
    pub fn shaders(&self) -> &[Shader] {
        &self.shaders
    }

    /// Dispatches of a run.
    pub fn dispatches(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.dispatches).sum()
    }

    /// Operations on floats of a run.
    pub fn flops(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.flops).sum()
    }

    /// Bytes that a run must move.
    pub fn bytes(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.bytes).sum()
    }

    /// Memory of all tensors in bytes.
    pub fn memory(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// Memory in bytes that is not shared with others.
    pub fn own_memory(&self) -> u64 {
        let tensors = self.tensors.iter();
        let own = tensors.filter(|tensor| tensor.owner != Owner::Shared);
        own.map(|tensor| tensor.bytes).sum()
    }
}

impl PlannedKernel {
    fn add(&mut self, other: &Self) {
        self.dispatches += other.dispatches;
        self.workgroups += other.workgroups;
        self.invocations = self.invocations.max(other.invocations);
        self.steps += other.steps;
        self.flops += other.flops;
        self.bytes += other.bytes;
        self.again += other.again;
    }
}

/// Consecutive launches of one operation and kernel, each with its part of the operation's cost: the kernels of the operation's
/// name share it by their dispatches, others (which pack or add up) have none of it. Products before a recurrence that are launched by
/// themselves have theirs.
pub(crate) fn groups(program: &Program, launches: &[Launch<'_>], width: u64) -> Vec<PlannedKernel> {
    let mut groups = vec![];
    for of_one in launches.chunk_by(|a, b| a.operation == b.operation) {
        let operation = of_one[0].operation;
        let op = &program.ops()[operation];
        let named = |name: &str| {
            let is_its = |launch: &&Launch<'_>| launch.kernel.starts_with(name);
            of_one.iter().filter(is_its).count() as u64
        };
        // Without a kernel of the operation's name, the one that runs last does the work.
        let main = match named(op.name()) {
            0 => &of_one[of_one.len() - 1].kernel,
            _ => op.name(),
        };
        let mut parts = vec![(main, op.cost())];
        if let Op::RecurrentForward(recurrence) = op
            && named("gemm") > 0
        {
            let products = recurrence.products.iter().cloned();
            let products = products.map(|product| Op::from(product).cost());
            parts = vec![(main, recurrence.own_cost())];
            parts.extend(products.reduce(Cost::and).map(|cost| ("gemm", cost)));
        }
        for group in of_one.chunk_by(|a, b| a.kernel == b.kernel) {
            let kernel = &*group[0].kernel;
            let own = parts.iter().find(|(name, _)| kernel.starts_with(name));
            let (cost, all) = own.map_or((Cost::default(), 1), |(name, cost)| (*cost, named(name)));
            let [once, bytes] =
                [1, all].map(|dispatches| cost.bytes_in(dispatches).saturating_mul(width) / 4);
            let part = if own.is_some() { group.len() as u64 } else { 0 };
            let share =
                |total: u64| (u128::from(total) * u128::from(part) / u128::from(all.max(1))) as u64;
            let invocations = group.iter().map(|launch| launch.invocations);
            groups.push(PlannedKernel {
                operation,
                name: op.name(),
                kernel: kernel.to_owned(),
                dispatches: group.len() as u64,
                workgroups: group.iter().map(|launch| launch.workgroups).sum(),
                invocations: invocations.max().unwrap_or(0),
                steps: share(cost.steps),
                flops: share(cost.flops),
                bytes: share(bytes),
                again: share(bytes - once),
            });
        }
    }
    groups
}

impl fmt::Display for ExecutionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mega = |count: u64| format!("{:.3}", count as f64 / 1e6);
        writeln!(
            f,
            "{}: {} dispatches, {} MFLOP, {} MB moved, {} MB of memory, {} MB of it shared",
            self.device,
            self.dispatches(),
            mega(self.flops()),
            mega(self.bytes()),
            mega(self.memory()),
            mega(self.memory() - self.own_memory()),
        )?;
        let kernels = self.kernels.iter().map(|kernel| {
            vec![
                kernel.operation.to_string(),
                kernel.name.to_owned(),
                kernel.kernel.clone(),
                kernel.dispatches.to_string(),
                kernel.workgroups.to_string(),
                kernel.invocations.to_string(),
                mega(kernel.flops),
                mega(kernel.bytes),
            ]
        });
        let columns = [
            "#",
            "operation",
            "kernel",
            "dispatches",
            "workgroups",
            "invocations",
            "MFLOP",
            "MB",
        ];
        f.write_str(&table(&columns, kernels.collect()))?;
        let tensors = self.tensors.iter().map(|tensor| {
            let owner = match tensor.owner {
                Owner::Executable => "",
                Owner::Shared => "shared",
                Owner::Scratch => "scratch",
            };
            let shape = format!("{:?}", tensor.shape);
            vec![
                tensor.name.clone(),
                shape,
                mega(tensor.bytes),
                owner.to_owned(),
            ]
        });
        let columns = ["tensor", "shape", "MB", ""];
        f.write_str(&table(&columns, tensors.collect()))
    }
}
