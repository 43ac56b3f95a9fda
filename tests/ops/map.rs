use super::program::reason;
use super::{LENS, strided, whole};
use crate::common::{Case, every_device};
use bptt::expr::Lanes;
use bptt::program::{Map, Operand, Program, Slice, View};
use bptt::verify::SINGLE;

#[test]
fn a_number_fills_its_part_only() {
    for len in LENS {
        let mut case = Case::new(1);
        let target = case.random("target", &[len + 5], 1.0);
        case.also_output(target);
        case.program.push(Map::fill(target.part(2, len), 0.3));
        case.check(SINGLE);
    }
}

/// Numbers that WGSL has no literal for.
#[test]
fn a_number_that_is_not_finite_fills_a_tensor() {
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        let mut case = Case::new(1);
        let target = case.output("target", &[3]);
        case.program.push(Map::fill(target, value));
        case.check_values(&[value; 3]);
    }
}

/// Three axes in every order, with gaps, from an element on, into another such view.
#[test]
fn strided_views() {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for shape in [
        [1, 1, 1],
        [3, 7, 1],
        [7, 3, 17],
        [1, 65, 3],
        [65, 1, 3],
        [17, 33, 7],
        [257, 3, 33],
    ] {
        for order in orders {
            // Gaps behind every axis.
            let (mut strides, mut stride) = ([0; 3], 2);
            for axis in order.into_iter().rev() {
                strides[axis] = stride;
                stride = stride * shape[axis] + 1;
            }
            let len = stride + 3;
            let mut case = Case::new(61);
            let from = case.random("from", &[len + 6], 1.0).part(5, len);
            let other = case.random("other", &[len], 1.0);
            let to = case.random("to", &[len + 4], 1.0);
            // What lies around the output, and in its gaps, must stay.
            case.also_output(to);
            let operands = vec![
                strided(from, &[shape[1] * shape[2], shape[2], 1]),
                strided(other, &strides),
            ];
            let to = View::new(to.part(3, len), strides);
            case.program
                .push(Map::new("add", &shape, operands, vec![to], |tape| {
                    vec![tape.operand(0) + tape.operand(1)]
                }));
            case.check(SINGLE);
        }
    }
}

#[test]
fn axes_swapped_by_hand() {
    let mut case = Case::new(0);
    let values = (0..12).map(|value| value as f32).collect();
    let from = case.given("from", &[2, 3, 2], values);
    let to = case.output("to", &[3, 2, 2]);
    let shape = [3, 2, 2];
    case.program.push(Map::copy(
        &shape,
        View::new(from, [2, 6, 1]),
        View::whole(to, &shape),
    ));
    case.check_values(&[0., 1., 6., 7., 2., 3., 8., 9., 4., 5., 10., 11.]);
}

#[test]
fn axes_swapped_there_and_back_past_one_dispatch_dimension() {
    let (a, b) = (3, 65_535 * 64 / 3 + 7);
    let mut case = Case::new(62);
    let input = case.random("input", &[a, b], 1.0);
    let swapped = case.output("swapped", &[b, a]);
    let back = case.output("back", &[a, b]);
    case.also_output(input);
    let copy = |shape: [usize; 2], from: Slice, to: Slice| {
        Map::copy(
            &shape,
            View::new(from, [1, shape[0]]),
            View::whole(to, &shape),
        )
    };
    case.program.push(copy([b, a], input, swapped));
    case.program.push(copy([a, b], swapped, back));
    let expected = case.run(&bptt::Device::cpu_f64());
    for device in every_device() {
        let got = case.run(&device);
        assert!(got[0].1 == expected[0].1, "swapped on {device}");
        assert!(got[1].1 == got[2].1, "there and back on {device}");
    }
}

#[test]
fn a_row_and_a_column_repeat() {
    for (rows, columns) in [
        (1, 1),
        (3, 7),
        (7, 3),
        (17, 33),
        (65, 257),
        (33, 1),
        (1, 65),
    ] {
        let mut case = Case::new(31);
        let shape = [rows, columns];
        let row = strided(case.random("row", &[columns], 1.0), &[0, 1]);
        let column = strided(case.random("column", &[rows], 1.0), &[1, 0]);
        let number = strided(case.random("number", &[4], 1.0).part(2, 1), &[0, 0]);
        let to = case.output("to", &shape);
        let operands = vec![row, column, number];
        case.program.push(Map::new(
            "outer",
            &shape,
            operands,
            vec![View::whole(to, &shape)],
            |tape| vec![tape.operand(0) * tape.operand(1) - tape.operand(2)],
        ));
        case.check(SINGLE);
    }
}

