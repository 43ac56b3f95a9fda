//! Layers, losses, optimizers and training: against finite differences, against PyTorch's numbers, and device against device.

#[path = "../common/mod.rs"]
mod common;

mod asynchronous;
mod choices;
mod clipping;
mod comparison;
mod costs;
mod cpu;
mod data;
mod device;
mod errors;
mod final_state;
mod finite_differences;
mod fit;
mod foreign;
mod golden;
mod huber;
mod limits;
mod memory;
mod nonfinite;
mod numbers;
mod optimizers;
mod options;
mod options_table;
mod past_lengths;
mod precision;
mod profile;
mod ragged;
mod ragged_fit;
mod regularisers;
mod rmsprop;
mod runs;
mod schedules;
mod shape_cache;
mod shapes;
mod single_step;
mod sizes;
mod sums;
mod threads;
mod training;
mod tutorial;
mod weights;
