//! Matrix products against the machine's own peak: `cargo bench --bench gemm`.
//!
//! The peak is that of multiply-adds in registers only: on a GPU a shader of them, on the CPU a loop on every core, with the widest
//! instructions there are.

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
        let peak = common::peak(device);
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
