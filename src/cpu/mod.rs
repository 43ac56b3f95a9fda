//! The CPU path, generic over f32 and f64: it verifies the GPU kernels and serves where there is no GPU.
//!
//! Products, recurrences and the built-in cells are written from the equations, not from the shaders, so that the two cannot
//! share a mistake. Expressions are recorded once for both devices; goldens and finite differences guard their equations.

mod buffer;
mod custom;
mod gemm;
mod input_product;
mod map;
mod memory;
mod pointwise;
mod recurrent;
mod recurrent_backward;
mod recurrent_choice;
mod recurrent_forward;
mod reduce;
mod row;
mod scatter;
mod small_product;
mod states;
mod team;
mod zoneout;

pub(crate) use buffer::Buffer;
pub(crate) use memory::{LockOrder, Memory};

use crate::program::{Map, Op, Program, Reduce, Row};
use crate::rows::RowScalar;
use pointwise::PreparedBody;

/// What is known of a program before it runs.
#[derive(Debug)]
pub(crate) struct PreparedProgram<F> {
    /// For each operation its expression, where it has one.
    bodies: Vec<Option<PreparedBody<F>>>,
    /// Tensors that the program writes.
    pub(crate) written: Vec<bool>,
}

impl<F: RowScalar> PreparedProgram<F> {
    pub(crate) fn new(program: &Program) -> Self {
        let prepare = |op: &Op| match op {
            Op::Map(Map(of)) | Op::Row(Row(of)) | Op::Reduce(Reduce(of)) => {
                Some(PreparedBody::new(of))
            }
            _ => None,
        };
        Self {
            bodies: program.ops().iter().map(prepare).collect(),
            written: program.all_written(),
        }
    }

    /// Runs a checked program over its tensors' memory.
    pub(crate) fn run(&self, program: &Program, memory: &Memory<'_, F>) {
        let ops = program.ops().iter().zip(&self.bodies);
        ops.for_each(|(op, prepared)| run(op, prepared.as_ref(), memory));
    }

    /// Runs a program as [`PreparedProgram::run`] does: when each operation began and ended, in nanoseconds since `origin`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn profile(
        &self,
        program: &Program,
        memory: &Memory<'_, F>,
        origin: std::time::Instant,
    ) -> Vec<[u64; 2]> {
        let now = || origin.elapsed().as_nanos() as u64;
        let ops = program.ops().iter().zip(&self.bodies);
        let time = |(op, prepared): (&Op, &Option<PreparedBody<F>>)| {
            let start = now();
            run(op, prepared.as_ref(), memory);
            [start, now()]
        };
        ops.map(time).collect()
    }
}

/// Runs an operation.
fn run<F: RowScalar>(op: &Op, prepared: Option<&PreparedBody<F>>, memory: &Memory<'_, F>) {
    match (op, prepared) {
        (Op::Map(_), Some(prepared)) => map::map(prepared, memory),
        (Op::Row(_), Some(prepared)) => row::row(prepared, memory),
        (Op::Reduce(_), Some(prepared)) => reduce::reduce(prepared, memory),
        (Op::Map(_) | Op::Row(_) | Op::Reduce(_), None) => unreachable!("they were prepared"),
        (Op::Gemm(op), _) => gemm::gemm(op, memory),
        (Op::Custom(op), _) => custom::custom(op, memory),
        (Op::Scatter(op), _) => scatter::scatter(op, memory),
        (Op::RecurrentForward(op), _) => recurrent_forward::recurrent_forward(op, memory),
        (Op::RecurrentBackward(op), _) => recurrent_backward::recurrent_backward(op, memory),
    }
}
