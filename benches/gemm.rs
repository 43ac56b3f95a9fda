//! Matrix products against the machine's own peak: `cargo bench --bench gemm [-- --device cpu|gpu] [WORKLOAD] [--kernel Subgroup] [--f16]`.
//!
//! The products of the recurrent workloads (docs/performance.md): the input's, that of the input's gradient, the weight gradient, and the two that
//! the recurrence has at every step, as products of their own. On a GPU the one that is chosen, then every kernel; with `--f16` weights are f16. The peak is that of multiply-adds in registers only: on a GPU a shader of them,
//! on the CPU a loop on every core, with the widest instructions there are.

mod common;

use bptt::gpu::GemmKernel;
use bptt::program::{Gemm, Program, TensorId};
use bptt::verify::{SINGLE, compare};
use bptt::{Device, Executable};
use ndarray::ArrayD;

/// Name, I, H, T, B.
const WORKLOADS: [(&str, [usize; 4]); 3] = [
    ("W3", [64, 128, 128, 32]),
    ("W4", [128, 512, 64, 64]),
    ("W5", [512, 512, 100, 64]),
];

/// The products of an LSTM layer: name, M, N, K, which operand is transposed.
fn products(
    [inputs, hidden, steps, batch]: [usize; 4],
) -> [(&'static str, [usize; 3], (bool, bool)); 5] {
    let (rows, gates) = (steps * batch, 4 * hidden);
    [
        ("input", [rows, gates, inputs], (false, true)),
        ("dx", [rows, inputs, gates], (false, false)),
        ("dW", [gates, inputs, rows], (true, false)),
        ("step", [batch, gates, hidden], (false, true)),
        ("step back", [batch, hidden, gates], (false, false)),
    ]
}

fn executable(
    device: &Device,
    [m, n, k]: [usize; 3],
    transpose: (bool, bool),
) -> (Executable, TensorId) {
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
    // All but the product for the gradient of weights take them.
    product.weights = !transpose.0;
    program.push(product);
    let executable = Executable::new(device, program, &[]).expect("the program fits the device");
    for (slice, shape) in [(a, [a_rows, a_columns]), (b, [b_rows, b_columns])] {
        let values = ArrayD::from_shape_fn(&shape[..], |at| {
            // Numbers that f16 has.
            (((at[0] * 31 + at[1] * 17) % 101) as f32 - 50.0) / 64.0
        });
        executable
            .tensor(slice.tensor)
            .write(&values)
            .expect("the shape is the tensor's");
    }
    (executable, c.tensor)
}

/// Seconds of one product, after a comparison with the CPU path in f64 at a smaller size.
fn seconds(device: &Device, size: [usize; 3], transpose: (bool, bool)) -> (f64, String) {
    let small = size.map(|length| length.min(132));
    let answer = |device: &Device| {
        let (executable, c) = executable(device, small, transpose);
        executable.run().expect("it runs");
        executable.tensor(c).to_array().expect("it can be read")
    };
    compare(
        "product",
        &answer(device),
        &answer(&Device::cpu_f64()),
        SINGLE,
    )
    .expect("the answer comes first");
    let (executable, _) = executable(device, size, transpose);
    let seconds = common::shortest(|| {
        executable.run().expect("it runs");
        device.wait().expect("the device is there");
    });
    // A long sum is several dispatches of one kernel.
    let mut kernels = executable.kernels();
    kernels.dedup();
    (seconds, kernels.join(" "))
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let only = |name: &str| words.iter().any(|word| word == name);
    let kernel = words.iter().position(|word| word == "--kernel");
    let kernel = kernel
        .and_then(|at| words.get(at + 1))
        .cloned()
        .unwrap_or_default();
    let named = WORKLOADS.iter().any(|(name, _)| only(name));
    println!("device,workload,product,m,n,k,kernel,milliseconds,GFLOP/s,percent of the peak");
    for (name, mut device) in common::devices() {
        if only("--f16") && device.is_gpu() {
            device = Device::gpu_f16().expect("it was there");
        }
        if words.iter().any(|word| word == "--device") && !only(name) {
            continue;
        }
        let peak = common::peak(&device);
        println!("{name},,,,,,multiply-adds,,{peak:.1},100");
        let mut kernels = vec![None];
        if device.is_gpu() {
            let wanted = |wanted: &GemmKernel| format!("{wanted:?}").contains(&kernel);
            let every = GemmKernel::ALL.into_iter().chain([GemmKernel::Cooperative]);
            kernels.extend(every.filter(wanted).map(Some));
        }
        for (workload, shape) in WORKLOADS.iter().filter(|(name, _)| !named || only(name)) {
            for (product, size, transpose) in products(*shape) {
                for kernel in &kernels {
                    if device.is_gpu() {
                        device.set_gemm_kernel(*kernel).expect("it is a GPU");
                    }
                    let (seconds, run) = seconds(&device, size, transpose);
                    let kernel = kernel
                        .map_or_else(|| format!("chosen: {run}"), |kernel| format!("{kernel:?}"));
                    let rate = 2.0 * size.iter().product::<usize>() as f64 / seconds / 1e9;
                    let [m, n, k] = size;
                    let share = 100.0 * rate / peak;
                    let milliseconds = seconds * 1e3;
                    println!(
                        "{name},{workload},{product},{m},{n},{k},\"{kernel}\",{milliseconds:.3},{rate:.1},{share:.0}"
                    );
                }
            }
        }
    }
}
