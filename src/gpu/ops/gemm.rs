//! Matrix products: which kernel, in how many parts, over which steps.

use super::{flag, offset};
use crate::error::Result;
use crate::gpu::compose::{GEMM_PARAMS, GEMM_TILE, GEMM_VECTORS};
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::{Plan, PlanBuilder};
use crate::gpu::tuner::{Choice, Mode};
use crate::gpu::{AdapterKind, Context};
use crate::program;

kernel! {
    /// c = op(a) · op(b) (+ c) (+ bias), any operands
    Gemm = "gemm", GemmParams {
        m: u32, n: u32, k: u32,
        a: u32, b: u32, bias: u32, c: u32,
        a_stride: u32, b_stride: u32, c_stride: u32,
        has_bias: u32, accumulate: u32,
        part_steps: u32, part_stride: u32,
    }
    bindings { a: Read, b: Read, bias: Read, c: ReadWrite }
    libraries [GEMM_PARAMS]
    overrides ["TRANSPOSE_A", "TRANSPOSE_B"]
}
kernel! {
    /// The same for operands that are vectors of four, in registers
    GemmRegister = "gemm_register" as Gemm
    libraries [GEMM_PARAMS, GEMM_VECTORS, GEMM_TILE]
    constants ["BLOCKS" = 2, "GROUP" = 8]
    subgroups: false
}
kernel! {
    /// The same, loads shared by subgroups
    GemmSubgroup = "gemm_subgroup" as Gemm
    libraries [GEMM_PARAMS, GEMM_VECTORS, GEMM_TILE]
    constants ["BLOCKS" = 4, "GROUP" = 8]
    subgroups: true
}
kernel! {
    /// The same, loads shared through workgroup memory
    GemmWorkgroup = "gemm_workgroup" as Gemm
    libraries [GEMM_PARAMS, GEMM_VECTORS]
    constants ["SIDE" = 8]
    subgroups: false
}
kernel! {
    /// c = (c +) Σ_p partial\[p\] (+ bias)
    GemmSum = "gemm_sum", GemmSumParams {
        rows: u32, columns: u32, parts: u32, c: u32, c_stride: u32, bias: u32, has_bias: u32, accumulate: u32,
    }
    bindings { partial: Read, bias: Read, c: ReadWrite }
}

/// A kernel for matrix products on a GPU. All give the same bits; which is the fastest depends on the adapter and the sizes, and is measured
/// unless `BPTT_TUNE` is `off`.
///
/// All but [`Scalar`](Self::Scalar) read and write four numbers at a time: offsets and row strides of all three matrices, N, and M where
/// a is transposed, must be multiples of 4, else `Scalar` takes the product. What K has beyond a multiple of 4 is `Scalar`'s too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GemmKernel {
    /// Any operands: 8 rows by 4 columns an invocation, number by number.
    Scalar,
    /// A tile in registers, no barriers.
    Register {
        /// Blocks of 8 rows an invocation, 1 to 4, by 4 columns.
        blocks: u32,
        /// Invocations a workgroup.
        group: u32,
    },
    /// The same, for devices with subgroups of 8 or more, whose invocations load a's rows for each other.
    Subgroup {
        /// Blocks of 8 rows an invocation, 1 to 4, by 4 columns.
        blocks: u32,
        /// Invocations a workgroup, at least 8.
        group: u32,
    },
    /// A tile of 64 × 64 a workgroup, through 8 KiB of workgroup memory.
    Workgroup {
        /// Rows and columns an invocation: 4 (256 invocations) or 8 (64).
        side: u32,
    },
}

