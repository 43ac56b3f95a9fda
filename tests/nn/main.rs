//! Layers, losses, optimizers and training: against finite differences, against PyTorch's numbers, and device against device.

#[path = "../common/mod.rs"]
mod common;

mod comparison;
mod finite_differences;
mod golden;
