//! The GPU path: the code that makes and uses wgpu objects, and what can be known and chosen of its kernels.
//!
//! A [`Program`](crate::Program) becomes a plan: dispatches with their pipelines and bind groups, built once and then submitted
//! as one compute pass a run. Each operation's lowering is a file in `ops/`, each kernel a file in `shaders/`.

pub(crate) mod adapter;
mod buffer;
mod compose;
mod context;
mod faults;
mod generate;
mod in_flight;
mod kernel;
mod ops;
mod pipeline;
mod plan;
#[cfg(not(target_arch = "wasm32"))]
mod poller;
mod recurrent_choice;
mod store;
#[cfg(not(target_arch = "wasm32"))]
mod timestamps;
mod transfer;
mod tuner;
mod wait;

pub use adapter::{AdapterInfo, AdapterKind};
pub(crate) use buffer::Buffer;
pub(crate) use compose::COUNTS;
pub use compose::Shader;
pub(crate) use context::Context;
pub use context::Counters;
pub use generate::generated;
pub use kernel::{Access, BindingInfo, KernelInfo};
pub(crate) use ops::lower;
pub use ops::{GemmKernel, shaders};
pub(crate) use plan::Plan;
pub use recurrent_choice::{RecurrentChoice, RecurrentWalk};
pub(crate) use transfer::{BufferCopy, Words};
