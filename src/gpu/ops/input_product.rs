//! The input products before a recurrence: dispatches of their own, or fused with the steps where
//! an invocation walks these by itself and a dispatch would take more time than the product.

use super::gemm;
use super::recurrent_steps::Recurrence;
use crate::error::Result;
use crate::gpu::AdapterKind;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::RecurrentChoice;
use crate::program::{Gemm, Matrix, PerDirection, Slice};

/// Multiply-adds of an input product, over all steps of a row, up to which it takes an invocation
/// less time than a dispatch (measured on Mesa's llvmpipe: 1.1 to 1.5 times as fast with the
/// product among the steps; at twice as many up to 1.5 times as slow).
const MOST: usize = 8192;

/// Batch rows up to which that holds: more of them fill a device, which the product by itself then does better.
const ROWS: usize = 32;

/// W x + b_ih of all directions, as part of the recurrence.
#[derive(Clone, Copy, Debug)]
pub(super) struct InputProduct {
    /// `[T·B, I]` of direction 0.
    pub(super) x: Matrix,
    /// Where x of the last direction starts.
    pub(super) x_back: usize,
    pub(super) weights: InputWeights,
}

/// The weights of the inputs, in one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct InputWeights {
    /// I
    pub(super) inputs: usize,
    /// W, `[G·H, I]` for each direction.
    pub(super) weight_ih: PerDirection,
    /// b_ih, `[G·H]` for each direction.
    pub(super) bias_ih: Option<PerDirection>,
}

impl InputProduct {
    /// The products of all directions as one, where the recurrence does better with them: an
    /// invocation walks the steps, in no more dispatches than without, and the products are little
    /// work, in a form that the kernel can take and in one part, so that sums have one order.
    pub(super) fn of(
        products: &[Gemm],
        recurrence: &Recurrence<'_>,
        plan: &PlanBuilder<'_>,
    ) -> Option<Self> {
        let (context, shape) = (plan.context(), &recurrence.of.shape);
        // The tuner's trials have no products.
        let known = context.info.kind == AdapterKind::Software
            || context.tuner.forced::<RecurrentChoice>().is_some();
        if !(known && recurrence.by_invocation()) {
            return None;
        }
        let (first, last) = (products.first()?, products.last()?);
        let inputs = first.a.columns;
        let columns = first.c.columns;
        let fits = products.iter().all(|product| {
            let (x, weights) = (product.a, product.b);
            let bias_is_beside = product
                .bias
                .is_none_or(|bias| bias.tensor == weights.tensor);
            (x.tensor, x.row_stride, x.columns) == (first.a.tensor, first.a.row_stride, inputs)
                && (weights.tensor, weights.row_stride) == (first.b.tensor, inputs)
                && product.bias.is_some() == first.bias.is_some()
                && bias_is_beside
                // Weights in f16 are rounded first.
                && !(plan.half && product.weights)
                && gemm::parts(context, [shape.steps * shape.batch, columns, inputs]) == 1
        });
        let work = [shape.steps, columns, inputs, recurrence.phases.len()];
        let work = work.into_iter().fold(1_usize, usize::saturating_mul);
        let little = work <= MOST && shape.batch <= ROWS;
        let with = Recurrence {
            inputs,
            ..*recurrence
        };
        let in_one = || with.dispatches(plan).len() == recurrence.dispatches(plan).len();
        if !fits || products.len() != shape.directions || !little || !in_one() {
            return None;
        }
        let whole = |of: Matrix| Slice {
            tensor: of.tensor,
            offset: of.offset,
            len: columns * inputs,
        };
        let weights = InputWeights {
            inputs,
            weight_ih: PerDirection {
                first: whole(first.b),
                stride: last.b.offset.checked_sub(first.b.offset)?,
            },
            bias_ih: match (first.bias, last.bias) {
                (Some(first), Some(last)) => Some(PerDirection {
                    first,
                    stride: last.offset.checked_sub(first.offset)?,
                }),
                _ => None,
            },
        };
        Some(Self {
            x: first.a,
            x_back: last.a.offset,
            weights,
        })
    }
}

/// Appends the products before the steps, each of which is done with its memory when the next begins.
pub(super) fn lower(products: &[Gemm], plan: &mut PlanBuilder<'_>) -> Result<()> {
    products.iter().try_for_each(|product| {
        gemm::lower(product, plan)?;
        plan.end(&[product.c.tensor]);
        Ok(())
    })
}
