//! Matrix products.

use super::{flag, offset};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// c = op(a) · op(b) (+ bias) (+ c)
    Gemm = "gemm", GemmParams {
        m: u32, n: u32, k: u32,
        a: u32, b: u32, bias: u32, c: u32,
        a_stride: u32, b_stride: u32, c_stride: u32,
        has_bias: u32, accumulate: u32,
    }
    bindings { a: Read, b: Read, bias: Read, c: ReadWrite }
    overrides ["TRANSPOSE_A", "TRANSPOSE_B"]
}

/// Rows and columns of c that a workgroup computes: `TILE_M` and `GROUP · TILE_N` in the shader.
const BLOCK: (usize, usize) = (8, 128);

pub(super) fn lower(op: &program::Gemm, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let (m, n, k) = op.dimensions();
    let kernel = Gemm {
        a: plan.buffer(op.a.tensor),
        b: plan.buffer(op.b.tensor),
        bias: &plan.read_or_unused(op.bias),
        c: plan.buffer(op.c.tensor),
    };
    let params = GemmParams {
        m: m as u32,
        n: n as u32,
        k: k as u32,
        a: op.a.offset as u32,
        b: op.b.offset as u32,
        bias: offset(op.bias),
        c: op.c.offset as u32,
        a_stride: op.a.row_stride as u32,
        b_stride: op.b.row_stride as u32,
        c_stride: op.c.row_stride as u32,
        has_bias: flag(op.bias.is_some()),
        accumulate: flag(op.accumulate),
    };
    let transposed = |transpose| f64::from(flag(transpose));
    let overrides = vec![
        ("TRANSPOSE_A", transposed(op.transpose_a)),
        ("TRANSPOSE_B", transposed(op.transpose_b)),
    ];
    let workgroups = plan.workgroups(m.div_ceil(BLOCK.0) * n.div_ceil(BLOCK.1), 1)?;
    plan.dispatch(
        &kernel,
        &Variant {
            cell: None,
            overrides,
        },
        params,
        workgroups,
    )
}
