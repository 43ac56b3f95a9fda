use super::program::reason;
use super::{LENS, body, rows, strided, whole};
use crate::common::{Case, devices, every_device};
use bptt::Device;
use bptt::expr::{Fold, Lanes};
use bptt::program::{Map, Op, Operand, Pointwise, Program, Reduce, View};
use bptt::verify::{SINGLE, compare};

#[test]
fn columns() {
    for (count, columns) in [
        (1, 1),
        (3, 7),
        (17, 33),
        (128, 3),
        (129, 65),
        (257, 257),
        (20_000, 3),
        (5, 300),
    ] {
        for (accumulate, copies) in [(false, 1), (false, 2), (true, 3)] {
            let mut case = Case::new(1);
            let (_, input) = case.random_around("input", count, columns);
            let outputs = case.random("output", &[copies, columns + 2], 1.0);
            case.also_output(outputs);
            let to: Vec<_> = (0..copies)
                .map(|copy| outputs.part(copy * (columns + 2) + 1, columns))
                .collect();
            case.program.push(Reduce::columns(input, &to, accumulate));
            case.check(SINGLE);
        }
    }
}

#[test]
fn repeats() {
    for (count, width, times) in [
        (1, 1, 1),
        (3, 7, 4),
        (17, 33, 3),
        (65, 1, 7),
        (33, 257, 2),
        (257, 17, 4),
    ] {
        for accumulate in [false, true] {
            let mut case = Case::new(43);
            let (_, d_output) = case.random_around("d_output", count, times * width);
            let (whole, d_input) = case.random_around("d_input", count, width);
            // What lies around it must stay.
            case.also_output(whole);
            case.program
                .push(Reduce::repeats(d_output, d_input, accumulate));
            case.check(SINGLE);
        }
    }
    for (accumulate, expected) in [
        (false, [101.0, 202.0, 303.0, 404.0]),
        (true, [102.0, 203.0, 304.0, 405.0]),
    ] {
        let mut case = Case::new(0);
        let d_output = vec![1.0, 2.0, 100.0, 200.0, 3.0, 4.0, 300.0, 400.0];
        let d_output = case.given("d_output", &[2, 4], d_output);
        let d_input = case.given("d_input", &[2, 2], vec![1.0; 4]);
        case.also_output(d_input);
        case.program.push(Reduce::repeats(
            d_output.matrix(2, 4),
            d_input.matrix(2, 2),
            accumulate,
        ));
        case.check_values(&expected);
    }
}

/// Σ over rows of a view whose rows overlap: as long as is wanted without as much memory.
fn windows(count: usize, len: usize) -> Case {
    let mut case = Case::new(2);
    let x = case.random("x", &[count + len], 1.0);
    let sum = case.output("sum", &[count]);
    let of = rows(
        &[count, len],
        vec![strided(x, &[1, 1])],
        &[],
        &[sum],
        |tape| {
            let x = tape.operand(0);
            (vec![], vec![tape.statistic(Fold::Sum, x * x)])
        },
    );
    case.program.push(Reduce::new(of));
    case
}

/// Every way to split a sum: by an invocation, by several, by workgroups; blocks as long as a loop may be.
#[test]
fn every_split() {
    for count in [1, 2, 31, 33, 257] {
        for len in [1, 2, 127, 128, 129, 2047, 2048, 2049, 2064, 4095, 4097] {
            windows(count, len).check(SINGLE);
        }
    }
    for (count, len) in [
        (1, 65_535),
        (1, 65_536),
        (1, 65_537),
        (3, 16_384 * 3 + 1),
        (31, 16_384),
        (4095, 129),
        (4097, 130),
        (4096, 2100),
        (100_000, 129),
        (1, 16_384 * 128 - 1),
        (1, 16_384 * 128 + 1),
        (2, 5_000_001),
        // 128 blocks are too few for this.
        (33, 16_384 * 128 + 1),
    ] {
        windows(count, len).check(SINGLE);
    }
}

