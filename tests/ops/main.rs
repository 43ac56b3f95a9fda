//! Every operation on every device against the CPU path in f64, at sizes that divide nothing, outputs poisoned first.

#[path = "../common/mod.rs"]
mod common;

mod gemm;
mod gemm_half;
mod kept;
mod program;
mod recurrent_backward;
mod recurrent_forward;
