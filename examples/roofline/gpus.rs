//! GPUs as their makers describe them, and what is assumed besides.

/// What is known of a GPU without having one.
pub struct Gpu {
    pub name: &'static str,
    /// Published f32 operations a second, a multiply-add counting two.
    pub flops: f64,
    /// Published bytes a second of its memory.
    pub bandwidth: f64,
    /// f32 multiply-adds it does at once.
    pub lanes: f64,
    /// Bytes of the last cache before its memory.
    pub cache: f64,
    /// Bytes of workgroup memory that its Vulkan or Metal driver offers.
    pub workgroup_memory: u32,
    /// Assumed: seconds from one dispatch to the next that needs it, in one compute pass: drain, barrier, launch.
    pub dispatch: f64,
    /// Where the published numbers are from.
    pub source: &'static str,
}

// The dispatch times are assumptions: no maker publishes them. 2 to 3 µs is what dependent kernels of a CUDA stream take on NVIDIA's; for the
// integrated ones, whose clocks are lower, they are set to about twice that. `benches/gpu.sh` on such a GPU replaces them: the smallest kernels of its
// profile take nothing else.
pub const GPUS: [Gpu; 4] = [
    Gpu {
        name: "Intel Iris Xe (96 EU)",
        // 96 execution units of 8 lanes at 1.35 GHz (Core i7-1185G7).
        flops: 2.07e12,
        lanes: 768.0,
        // 128 bits of LPDDR4x-4266.
        bandwidth: 68.3e9,
        cache: 3.75e6,
        workgroup_memory: 32 << 10,
        dispatch: 6e-6,
        source: "Intel: 96 EU, 1.35 GHz, LPDDR4x-4266; L3 3.75 MB",
    },
    Gpu {
        name: "Apple M3 (10 cores)",
        // 10 cores of 128 lanes at 1.4 GHz; Apple publishes no rate, GPU databases give this one.
        flops: 3.58e12,
        lanes: 1280.0,
        bandwidth: 100e9,
        // The system-level cache, as reported by others.
        cache: 8e6,
        workgroup_memory: 32 << 10,
        dispatch: 4e-6,
        source: "Apple: 10 cores, 100 GB/s; 1.4 GHz and 8 MB of cache as reported by others",
    },
    Gpu {
        name: "NVIDIA RTX 4070",
        flops: 29.1e12,
        lanes: 5888.0,
        bandwidth: 504e9,
        cache: 36e6,
        workgroup_memory: 48 << 10,
        dispatch: 2.5e-6,
        source: "NVIDIA: 5,888 cores, 2.475 GHz, 504 GB/s, L2 36 MB",
    },
    Gpu {
        name: "NVIDIA H100 SXM",
        flops: 67e12,
        lanes: 16896.0,
        bandwidth: 3.35e12,
        cache: 50e6,
        workgroup_memory: 48 << 10,
        dispatch: 2.5e-6,
        source: "NVIDIA: 132 × 128 cores, 67 TFLOP/s of f32, 3.35 TB/s, L2 50 MB",
    },
];
