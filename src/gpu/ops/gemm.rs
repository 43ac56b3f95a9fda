//! Matrix products: which kernel, in how many parts, over which steps.

mod choice;

pub use choice::GemmKernel;

use super::pack_half::Half;
use super::pointwise::fill;
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::compose::{
    GEMM_B, GEMM_B_HALF, GEMM_COOPERATIVE, GEMM_NUMBERS, GEMM_PARAMS, GEMM_TILE, GEMM_VECTORS,
};
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::{AdapterKind, Context};
use crate::program;

kernel! {
    /// c = op(a) · op(b) (+ c) (+ bias), any operands
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
    /// [`Gemm`] for operands that are vectors of four, in registers
    GemmRegister = "gemm_register" as Gemm
    libraries [GEMM_PARAMS, GEMM_VECTORS, GEMM_TILE]
    weights [GEMM_B, GEMM_B_HALF]
    constants ["BLOCKS" = 2, "GROUP" = 8]
    subgroups: false
}
kernel! {
    /// [`GemmRegister`] with loads shared by subgroups
    GemmSubgroup = "gemm_subgroup" as Gemm
    libraries [GEMM_PARAMS, GEMM_VECTORS, GEMM_TILE]
    weights [GEMM_B, GEMM_B_HALF]
    constants ["BLOCKS" = 4, "GROUP" = 8]
    subgroups: true
}
kernel! {
    /// [`Gemm`] for vectors of four, loads shared through workgroup memory
    GemmWorkgroup = "gemm_workgroup" as Gemm
    libraries [GEMM_PARAMS, GEMM_VECTORS]
    weights [GEMM_B, GEMM_B_HALF]
    constants ["SIDE" = 8, "GROUP" = 64]
    subgroups: false
}
kernel! {
    /// c = a · bᵀ (+ c) (+ bias), both operands in f16, by cooperative matrices of 8 × 8
    GemmCooperative8 = "gemm_cooperative_8" as Gemm
    libraries [GEMM_PARAMS, GEMM_COOPERATIVE]
    weights []
    constants []
    subgroups: true
    cooperative: true
}
kernel! {
    /// [`GemmCooperative8`] with matrices of 16 × 16
    GemmCooperative16 = "gemm_cooperative_16" as Gemm
    libraries [GEMM_PARAMS, GEMM_COOPERATIVE]
    weights []
    constants []
    subgroups: true
    cooperative: true
}
kernel! {
    /// c = (c +) Σ_p partial\[p\] (+ bias)
    GemmSum = "gemm_sum", GemmSumParams {
        rows: u32, columns: u32, parts: u32, c: u32, c_stride: u32, bias: u32, has_bias: u32, accumulate: u32,
    }
    bindings { partial: Read, bias: Read, c: ReadWrite }
}

/// Rows and columns that a workgroup of `Scalar` computes: `TILE_M` and `GROUP · TILE_N` in the shader.
const BLOCK: (usize, usize) = (8, 128);

/// Steps of k that one invocation adds up; longer sums take several dispatches. Mesa's llvmpipe
/// ends all loops of an invocation, without a word, after 65,535 rounds together.
const STEPS: usize = 1 << 15;

/// [`STEPS`] on a software adapter where every step reads another row of both operands: more rows
/// are more pages than a core's translation buffer holds (the weight gradient of LSTM
/// 512/512/100/64 took twice as long in one dispatch).
const ROWS: usize = 1 << 10;

/// A product over buffers.
struct Product {
    size: [usize; 3],
    transpose: (bool, bool),
    a: wgpu::Buffer,
    b: wgpu::Buffer,
    bias: wgpu::Buffer,
    c: wgpu::Buffer,
    /// The parameters of the whole product.
    params: GemmParams,
    extras: Extras,
    /// Whether b is f16.
    half: bool,
}

/// What is added to a product.
#[derive(Clone, Copy, Default)]
struct Extras {
    bias: bool,
    /// Whether what c held is added.
    accumulate: bool,
}

