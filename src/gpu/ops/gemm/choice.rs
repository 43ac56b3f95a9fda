//! Which kernel takes a product.

use super::{GemmParams, Product, STEPS};
use crate::error::Result;
use crate::gpu::plan::{Plan, PlanBuilder};
use crate::gpu::{AdapterKind, Context};
use crate::tuning::{Choice, Effort};

/// A kernel for matrix products on a GPU. All but [`Cooperative`](Self::Cooperative) give the same bits; which is the fastest
/// depends on the adapter and the sizes, and is measured unless `BPTT_TUNE` is `off`.
///
/// All but [`Scalar`](Self::Scalar) read and write four numbers at a time: offsets and row strides
/// of all three matrices, N, and M where a is transposed, must be multiples of 4, else `Scalar`
/// takes the product. What K has beyond a multiple of 4 is `Scalar`'s too.
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
    /// `Register` for devices with subgroups of 8 or more, whose invocations load a's rows for each other.
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
    /// Cooperative matrices (tensor cores), under [`Precision::F16`](crate::Precision::F16) on devices from
    /// [`Device::gpu_f16`](crate::Device::gpu_f16) whose adapter has them. The tuner does not choose it, as its numbers are
    /// others: it rounds both operands to f16. It takes all forward products x Wᵀ with M and N multiples of 16 (or 8, as the
    /// adapter has it), c, its rows and the bias beginning at multiples of 4 and K of at most 32,768, unless another kernel is
    /// forced; on a software adapter only where it is forced itself. Products of gradients, which may be too small for f16, and
    /// those that run in parts it leaves to the others.
    Cooperative,
}

const fn register(blocks: u32, group: u32) -> GemmKernel {
    GemmKernel::Register { blocks, group }
}

const fn subgroup(blocks: u32, group: u32) -> GemmKernel {
    GemmKernel::Subgroup { blocks, group }
}

impl GemmKernel {
    /// All kernels that the tuner chooses from.
    pub const ALL: [Self; 10] = [
        Self::Scalar,
        register(1, 64),
        register(2, 8),
        register(2, 64),
        subgroup(1, 8),
        subgroup(2, 8),
        subgroup(4, 8),
        subgroup(2, 64),
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
            Self::Cooperative => "cooperative".to_owned(),
        }
    }
}

/// Whether a device can run a kernel that the tuner chooses from.
fn fits(context: &Context, kernel: GemmKernel) -> bool {
    let limits = &context.limits;
    let (invocations, otherwise) = match kernel {
        GemmKernel::Register { group, .. } => (group, true),
        GemmKernel::Subgroup { group, .. } => (group, context.subgroups),
        GemmKernel::Workgroup { side } => (
            (64 / side) * (64 / side),
            limits.max_compute_workgroup_storage_size >= 8192,
        ),
        GemmKernel::Scalar => (32, true),
        GemmKernel::Cooperative => (64, context.cooperative.is_some()),
    };
    otherwise
        && invocations <= limits.max_compute_invocations_per_workgroup
        && invocations <= limits.max_compute_workgroup_size_x
}

impl Product {
    /// Whether all kernels can take the product.
    fn is_aligned(&self, parts: usize) -> bool {
        let p = &self.params;
        let multiples = [p.a, p.b, p.c, p.a_stride, p.b_stride, p.c_stride, p.n];
        multiples.iter().all(|number| number % 4 == 0)
            && (!self.form.transpose_a || p.m.is_multiple_of(4))
            && p.k >= 4
            && (parts == 1 || p.k.is_multiple_of(4))
    }

    /// Whether cooperative matrices take the product: a function of adapter and sizes, unless a kernel is forced.
    pub(super) fn is_cooperative(&self, context: &Context, parts: usize) -> bool {
        let Some(side) = context.cooperative else {
            return false;
        };
        let p = &self.params;
        let whole = [p.m, p.n].iter().all(|size| size.is_multiple_of(side));
        let aligned = [p.c, p.c_stride, p.bias].iter().all(|at| at % 4 == 0);
        // Transposed weights are those of a forward product.
        let forward = self.form.half && !self.form.transpose_a && self.form.transpose_b;
        let fits = forward && whole && aligned && parts == 1 && p.k as usize <= STEPS;
        let forced = || context.tuner.forced::<GemmKernel>();
        let forced = || forced().map(|kernel| kernel == GemmKernel::Cooperative);
        // Software adapters do them number by number.
        fits && forced().unwrap_or(context.info.kind != AdapterKind::Software)
    }

