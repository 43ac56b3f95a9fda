//! The kernels of matrix products.

use super::choice::GemmKernel;
use crate::gpu::Context;
use crate::gpu::compose::{
    EACH_INVOCATION, GEMM_B, GEMM_B_HALF, GEMM_COOPERATIVE, GEMM_NUMBERS, GEMM_PARAMS, GEMM_TILE,
    GEMM_VECTORS,
};
use crate::gpu::kernel::{Kernel, KernelInfo, kernel, shader};

kernel! {
    /// c = op(a) · op(b) (+ c) (+ bias), any operands. `part_steps`: steps of k of one part; `part_stride`: how far apart two
    /// parts' sums lie. Parts are the third dimension of the workgroups.
    Gemm = "gemm", GemmParams {
        m: u32, n: u32, k: u32,
        a: u32, b: u32, bias: u32, c: u32,
        a_stride: u32, b_stride: u32, c_stride: u32,
        part_steps: u32, part_stride: u32,
    }
    bindings { a: Read, b: Read, bias: Read, c: ReadWrite }
    libraries [GEMM_PARAMS]
    weights [GEMM_NUMBERS, GEMM_B_HALF]
    overrides ["TRANSPOSE_A", "TRANSPOSE_B", "HAS_BIAS", "ACCUMULATE"]
}
kernel! {
    /// c = (c +) Σ_p partial\[p\] (+ bias)
    GemmSum = "gemm_sum", GemmSumParams {
        rows: u32, columns: u32, parts: u32, c: u32, c_stride: u32, bias: u32, has_bias: u32, accumulate: u32,
    }
    bindings { partial: Read, bias: Read, c: ReadWrite }
    libraries [EACH_INVOCATION]
}

/// [`Gemm`] for operands that are vectors of four, in registers.
pub(in crate::gpu) const REGISTER: KernelInfo = KernelInfo {
    name: "gemm_register",
    source: shader!("gemm_register"),
    libraries: &[GEMM_PARAMS, GEMM_VECTORS, GEMM_TILE],
    weights: &[GEMM_B, GEMM_B_HALF],
    constants: &[("BLOCKS", 2), ("GROUP", 8)],
    ..Gemm::INFO
};

/// [`REGISTER`] with loads shared by subgroups.
pub(in crate::gpu) const SUBGROUP: KernelInfo = KernelInfo {
    name: "gemm_subgroup",
    source: shader!("gemm_subgroup"),
    constants: &[("BLOCKS", 4), ("GROUP", 8)],
    subgroups: true,
    ..REGISTER
};

/// [`Gemm`] for vectors of four, loads shared through workgroup memory.
pub(in crate::gpu) const WORKGROUP: KernelInfo = KernelInfo {
    name: "gemm_workgroup",
    source: shader!("gemm_workgroup"),
    libraries: &[GEMM_PARAMS, GEMM_VECTORS],
    constants: &[("SIDE", 8), ("GROUP", 64)],
    ..REGISTER
};

/// c = a · bᵀ (+ c) (+ bias), both operands in f16, by cooperative matrices of 8 × 8.
pub(in crate::gpu) const COOPERATIVE_8: KernelInfo = KernelInfo {
    name: "gemm_cooperative_8",
    source: shader!("gemm_cooperative_8"),
    libraries: &[GEMM_PARAMS, GEMM_COOPERATIVE],
    weights: &[],
    subgroups: true,
    cooperative: true,
    ..Gemm::INFO
};

/// [`COOPERATIVE_8`] with matrices of 16 × 16.
pub(in crate::gpu) const COOPERATIVE_16: KernelInfo = KernelInfo {
    name: "gemm_cooperative_16",
    source: shader!("gemm_cooperative_16"),
    ..COOPERATIVE_8
};

/// How a kernel covers a product.
pub(super) struct Cover {
    pub(super) info: &'static KernelInfo,
    pub(super) constants: Vec<(&'static str, u32)>,
    /// Rows and columns of a tile.
    pub(super) tile: (u32, u32),
    /// Tiles of a workgroup.
    pub(super) tiles: u32,
}

impl Cover {
    pub(super) fn of(kernel: GemmKernel, context: &Context) -> Self {
        let (info, constants, tile) = match kernel {
            // `TILE_M` and `GROUP · TILE_N` in the shader.
            GemmKernel::Scalar => (&Gemm::INFO, vec![], (8, 128)),
            GemmKernel::Register { blocks, group } => {
                let constants = vec![("BLOCKS", blocks), ("GROUP", group)];
                (&REGISTER, constants, (8 * blocks, 4 * group))
            }
            GemmKernel::Subgroup { blocks, group } => {
                let constants = vec![("BLOCKS", blocks), ("GROUP", group)];
                (&SUBGROUP, constants, (8 * blocks, 4 * group))
            }
            GemmKernel::Workgroup { side } => {
                let group = (64 / side) * (64 / side);
                let constants = vec![("SIDE", side), ("GROUP", group)];
                (&WORKGROUP, constants, (64, 64))
            }
            GemmKernel::Cooperative => {
                /// Invocations of a workgroup, `GROUP` in the shader.
                const GROUP: u32 = 64;
                let (info, side) = match context.cooperative {
                    Some(8) => (&COOPERATIVE_8, 8),
                    _ => (&COOPERATIVE_16, 16),
                };
                // The kernel takes what is left where a workgroup has fewer subgroups.
                let largest = context.device.adapter_info().subgroup_max_size;
                let tiles = GROUP / largest.clamp(1, GROUP);
                let (constants, tile) = (vec![], (2 * side, 2 * side));
                return Self {
                    info,
                    constants,
                    tile,
                    tiles,
                };
            }
        };
        Self {
            info,
            constants,
            tile,
            tiles: 1,
        }
    }
}
