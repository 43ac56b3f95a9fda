//! Matrix products against the machine's own peak: `cargo bench --bench gemm`.
//!
//! The peak is that of multiply-adds in registers only: on a GPU a shader of them, on the CPU a loop on every core (AVX2 and FMA where
//! there are; a product may pass it where the processor has AVX-512).

mod common;

use bptt::program::{Gemm, Program};
use bptt::verify::{SINGLE, compare};
use bptt::{Device, Executable};
use criterion::{BenchmarkId, Criterion, Throughput};
use ndarray::ArrayD;

/// M, N, K: the products of the recurrent benches, and square ones.
const SIZES: [(&str, [usize; 3]); 6] = [
    ("input 64x128x128x32", [4096, 512, 64]),
    ("input 128x512x64x64", [4096, 2048, 128]),
    ("step 128x512x64x64", [64, 2048, 512]),
    ("square 256", [256, 256, 256]),
    ("square 512", [512, 512, 512]),
    ("square 1024", [1024, 1024, 1024]),
];

fn executable(
    device: &Device,
    [m, n, k]: [usize; 3],
    transpose: (bool, bool),
) -> (Executable, bptt::program::TensorId) {
    let mut program = Program::new();
    let (a_rows, a_columns) = if transpose.0 { (k, m) } else { (m, k) };
    let (b_rows, b_columns) = if transpose.1 { (n, k) } else { (k, n) };
    let a = program.tensor("a", &[a_rows, a_columns]);
    let b = program.tensor("b", &[b_rows, b_columns]);
    let c = program.tensor("c", &[m, n]);
    let mut product = Gemm::new(
        a.matrix(a_rows, a_columns),
        b.matrix(b_rows, b_columns),
        c.matrix(m, n),
    );
    (product.transpose_a, product.transpose_b) = transpose;
    program.push(product);
    let executable = Executable::new(device, program, &[]).expect("the program fits the device");
    for (slice, shape) in [(a, [a_rows, a_columns]), (b, [b_rows, b_columns])] {
        let values = ArrayD::from_shape_fn(&shape[..], |at| {
            (((at[0] * 31 + at[1] * 17) % 101) as f32 - 50.0) / 50.0
        });
        executable
            .tensor(slice.tensor)
            .write(&values)
            .expect("the shape is the tensor's");
    }
    (executable, c.tensor)
}

fn result(device: &Device, size: [usize; 3], transpose: (bool, bool)) -> ArrayD<f64> {
    let (executable, c) = executable(device, size, transpose);
    executable.run().expect("it runs");
    executable.tensor(c).to_array().expect("it can be read")
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

/// GFLOP/s of multiply-adds on every core.
fn cpu_peak() -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = pulp::Arch::new().dispatch(MultiplyAdds);
    let seconds = common::shortest(|| {
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
    let module = wgpu_device.create_shader_module(wgpu::include_wgsl!("common/fma.wgsl"));
    let pipeline = wgpu_device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let output = bptt::Tensor::zeros(device, &[invocations as usize]).ok()?;
    let group = wgpu_device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: output.wgpu_buffer()?.as_entire_binding(),
        }],
    });
    let seconds = common::shortest(|| {
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

fn main() {
    let devices = common::devices();
    let mut criterion = common::criterion();
    for (name, device) in &devices {
        for transpose in [(false, false), (false, true), (true, false)] {
            let size = [130, 70, 257];
            let expected = result(&Device::cpu_f64(), size, transpose);
            compare(
                "product",
                &result(device, size, transpose),
                &expected,
                SINGLE,
            )
            .expect("the answer comes first");
        }
        bench(&mut criterion, name, device);
    }
    println!("\ndevice  product                GFLOP/s  of the peak");
    for (name, device) in &devices {
        let rates: Vec<f64> = SIZES
            .iter()
            .map(|(_, size)| {
                let (executable, _) = executable(device, *size, (false, true));
                let seconds = common::shortest(|| {
                    executable.run().expect("it runs");
                    device.wait().expect("the device is there");
                });
                2.0 * size.iter().product::<usize>() as f64 / seconds / 1e9
            })
            .collect();
        let peak = gpu_peak(device).unwrap_or_else(cpu_peak);
        for ((product, _), rate) in SIZES.iter().zip(rates) {
            println!(
                "{name:6}  {product:20} {rate:9.1}  {:5.1} %",
                100.0 * rate / peak
            );
        }
        println!("{name:6}  peak                 {peak:9.1}");
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, name: &str, device: &Device) {
    let mut group = criterion.benchmark_group("gemm");
    for (product, size) in SIZES {
        let (executable, _) = executable(device, size, (false, true));
        group.throughput(Throughput::Elements(
            2 * size.iter().product::<usize>() as u64,
        ));
        group.bench_function(BenchmarkId::new(product, name), |bencher| {
            bencher.iter(|| {
                executable.run().expect("it runs");
                device.wait().expect("the device is there");
            });
        });
    }
}
