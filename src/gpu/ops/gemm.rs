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

/// Steps of k that one dispatch adds up; longer sums take several. Mesa's llvmpipe ends all loops of an invocation, without a word,
/// after 65,535 rounds together.
const STEPS: usize = 1 << 15;

pub(super) fn lower(op: &program::Gemm, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let (m, n, k) = op.dimensions();
    let kernel = Gemm {
        a: plan.buffer(op.a.tensor),
        b: plan.buffer(op.b.tensor),
        bias: &plan.read_or_unused(op.bias),
        c: plan.buffer(op.c.tensor),
    };
    let transposed = |transpose| f64::from(flag(transpose));
    let overrides = vec![
        ("TRANSPOSE_A", transposed(op.transpose_a)),
        ("TRANSPOSE_B", transposed(op.transpose_b)),
    ];
    let variant = Variant {
        cell: None,
        overrides,
    };
    let workgroups = plan.workgroups(m.div_ceil(BLOCK.0) * n.div_ceil(BLOCK.1), 1)?;
    let a_step = if op.transpose_a { op.a.row_stride } else { 1 };
    let b_step = if op.transpose_b { 1 } else { op.b.row_stride };
    // Without any step there is still a sum: 0.
    for part in 0..k.div_ceil(STEPS).max(1) {
        let first = part * STEPS;
        let params = GemmParams {
            m: m as u32,
            n: n as u32,
            k: (k - first).min(STEPS) as u32,
            a: (op.a.offset + first * a_step) as u32,
            b: (op.b.offset + first * b_step) as u32,
            bias: offset(op.bias),
            c: op.c.offset as u32,
            a_stride: op.a.row_stride as u32,
            b_stride: op.b.row_stride as u32,
            c_stride: op.c.row_stride as u32,
            has_bias: flag(op.bias.is_some() && part == 0),
            accumulate: flag(op.accumulate || part > 0),
        };
        plan.dispatch(&kernel, &variant, params, workgroups)?;
    }
    Ok(())
}
