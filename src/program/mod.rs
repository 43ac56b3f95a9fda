//! The instruction set between layers and devices.
//!
//! A [`Program`] is pure data: tensors and a list of [`Op`]s over them. The layers write programs; each device runs them, the
//! CPU from `src/cpu/` and the GPU from `src/gpu/ops/` and `shaders/`, where every operation has a file of its name. A program
//! compiled for a device is an [`Executable`](crate::Executable). What an operation takes at least is its [`Cost`].

mod build;
mod check_recurrent;
mod cost;
mod custom;
mod gemm;
mod memory;
mod op;
mod operands;
mod pointwise;
mod recurrent;
mod scatter;

pub(crate) use build::keep;
pub use cost::Cost;
pub use custom::Custom;
pub use gemm::Gemm;
pub use memory::MemoryBlocks;
pub use op::Op;
pub(crate) use pointwise::{MOST_OPERANDS, MOST_OUTPUTS, product};
pub use pointwise::{Map, Operand, Pointwise, Reduce, Row, View};
pub use recurrent::{
    GatesLayout, PerDirection, RecurrentBackward, RecurrentForward, RecurrentShape,
    RecurrentWeights, Segment, Zoneout,
};
pub use scatter::Scatter;

use crate::error::Result;

/// A tensor of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub(crate) usize);

/// Where a tensor's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Allocated with the executable, all zeros at first.
    Owned,
    /// As owned, but of use only within a run, from the first operation that writes it to the last that uses it: before and after, its
    /// memory is other temporary tensors'.
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
        self.shape
            .iter()
            .fold(1, |len, size| len.saturating_mul(*size))
    }
    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Consecutive elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The tensor.
    pub tensor: TensorId,
    /// Index of the first element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl Slice {
    /// A part of this slice.
    #[must_use]
    pub fn part(self, offset: usize, len: usize) -> Self {
        debug_assert!(
            offset + len <= self.len,
            "part {offset}+{len} of {}",
            self.len
        );
        Self {
            tensor: self.tensor,
            offset: self.offset + offset,
            len,
        }
    }

    /// The slice as a matrix `[rows, columns]` without gaps; `rows · columns` must not exceed its length.
    pub fn matrix(self, rows: usize, columns: usize) -> Matrix {
        debug_assert!(
            rows * columns <= self.len,
            "matrix {rows}x{columns} of {}",
            self.len
        );
        Matrix {
            tensor: self.tensor,
            offset: self.offset,
            rows,
            columns,
            row_stride: columns,
        }
    }
}

/// A row-major matrix inside a tensor: element (r, c) is at `offset + r · row_stride + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The tensor.
    pub tensor: TensorId,
    /// Index of element (0, 0).
    pub offset: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Elements from one row to the next; at least `columns`.
    pub row_stride: usize,
}

impl Matrix {
    /// Columns `first .. first + columns` of every row.
    #[must_use]
    pub fn columns(self, first: usize, columns: usize) -> Self {
        debug_assert!(
            first + columns <= self.columns,
            "columns {first}+{columns} of {}",
            self.columns
        );
        Self {
            offset: self.offset + first,
            columns,
            ..self
        }
    }

    /// Rows `first .. first + rows`.
    #[must_use]
    pub fn rows(self, first: usize, rows: usize) -> Self {
        debug_assert!(
            first + rows <= self.rows,
            "rows {first}+{rows} of {}",
            self.rows
        );
        Self {
            offset: self.offset + first * self.row_stride,
            rows,
            ..self
        }
    }

    /// The elements from the first to the last, gaps included.
    pub(crate) fn extent(self) -> Slice {
        let Some(gaps) = self.rows.checked_sub(1) else {
            let (tensor, offset, len) = (self.tensor, 0, 0);
            return Slice {
                tensor,
                offset,
                len,
            };
        };
        Slice {
            tensor: self.tensor,
            offset: self.offset,
            len: gaps
                .saturating_mul(self.row_stride)
                .saturating_add(self.columns),
        }
    }
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
        let role = &mut self.tensors[id.0].role;
        if *role == Role::Temporary {
            *role = Role::Owned;
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
            len: shape.iter().product(),
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

    /// A tensor's name, shape and origin.
    pub fn spec(&self, id: TensorId) -> &TensorSpec {
        &self.tensors[id.0]
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether an operation of this program, which was checked, writes each of the tensors.
    pub(crate) fn all_written(&self) -> Vec<bool> {
        let mut written = vec![false; self.tensors.len()];
        for tensor in self.ops.iter().flat_map(|op| self.written(op)) {
            written[tensor.0] = true;
        }
        written
    }

    /// Checks every operation: shapes agree, operands lie inside their tensors, nothing is read and written by one operation
    /// through two operands, no temporary tensor is read before it is written.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) that names the operation and the operand.
    pub fn check(&self) -> Result<()> {
        self.memory().map(drop)
    }
}
