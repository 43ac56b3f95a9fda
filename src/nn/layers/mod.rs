//! Layers that are not recurrent, one a file.

mod activation;
mod concat;
mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod pool;
mod residual;
mod rms_norm;
mod softmax;

pub use activation::Activation;
pub use concat::Concat;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::{LastStep, MaxOverTime, MeanOverTime};
pub use residual::Residual;
pub use rms_norm::RmsNorm;
pub use softmax::Softmax;