#[test]
fn factors_of_fewer_rows_are_used_again() {
    for (rows, columns, factor_rows) in [
        (1, 1, 1),
        (3, 7, 1),
        (7, 3, 7),
        (15, 33, 5),
        (65, 257, 13),
        (64, 17, 2),
    ] {
        let mut case = Case::new(31);
        let (_, input) = case.random_around("input", rows, columns);
        let (_, factor) = case.random_around("factor", factor_rows, columns);
        let (whole, output) = case.random_around("output", rows, columns);
        case.also_output(whole);
        case.program.push(Map::multiply(input, factor, output));
        case.check(SINGLE);
    }
    let mut case = Case::new(0);
    let input = case.given(
        "input",
        &[4, 2],
        vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    );
    let factor = case.given("factor", &[2, 2], vec![10.0, 0.5, -1.0, 0.0]);
    let output = case.output("output", &[4, 2]);
    let (input, factor) = (input.matrix(4, 2), factor.matrix(2, 2));
    case.program
        .push(Map::multiply(input, factor, output.matrix(4, 2)));
    case.check_values(&[10.0, 1.0, -3.0, 0.0, 50.0, 3.0, -7.0, 0.0]);
}

#[test]
fn rows_repeat_with_and_without_a_bias() {
    for (rows, width, times) in [
        (1, 1, 1),
        (3, 7, 4),
        (7, 3, 1),
        (17, 33, 3),
        (65, 1, 7),
        (33, 257, 2),
        (257, 17, 4),
    ] {
        for bias in [false, true] {
            let columns = times * width;
            let mut case = Case::new(41);
            let (_, input) = case.random_around("input", rows, width);
            let bias = bias.then(|| case.random("bias", &[columns + 5], 1.0).part(3, columns));
            let (whole, output) = case.random_around("output", rows, columns);
            case.also_output(whole);
            case.program.push(Map::repeat(input, bias, output));
            case.check(SINGLE);
        }
    }
    let mut case = Case::new(0);
    let input = case.given("input", &[2, 2], vec![1.0, 2.0, 3.0, 4.0]);
    let bias = case.given("bias", &[4], vec![10.0, 20.0, 30.0, 40.0]);
    let output = case.output("output", &[2, 4]);
    case.program.push(Map::repeat(
        input.matrix(2, 2),
        Some(bias),
        output.matrix(2, 4),
    ));
    case.check_values(&[11.0, 22.0, 31.0, 42.0, 13.0, 24.0, 33.0, 44.0]);
}

/// Adam's step: three outputs where their operands are, numbers of the step, a clip that may be absent.
#[test]
fn several_outputs_in_place() {
    for len in [1, 3, 65, 257, 70_001] {
        for clip in [false, true] {
            let mut case = Case::new(10);
            let parameter = case.random("parameter", &[len + 9], 1.0);
            let gradient = case.random("gradient", &[len], 1.0);
            let first = case.random("first_moment", &[len], 1.0);
            let second = case.given("second_moment", &[len], vec![0.3; len]);
            let scalars = vec![0.01, 0.9, 0.1, 0.999, 0.001, 1e-8, 0.1, 0.05, 0.99];
            let scalars = case.given("scalars", &[9], scalars);
            let clip = clip.then(|| case.given("clip", &[2], vec![4.0, 0.25]));
            [parameter, first, second]
                .into_iter()
                .for_each(|slice| case.also_output(slice));
            let shape = [len];
            let changed = [parameter.part(4, len), first, second];
            let mut operands: Vec<_> = changed.iter().map(|slice| whole(*slice, &shape)).collect();
            operands.push(whole(gradient, &shape));
            operands.extend((0..9).map(|index| strided(scalars.part(index, 1), &[0])));
            operands.extend(clip.map(|clip| strided(clip.part(1, 1), &[0])));
            let outputs = changed
                .iter()
                .map(|slice| View::whole(*slice, &shape))
                .collect();
            case.program
                .push(Map::new("adam", &shape, operands, outputs, |tape| {
                    let [
                        rate,
                        beta1,
                        rest1,
                        beta2,
                        rest2,
                        epsilon,
                        correction,
                        decay,
                        kept,
                    ] = std::array::from_fn(|index| tape.operand(4 + index));
                    let [w, m, v, g] = std::array::from_fn(|index| tape.operand(index));
                    let g = clip.map_or(g, |_| g * tape.operand(13)) + decay * w;
                    let m = beta1 * m + rest1 * g;
                    let v = beta2 * v + rest2 * g * g;
                    vec![
                        kept * w - rate * m / (v.sqrt() / correction + epsilon),
                        m,
                        v,
                    ]
                }));
            case.check(SINGLE);
        }
    }
}

