use crate::common::Case;
use bptt::program::{Gemm, Matrix};
use bptt::verify::SINGLE;

const SIZES: [(usize, usize, usize); 9] = [
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

fn case(
    size: (usize, usize, usize),
    transpose: (bool, bool),
    bias: bool,
    accumulate: bool,
) -> Case {
    let (m, n, k) = size;
    let mut case = Case::new(7);
    let sides = |transpose, rows, columns| {
        if transpose {
            (columns, rows)
        } else {
            (rows, columns)
        }
    };
    let (a_rows, a_columns) = sides(transpose.0, m, k);
    let (b_rows, b_columns) = sides(transpose.1, k, n);
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
        .accumulate(accumulate);
    (op.transpose_a, op.transpose_b) = transpose;
    case.program.push(op);
    case
}

#[test]
fn products_of_every_transposition_and_size() {
    for size in SIZES {
        for transpose in [(false, false), (false, true), (true, false)] {
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
    // More than one dispatch adds up, bias and what was there counted once.
    for k in [1 << 15, (1 << 15) + 1, 150_001] {
        for transpose in [(false, false), (false, true), (true, false)] {
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
