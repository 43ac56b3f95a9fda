#![doc = include_str!("../README.md")]

mod caches;
pub mod cell;
mod cpu;
pub mod data;
mod device;
mod elements;
mod error;
mod executable;
pub mod expr;
mod files;
pub mod gpu;
pub mod graph;
pub mod interop;
mod lower;
pub mod nn;
mod operation;
mod panels;
mod philox;
pub mod profile;
pub mod program;
mod real;
#[cfg(feature = "safetensors")]
pub mod replay;
mod rows;
mod sealed;
mod tensor;
mod threads;
pub mod train;
mod trusted;
mod tuning;
pub mod verify;
mod waiting;

pub use device::{Device, Precision};
pub use error::{Error, Result};
pub use executable::Executable;
pub use gpu::{AdapterInfo, AdapterKind};
pub use operation::{Operation, OperationRef};
pub use program::Program;
pub use real::Real;
pub use rows::CellRef;
pub use tensor::Tensor;
pub use threads::with_threads;

/// The guide's examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