impl GemmKernel {
    /// Those that the tuner chooses from, and [`Scalar`](Self::Scalar).
    pub const ALL: [Self; 10] = [
        Self::Scalar,
        Self::Register {
            blocks: 1,
            group: 64,
        },
        Self::Register {
            blocks: 2,
            group: 8,
        },
        Self::Register {
            blocks: 2,
            group: 64,
        },
        Self::Subgroup {
            blocks: 1,
            group: 8,
        },
        Self::Subgroup {
            blocks: 2,
            group: 8,
        },
        Self::Subgroup {
            blocks: 4,
            group: 8,
        },
        Self::Subgroup {
            blocks: 2,
            group: 64,
        },
        Self::Workgroup { side: 4 },
        Self::Workgroup { side: 8 },
    ];
}

impl Choice for GemmKernel {
    const FAMILY: &'static str = "gemm";
    fn name(self) -> String {
        match self {
            Self::Scalar => "scalar".to_owned(),
            Self::Register { blocks, group } => format!("register {blocks} {group}"),
            Self::Subgroup { blocks, group } => format!("subgroup {blocks} {group}"),
            Self::Workgroup { side } => format!("workgroup {side}"),
        }
    }
}

/// Rows and columns that a workgroup of `Scalar` computes: `TILE_M` and `GROUP · TILE_N` in the shader.
const BLOCK: (usize, usize) = (8, 128);

/// Steps of k that one invocation adds up; longer sums take several dispatches. Mesa's llvmpipe ends all loops of an invocation, without a word,
/// after 65,535 rounds together.
const STEPS: usize = 1 << 15;

/// A product over buffers.
struct Product {
    size: [usize; 3],
    transpose: (bool, bool),
    a: wgpu::Buffer,
    b: wgpu::Buffer,
    bias: wgpu::Buffer,
    c: wgpu::Buffer,
    /// Of the whole product.
    params: GemmParams,
}

pub(super) fn lower(op: &program::Gemm, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let (m, n, k) = op.dimensions();
    if m == 0 || n == 0 {
        return Ok(());
    }
    let product = Product {
        size: [m, n, k],
        transpose: (op.transpose_a, op.transpose_b),
        a: plan.buffer(op.a.tensor).clone(),
        b: plan.buffer(op.b.tensor).clone(),
        bias: plan.read_or_unused(op.bias),
        c: plan.buffer(op.c.tensor).clone(),
        params: GemmParams {
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
            part_steps: k as u32,
            part_stride: 0,
        },
    };
    let context = plan.context();
    let parts = parts(context, product.size);
    let candidates = product.candidates(context, parts);
    let kernel = context.tuner.choose(
        context,
        &product.class(parts),
        &candidates,
        |mode, kernel, repeats| product.trial(context, mode, (kernel, parts), repeats),
    )?;
    product.dispatch(plan, kernel, parts)
}

