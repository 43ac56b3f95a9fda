//! Programs lowered to plans.

use super::ops;
use super::plan::{Plan, PlanBuilder};
use super::{Buffer, Context};
use crate::error::Result;
use crate::program::{Op, Program};

/// Lowers a checked program over its tensors' buffers, one a tensor.
pub(crate) fn lower(context: &Context, program: &Program, buffers: &[Buffer]) -> Result<Plan> {
    let mut builder = PlanBuilder::of(context, program, buffers)?;
    let fused = program.fused_products();
    for (index, op) in program.ops().iter().enumerate() {
        if let (Op::Gemm(product), true) = (op, fused[index]) {
            builder.fuse(product);
            continue;
        }
        builder.begin(index);
        ops::lower(op, &mut builder)?;
        builder.end(&program.written(op));
    }
    builder.finish()
}