pub(super) fn lower(op: &program::Gemm, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let (m, n, k) = op.dimensions();
    if m == 0 || n == 0 {
        return Ok(());
    }
    let context = plan.context();
    let half = op.weights && plan.half;
    let (b, b_at, b_stride) = if half {
        let half = Half::of_weights(op.b, plan)?;
        (half.buffer, 0, half.stride)
    } else {
        let b = plan.buffer(op.b.tensor).clone();
        (b, op.b.offset, op.b.row_stride)
    };
    let mut product = Product {
        size: [m, n, k],
        transpose: (op.transpose_a, op.transpose_b),
        a: plan.buffer(op.a.tensor).clone(),
        b,
        bias: plan.read_or_unused(op.bias),
        c: plan.buffer(op.c.tensor).clone(),
        params: GemmParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            a: op.a.offset as u32,
            b: b_at as u32,
            bias: offset(op.bias),
            c: op.c.offset as u32,
            a_stride: op.a.row_stride as u32,
            b_stride: b_stride as u32,
            c_stride: op.c.row_stride as u32,
            part_steps: k as u32,
            part_stride: 0,
        },
        extras: Extras {
            bias: op.bias.is_some(),
            accumulate: op.accumulate,
        },
        half,
    };
    let parts = parts(context, product.size);
    if let Some(side) = product.cooperative(context, parts) {
        let a = Half::of_numbers(op.a, plan)?;
        (product.params.a, product.params.a_stride) = (0, a.stride as u32);
        product.a = a.buffer;
        return product.dispatch_cooperative(plan, side);
    }
    let candidates = product.candidates(context, parts);
    let kernel = context.tuner.choose(
        context,
        &product.class(parts),
        &candidates,
        |effort, kernel, repeats| product.trial(context, effort, (kernel, parts), repeats),
    )?;
    product.dispatch(plan, kernel, parts)
}

/// Parts of k that are summed up side by side, where the rows and columns alone leave the device idle.
/// A function of sizes and kind of adapter, never of a measurement, as parts decide the order of sums.
pub(super) fn parts(context: &Context, [m, n, k]: [usize; 3]) -> usize {
    const LEAST: usize = 256;
    let wanted = match context.info().kind {
        AdapterKind::Software => 8,
        _ => 256,
    };
    let tiles = m.div_ceil(32) * n.div_ceil(32);
    let parts = (wanted / tiles).min(k / LEAST).min(64);
    if parts < 2 {
        return 1;
    }
    let parts = parts.max(k.div_ceil(STEPS));
    k.div_ceil(part_steps(k, parts))
}

fn part_steps(k: usize, parts: usize) -> usize {
    k.div_ceil(parts).next_multiple_of(4)
}

/// The segments of k and their kernels: `kernel` up to `whole`, then `Scalar`, `most` steps at a time.
fn segments(
    kernel: GemmKernel,
    whole: usize,
    k: usize,
    most: usize,
) -> Vec<(GemmKernel, usize, usize)> {
    let mut segments = vec![];
    for (kernel, from, to) in [(kernel, 0, whole), (GemmKernel::Scalar, whole, k)] {
        let firsts = (from..to).step_by(most);
        segments.extend(firsts.map(|first| (kernel, first, to.min(first + most))));
    }
    if k == 0 {
        // Without any step there is still a sum: 0.
        segments.push((GemmKernel::Scalar, 0, 0));
    }
    segments
}

impl Product {
    fn dispatch(&self, plan: &mut PlanBuilder<'_>, kernel: GemmKernel, parts: usize) -> Result<()> {
        let k = self.size[2];
        if parts > 1 {
            return self.dispatch_parts(plan, kernel, parts);
        }
        // One after the other, each beginning with what the last one left.
        let whole = match kernel {
            GemmKernel::Scalar => 0,
            _ => k - k % 4,
        };
        let software = plan.context().info().kind == AdapterKind::Software;
        let most = match self.transpose {
            (true, false) if software => ROWS,
            _ => STEPS,
        };
        let segments = segments(kernel, whole, k, most);
        let [m, n, _] = self.size;
        let mut accumulate = self.extras.accumulate;
        let again = segments.windows(2).any(|two| two[0].0 == two[1].0);
        if again && !accumulate && self.params.c_stride as usize == n {
            // One variant for all: a software adapter takes a quarter of a second to compile another.
            fill(plan, &self.c, self.params.c as usize, m * n)?;
            accumulate = true;
        }
        for (kernel, first, end) in segments {
            let at = |start: u32, stride: u32| start + first as u32 * stride;
            let step = |across, stride| if across { stride } else { 1 };
            let params = GemmParams {
                k: (end - first) as u32,
                part_steps: (end - first) as u32,
                a: at(self.params.a, step(self.transpose.0, self.params.a_stride)),
                b: at(self.params.b, step(!self.transpose.1, self.params.b_stride)),
                ..self.params
            };
            let extras = Extras {
                bias: self.extras.bias && end == k,
                accumulate: accumulate || first > 0,
            };
            self.dispatch_one(plan, kernel, (params, extras), (&self.c, 1))?;
        }
        Ok(())
    }

