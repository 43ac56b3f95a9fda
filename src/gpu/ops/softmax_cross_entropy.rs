//! Cross-entropy of softmax and class numbers.

use super::mse::add_loss;
use super::{check_row, flag, offset};
use crate::error::Result;
use crate::gpu::compose::ROW;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// partial = weight · w (log Σ eˣ − x\[class\]), gradient = w (softmax(x) − onehot(class))
    SoftmaxCrossEntropy = "softmax_cross_entropy", SoftmaxCrossEntropyParams {
        rows: u32, columns: u32, logits: u32, classes: u32, gradient: u32,
        logits_stride: u32, gradient_stride: u32, has_gradient: u32, loss_weight: f32, row_weights: u32,
        has_row_weights: u32,
    }
    bindings { logits: Read, classes: Read, row_weights: Read, partial: ReadWrite, gradient: ReadWrite }
    libraries [ROW]
}

pub(super) fn lower(op: &program::SoftmaxCrossEntropy, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::SoftmaxCrossEntropy {
        logits,
        classes,
        row_weights,
        loss_weight,
        loss,
        gradient,
    } = *op;
    check_row("softmax_cross_entropy", logits.columns)?;
    let partial = plan.scratch("partial losses", logits.rows)?;
    let kernel = SoftmaxCrossEntropy {
        logits: plan.buffer(logits.tensor),
        classes: plan.buffer(classes.tensor),
        row_weights: &plan.read_or_unused(row_weights),
        partial: &partial,
        gradient: &plan.write_or_unused(gradient.map(program::Matrix::extent)),
    };
    let params = SoftmaxCrossEntropyParams {
        rows: logits.rows as u32,
        columns: logits.columns as u32,
        logits: logits.offset as u32,
        classes: classes.offset as u32,
        gradient: gradient.map_or(0, |gradient| gradient.offset as u32),
        logits_stride: logits.row_stride as u32,
        gradient_stride: gradient.map_or(0, |gradient| gradient.row_stride as u32),
        has_gradient: flag(gradient.is_some()),
        loss_weight: loss_weight as f32,
        row_weights: offset(row_weights),
        has_row_weights: flag(row_weights.is_some()),
    };
    let workgroups = plan.workgroups(logits.rows, 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)?;
    add_loss(plan, &partial, logits.rows, loss)
}
