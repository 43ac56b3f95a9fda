//! What the benches share.
#![allow(dead_code, reason = "each bench uses its part")]

pub mod policy;
pub mod workloads;

use bptt::{Device, Tensor};
use ndarray::Array3;

/// The CPU path and, where there is one, the best GPU adapter (a software adapter too; `BPTT_ADAPTER` chooses).
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", Device::cpu())];
    match Device::gpu() {
        Ok(device) => devices.push(("gpu", device)),
        Err(reason) => println!("SKIPPED on the GPU: {reason}"),
    }
    for (name, device) in &devices {
        println!("{name}: {device}");
    }
    devices
}

/// The shortest of several runs of `run`, after one that is not counted: at least 5 runs and 0.3 s.
pub fn shortest(mut run: impl FnMut()) -> f64 {
    run();
    let started = std::time::Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || started.elapsed().as_secs_f64() < 0.3 {
        let start = std::time::Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Numbers of a sequence, `[T, B, F]`.
pub fn numbers(device: &Device, [steps, batch, features]: [usize; 3]) -> Tensor {
    let values = Array3::from_shape_fn((steps, batch, features), |(t, b, f)| {
        ((t * 7 + b * 13 + f * 5) as f32 * 0.1).sin()
    });
    Tensor::from_array(device, &values).expect("the workloads fit")
}

const STEPS: usize = 1_000_000;
const CHAINS: usize = 10;

/// Independent chains of multiply-adds, compiled for the best instructions the processor has.
struct MultiplyAdds;

impl pulp::WithSimd for MultiplyAdds {
    /// How many numbers an instruction takes.
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> usize {
        let mut chains = [simd.splat_f32s(0.5); CHAINS];
        let (factor, term) = std::hint::black_box((0.999_f32, 0.001_f32));
        let (factor, term) = (simd.splat_f32s(factor), simd.splat_f32s(term));
        for _ in 0..STEPS {
            for x in &mut chains {
                *x = simd.mul_add_f32s(*x, factor, term);
            }
        }
        let mut sum = chains[0];
        for x in &chains[1..] {
            sum = simd.add_f32s(sum, *x);
        }
        std::hint::black_box(simd.reduce_sum_f32s(sum));
        S::F32_LANES
    }
}

/// GFLOP/s of multiply-adds in registers on a device.
pub fn peak(device: &Device) -> f64 {
    gpu_peak(device).unwrap_or_else(cpu_peak)
}

/// GFLOP/s of multiply-adds on as many threads as the CPU path takes.
fn cpu_peak() -> f64 {
    let threads = policy::threads();
    let lanes = pulp::Arch::new().dispatch(MultiplyAdds);
    let seconds = shortest(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| pulp::Arch::new().dispatch(MultiplyAdds));
            }
        });
    });
    (threads * STEPS * CHAINS * lanes * 2) as f64 / seconds / 1e9
}

/// GFLOP/s of the multiply-add shader.
fn gpu_peak(device: &Device) -> Option<f64> {
    let (wgpu_device, queue) = device.wgpu()?;
    let invocations = 64 * 1024_u32;
    let module = wgpu_device.create_shader_module(wgpu::include_wgsl!("fma.wgsl"));
    let pipeline = wgpu_device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let output = Tensor::zeros(device, &[invocations as usize]).ok()?;
    let group = wgpu_device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: output.wgpu_buffer()?.as_entire_binding(),
        }],
    });
    let seconds = shortest(|| {
        let mut encoder = wgpu_device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(invocations / 64, 1, 1);
        }
        queue.submit([encoder.finish()]);
        device.wait().expect("the device is there");
    });
    Some(f64::from(invocations) * 2048.0 * 16.0 * 4.0 * 2.0 / seconds / 1e9)
}
