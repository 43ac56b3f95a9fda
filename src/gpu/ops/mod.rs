//! How each operation becomes dispatches. One file an operation.

mod carry;
mod gemm;
mod input_product;
mod pack_half;
mod pack_recurrent;
mod pointwise;
mod recurrent;
mod recurrent_backward;
mod recurrent_forward;
mod recurrent_steps;
mod recurrent_trial;
mod scatter;

pub use gemm::GemmKernel;

use super::compose::{Shader, Tile, compose};
use super::kernel::{Kernel, KernelInfo};
use super::plan::{Plan, PlanBuilder};
use super::{Buffer, Context};
use crate::CellRef;
use crate::error::Result;
use crate::program::{Op, Program, Slice};

/// Invocations in a workgroup of the kernels that work element by element or row by row.
pub(in crate::gpu) const GROUP: usize = 64;

pub(super) static KERNELS: &[&KernelInfo] = &[
    &gemm::Gemm::INFO,
    &gemm::REGISTER,
    &gemm::SUBGROUP,
    &gemm::WORKGROUP,
    &gemm::COOPERATIVE_8,
    &gemm::COOPERATIVE_16,
    &pack_half::PackHalf::INFO,
    &gemm::GemmSum::INFO,
    &pack_recurrent::PackRecurrent::INFO,
    &scatter::Scatter::INFO,
    &carry::Shift::INFO,
    &recurrent_forward::RecurrentForward::INFO,
    &recurrent_backward::RecurrentBackward::INFO,
];

/// Every kernel, with every built-in cell where it takes one, and with weights in f32 and in f16: what the crate hands to a
/// driver, for validation.
pub fn shaders() -> Vec<(&'static KernelInfo, Shader)> {
    let mut shaders = vec![];
    let cells = CellRef::builtin();
    for &kernel in KERNELS {
        let with_cells: Vec<_> = match kernel.takes_cell {
            false => vec![None],
            true => (cells.iter())
                .flat_map(|cell| {
                    [false, true].map(|subgroups| {
                        let tile = Tile {
                            rows: 4,
                            outputs: cell.gates() as u32,
                            inputs: 1,
                            subgroups,
                        };
                        Some((cell, tile))
                    })
                })
                .collect(),
        };
        for cell in with_cells {
            for half in [false, true] {
                if !half || !kernel.weights.is_empty() {
                    shaders.push((kernel, compose(kernel, cell, kernel.constants, half)));
                }
            }
        }
    }
    shaders
}

/// Lowers a checked program over its tensors' buffers, one a tensor.
pub(crate) fn lower(context: &Context, program: &Program, buffers: &[Buffer]) -> Result<Plan> {
    let mut plan = PlanBuilder::new(context, buffers)?;
    plan.unread = program.unread();
    for (index, op) in program.ops().iter().enumerate() {
        plan.operation = index;
        append(op, &mut plan)?;
        plan.end(&program.written(op));
    }
    plan.finish()
}

/// Appends an operation's dispatches.
pub(super) fn append(op: &Op, plan: &mut PlanBuilder<'_>) -> Result<()> {
    match op {
        Op::Map(op) => pointwise::map(op, plan),
        Op::Row(op) => pointwise::row(op, plan),
        Op::Reduce(op) => pointwise::reduce(op, plan),
        Op::Gemm(op) => gemm::lower(op, plan),
        Op::Custom(op) => pointwise::custom(op, plan),
        Op::Scatter(op) => scatter::lower(op, plan),
        Op::RecurrentForward(op) => recurrent::lower(op, plan),
        Op::RecurrentBackward(op) => recurrent::lower(op, plan),
    }
}

/// Where an optional operand starts; 0 where it is absent.
fn offset(slice: Option<Slice>) -> u32 {
    slice.map_or(0, |slice| slice.offset as u32)
}

/// 1 or 0, as WGSL's buffers hold no bool.
fn flag(condition: bool) -> u32 {
    u32::from(condition)
}
