//! Weights from and to other programs.

mod concatenated;
#[cfg(feature = "safetensors")]
mod safetensors;

pub use concatenated::ConcatenatedLstm;
#[cfg(feature = "safetensors")]
pub(crate) use safetensors::{read_file, write_file};
