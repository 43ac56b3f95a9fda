use crate::common::Case;
use bptt::gpu::GemmKernel;
use bptt::program::{Gemm, Matrix};
use bptt::verify::{SINGLE, compare};
use bptt::{Device, Executable};

pub const SIZES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (3, 7, 17),
    (33, 65, 257),
    (257, 33, 7),
    (65, 257, 3),
    (17, 1, 65),
    (1, 17, 33),
    (130, 70, 1),
    (64, 32, 128),
];

pub const TRANSPOSITIONS: [(bool, bool); 4] =
    [(false, false), (false, true), (true, false), (true, true)];

/// An operand's rows and columns in memory.
fn side(transpose: bool, rows: usize, columns: usize) -> (usize, usize) {
    if transpose {
        (columns, rows)
    } else {
        (rows, columns)
    }
}

pub fn case(
    size: (usize, usize, usize),
    transpose: (bool, bool),
    bias: bool,
    accumulate: bool,
) -> Case {
    let (m, n, k) = size;
    let mut case = Case::new(7);
    let (a_rows, a_columns) = side(transpose.0, m, k);
    let (b_rows, b_columns) = side(transpose.1, k, n);
    let a = case
        .random("a", &[a_rows, a_columns], 1.0)
        .matrix(a_rows, a_columns);
    let b = case
        .random("b", &[b_rows, b_columns], 1.0)
        .matrix(b_rows, b_columns);
    let bias = bias.then(|| case.random("bias", &[n], 1.0));
    let c = if accumulate {
        let c = case.random("c", &[m, n], 1.0);
        case.also_output(c);
        c
    } else {
        case.output("c", &[m, n])
    };
    let mut op = Gemm::new(a, b, c.matrix(m, n))
        .bias(bias)
        .accumulate(accumulate)
        .weights();
    (op.transpose_a, op.transpose_b) = transpose;
    case.program.push(op);
    case
}

#[test]
fn products_of_every_transposition_and_size() {
    for size in SIZES {
        for transpose in TRANSPOSITIONS {
            case(size, transpose, true, false).check(SINGLE);
            case(size, transpose, false, true).check(SINGLE);
        }
    }
}

#[test]
fn bias_and_accumulation_together() {
    case((33, 17, 7), (false, true), true, true).check(SINGLE);
}

#[test]
fn a_long_inner_dimension() {
    case((7, 5, 20_000), (true, false), false, false).check(SINGLE);
    for (bias, accumulate) in [(false, false), (true, false), (true, true)] {
        case((100, 260, 2_101), (true, false), bias, accumulate).check(SINGLE);
    }
    // More than one dispatch adds up, bias and what was there counted once.
    for k in [1 << 15, (1 << 15) + 1, 150_001] {
        for transpose in TRANSPOSITIONS {
            case((3, 5, k), transpose, true, true).check(SINGLE);
            case((3, 5, k), transpose, false, false).check(SINGLE);
        }
    }
}

#[test]
fn more_blocks_than_one_dispatch_dimension_holds() {
    // 65,535 workgroups a dimension, of 8 × 128 elements.
    case((4_200_000, 1, 2), (false, false), true, false).check(SINGLE);
}

#[test]
fn matrices_inside_larger_ones() {
    let mut case = Case::new(8);
    let a = case.random("a", &[9, 20], 1.0);
    let b = case.random("b", &[300], 1.0);
    let c = case.given("c", &[9, 40], vec![5.0; 360]);
    case.also_output(c);
    let a = a.matrix(9, 20).columns(3, 11).rows(1, 7);
    let b = Matrix {
        offset: 5,
        ..b.matrix(11, 13)
    };
    case.program
        .push(Gemm::new(a, b, c.matrix(9, 40).columns(17, 13).rows(2, 7)));
    // What lies outside the product must still be 5.
    case.check(SINGLE);
}

/// A matrix in a larger tensor of given row length, from a given element on.
fn inside(
    case: &mut Case,
    name: &str,
    (rows, columns): (usize, usize),
    at: usize,
    stride: usize,
) -> Matrix {
    let whole = case.random(name, &[at + rows * stride], 1.0);
    case.also_output(whole);
    Matrix {
        offset: whole.offset + at,
        row_stride: stride,
        ..whole.matrix(rows, columns)
    }
}

/// A product within larger tensors: what lies around c is compared too.
pub fn inside_case(
    size: (usize, usize, usize),
    transpose: (bool, bool),
    align: usize,
    bias: bool,
    accumulate: bool,
) -> Case {
    let (m, n, k) = size;
    let mut case = Case::new(9);
    let stride = |(_, columns): (usize, usize)| columns.next_multiple_of(align) + align;
    let (a_side, b_side) = (side(transpose.0, m, k), side(transpose.1, k, n));
    let a = inside(&mut case, "a", a_side, align, stride(a_side));
    let b = inside(&mut case, "b", b_side, 2 * align, stride(b_side));
    let bias = bias.then(|| case.random("bias", &[n], 1.0));
    let c = inside(&mut case, "c", (m, n), 3 * align, stride((m, n)));
    let mut op = Gemm::new(a, b, c)
        .bias(bias)
        .accumulate(accumulate)
        .weights();
    (op.transpose_a, op.transpose_b) = transpose;
    case.program.push(op);
    case
}

