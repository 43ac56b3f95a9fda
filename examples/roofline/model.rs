//! How long a kernel takes at least on a GPU, and how long it will probably take.

use super::gpus::Gpu;
use bptt::profile::PlannedKernel;

/// Assumed: invocations a lane needs in flight for its arithmetic to be busy while loads are on their way (half of what NVIDIA's
/// multiprocessors hold, 16 a lane).
pub const INVOCATIONS_PER_LANE: f64 = 8.0;
/// Assumed: the part of the f32 peak that portable kernels without matrix units reach when the GPU is full.
pub const COMPUTE: f64 = 0.6;
/// Assumed: the part of the memory bandwidth that they reach.
pub const BANDWIDTH: f64 = 0.8;
/// Assumed: how many times the memory's bandwidth that of the last cache is.
pub const CACHE: f64 = 3.0;
/// Assumed: bytes an invocation has on their way at a time, two loads of a vec4.
pub const IN_FLIGHT: f64 = 32.0;
/// Assumed: seconds from a load to its value, from memory and from the last cache.
pub const LATENCY: [f64; 2] = [0.5e-6, 0.25e-6];
/// Assumed: seconds of a step that is not a dispatch of its own but a part of one: barriers of a workgroup, its memory's latency, the
/// activations.
pub const STEP: f64 = 0.5e-6;

/// What keeps a kernel from being faster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    Compute,
    Bandwidth,
    Dispatch,
    /// Steps inside a dispatch, one after another.
    Steps,
    /// Too few invocations to fill the GPU.
    Invocations,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Bandwidth => "bandwidth",
            Self::Dispatch => "dispatch latency",
            Self::Steps => "step latency",
            Self::Invocations => "too few invocations",
        }
    }
}

/// Times in seconds.
pub struct Prediction {
    /// No program does it faster: all lanes busy, every operand moved once, no dispatch but for free.
    pub bound: f64,
    /// This plan's, by the assumptions above.
    pub time: f64,
    pub limit: Limit,
}

pub fn predict(kernel: &PlannedKernel, gpu: &Gpu) -> Prediction {
    let flops = kernel.flops as f64;
    let once = (kernel.bytes - kernel.again) as f64;
    let again = kernel.again as f64;
    let invocations = kernel.invocations as f64;
    let fill = invocations / (INVOCATIONS_PER_LANE * gpu.lanes);
    let compute = flops / (gpu.flops * COMPUTE.min(fill));
    // By Little's law what is in flight over its latency is the most that comes in.
    let full = BANDWIDTH * gpu.bandwidth;
    let [from_memory, from_cache] = LATENCY.map(|latency| invocations * IN_FLIGHT / latency);
    // What a step needs again comes from the cache where it fits there.
    let of_a_step = again / (kernel.dispatches as f64 - 1.0).max(1.0);
    let (cache, most) = match of_a_step <= gpu.cache {
        true => (CACHE * full, from_cache),
        false => (full, from_memory),
    };
    let memory = once / full.min(from_memory) + again / cache.min(most);
    let starved = once / from_memory + again / most >= once / full + again / cache;
    let dispatch = kernel.dispatches as f64 * gpu.dispatch;
    let steps = kernel.steps.saturating_sub(kernel.dispatches) as f64 * STEP;
    let limit = if dispatch >= compute.max(memory).max(steps) {
        Limit::Dispatch
    } else if steps >= compute.max(memory) {
        Limit::Steps
    } else if compute >= memory {
        if fill < COMPUTE {
            Limit::Invocations
        } else {
            Limit::Compute
        }
    } else if starved {
        Limit::Invocations
    } else {
        Limit::Bandwidth
    };
    Prediction {
        bound: (flops / gpu.flops).max(once / gpu.bandwidth),
        time: compute.max(memory).max(steps) + dispatch,
        limit,
    }
}
