//! The instruction set between layers and devices.
//!
//! A [`Program`] is pure data: tensors and a list of [`Op`]s over them. The layers write programs; each device runs them, the
//! CPU from `src/cpu/` and the GPU from `src/gpu/ops/` and `shaders/`, where every operation has a file of its name. A program
//! compiled for a device is an [`Executable`](crate::Executable). What an operation takes at least is its [`Cost`].

mod build;
mod cost;
mod custom;
mod gemm;
mod memory;
mod op;
mod operands;
mod pointwise;
mod pointwise_check;
mod recurrent;
mod recurrent_check;
mod scatter;
mod trial;
mod view;

pub(crate) use build::keep;
pub use cost::Cost;
pub use custom::Custom;
pub use gemm::Gemm;
pub use memory::MemoryBlocks;
pub use op::Op;
pub use pointwise::{Map, Operand, Pointwise, Reduce, Row};
pub(crate) use pointwise_check::{MOST_OPERANDS, MOST_OUTPUTS};
pub use recurrent::{
    GatesLayout, PerDirection, RecurrentBackward, RecurrentForward, RecurrentShape,
    RecurrentWeights, Segment, Zoneout,
};
pub use scatter::Scatter;
#[cfg(test)]
pub(crate) use trial::samples;
pub(crate) use trial::{RecurrentOp, RecurrentOperands, TrialProgram};
pub use view::{Matrix, Slice, View};

use crate::error::Result;

/// A tensor of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub(crate) usize);

/// Where a tensor's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Allocated with the executable, all zeros at first.
    Owned,
    /// Allocated with the executable, but of use only within a run, from the first operation that writes it to the last that uses
    /// it: before and after, its memory is other temporary tensors'.
    Temporary,
    /// Given when the program is compiled: the n-th of the tensors passed in, shared with other programs.
    External(usize),
}

/// A tensor's name, shape and origin.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// For errors and listings.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Where its memory comes from.
    pub role: Role,
}

impl TensorSpec {
    /// The number of elements.
    pub fn len(&self) -> usize {
        product(&self.shape)
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Kernels count elements in 32 bits.
pub(crate) const MOST_ELEMENTS: usize = u32::MAX as usize;

/// The number of elements of some sizes, where that of the sizes above 0 can be counted: what holds of them holds of every part.
pub(crate) fn counted(sizes: &[usize]) -> Option<usize> {
    let mut some = sizes.iter().filter(|size| **size > 0);
    let count = some.try_fold(1_usize, |count, size| count.checked_mul(*size))?;
    let count = (count <= MOST_ELEMENTS).then_some(count)?;
    Some(if sizes.contains(&0) { 0 } else { count })
}

/// The product of some sizes.
pub(crate) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |all, size| all.saturating_mul(*size))
}

/// Tensors and what to do with them, in order.
#[derive(Clone, Debug, Default)]
pub struct Program {
    tensors: Vec<TensorSpec>,
    ops: Vec<Op>,
}

impl Program {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor that the executable allocates.
    pub fn tensor(&mut self, name: impl Into<String>, shape: &[usize]) -> Slice {
        self.add(name.into(), shape, Role::Owned)
    }

    /// Adds a tensor that nobody reads or writes between runs, see [`Role::Temporary`].
    pub fn temporary(&mut self, name: impl Into<String>, shape: &[usize]) -> Slice {
        self.add(name.into(), shape, Role::Temporary)
    }

    /// Makes a temporary tensor an owned one, as it is to be read or written between runs.
    pub fn keep(&mut self, id: TensorId) {
        let of = self.tensors.get_mut(id.0);
        if let Some(of) = of.filter(|of| of.role == Role::Temporary) {
            of.role = Role::Owned;
        }
    }

    /// Adds a tensor that is passed in, the `index`-th, when the program is compiled.
    pub fn external(&mut self, index: usize, name: impl Into<String>, shape: &[usize]) -> Slice {
        self.add(name.into(), shape, Role::External(index))
    }

    fn add(&mut self, name: String, shape: &[usize], role: Role) -> Slice {
        self.tensors.push(TensorSpec {
            name,
            shape: shape.to_vec(),
            role,
        });
        Slice {
            tensor: TensorId(self.tensors.len() - 1),
            offset: 0,
            len: product(shape),
        }
    }

    /// Appends an operation. It is checked when the program is compiled.
    pub fn push(&mut self, op: impl Into<Op>) {
        self.ops.push(op.into());
    }

    /// The tensors, in the order they were added.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The tensors' ids, in the order they were added.
    pub fn ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        (0..self.tensors.len()).map(TensorId)
    }

    /// A tensor's name, shape and origin. Panics on an id of another program that is past this one's tensors.
    pub fn spec(&self, id: TensorId) -> &TensorSpec {
        &self.tensors[id.0]
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Checks every operation: shapes agree, operands lie inside their tensors, nothing is read and written by one operation
    /// through two operands, no temporary tensor is read before it is written.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) that names the operation and the operand; [`Error::Limit`](crate::Error::Limit) for a tensor
    /// past all bounds.
    pub fn check(&self) -> Result<()> {
        self.memory().map(drop)
    }
}
