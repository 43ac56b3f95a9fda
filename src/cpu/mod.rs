//! The CPU path: every operation from its equation, over ndarray, generic over f32 and f64.
//!
//! It verifies the GPU kernels and serves where there is no GPU. It is written from the equations, not from the shaders, so
//! that the two cannot share a mistake; it is fast because its work is matrix products on whole matrices.

mod adam;
mod buffer;
mod clip_norm;
mod column_sum;
mod dropout;
mod fill;
mod gather_last;
mod gemm;
mod input_product;
mod memory;
mod mse;
mod multiply;
mod recurrent;
mod recurrent_backward;
mod recurrent_forward;
mod repeat;
mod repeat_backward;
mod scatter_last;
mod sgd;
mod softmax;
mod softmax_backward;
mod softmax_cross_entropy;
mod states;
mod swap_axes;
mod team;
mod zoneout;

pub(crate) use buffer::Buffer;
pub(crate) use memory::Memory;

use crate::program::{Op, Program};
use crate::rows::RowScalar;
use crate::threads;

/// What is known of a program before it runs.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Operations that a later one does as well.
    fused: Vec<bool>,
    /// Tensors that the program writes.
    pub(crate) written: Vec<bool>,
}

impl Prepared {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            fused: program.fused_products(),
            written: program.all_written(),
        }
    }

    /// Runs a checked program over its tensors' memory, one buffer a tensor.
    pub(crate) fn run<F: RowScalar>(&self, program: &Program, buffers: &[Buffer<F>]) {
        let memory = Memory::new(buffers);
        (0..program.ops().len()).for_each(|index| self.run_one(program, index, &memory));
    }

    /// Runs an operation with those right before it that are fused with it; nothing where it is
    /// fused itself.
    fn run_one<F: RowScalar>(&self, program: &Program, index: usize, memory: &Memory<'_, F>) {
        if self.fused[index] {
            return;
        }
        let count = self.fused[..index].iter().rev().take_while(|fused| **fused);
        let first = index - count.count();
        let ops = program.ops();
        run(&ops[index], &ops[first..index], memory);
    }

    /// Runs a program as [`Prepared::run`] does: when each operation began and ended, in nanoseconds
    /// since `origin`. Those fused with a later one take no time of their own.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn profile<F: RowScalar>(
        &self,
        program: &Program,
        buffers: &[Buffer<F>],
        origin: std::time::Instant,
    ) -> Vec<[u64; 2]> {
        let memory = Memory::new(buffers);
        let now = || origin.elapsed().as_nanos() as u64;
        let time = |index| {
            let start = now();
            self.run_one(program, index, &memory);
            [start, now()]
        };
        (0..program.ops().len()).map(time).collect()
    }
}

/// Runs an operation, with those that are fused with it.
fn run<F: RowScalar>(op: &Op, fused: &[Op], memory: &Memory<'_, F>) {
    match op {
        Op::Fill(op) => fill::fill(op, memory),
        Op::Gemm(op) => gemm::gemm(op, memory),
        Op::ColumnSum(op) => column_sum::column_sum(op, memory),
        Op::RecurrentForward(op) => recurrent_forward::recurrent_forward(op, fused, memory),
        Op::RecurrentBackward(op) => recurrent_backward::recurrent_backward(op, memory),
        Op::GatherLast(op) => gather_last::gather_last(op, memory),
        Op::Softmax(op) => softmax::softmax(op, memory),
        Op::SoftmaxBackward(op) => softmax_backward::softmax_backward(op, memory),
        Op::Mse(op) => mse::mse(op, memory),
        Op::SoftmaxCrossEntropy(op) => softmax_cross_entropy::softmax_cross_entropy(op, memory),
        Op::ClipNorm(op) => clip_norm::clip_norm(op, memory),
        Op::Sgd(op) => sgd::sgd(op, memory),
        Op::Adam(op) => adam::adam(op, memory),
        Op::Dropout(op) => dropout::dropout(op, memory),
        Op::Multiply(op) => multiply::multiply(op, memory),
        Op::Repeat(op) => repeat::repeat(op, memory),
        Op::RepeatBackward(op) => repeat_backward::repeat_backward(op, memory),
        Op::ScatterLast(op) => scatter_last::scatter_last(op, memory),
        Op::SwapAxes(op) => swap_axes::swap_axes(op, memory),
    }
}