/// All elements of a tensor as one sum, and what is computed on the way; results that use several sums.
#[test]
fn loss_and_gradient() {
    for len in LENS.into_iter().chain([4096, 70_001]) {
        for with_gradient in [true, false] {
            let mut case = Case::new(2);
            let prediction = case.random("prediction", &[len], 2.0);
            let target = case.random("target", &[len], 2.0);
            // The loss is added to what is there.
            let loss = case.given("loss", &[1], vec![3.0]);
            case.also_output(loss);
            let gradient = case.output("gradient", &[len]);
            let scale = 1.0 / len as f64;
            let mut operands = vec![whole(prediction, &[len]), whole(target, &[len])];
            operands.push(strided(loss, &[0]));
            let of = Pointwise {
                name: "mse".into(),
                shape: vec![len],
                folded: 1,
                operands,
                body: body(|tape| {
                    let error = tape.operand(0) - tape.operand(1);
                    let sum = tape.statistic(Fold::Sum, error * error);
                    let elements = if with_gradient {
                        vec![error * (2.0 * scale)]
                    } else {
                        vec![]
                    };
                    (elements, vec![tape.operand(2) + sum * (3.5 * scale)])
                }),
                elements: if with_gradient {
                    vec![View::whole(gradient, &[len])]
                } else {
                    vec![]
                },
                results: vec![View::new(loss, [])],
            };
            case.program.push(Reduce::new(of));
            if !with_gradient {
                case.program.push(bptt::program::Map::fill(gradient, 0.0));
            }
            case.check(SINGLE);
        }
    }
}

/// Norm and the factor that clips it.
fn clip(gradient: Vec<f32>, max_norm: f64) -> Case {
    let mut case = Case::new(6);
    let len = gradient.len();
    let gradient = case.given("gradient", &[len], gradient);
    let clip = case.output("clip", &[2]);
    let of = Pointwise {
        name: "clip_norm".into(),
        shape: vec![len],
        folded: 1,
        operands: vec![whole(gradient, &[len])],
        body: body(|tape| {
            let g = tape.operand(0);
            let norm = tape.statistic(Fold::Sum, g * g).sqrt();
            let scale = max_norm / (norm + 1e-6);
            // A NaN stays one.
            (vec![], vec![norm, scale.min(norm.constant(1.0))])
        }),
        elements: vec![],
        results: [0, 1]
            .map(|index| View::new(clip.part(index, 1), []))
            .to_vec(),
    };
    case.program.push(Reduce::new(of));
    case
}

