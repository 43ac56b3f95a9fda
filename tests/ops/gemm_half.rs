//! Products whose weights a GPU reads in f16, against f64 over weights that the test rounds itself: the sums are f32's.

use crate::common::{Case, rounded_to_f16, skipped};
use crate::gemm::{SIZES, TRANSPOSITIONS, case, inside_case, own_gpu, shader};
use bptt::gpu::GemmKernel;
use bptt::program::{Gemm, Map, Slice};
use bptt::verify::{SINGLE, compare};
use bptt::{Device, Executable, Precision};
use ndarray::ArrayD;

fn half_gpu() -> Option<Device> {
    let device = own_gpu()?;
    device.set_precision(Precision::F16).unwrap();
    Some(device)
}

/// What a product gives that reads the named tensors in f16 and leaves them as they are, compared with f64.
fn check(place: &str, case: &Case, device: &Device, names: &[&str]) -> Vec<ArrayD<f64>> {
    let expected = case.rounded_to_f16(names).run(&Device::cpu_f64());
    let unrounded = case.run(&Device::cpu_f64());
    let mut results = vec![];
    for (index, (name, got)) in case.run(device).into_iter().enumerate() {
        let expected = match names.contains(&name.as_str()) {
            true => &unrounded[index].1,
            false => &expected[index].1,
        };
        if let Err(mismatch) = compare(&name, &got, expected, SINGLE) {
            panic!("{place}: {mismatch}");
        }
        results.push(got);
    }
    results
}

#[test]
fn weights_of_every_transposition_and_size() {
    let Some(device) = half_gpu() else { return };
    for size in SIZES {
        for transpose in TRANSPOSITIONS {
            for (bias, accumulate) in [(true, false), (false, true)] {
                let place = format!("{size:?}, {transpose:?}");
                check(
                    &place,
                    &case(size, transpose, bias, accumulate),
                    &device,
                    &["b"],
                );
            }
        }
    }
}

#[test]
fn every_kernel_takes_weights_in_f16_with_the_same_bits() {
    let Some(device) = half_gpu() else { return };
    let sizes = [(3, 4, 7), (33, 68, 257), (260, 132, 31), (12, 28, 2052)];
    let mut taken = std::collections::BTreeSet::new();
    for size in sizes {
        for transpose in [(false, true), (false, false)] {
            let case = inside_case(size, transpose, 4, true, true);
            let mut first = None;
            for kernel in GemmKernel::ALL {
                let place = format!("{kernel:?}, {size:?}, {transpose:?}");
                device.set_gemm_kernel(Some(kernel)).unwrap();
                let executable = Executable::new(&device, case.program.clone(), &[]).unwrap();
                let name = format!("{}.half", shader(kernel));
                if executable.kernels().contains(&name.as_str()) {
                    taken.insert(name);
                }
                let got = check(&place, &case, &device, &["b"]);
                assert_eq!(first.get_or_insert_with(|| got.clone()), &got, "{place}");
            }
        }
    }
    // The subgroup kernel is not every device's.
    assert!(taken.len() >= 3, "{taken:?}");
}

#[test]
fn sums_longer_than_a_dispatch_adds_up() {
    let Some(device) = half_gpu() else { return };
    for (m, n, k) in [(3, 5, 40_001), (4, 8, 70_000), (68, 68, 33_000)] {
        for transpose in [(false, true), (false, false)] {
            let case = inside_case((m, n, k), transpose, 4, true, true);
            check(&format!("{m}×{n}×{k}"), &case, &device, &["b"]);
        }
    }
}

