use super::program::reason;
use super::{LENS, strided, whole};
use crate::common::{Case, devices, every_device};
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
fn the_last_row_of_each_sequence() {
    // With steps before and behind those of the input.
    for (steps, batch, columns, first) in
        [(1, 1, 1, 0), (4, 3, 7, 0), (3, 17, 65, 0), (3, 17, 65, 2)]
    {
        let mut case = Case::new(15);
        let rows = steps * batch;
        let (_, input) = case.random_around("input", rows, columns);
        let length = |row: usize| ((3 * row + 1) % (steps + 2 * first + 1)) as u32;
        let lengths = case.wholes("lengths", &[batch], (0..batch).map(length).collect());
        let (whole, output) = case.random_around("output", batch, columns);
        case.also_output(whole);
        case.program
            .push(Map::gather_last(input, lengths, first, output));
        case.check(SINGLE);
    }
}

/// The gradient of that: zeros but for the last step of each row.
#[test]
fn only_the_last_row_of_each_sequence() {
    let mut case = Case::new(0);
    let d = case.given("d", &[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let lengths = case.wholes("lengths", &[3], vec![2, 0, 1]);
    let to = case.output("to", &[2, 3, 2]);
    let shape = [2, 3, 2];
    let operands = vec![
        strided(d, &[0, 2, 1]),
        Operand::Whole(View::new(lengths, [0, 1, 0])),
        Operand::Position {
            offset: 1,
            strides: vec![1, 0, 0],
        },
    ];
    case.program.push(Map::new(
        "last",
        &shape,
        operands,
        vec![View::whole(to, &shape)],
        |tape| {
            let (length, position) = (tape.whole_operand(1), tape.whole_operand(2));
            vec![position.equal(length, tape.operand(0), tape.constant(0.0))]
        },
    ));
    case.check_values(&[0.0, 0.0, 0.0, 0.0, 5.0, 6.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn rows_of_a_table() {
    for (count, rows, columns) in [(1, 1, 1), (7, 3, 5), (65, 17, 33), (257, 1000, 3)] {
        let mut case = Case::new(16);
        let (_, table) = case.random_around("table", rows, columns);
        // Some past the last, which give zeros, even where adding to the table's start would wrap around.
        let index = |at: usize| match at % 5 {
            3 => rows as u32,
            4 => u32::MAX - at as u32,
            _ => (at * 7 % rows) as u32,
        };
        let indices = case.wholes("indices", &[count], (0..count).map(index).collect());
        let to = case.output("to", &[count, columns]);
        let shape = [count, columns];
        let gather = Operand::Gather {
            view: View {
                strides: vec![0, 1],
                ..table.view()
            },
            index: View::new(indices, [1, 0]),
            shift: 0,
            stride: table.row_stride,
            len: rows,
        };
        case.program.push(Map::new(
            "gather",
            &shape,
            vec![gather],
            vec![View::whole(to, &shape)],
            |tape| vec![tape.operand(0)],
        ));
        case.check(SINGLE);
    }
}

#[test]
fn positions_and_whole_numbers() {
    for (rows, columns) in [(1, 1), (3, 7), (17, 65)] {
        let mut case = Case::new(17);
        let shape = [rows, columns];
        let wholes = (0..rows).map(|row| (row * 2) as u32).collect();
        let wholes = case.wholes("wholes", &[rows], wholes);
        let to = case.output("to", &shape);
        let operands = vec![
            Operand::Whole(View::new(wholes, [1, 0])),
            Operand::Position {
                offset: 3,
                strides: vec![0, 2],
            },
        ];
        case.program.push(Map::new(
            "wholes",
            &shape,
            operands,
            vec![View::whole(to, &shape)],
            |tape| {
                let (whole, position) = (tape.whole_operand(0), tape.whole_operand(1));
                let (one, two) = (tape.constant(1.0), tape.constant(2.0));
                let less = whole.less(position, one, two);
                vec![less * position.to_float() + whole.equal(tape.whole(4), one, whole.to_float())]
            },
        ));
        let value = |index: usize| {
            let (whole, position) = (index / columns * 2, 3 + index % columns * 2);
            let less = if whole < position { 1.0 } else { 2.0 };
            less * position as f64 + if whole == 4 { 1.0 } else { whole as f64 }
        };
        case.check_values(&(0..rows * columns).map(value).collect::<Vec<_>>());
    }
}

/// A NaN stays wherever it is computed with, and does not reach what it was not chosen for.
#[test]
fn nan_stays_nan() {
    type Unary = for<'t> fn(bptt::expr::Expr<'t>) -> bptt::expr::Expr<'t>;
    let functions: [(&str, Unary); 14] = [
        ("neg", |x| -x),
        ("abs", |x| x.abs()),
        ("sqrt", |x| x.sqrt()),
        ("exp", |x| x.exp()),
        ("exp_m1", |x| x.exp_m1()),
        ("ln", |x| x.ln()),
        ("softplus", |x| x.softplus()),
        ("sigmoid", |x| x.sigmoid()),
        ("tanh", |x| x.tanh()),
        ("erf", |x| x.erf()),
        ("max", |x| x.max(x.constant(0.25))),
        ("min", |x| x.min(x.constant(0.25))),
        ("relu", |x| x.where_positive(x, x.zero())),
        ("product", |x| x * 0.25),
    ];
    for (name, function) in functions {
        for len in [1, 3, 17] {
            let mut case = Case::new(3);
            let x = case.given(
                "x",
                &[len],
                (0..len).map(|index| 0.3 + index as f32 / 7.0).collect(),
            );
            case.poison(x, len / 2);
            let to = case.output("to", &[len]);
            let operands = vec![whole(x, &[len])];
            case.program.push(Map::new(
                "function",
                &[len],
                operands,
                vec![View::whole(to, &[len])],
                |tape| vec![function(tape.operand(0))],
            ));
            for device in every_device() {
                let got = case.run(&device).remove(0).1;
                for (index, value) in got.iter().enumerate() {
                    assert_eq!(
                        value.is_nan(),
                        index == len / 2,
                        "{name} of {len} on {device}: {got}"
                    );
                }
            }
        }
    }
    // Not chosen, not there: as what lies past a sequence's end, or has a weight of 0.
    let mut case = Case::new(3);
    let x = case.given("x", &[4], vec![f32::NAN, 2.0, f32::NAN, 4.0]);
    let counts = case.wholes("counts", &[4], vec![0, 1, 0, 7]);
    let to = case.output("to", &[4]);
    let operands = vec![whole(x, &[4]), Operand::Whole(View::new(counts, [1]))];
    case.program.push(Map::new(
        "counts",
        &[4],
        operands,
        vec![View::whole(to, &[4])],
        |tape| {
            let count = tape.whole_operand(1);
            vec![count.equal(
                count.constant(0),
                tape.constant(0.0),
                tape.operand(0) * count.to_float(),
            )]
        },
    ));
    case.check_values(&[0.0, 2.0, 0.0, 28.0]);
}

/// Every function over its range on every device, and at the ends of the numbers.
#[test]
fn functions_over_their_range() {
    type Unary = for<'t> fn(bptt::expr::Expr<'t>) -> bptt::expr::Expr<'t>;
    let (infinity, most) = (f32::INFINITY, f32::MAX);
    let functions: [(&str, Unary, [f32; 2], &[(f32, f32)]); 10] = [
        (
            "abs",
            |x| x.abs(),
            [-1e3, 1e3],
            &[(-infinity, infinity), (-most, most)],
        ),
        (
            "sqrt",
            |x| x.sqrt(),
            [0.0, 1e3],
            &[(infinity, infinity), (0.0, 0.0)],
        ),
        (
            "exp",
            |x| x.exp(),
            [-80.0, 80.0],
            &[(-infinity, 0.0), (-200.0, 0.0)],
        ),
        (
            "exp_m1",
            |x| x.exp_m1(),
            [-20.0, 80.0],
            &[(-infinity, -1.0), (1e-20, 1e-20), (-200.0, -1.0)],
        ),
        ("ln", |x| x.ln(), [1e-30, 1e30], &[(1.0, 0.0)]),
        (
            "softplus",
            |x| x.softplus(),
            [-80.0, 1e3],
            &[(infinity, infinity), (-infinity, 0.0), (1e30, 1e30)],
        ),
        (
            "sigmoid",
            |x| x.sigmoid(),
            [-80.0, 80.0],
            &[(infinity, 1.0), (-infinity, 0.0), (-1e30, 0.0)],
        ),
        (
            "tanh",
            |x| x.tanh(),
            [-9.0, 9.0],
            &[
                (infinity, 1.0),
                (-infinity, -1.0),
                (1e-20, 1e-20),
                (1e30, 1.0),
            ],
        ),
        (
            "erf",
            |x| x.erf(),
            [-4.0, 4.0],
            &[
                (infinity, 1.0),
                (-infinity, -1.0),
                (1e-20, 1.128_379_2e-20),
                (50.0, 1.0),
            ],
        ),
        ("neg", |x| -x, [-1e3, 1e3], &[(-infinity, infinity)]),
    ];
    for (name, function, [from, to], extremes) in functions {
        let map = |values: Vec<f32>| {
            let len = values.len();
            let mut case = Case::new(3);
            let x = case.given("x", &[len], values);
            let y = case.output(name, &[len]);
            case.program.push(Map::new(
                "function",
                &[len],
                vec![whole(x, &[len])],
                vec![View::whole(y, &[len])],
                |tape| vec![function(tape.operand(0))],
            ));
            case
        };
        // Each alone, as a tolerance relative to the root mean square of all would hide small ones.
        let count = 1001;
        let x = |index: usize| from + (to - from) * index as f32 / (count - 1) as f32;
        let mut values: Vec<f32> = (0..count).map(x).collect();
        values.extend(
            (1..30)
                .flat_map(|power| [0.1_f32.powi(power), -(0.1_f32.powi(power))])
                .filter(|x| *x >= from),
        );
        let case = map(values.clone());
        let expected = case.run(&bptt::Device::cpu_f64()).remove(0).1;
        for device in devices() {
            let got = case.run(&device).remove(0).1;
            for ((got, expected), x) in got.iter().zip(&expected).zip(&values) {
                let near = (got - expected).abs() <= 2e-6 * expected.abs() + 1e-37;
                // exp's error grows with its argument on a GPU, by WGSL's rule.
                let wide = ["exp", "exp_m1", "softplus", "sigmoid"].contains(&name);
                let near = near || wide && (got - expected).abs() <= 2e-5 * expected.abs();
                assert!(
                    near || expected.abs() < 1e-34,
                    "{name} of {x} on {device}: {got:e}, expected {expected:e}"
                );
            }
        }
        let case = map(extremes.iter().map(|(x, _)| *x).collect());
        for device in every_device() {
            let got = case.run(&device).remove(0).1;
            for (got, (x, expected)) in got.iter().zip(extremes) {
                let (got, expected) = (*got as f32, *expected);
                let near =
                    got == expected || (got - expected).abs() <= 1e-6 * expected.abs() + 1e-37;
                assert!(
                    near,
                    "{name} of {x:e} on {device}: {got:e}, expected {expected:e}"
                );
            }
        }
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
