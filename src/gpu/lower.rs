//! Programs lowered to plans.

use super::ops;
use super::plan::{Plan, PlanBuilder};
use super::{Buffer, Context};
use crate::error::Result;
use crate::program::Program;

/// Lowers a checked program over its tensors' buffers, one a tensor.
pub(crate) fn lower(context: &Context, program: &Program, buffers: &[Buffer]) -> Result<Plan> {
    let mut builder = PlanBuilder::of(context, program, buffers)?;
    for (index, op) in program.ops().iter().enumerate() {
        builder.begin(index);
        ops::lower(op, &mut builder)?;
        builder.end(&program.written(op));
    }
    builder.finish()
}