#[test]
fn rounding_is_to_nearest_even_and_held_at_the_largest() {
    let Some(device) = half_gpu() else { return };
    let mut values = vec![
        0.0,
        1.0,
        -1.0,
        65504.0,
        65519.9,
        65520.0,
        -1e6,
        3e38,
        1.0 + 1.0 / 2048.0,
        1.0 + 3.0 / 2048.0,
        2047.5,
        2048.5,
        2049.0,
        2051.0,
    ];
    values.extend((0..999).map(|i| ((i * 37 % 1999) as f32 - 999.0) * 1.3_f32.powi(i % 60 - 40)));
    // Below 2⁻¹⁴, where a device may take numbers for 0.
    let (whole, small): (Vec<f32>, Vec<f32>) = (values.iter()).partition(|x| x.abs() >= 6.2e-5);
    let small: Vec<f32> = small
        .into_iter()
        .chain([6.1e-5, 3e-5, 8.9e-8, 2e-8])
        .collect();
    let product = |values: &[f32]| {
        let mut case = Case::new(1);
        let a = case.given("a", &[1, 1], vec![1.0]);
        let b = case.given("b", &[1, values.len()], values.to_vec());
        let c = case.output("c", &[1, values.len()]);
        let n = values.len();
        let product = Gemm::new(a.matrix(1, 1), b.matrix(1, n), c.matrix(1, n)).weights();
        case.program.push(product);
        case.run(&device).remove(0).1.mapv(|x| x as f32)
    };
    for (value, got) in whole.iter().zip(&product(&whole)) {
        assert_eq!(*got, rounded_to_f16(*value), "{value}");
    }
    for (value, got) in small.iter().zip(&product(&small)) {
        assert!(
            *got == rounded_to_f16(*value) || *got == 0.0,
            "{value}: {got}"
        );
    }
    let odd = product(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    assert!(
        odd[[0, 0]].is_nan() && odd[[0, 1]] == f32::INFINITY && odd[[0, 2]] == f32::NEG_INFINITY
    );
}

#[test]
fn the_precision_is_f32_before_and_after() {
    let Some(device) = own_gpu() else { return };
    let case = case((33, 65, 257), (false, true), true, false);
    let bits = || case.run(&device);
    let first = bits();
    device.set_precision(Precision::F16).unwrap();
    assert_ne!(first, bits());
    // Operands that are no weights stay as they are.
    let mut plain = Case::new(7);
    let (a, b) = (
        plain.random("a", &[9, 12], 1.0),
        plain.random("b", &[12, 8], 1.0),
    );
    let c = plain.output("c", &[9, 8]);
    plain
        .program
        .push(Gemm::new(a.matrix(9, 12), b.matrix(12, 8), c.matrix(9, 8)));
    check("no weights", &plain, &device, &[]);
    device.set_precision(Precision::F32).unwrap();
    assert_eq!(first, bits());
    let error = Device::cpu().set_precision(Precision::F16).unwrap_err();
    assert!(error.to_string().contains("a GPU device"), "{error}");
}

#[test]
fn weights_are_rounded_once_for_all_that_take_them_and_anew_when_written() {
    let Some(device) = half_gpu() else { return };
    let mut case = Case::new(3);
    let (x, w) = (
        case.random("x", &[5, 7], 1.0),
        case.random("w", &[9, 7], 1.0),
    );
    let (y, back) = (case.output("y", &[5, 9]), case.output("back", &[5, 7]));
    let again = case.output("again", &[5, 9]);
    let weights = w.matrix(9, 7);
    let forward = |c: Slice| {
        let product = Gemm::new(x.matrix(5, 7), weights, c.matrix(5, 9));
        product.transpose_b().weights()
    };
    case.program.push(forward(y));
    let product = Gemm::new(y.matrix(5, 9), weights, back.matrix(5, 7));
    case.program.push(product.weights());
    // A number that f16 has, as the CPU is not to round it.
    case.program.push(Map::fill(w, 0.375));
    case.program.push(forward(again));
    let executable = Executable::new(&device, case.program.clone(), &[]).unwrap();
    let packs = executable
        .kernels()
        .iter()
        .filter(|name| **name == "pack_half")
        .count();
    assert_eq!(packs, 2);
    check("twice", &case, &device, &["w"]);
}

/// A device with cooperative matrices, and their rows.
fn cooperative_gpu() -> Option<Device> {
    own_gpu()?;
    let device = Device::gpu_f16().unwrap();
    // Without this a software adapter does without.
    device
        .set_gemm_kernel(Some(GemmKernel::Cooperative))
        .unwrap();
    let case = inside_case((32, 32, 16), (false, true), 4, false, false);
    let executable = Executable::new(&device, case.program, &[]).unwrap();
    if executable.kernels().iter().any(|name| is_cooperative(name)) {
        return Some(device);
    }
    skipped(&format!(
        "{device} has no cooperative matrices of f16 with sums in f32"
    ));
    None
}

fn is_cooperative(kernel: &str) -> bool {
    kernel.starts_with("gemm_cooperative")
}

#[test]
fn cooperative_matrices() {
    let Some(device) = cooperative_gpu() else {
        return;
    };
    let sizes = [
        (16, 16, 1),
        (16, 16, 16),
        (16, 48, 7),
        (32, 64, 33),
        (48, 16, 257),
        (240, 144, 130),
        (1008, 272, 65),
    ];
    for size in sizes {
        for (bias, accumulate) in [(false, false), (true, false), (false, true), (true, true)] {
            for align in [4, 12] {
                let case = inside_case(size, (false, true), align, bias, accumulate);
                let executable = Executable::new(&device, case.program.clone(), &[]).unwrap();
                let kernels = executable.kernels();
                assert!(
                    kernels.iter().any(|name| is_cooperative(name)),
                    "{size:?}: {kernels:?}"
                );
                check(&format!("{size:?}"), &case, &device, &["a", "b"]);
            }
        }
    }
}

#[test]
fn products_that_cooperative_matrices_leave() {
    let Some(device) = cooperative_gpu() else {
        return;
    };
    // Edges, an offset that fits no vector, products of gradients.
    let forward = (false, true);
    for (size, transpose, align) in [
        ((17, 16, 16), forward, 4),
        ((16, 20, 16), forward, 4),
        ((32, 32, 16), forward, 1),
        ((32, 32, 16), (false, false), 4),
    ] {
        let case = inside_case(size, transpose, align, true, false);
        let executable = Executable::new(&device, case.program.clone(), &[]).unwrap();
        let kernels = executable.kernels();
        assert!(
            !kernels.iter().any(|name| is_cooperative(name)),
            "{size:?}: {kernels:?}"
        );
        check(&format!("{size:?}"), &case, &device, &["b"]);
    }
    // Where others are forced, which run on a device for another memory model, or weights are f32.
    let case = inside_case((48, 64, 32), forward, 4, true, false);
    for kernel in GemmKernel::ALL {
        device.set_gemm_kernel(Some(kernel)).unwrap();
        check(&format!("{kernel:?}"), &case, &device, &["b"]);
    }
    device.set_gemm_kernel(None).unwrap();
    device.set_precision(Precision::F32).unwrap();
    check("f32", &case, &device, &[]);
}