#[test]
fn norm_and_scale() {
    for len in [1, 17, 257, 100_003] {
        for max_norm in [0.01, 1e6] {
            let gradient = crate::common::uniform(&mut crate::common::rng(6), len, 1.0);
            let case = clip(gradient, max_norm);
            // Norm and scale apart: beside a norm of 200 a scale of 0 would pass as nearly 5e-5.
            let expected = case.run(&Device::cpu_f64()).remove(0).1;
            for device in devices() {
                let got = case.run(&device).remove(0).1;
                for index in 0..2 {
                    let error = (got[[index]] / expected[[index]] - 1.0).abs();
                    assert!(
                        error < SINGLE,
                        "{index} of {len} on {device}: {got}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_nan_gradient_gives_a_nan_scale() {
    for len in [3, 300, 70_001] {
        for place in [0, len / 2, len - 1] {
            let mut gradient = vec![1.0; len];
            gradient[place] = f32::NAN;
            let case = clip(gradient, 1.0);
            for device in every_device() {
                let got = case.run(&device).remove(0).1;
                assert!(
                    got.iter().all(|value| value.is_nan()),
                    "{place} of {len} on {device}: {got}"
                );
            }
        }
    }
}

/// Sums over axes anywhere, of any strides, several at once, some where an operand is.
#[test]
fn sums_of_any_axes() {
    for shape in [
        [3, 7, 5],
        [17, 1, 33],
        [1, 65, 3],
        [33, 3, 130],
        [257, 7, 3],
    ] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
            for folded in [1, 2, 3] {
                let (mut strides, mut stride) = (vec![0; 3], 1);
                for axis in order.into_iter().rev() {
                    strides[axis] = stride;
                    stride = stride * shape[axis] + 1;
                }
                let kept = &shape[..3 - folded];
                let count = kept.iter().product::<usize>();
                let mut case = Case::new(7);
                let x = case.random("x", &[stride], 1.0);
                let factor = case.random("factor", &[5], 1.0).part(3, 1);
                let sums = case.random("sums", &[2, count + 1], 1.0);
                case.also_output(sums);
                let places = [0, count + 1].map(|first| sums.part(first, count));
                let before = View::whole(places[1], kept);
                let mut repeated = before.clone();
                repeated.strides.resize(3, 0);
                let of = Pointwise {
                    name: "sums".into(),
                    shape: shape.to_vec(),
                    folded,
                    operands: vec![
                        strided(x, &strides),
                        strided(factor, &[0, 0, 0]),
                        Operand::Float(repeated),
                    ],
                    body: body(|tape| {
                        let x = tape.operand(0);
                        let sum = tape.statistic(Fold::Sum, x * tape.operand(1));
                        let squares = tape.statistic(Fold::Sum, x * x);
                        (vec![], vec![sum, tape.operand(2) + sum * squares])
                    }),
                    elements: vec![],
                    results: vec![View::whole(places[0], kept), before],
                };
                case.program.push(Reduce::new(of));
                case.check(SINGLE);
            }
        }
    }
}

/// f32's sums of many numbers of one sign keep their digits: parts, not one running sum.
#[test]
fn long_sums_keep_their_digits() {
    for (count, len) in [(1, 3_000_000), (7, 400_000)] {
        let mut case = Case::new(9);
        let x = case.given(
            "x",
            &[len + count],
            (0..len + count)
                .map(|index| 1.0 + (index % 3) as f32)
                .collect(),
        );
        let sum = case.output("sum", &[count]);
        let of = rows(
            &[count, len],
            vec![strided(x, &[1, 1])],
            &[],
            &[sum],
            |tape| (vec![], vec![tape.statistic(Fold::Sum, tape.operand(0))]),
        );
        case.program.push(Reduce::new(of));
        case.check(1e-6);
    }
}

#[test]
fn nothing_to_add_up_is_zero() {
    let mut case = Case::new(1);
    let input = case.random("input", &[3], 1.0).matrix(0, 3);
    let output = case.output("output", &[3]);
    case.program.push(Reduce::columns(input, &[output], false));
    case.check_values(&[0.0; 3]);
}

/// A sum of nothing leaves the total that it is added to, and a map over nothing changes nothing.
#[test]
fn nothing_is_added_to_what_is_there() {
    let mut case = Case::new(1);
    let given = case.random("input", &[3], 1.0);
    let total = case.given("total", &[3], vec![1.0, 2.0, 3.0]);
    case.also_output(total);
    let sums = Reduce::columns(given.matrix(0, 3), &[total], true);
    case.program.push(sums);
    let (rows, factor) = (given.matrix(0, 1), given.matrix(1, 1));
    case.program
        .push(Map::multiply(rows, factor, total.matrix(0, 1)));
    case.check_values(&[1.0, 2.0, 3.0]);
}

#[test]
fn more_sums_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(45);
    let count = 65_535 * 64 / 2 + 7;
    let d_output = case.random("d_output", &[count, 4], 1.0).matrix(count, 4);
    let d_input = case.output("d_input", &[count, 2]).matrix(count, 2);
    case.program.push(Reduce::repeats(d_output, d_input, false));
    case.check(SINGLE);
}

/// Sums are added in a fixed order: the bits do not change.
#[test]
fn bits_stay() {
    for device in devices() {
        for (count, len) in [(3, 70_001), (300, 257), (1, 1_000_003)] {
            let case = windows(count, len);
            let first = case.run(&device);
            for _ in 0..3 {
                let again = case.run(&device);
                assert_eq!(again, first, "{count}×{len} on {device}");
            }
            for ((name, got), (_, expected)) in first.iter().zip(case.run(&Device::cpu_f64())) {
                compare(name, got, &expected, SINGLE).unwrap();
            }
        }
    }
}

#[test]
fn sums_that_use_a_sum_are_refused() {
    let mut program = Program::new();
    let x = program.tensor("x", &[3, 4]);
    let sum = program.tensor("sum", &[3]);
    let of = rows(&[3, 4], vec![whole(x, &[3, 4])], &[], &[sum], |tape| {
        let x = tape.operand(0);
        let mean = tape.statistic(Fold::Sum, x) * 0.25;
        (
            vec![],
            vec![tape.statistic(Fold::Sum, (x - mean) * (x - mean))],
        )
    });
    program.push(Op::Reduce(Reduce(of)));
    let message = reason(program);
    assert!(
        message.contains("(reduce): a sum, or an element, uses a sum"),
        "{message}"
    );
}
