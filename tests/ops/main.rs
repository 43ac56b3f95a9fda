//! Every operation on every device against the CPU path in f64, at sizes that divide nothing, outputs poisoned first.

#[path = "../common/mod.rs"]
mod common;

mod adam;
mod clip_norm;
mod column_sum;
mod dropout;
mod fill;
mod gather_last;
mod gemm;
mod gemm_half;
mod kept;
mod mse;
mod multiply;
mod program;
mod recurrent_backward;
mod recurrent_forward;
mod repeat;
mod repeat_backward;
mod scatter_last;
mod sgd;
mod softmax;
mod softmax_backward;
mod softmax_cross_entropy;
mod swap_axes;
