//! Which tensors of a program share memory.

use super::{Op, Program, Role, TensorId, TensorSpec};
use crate::elements::count_elements;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::ops::RangeInclusive;

/// The memory of a program's tensors, external ones aside: blocks, each for one tensor or for temporary ones that are never in use
/// at the same time.
///
/// Tensors share whole blocks and not parts of one, as WebGPU does not let a dispatch read and write one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryBlocks {
    /// For each block the tensor that needs most of it.
    largest: Vec<TensorId>,
    /// For each tensor its block; none for an external one.
    block_of: Vec<Option<usize>>,
    len: usize,
}

impl MemoryBlocks {
    /// The elements of all blocks.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether the blocks have no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A tensor's block; none for an external one.
    pub fn block_of(&self, tensor: TensorId) -> Option<usize> {
        self.block_of[tensor.0]
    }

    /// For each block the tensor that needs most of it, and so its size.
    pub(crate) fn largest(&self) -> &[TensorId] {
        &self.largest
    }
}

/// The operations from a tensor's first use to its last; none where it is not used.
type Lifetime = Option<RangeInclusive<usize>>;

fn overlap(a: &Lifetime, b: &Lifetime) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a.start() <= b.end() && b.start() <= a.end())
}

impl Program {
    /// Checks the program as [`Program::check`] does, and gives each tensor its memory.
    ///
    /// Largest first, a temporary tensor takes the smallest block whose tensors are in use at other times only (Pisarchyk & Lee, 2020:
    /// "greedy by size for shared objects").
    ///
    /// # Errors
    /// Those of [`Program::check`].
    pub fn memory(&self) -> Result<MemoryBlocks> {
        for spec in &self.tensors {
            count_elements(&spec.name, &spec.shape)?;
        }
        let lifetimes = self.lifetimes()?;
        let mut memory = MemoryBlocks {
            block_of: vec![None; self.tensors.len()],
            ..MemoryBlocks::default()
        };
        // The lifetimes of the tensors in each block.
        let mut taken: Vec<Vec<&Lifetime>> = vec![];
        let mut order: Vec<TensorId> = self.ids().collect();
        order.sort_by_key(|id| Reverse(self.spec(*id).len()));
        for id in order {
            let temporary = match self.spec(id).role {
                Role::External(_) => continue,
                Role::Owned => false,
                Role::Temporary => true,
            };
            let lifetime = &lifetimes[id.0];
            // Later blocks are smaller ones.
            let free = (0..taken.len()).rev().find(|block| {
                let tensors = &taken[*block];
                let shared = self.spec(memory.largest[*block]).role == Role::Temporary;
                temporary && shared && !tensors.iter().any(|other| overlap(other, lifetime))
            });
            let block = free.unwrap_or_else(|| {
                memory.largest.push(id);
                memory.len = memory.len.saturating_add(self.spec(id).len());
                taken.push(vec![]);
                taken.len() - 1
            });
            taken[block].push(lifetime);
            memory.block_of[id.0] = Some(block);
        }
        Ok(memory)
    }

    /// The tensors that an operation of a checked program writes.
    pub(crate) fn written(&self, op: &Op) -> Vec<TensorId> {
        let operands = op.operands(self).ok();
        let writes = operands.iter().flat_map(|operands| operands.writes());
        writes.map(|slice| slice.tensor).collect()
    }

    /// For each tensor whether an operation of the program, which was checked, writes it.
    pub(crate) fn all_written(&self) -> Vec<bool> {
        let mut written = vec![false; self.tensors.len()];
        for tensor in self.ops.iter().flat_map(|op| self.written(op)) {
            written[tensor.0] = true;
        }
        written
    }

    /// For each tensor whether it is a temporary one that nothing ever reads.
    pub(crate) fn unread(&self) -> Vec<bool> {
        let temporary = |spec: &TensorSpec| spec.role == Role::Temporary;
        let mut unread: Vec<_> = self.tensors.iter().map(temporary).collect();
        for operands in self.ops.iter().filter_map(|op| op.operands(self).ok()) {
            for (_, slice) in operands.reads() {
                unread[slice.tensor.0] = false;
            }
        }
        unread
    }

    fn lifetimes(&self) -> Result<Vec<Lifetime>> {
        let mut lifetimes: Vec<Lifetime> = vec![None; self.tensors.len()];
        for (index, op) in self.ops.iter().enumerate() {
            let wrong = |reason| {
                let operation = format!("operation {index} ({})", op.name());
                Error::argument(operation, reason, "a consistent operation")
            };
            let operands = op.operands(self).map_err(wrong)?;
            for (name, slice) in operands.reads() {
                let spec = self.spec(slice.tensor);
                if spec.role == Role::Temporary && lifetimes[slice.tensor.0].is_none() {
                    let reason =
                        format!("{name}, the temporary {}, has not been written", spec.name);
                    return Err(wrong(reason));
                }
            }
            for slice in operands.all() {
                let lifetime = &mut lifetimes[slice.tensor.0];
                let first = lifetime.as_ref().map_or(index, |known| *known.start());
                *lifetime = Some(first..=index);
            }
        }
        Ok(lifetimes)
    }
}