/// The kernel that a choice names.
pub fn shader(kernel: GemmKernel) -> &'static str {
    match kernel {
        GemmKernel::Register { .. } => "gemm_register",
        GemmKernel::Subgroup { .. } => "gemm_subgroup",
        GemmKernel::Workgroup { .. } => "gemm_workgroup",
        _ => "gemm",
    }
}

/// A device of its own, as kernels are forced on a device. None where there is no GPU, which `gpu` says or fails of.
pub fn own_gpu() -> Option<Device> {
    crate::common::gpu()?;
    Some(Device::gpu().unwrap())
}

#[test]
fn every_kernel_gives_the_same_bits() {
    let Some(device) = own_gpu() else { return };
    // Sizes around the tiles of 4, 8, 16, 32 and 64, m and k also odd; the last is in parts, and leaves some beside the tile.
    let sizes: [(usize, usize, usize); 6] = [
        (1, 4, 4),
        (3, 4, 7),
        (17, 20, 33),
        (33, 68, 65),
        (260, 132, 31),
        (12, 28, 2052),
    ];
    for size in sizes {
        for transpose in TRANSPOSITIONS {
            for (bias, accumulate) in [(false, false), (true, true)] {
                let size = if transpose.0 {
                    (size.0.next_multiple_of(4), size.1, size.2)
                } else {
                    size
                };
                let case = inside_case(size, transpose, 4, bias, accumulate);
                let expected = case.run(&Device::cpu_f64());
                let mut first = None;
                for kernel in GemmKernel::ALL {
                    device.set_gemm_kernel(Some(kernel)).unwrap();
                    let executable = Executable::new(&device, case.program.clone(), &[]).unwrap();
                    let kernels = executable.kernels();
                    // What this device lacks, another takes.
                    if !kernels.contains(&shader(kernel)) {
                        continue;
                    }
                    let got = case.run(&device);
                    for ((name, got), (_, expected)) in got.iter().zip(&expected) {
                        if let Err(mismatch) = compare(name, got, expected, SINGLE) {
                            panic!("{kernel:?}, {size:?}, {transpose:?}: {mismatch}");
                        }
                    }
                    let first = first.get_or_insert_with(|| got.clone());
                    assert_eq!(first, &got, "{kernel:?}, {size:?}, {transpose:?}");
                }
            }
        }
    }
}

#[test]
fn kernels_of_this_device_are_taken_when_forced() {
    let Some(device) = own_gpu() else { return };
    let has = device.wgpu().unwrap().0.features();
    let mut taken = vec![];
    for kernel in GemmKernel::ALL {
        device.set_gemm_kernel(Some(kernel)).unwrap();
        let case = inside_case((9, 8, 12), (false, true), 4, true, false);
        let executable = Executable::new(&device, case.program, &[]).unwrap();
        taken.push(executable.kernels().contains(&shader(kernel)));
        // One that no vectors of four fit falls to the kernel for all.
        let case = inside_case((9, 7, 12), (false, true), 1, true, false);
        let executable = Executable::new(&device, case.program, &[]).unwrap();
        assert_eq!(executable.kernels(), ["gemm"], "{kernel:?}");
    }
    for (kernel, taken) in GemmKernel::ALL.into_iter().zip(taken) {
        let subgroups = matches!(kernel, GemmKernel::Subgroup { .. });
        // An adapter may have subgroups too small.
        assert!(taken || subgroups, "{kernel:?} with {has:?}");
    }
    assert!(Device::cpu().set_gemm_kernel(None).is_err());
}

#[test]
fn every_kernel_adds_up_long_sums() {
    let Some(device) = own_gpu() else { return };
    // In parts; one after the other, as the tiles are many; and with steps left over beside the vectors of four.
    for (m, n, k) in [
        (4, 8, 70_000),
        (4, 8, 150_000),
        (68, 68, 33_000),
        (36, 132, 32_771),
    ] {
        for transpose in [(false, false), (true, false)] {
            let case = inside_case((m, n, k), transpose, 4, true, true);
            let expected = case.run(&Device::cpu_f64());
            for kernel in [
                GemmKernel::Register {
                    blocks: 2,
                    group: 8,
                },
                GemmKernel::Subgroup {
                    blocks: 4,
                    group: 8,
                },
                GemmKernel::Workgroup { side: 8 },
            ] {
                device.set_gemm_kernel(Some(kernel)).unwrap();
                for ((name, got), (_, expected)) in case.run(&device).iter().zip(&expected) {
                    if let Err(mismatch) = compare(name, got, expected, SINGLE) {
                        panic!("{kernel:?}, {m}×{n}×{k}, {transpose:?}: {mismatch}");
                    }
                }
            }
        }
    }
}