    /// The kernels that can take the product, the best guess first.
    pub(super) fn candidates(&self, context: &Context, parts: usize) -> Vec<GemmKernel> {
        use GemmKernel::{Scalar, Workgroup};
        if !self.is_aligned(parts) {
            return vec![Scalar];
        }
        let [rows, columns, _] = self.size();
        let mut candidates = if context.info.kind == AdapterKind::Software {
            // As measured on llvmpipe: 4 blocks are 1.2 to 1.4 times as fast as 2, and compile in
            // 0.5 s instead of 0.2 s. Fewer rows than a tile has are no reason for loads in vain.
            let work: usize = self.size().iter().product();
            let blocks = match rows {
                0..=8 => [1, 2, 4],
                9..=16 => [2, 1, 4],
                _ if work < 1 << 29 => [2, 4, 1],
                _ => [4, 2, 1],
            };
            let mut best: Vec<_> = blocks.map(|blocks| subgroup(blocks, 8)).into();
            best.push(register(2, 8));
            best
        } else {
            let large = rows.div_ceil(64) * columns.div_ceil(64) >= 256;
            let side = if large { 8 } else { 4 };
            vec![
                Workgroup { side },
                Workgroup { side: 12 - side },
                subgroup(2, 64),
                register(1, 64),
            ]
        };
        for other in GemmKernel::ALL {
            if !candidates.contains(&other) {
                candidates.push(other);
            }
        }
        candidates.retain(|kernel| fits(context, *kernel));
        candidates
    }

    /// The class of products that share a choice: sizes to a factor of two, transpositions, parts or not, and what is added.
    pub(super) fn class(&self, parts: usize) -> String {
        let form = self.form;
        let letter = |transposed| if transposed { 't' } else { 'n' };
        let [m, n, k] = self.size().map(|size| size.max(1).ilog2());
        let (a, b) = (letter(form.transpose_a), letter(form.transpose_b));
        let mut class = format!("{a}{b} {m} {n} {k}");
        for (has, name) in [
            (parts > 1, " parts"),
            (form.bias, " bias"),
            (form.accumulate, " accumulate"),
            (form.half, " half"),
        ] {
            if has {
                class.push_str(name);
            }
        }
        class
    }

    /// A plan of the product a number of times, over memory of its own, with less rows or steps where it is a large one.
    pub(super) fn trial(
        &self,
        context: &Context,
        effort: Effort,
        (kernel, parts): (GemmKernel, usize),
        repeats: usize,
    ) -> Result<Plan> {
        let [mut m, n, mut k] = self.size();
        let (transpose_a, transpose_b) = (self.form.transpose_a, self.form.transpose_b);
        let shrink = |size: &mut usize, least: usize, rest: usize| {
            while *size > least && *size * rest > effort.gpu_work() {
                *size = (*size / 2).next_multiple_of(4);
            }
        };
        shrink(&mut m, 256, n * k);
        shrink(&mut k, 256, m * n);
        let side = |transposed, rows: usize, columns: usize| {
            let length = if transposed { rows } else { columns };
            length.next_multiple_of(4)
        };
        let (a_stride, b_stride) = (side(transpose_a, m, k), side(transpose_b, k, n));
        let (a_rows, b_rows) = (side(!transpose_a, m, k), side(!transpose_b, k, n));
        let mut plan = PlanBuilder::new(context, &[])?;
        let product = Self {
            a: plan.scratch("a trial's a", a_rows * a_stride)?,
            b: plan.scratch("a trial's b", b_rows * b_stride)?,
            bias: plan.scratch("a trial's bias", n)?,
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
            form: self.form,
        };
        for _ in 0..repeats {
            product.dispatch(&mut plan, kernel, parts)?;
        }
        plan.finish()
    }
}