/// Parts of k that are summed up side by side, where the rows and columns alone leave the device idle. A function of sizes and kind
/// of adapter, never of a measurement, as the parts are what decides the order of a sum.
fn parts(context: &Context, [m, n, k]: [usize; 3]) -> usize {
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

/// Which kernel adds up which steps: from the first, to the one before the end.
fn segments(kernel: GemmKernel, whole: usize, k: usize) -> Vec<(GemmKernel, usize, usize)> {
    let mut segments = vec![];
    for (kernel, from, to) in [(kernel, 0, whole), (GemmKernel::Scalar, whole, k)] {
        let firsts = (from..to).step_by(STEPS);
        segments.extend(firsts.map(|first| (kernel, first, to.min(first + STEPS))));
    }
    if k == 0 {
        // Without any step there is still a sum: 0.
        segments.push((GemmKernel::Scalar, 0, 0));
    }
    segments
}

/// Whether a device can run a kernel.
fn fits(context: &Context, kernel: GemmKernel) -> bool {
    let invocations = match kernel {
        GemmKernel::Scalar => 32,
        GemmKernel::Register { group, .. } | GemmKernel::Subgroup { group, .. } => group,
        GemmKernel::Workgroup { side } => (64 / side) * (64 / side),
    };
    let limits = &context.limits;
    let subgroups = || {
        context
            .device()
            .features()
            .contains(wgpu::Features::SUBGROUP)
            && context.device().adapter_info().subgroup_min_size >= 8
    };
    invocations <= limits.max_compute_invocations_per_workgroup
        && invocations <= limits.max_compute_workgroup_size_x
        && match kernel {
            GemmKernel::Scalar | GemmKernel::Register { .. } => true,
            GemmKernel::Subgroup { .. } => subgroups(),
            GemmKernel::Workgroup { .. } => limits.max_compute_workgroup_storage_size >= 8192,
        }
}

impl Product {
    /// Whether all kernels can take it.
    fn is_aligned(&self, parts: usize) -> bool {
        let p = &self.params;
        let multiples = [p.a, p.b, p.c, p.a_stride, p.b_stride, p.c_stride, p.n];
        multiples.iter().all(|number| number % 4 == 0)
            && (!self.transpose.0 || p.m % 4 == 0)
            && p.k >= 4
            && (parts == 1 || p.k % 4 == 0)
    }

    /// The kernels that can take it, the best guess first.
    fn candidates(&self, context: &Context, parts: usize) -> Vec<GemmKernel> {
        use GemmKernel::{Register, Scalar, Subgroup, Workgroup};
        if !self.is_aligned(parts) {
            return vec![Scalar];
        }
        let rows = self.size[0];
        let mut candidates = if context.info().kind == AdapterKind::Software {
            // As measured on llvmpipe; fewer rows than a tile has are no reason for loads in vain.
            let blocks = match rows {
                0..=8 => [1, 2, 4],
                9..=16 => [2, 1, 4],
                _ => [4, 2, 1],
            };
            let mut best: Vec<_> = blocks.map(|blocks| Subgroup { blocks, group: 8 }).into();
            best.push(Register {
                blocks: 2,
                group: 8,
            });
            best
        } else {
            let large = rows.div_ceil(64) * self.size[1].div_ceil(64) >= 256;
            let side = if large { 8 } else { 4 };
            vec![
                Workgroup { side },
                Workgroup { side: 12 - side },
                Subgroup {
                    blocks: 2,
                    group: 64,
                },
                Register {
                    blocks: 1,
                    group: 64,
                },
            ]
        };
        let others = GemmKernel::ALL.into_iter();
        let others: Vec<_> = others
            .filter(|kernel| !candidates.contains(kernel))
            .collect();
        candidates.extend(others);
        candidates.retain(|kernel| fits(context, *kernel));
        candidates
    }

    /// Products of one class share a choice: sizes to a factor of two, transpositions, and whether k is in parts.
    fn class(&self, parts: usize) -> String {
        let letter = |transposed| if transposed { 't' } else { 'n' };
        let [m, n, k] = self.size.map(|size| size.max(1).ilog2());
        let (a, b) = (letter(self.transpose.0), letter(self.transpose.1));
        let parts = if parts > 1 { " parts" } else { "" };
        format!("{a}{b} {m} {n} {k}{parts}")
    }

    /// The product a number of times, over memory of its own, with less rows or steps where it is a large one.
    fn trial(
        &self,
        context: &Context,
        mode: Mode,
        (kernel, parts): (GemmKernel, usize),
        repeats: usize,
    ) -> Result<Plan> {
        let [mut m, n, mut k] = self.size;
        let shrink = |size: &mut usize, least: usize, rest: usize| {
            while *size > least && *size * rest > mode.work() {
                *size = (*size / 2).next_multiple_of(4);
            }
        };
        shrink(&mut m, 256, n * k);
        shrink(&mut k, 256, m * n);
        let side = |transposed, rows: usize, columns: usize| {
            let length = if transposed { rows } else { columns };
            length.next_multiple_of(4)
        };
        let (a_stride, b_stride) = (side(self.transpose.0, m, k), side(self.transpose.1, k, n));
        let (a_rows, b_rows) = (side(!self.transpose.0, m, k), side(!self.transpose.1, k, n));
        let mut plan = PlanBuilder::new(context, &[])?;
        let product = Self {
            size: [m, n, k],
            transpose: self.transpose,
            a: plan.scratch("a trial's a", a_rows * a_stride)?,
            b: plan.scratch("a trial's b", b_rows * b_stride)?,
            bias: plan.read_or_unused(None),
            c: plan.scratch("a trial's c", m * n)?,
            params: GemmParams {
                m: m as u32,
                n: n as u32,
                k: k as u32,
                a_stride: a_stride as u32,
                b_stride: b_stride as u32,
                c_stride: n as u32,
                part_steps: k as u32,
                ..GemmParams::default()
            },
        };
        for _ in 0..repeats {
            product.dispatch(&mut plan, kernel, parts)?;
        }
        plan.finish()
    }

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
        for (kernel, first, end) in segments(kernel, whole, k) {
            let at = |start: u32, stride: u32| start + first as u32 * stride;
            let step = |across, stride| if across { stride } else { 1 };
            let params = GemmParams {
                k: (end - first) as u32,
                part_steps: (end - first) as u32,
                a: at(self.params.a, step(self.transpose.0, self.params.a_stride)),
                b: at(self.params.b, step(!self.transpose.1, self.params.b_stride)),
                has_bias: self.params.has_bias & flag(end == k),
                accumulate: self.params.accumulate | flag(first > 0),
                ..self.params
            };
            self.dispatch_one(plan, kernel, params, &self.c, 1)?;
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
            has_bias: 0,
            accumulate: 0,
            part_steps: part_steps(k, parts) as u32,
            part_stride: (m * n) as u32,
            ..self.params
        };
        self.dispatch_one(plan, kernel, params, &partial, parts)?;
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
            has_bias: self.params.has_bias,
            accumulate: self.params.accumulate,
        };
        let workgroups = plan.workgroups((m * n).div_ceil(super::GROUP), 1)?;
        plan.dispatch(&sum, &Variant::default(), params, workgroups)
    }

    fn dispatch_one(
        &self,
        plan: &mut PlanBuilder<'_>,
        kernel: GemmKernel,
        params: GemmParams,
        c: &wgpu::Buffer,
        parts: usize,
    ) -> Result<()> {
        let operands = Gemm {
            a: &self.a,
            b: &self.b,
            bias: &self.bias,
            c,
        };
        let (constants, tile): (Vec<_>, _) = match kernel {
            GemmKernel::Scalar => (vec![], BLOCK),
            GemmKernel::Register { blocks, group } | GemmKernel::Subgroup { blocks, group } => (
                vec![("BLOCKS", blocks), ("GROUP", group)],
                (8 * blocks as usize, 4 * group as usize),
            ),
            GemmKernel::Workgroup { side } => (vec![("SIDE", side)], (64, 64)),
        };
        let mut overrides: Vec<_> = (constants.into_iter())
            .map(|(name, value)| (name, f64::from(value)))
            .collect();
        overrides.push(("TRANSPOSE_A", f64::from(flag(self.transpose.0))));
        overrides.push(("TRANSPOSE_B", f64::from(flag(self.transpose.1))));
        let variant = Variant {
            cell: None,
            overrides,
        };
        let tiles = self.size[0].div_ceil(tile.0) * self.size[1].div_ceil(tile.1);
        let groups = plan.workgroups(tiles, parts)?;
        match kernel {
            GemmKernel::Scalar => plan.dispatch(&operands, &variant, params, groups),
            GemmKernel::Register { .. } => {
                plan.dispatch(&GemmRegister(operands), &variant, params, groups)
            }
            GemmKernel::Subgroup { .. } => {
                plan.dispatch(&GemmSubgroup(operands), &variant, params, groups)
            }
            GemmKernel::Workgroup { .. } => {
                plan.dispatch(&GemmWorkgroup(operands), &variant, params, groups)
            }
        }
    }
}
