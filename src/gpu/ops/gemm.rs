//! Matrix products: which kernel, in how many parts, over which steps.

mod choice;
mod kernels;

pub use choice::GemmKernel;
pub(super) use kernels::{
    COOPERATIVE_8, COOPERATIVE_16, Gemm, GemmSum, REGISTER, SUBGROUP, WORKGROUP,
};

use self::kernels::{Cover, GemmParams, GemmSumParams};
use super::pack_half::Half;
use super::pointwise::fill;
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::{AdapterKind, Context};
use crate::program;

/// Steps of k that one invocation adds up; longer sums take several dispatches. Mesa's llvmpipe
/// ends all loops of an invocation, without a word, after 65,535 rounds together.
const STEPS: usize = 1 << 15;

/// [`STEPS`] on a software adapter where every step reads another row of both operands: more rows are more pages than a core's
/// translation buffer holds (the weight gradient of LSTM 512/512/100/64 took twice as long in one dispatch).
const ROWS: usize = 1 << 10;

/// A product over buffers.
struct Product {
    a: wgpu::Buffer,
    b: wgpu::Buffer,
    bias: wgpu::Buffer,
    c: wgpu::Buffer,
    /// The parameters of the whole product.
    params: GemmParams,
    form: Form,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy)]
struct Form {
    transpose_a: bool,
    transpose_b: bool,
    /// Whether a bias is added.
    bias: bool,
    /// Whether what c held is added.
    accumulate: bool,
    /// Whether b is f16.
    half: bool,
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
        form: Form {
            transpose_a: op.transpose_a,
            transpose_b: op.transpose_b,
            bias: op.bias.is_some(),
            accumulate: op.accumulate,
            half,
        },
    };
    let parts = parts(context, [m, n, k]);
    let kernel = if product.is_cooperative(context, parts) {
        let a = Half::of_numbers(op.a, plan)?;
        (product.params.a, product.params.a_stride) = (0, a.stride as u32);
        product.a = a.buffer;
        GemmKernel::Cooperative
    } else {
        let (class, candidates) = (product.class(parts), product.candidates(context, parts));
        let trial =
            |effort, kernel, repeats| product.trial(context, effort, (kernel, parts), repeats);
        context.choose(&class, &candidates, trial)?
    };
    product.dispatch(plan, kernel, parts)
}

/// Parts of k that are summed up side by side, where the rows and columns alone leave the device idle.
/// A function of sizes and kind of adapter, never of a measurement, as parts decide the order of sums.
pub(super) fn parts(context: &Context, [m, n, k]: [usize; 3]) -> usize {
    const LEAST: usize = 256;
    let wanted = match context.info.kind {
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
    /// M, N, K
    fn size(&self) -> [usize; 3] {
        [self.params.m, self.params.n, self.params.k].map(|size| size as usize)
    }

    fn dispatch(&self, plan: &mut PlanBuilder<'_>, kernel: GemmKernel, parts: usize) -> Result<()> {
        if parts > 1 {
            return self.dispatch_parts(plan, kernel, parts);
        }
        let [m, n, k] = self.size();
        // One after the other, each beginning with what the last one left.
        let whole = match kernel {
            GemmKernel::Scalar => 0,
            // What follows K are zeros.
            GemmKernel::Cooperative => k,
            GemmKernel::Register { .. }
            | GemmKernel::Subgroup { .. }
            | GemmKernel::Workgroup { .. } => k - k % 4,
        };
        let software = plan.context().info.kind == AdapterKind::Software;
        let most = match (self.form.transpose_a, self.form.transpose_b) {
            (true, false) if software => ROWS,
            _ => STEPS,
        };
        let segments = segments(kernel, whole, k, most);
        let mut accumulate = self.form.accumulate;
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
                a: at(
                    self.params.a,
                    step(self.form.transpose_a, self.params.a_stride),
                ),
                b: at(
                    self.params.b,
                    step(!self.form.transpose_b, self.params.b_stride),
                ),
                ..self.params
            };
            let form = Form {
                bias: self.form.bias && end == k,
                accumulate: accumulate || first > 0,
                ..self.form
            };
            self.dispatch_one(plan, kernel, (params, form), (&self.c, 1))?;
        }
        Ok(())
    }

    fn dispatch_parts(
        &self,
        plan: &mut PlanBuilder<'_>,
        kernel: GemmKernel,
        parts: usize,
    ) -> Result<()> {
        let [m, n, k] = self.size();
        let partial = plan.scratch("a product's parts", parts * m * n)?;
        let params = GemmParams {
            c: 0,
            c_stride: n as u32,
            part_steps: part_steps(k, parts) as u32,
            part_stride: (m * n) as u32,
            ..self.params
        };
        let form = Form {
            bias: false,
            accumulate: false,
            ..self.form
        };
        self.dispatch_one(plan, kernel, (params, form), (&partial, parts))?;
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
            has_bias: flag(self.form.bias),
            accumulate: flag(self.form.accumulate),
        };
        let workgroups = plan.workgroups((m * n).div_ceil(super::GROUP), 1)?;
        plan.dispatch(&sum, &Variant::default(), params, workgroups)
    }

    fn dispatch_one(
        &self,
        plan: &mut PlanBuilder<'_>,
        kernel: GemmKernel,
        (params, form): (GemmParams, Form),
        (c, parts): (&wgpu::Buffer, usize),
    ) -> Result<()> {
        let operands = Gemm {
            a: &self.a,
            b: &self.b,
            bias: &self.bias,
            c,
        };
        let cover = Cover::of(kernel, plan.context());
        let tiles =
            params.m.div_ceil(cover.tile.0) as usize * params.n.div_ceil(cover.tile.1) as usize;
        let workgroups = plan.workgroups(tiles.div_ceil(cover.tiles as usize), parts)?;
        let flags = [
            ("TRANSPOSE_A", flag(form.transpose_a)),
            ("TRANSPOSE_B", flag(form.transpose_b)),
            ("HAS_BIAS", flag(form.bias)),
            ("ACCUMULATE", flag(form.accumulate)),
        ];
        let overrides = flags.into_iter().chain(cover.constants);
        let variant = Variant {
            overrides: overrides
                .map(|(name, value)| (name, value.into()))
                .collect(),
            half: form.half,
            ..Variant::default()
        };
        plan.dispatch_as(cover.info, &operands, &variant, params, workgroups)
    }
}