    fn dispatch_parts(
        &self,
        plan: &mut PlanBuilder<'_>,
        kernel: GemmKernel,
        parts: usize,
    ) -> Result<()> {
        let [m, n, k] = self.size;
        let partial = plan.scratch("a product's parts", parts * m * n)?;
        let params = GemmParams {
            c: 0,
            c_stride: n as u32,
            part_steps: part_steps(k, parts) as u32,
            part_stride: (m * n) as u32,
            ..self.params
        };
        self.dispatch_one(plan, kernel, (params, Extras::default()), (&partial, parts))?;
        let sum = GemmSum {
            partial: &partial,
            bias: &self.bias,
            c: &self.c,
        };
        let params = GemmSumParams {
            rows: m as u32,
            columns: n as u32,
            parts: parts as u32,
            c: self.params.c,
            c_stride: self.params.c_stride,
            bias: self.params.bias,
            has_bias: flag(self.extras.bias),
            accumulate: flag(self.extras.accumulate),
        };
        let workgroups = plan.workgroups((m * n).div_ceil(super::GROUP), 1)?;
        plan.dispatch(&sum, &Variant::default(), params, workgroups)
    }

    fn dispatch_one(
        &self,
        plan: &mut PlanBuilder<'_>,
        kernel: GemmKernel,
        (params, extras): (GemmParams, Extras),
        (c, parts): (&wgpu::Buffer, usize),
    ) -> Result<()> {
        let operands = Gemm {
            a: &self.a,
            b: &self.b,
            bias: &self.bias,
            c,
        };
        let (constants, tile): (Vec<_>, _) = match kernel {
            GemmKernel::Register { blocks, group } | GemmKernel::Subgroup { blocks, group } => (
                vec![("BLOCKS", blocks), ("GROUP", group)],
                (8 * blocks as usize, 4 * group as usize),
            ),
            GemmKernel::Workgroup { side } => {
                let group = (64 / side) * (64 / side);
                (vec![("SIDE", side), ("GROUP", group)], (64, 64))
            }
            // Cooperative matrices have a dispatch of their own.
            _ => (vec![], BLOCK),
        };
        let mut variant = self.variant(extras);
        let constants = constants.into_iter();
        let constants = constants.map(|(name, value)| (name, f64::from(value)));
        variant.overrides.extend(constants);
        let tiles = self.size[0].div_ceil(tile.0) * self.size[1].div_ceil(tile.1);
        let groups = plan.workgroups(tiles, parts)?;
        match kernel {
            GemmKernel::Register { .. } => {
                plan.dispatch(&GemmRegister(operands), &variant, params, groups)
            }
            GemmKernel::Subgroup { .. } => {
                plan.dispatch(&GemmSubgroup(operands), &variant, params, groups)
            }
            GemmKernel::Workgroup { .. } => {
                plan.dispatch(&GemmWorkgroup(operands), &variant, params, groups)
            }
            _ => plan.dispatch(&operands, &variant, params, groups),
        }
    }

    fn dispatch_cooperative(&self, plan: &mut PlanBuilder<'_>, side: u32) -> Result<()> {
        /// Invocations of a workgroup, `GROUP` in the shader.
        const GROUP: u32 = 64;
        let operands = Gemm {
            a: &self.a,
            b: &self.b,
            bias: &self.bias,
            c: &self.c,
        };
        let blocks = |size: usize| size.div_ceil(2 * side as usize);
        // The kernel takes what is left where a workgroup has fewer subgroups.
        let largest = plan.context().device().adapter_info().subgroup_max_size;
        let subgroups = (GROUP / largest.clamp(1, GROUP)) as usize;
        let groups = (blocks(self.size[0]) * blocks(self.size[1])).div_ceil(subgroups);
        let groups = plan.workgroups(groups, 1)?;
        let variant = self.variant(self.extras);
        match side {
            8 => plan.dispatch(&GemmCooperative8(operands), &variant, self.params, groups),
            _ => plan.dispatch(&GemmCooperative16(operands), &variant, self.params, groups),
        }
    }

    fn variant(&self, extras: Extras) -> Variant<'static> {
        let flags = [
            ("TRANSPOSE_A", self.transpose.0),
            ("TRANSPOSE_B", self.transpose.1),
            ("HAS_BIAS", extras.bias),
            ("ACCUMULATE", extras.accumulate),
        ];
        Variant {
            overrides: flags
                .map(|(name, set)| (name, f64::from(flag(set))))
                .to_vec(),
            half: self.half,
            ..Variant::default()
        }
    }
}