/// Outputs one behind the other in one tensor, one of them where an operand is.
#[test]
fn outputs_of_one_tensor() {
    for (rows, columns) in [(1, 1), (3, 7), (17, 65), (300, 257)] {
        let mut case = Case::new(12);
        let shape = [rows, columns];
        let all = case.random("all", &[3 * rows + 1, columns + 2], 1.0);
        case.also_output(all);
        let other = case.random("other", &shape, 1.0);
        let matrix = all.matrix(3 * rows + 1, columns + 2).columns(1, columns);
        let view = |first: usize| matrix.rows(first, rows).view();
        let operands = vec![Operand::Float(view(rows)), whole(other, &shape)];
        let outputs = vec![view(0), view(rows), view(2 * rows + 1)];
        case.program
            .push(Map::new("three", &shape, operands, outputs, |tape| {
                let (x, y) = (tape.operand(0), tape.operand(1));
                vec![x + y, x - y, x * y]
            }));
        case.check(SINGLE);
    }
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(33);
    let rows = 65_535 * 64 / 3 + 7;
    let input = case.random("input", &[rows, 3], 1.0).matrix(rows, 3);
    let factor = case.random("factor", &[1, 3], 1.0).matrix(1, 3);
    let output = case.output("output", &[rows, 3]).matrix(rows, 3);
    case.program.push(Map::multiply(input, factor, output));
    case.check(SINGLE);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let refused = |shape: &[usize], strides: &[usize], to: &[usize], len: usize| {
        let mut program = Program::new();
        let from = program.tensor("from", &[12]);
        let output = program.tensor("output", &[len]);
        let to = View::new(output, to);
        program.push(Map::new(
            "copy",
            shape,
            vec![strided(from, strides)],
            vec![to],
            |tape| vec![tape.operand(0)],
        ));
        reason(program)
    };
    for (message, expected) in [
        (
            refused(&[3, 4], &[5, 1], &[4, 1], 12),
            "operation 0 (map): operand 0 ends at 14, past the 12 elements of from",
        ),
        (
            refused(&[3, 4], &[4, 1], &[5, 1], 12),
            "output 0 ends at 14, past the 12 elements of output",
        ),
        (
            refused(&[3, 4], &[4, 1], &[0, 1], 12),
            "written more than once",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    // What is read elsewhere than where it is written.
    let mut program = Program::new();
    let x = program.tensor("x", &[13]);
    let operands = vec![whole(x.part(1, 12), &[12])];
    let to = View::whole(x.part(0, 12), &[12]);
    program.push(Map::new("shift", &[12], operands, vec![to], |tape| {
        vec![tape.operand(0)]
    }));
    let message = reason(program);
    assert!(
        message.contains("output 0 and operand 0 are in one tensor"),
        "{message}"
    );
    // Outputs that meet.
    let mut program = Program::new();
    let x = program.tensor("x", &[13]);
    let to = [0, 1]
        .map(|first| View::whole(x.part(first, 12), &[12]))
        .to_vec();
    program.push(Map::new("two", &[12], vec![], to, |tape| {
        vec![tape.constant(1.0), tape.constant(2.0)]
    }));
    let message = reason(program);
    assert!(message.contains("output 1 overlaps output 0"), "{message}");
}
