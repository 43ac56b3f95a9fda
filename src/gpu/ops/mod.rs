//! How each operation becomes dispatches. One file an operation.

mod adam;
mod carry;
mod clip_norm;
mod column_sum;
mod dropout;
mod fill;
mod gather_last;
mod gemm;
mod input_product;
mod mse;
mod multiply;
mod pack_half;
mod pack_recurrent;
mod recurrent;
mod recurrent_backward;
mod recurrent_forward;
mod recurrent_steps;
mod recurrent_trial;
mod repeat;
mod repeat_backward;
mod scatter_last;
mod sgd;
mod softmax;
mod softmax_backward;
mod softmax_cross_entropy;
mod swap_axes;

pub use gemm::GemmKernel;

use super::kernel::{Kernel, KernelInfo};
use super::plan::PlanBuilder;
use crate::error::{Error, Result};
use crate::program::{Op, Slice};

/// Invocations in a workgroup of the kernels that work element by element or row by row.
const GROUP: usize = 64;

/// Invocations among which a reduction's elements are spread at most, each leaving one partial result.
const PARTIALS: usize = 4096;

pub(super) static KERNELS: &[&KernelInfo] = &[
    &fill::Fill::INFO,
    &gemm::Gemm::INFO,
    &gemm::GemmRegister::INFO,
    &gemm::GemmSubgroup::INFO,
    &gemm::GemmWorkgroup::INFO,
    &gemm::GemmCooperative8::INFO,
    &gemm::GemmCooperative16::INFO,
    &pack_half::PackHalf::INFO,
    &gemm::GemmSum::INFO,
    &column_sum::ColumnSum::INFO,
    &pack_recurrent::PackRecurrent::INFO,
    &carry::Shift::INFO,
    &recurrent_forward::RecurrentForward::INFO,
    &recurrent_backward::RecurrentBackward::INFO,
    &gather_last::GatherLast::INFO,
    &softmax::Softmax::INFO,
    &softmax_backward::SoftmaxBackward::INFO,
    &mse::Mse::INFO,
    &softmax_cross_entropy::SoftmaxCrossEntropy::INFO,
    &clip_norm::ClipNorm::INFO,
    &sgd::Sgd::INFO,
    &adam::Adam::INFO,
    &dropout::Dropout::INFO,
    &multiply::Multiply::INFO,
    &repeat::Repeat::INFO,
    &repeat_backward::RepeatBackward::INFO,
    &scatter_last::ScatterLast::INFO,
    &swap_axes::SwapAxes::INFO,
];

/// Appends an operation's dispatches.
pub(super) fn lower(op: &Op, plan: &mut PlanBuilder<'_>) -> Result<()> {
    match op {
        Op::Fill(op) => fill::lower(op, plan),
        Op::Gemm(op) => gemm::lower(op, plan),
        Op::ColumnSum(op) => column_sum::lower(op, plan),
        Op::RecurrentForward(op) => recurrent::lower(op, plan),
        Op::RecurrentBackward(op) => recurrent::lower(op, plan),
        Op::GatherLast(op) => gather_last::lower(op, plan),
        Op::Softmax(op) => softmax::lower(op, plan),
        Op::SoftmaxBackward(op) => softmax_backward::lower(op, plan),
        Op::Mse(op) => mse::lower(op, plan),
        Op::SoftmaxCrossEntropy(op) => softmax_cross_entropy::lower(op, plan),
        Op::ClipNorm(op) => clip_norm::lower(op, plan),
        Op::Sgd(op) => sgd::lower(op, plan),
        Op::Adam(op) => adam::lower(op, plan),
        Op::Dropout(op) => dropout::lower(op, plan),
        Op::Multiply(op) => multiply::lower(op, plan),
        Op::Repeat(op) => repeat::lower(op, plan),
        Op::RepeatBackward(op) => repeat_backward::lower(op, plan),
        Op::ScatterLast(op) => scatter_last::lower(op, plan),
        Op::SwapAxes(op) => swap_axes::lower(op, plan),
    }
}

/// `Ok` where one workgroup can walk a row three times: Mesa's llvmpipe ends all loops of an invocation, without a word, after 65,535
/// rounds together.
fn check_row(what: &str, columns: usize) -> Result<()> {
    const MOST: usize = 1 << 20;
    if columns <= MOST {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        needed: columns as u64,
        limit: "number of columns a workgroup takes",
        available: MOST as u64,
    })
}

/// Where an optional operand starts; 0 where it is absent.
fn offset(slice: Option<Slice>) -> u32 {
    slice.map_or(0, |slice| slice.offset as u32)
}

/// 1 or 0, as WGSL's buffers hold no bool.
fn flag(condition: bool) -> u32 {
    u32::from(condition)
}
