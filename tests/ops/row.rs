use super::program::reason;
use super::{rows, strided, whole};
use crate::common::{Case, devices, every_device, gpu};
use bptt::expr::{Expr, Fold, Lanes, Tape};
use bptt::program::{Operand, Program, Row, View};
use bptt::verify::SINGLE;
use bptt::{Error, Executable};

const SHAPES: [(usize, usize); 9] = [
    (1, 1),
    (3, 7),
    (7, 3),
    (17, 65),
    (5, 257),
    (257, 17),
    (33, 128),
    (2, 1000),
    (70_000, 2),
];

fn softmax<'t>(tape: &'t Tape, x: Expr<'t>) -> Expr<'t> {
    let e = (x - tape.statistic(Fold::Max, x)).exp();
    e / tape.statistic(Fold::Sum, e)
}

#[test]
fn softmax_of_every_width() {
    // Numbers whose exponentials are beyond f32, too.
    for bound in [30.0, 1000.0] {
        for (count, columns) in SHAPES {
            let mut case = Case::new(3);
            let shape = [count, columns];
            let input = case.random("input", &shape, bound);
            let output = case.output("output", &shape);
            let of = rows(&shape, vec![whole(input, &shape)], &[output], &[], |tape| {
                (vec![softmax(tape, tape.operand(0))], vec![])
            });
            case.program.push(Row::new(of));
            // Exponentials of rounded differences of numbers up to 1000.
            case.check(if bound > 100.0 { 1e-4 } else { SINGLE });
        }
    }
}

#[test]
fn softmax_and_its_gradient() {
    for (count, columns) in [(1, 1), (3, 7), (17, 65), (5, 257)] {
        let mut case = Case::new(4);
        let shape = [count, columns];
        let input = case.random("input", &shape, 3.0);
        let d_output = case.random("d_output", &shape, 1.0);
        let d_input = case.output("d_input", &shape);
        let operands = vec![whole(input, &shape), whole(d_output, &shape)];
        let of = rows(&shape, operands, &[d_input], &[], |tape| {
            let (y, d) = (softmax(tape, tape.operand(0)), tape.operand(1));
            (vec![y * (d - tape.statistic(Fold::Sum, y * d))], vec![])
        });
        case.program.push(Row::new(of));
        case.check(SINGLE);
    }
}

/// The mean, then the variance about it, then elements; the results of both, in place where their operands are.
#[test]
fn statistics_of_statistics_with_elements_and_results() {
    for (count, columns) in SHAPES {
        let mut case = Case::new(6);
        let shape = [count, columns];
        let input = case.random("input", &[count, columns + 3], 1.0);
        let weight = case.random("weight", &[columns], 1.0);
        let before = case.random("before", &[count], 1.0);
        let variances = case.output("variance", &[count]);
        case.also_output(input);
        case.also_output(before);
        // Elements where the operand is.
        let view = input.matrix(count, columns + 3).columns(2, columns).view();
        let operands = vec![
            Operand::Float(view.clone()),
            strided(weight, &[0, 1]),
            strided(before, &[1, 0]),
        ];
        let scale = 1.0 / columns as f64;
        let mut of = rows(&shape, operands, &[], &[before, variances], |tape| {
            let x = tape.operand(0);
            let mean = tape.statistic(Fold::Sum, x) * scale;
            let centered = x - mean;
            let variance = tape.statistic(Fold::Sum, centered * centered) * scale;
            let y = centered / (variance + 0.1).sqrt() * tape.operand(1);
            (vec![y], vec![mean + tape.operand(2), variance])
        });
        of.elements.push(view);
        case.program.push(Row::new(of));
        case.check(SINGLE);
    }
}

/// Rows along axes that are neither last nor neighbours in memory, and rows of two axes.
#[test]
fn rows_of_any_axes() {
    for shape in [[3, 7, 5], [17, 1, 33], [1, 65, 3], [33, 3, 130]] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
            for folded in [1, 2, 3] {
                let (mut strides, mut stride) = (vec![0; 3], 1);
                for axis in order.into_iter().rev() {
                    strides[axis] = stride;
                    stride = stride * shape[axis] + 1;
                }
                let mut case = Case::new(7);
                let x = case.random("x", &[stride], 1.0);
                let y = case.output("y", &shape);
                let most = case.output("most", &shape[..3 - folded]);
                let mut of = rows(&shape, vec![strided(x, &strides)], &[y], &[], |tape| {
                    let x = tape.operand(0);
                    let most = tape.statistic(Fold::Max, x);
                    (vec![x - most], vec![most])
                });
                of.results = vec![View::whole(most, &shape[..3 - folded])];
                of.folded = folded;
                case.program
                    .push(bptt::program::Op::Row(Row(of.collapsed())));
                case.check(SINGLE);
            }
        }
    }
}

fn cross_entropy(count: usize, columns: usize, class: impl Fn(usize) -> u32) -> Case {
    let mut case = Case::new(5);
    let shape = [count, columns];
    let logits = case.random("logits", &shape, 20.0);
    let classes = case.wholes("classes", &[count], (0..count).map(class).collect());
    let loss = case.output("loss", &[count]);
    let gradient = case.output("gradient", &shape);
    let operands = vec![
        whole(logits, &shape),
        Operand::Whole(View::new(classes, [1, 0])),
        Operand::Position {
            offset: 0,
            strides: vec![0, 1],
        },
    ];
    let of = rows(&shape, operands, &[gradient], &[loss], |tape| {
        let (x, class, position) = (
            tape.operand(0),
            tape.whole_operand(1),
            tape.whole_operand(2),
        );
        let (zero, one) = (x.zero(), x.constant(1.0));
        let inside = class.less(tape.whole(columns as u32), one, x.constant(f64::NAN));
        let picked = tape.statistic(Fold::Sum, position.equal(class, x, zero));
        let most = tape.statistic(Fold::Max, x);
        let e = (x - most).exp();
        let sum = tape.statistic(Fold::Sum, e);
        let gradient = (e / sum - position.equal(class, one, zero)) * inside;
        (vec![gradient], vec![(sum.ln() + most - picked) * inside])
    });
    case.program.push(Row::new(of));
    case
}

#[test]
fn cross_entropy_and_its_gradient() {
    for (count, columns) in [(1, 1), (3, 7), (17, 65), (33, 257), (300, 3)] {
        cross_entropy(count, columns, |row| ((row * 5) % columns) as u32).check(SINGLE);
    }
}

#[test]
fn a_class_outside_gives_nan() {
    for device in every_device() {
        for class in [3, 4, u32::MAX] {
            let case = cross_entropy(2, 3, |row| if row == 0 { class } else { 1 });
            let outputs = case.run(&device);
            let (loss, gradient) = (&outputs[0].1, &outputs[1].1);
            assert!(loss[[0]].is_nan(), "class {class} of 3 on {device}: {loss}");
            assert!(
                loss[[1]].is_finite(),
                "class {class} of 3 on {device}: {loss}"
            );
            let row = |row: usize| gradient.index_axis(ndarray::Axis(0), row);
            assert!(
                row(0).iter().all(|d| d.is_nan()),
                "class {class} on {device}: {gradient}"
            );
            assert!(
                row(1).iter().all(|d| d.is_finite()),
                "class {class} on {device}: {gradient}"
            );
        }
    }
}

#[test]
fn a_nan_makes_a_nan_of_its_row_alone() {
    for device in every_device() {
        for columns in [1, 3, 65, 257] {
            let mut case = Case::new(6);
            let shape = [3, columns];
            let x = case.random("x", &shape, 1.0);
            case.poison(x, columns + columns / 2);
            let sum = case.output("sum", &[3]);
            let softmaxed = case.output("softmax", &shape);
            let of = rows(
                &shape,
                vec![whole(x, &shape)],
                &[softmaxed],
                &[sum],
                |tape| {
                    let x = tape.operand(0);
                    (vec![softmax(tape, x)], vec![tape.statistic(Fold::Sum, x)])
                },
            );
            case.program.push(Row::new(of));
            for (name, got) in case.run(&device) {
                for (row, values) in got.outer_iter().enumerate() {
                    let all_nan = values.iter().all(|value| value.is_nan());
                    let none = values.iter().all(|value| value.is_finite());
                    assert!(
                        if row == 1 { all_nan } else { none },
                        "{name} of {columns} on {device}: {got}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_largest_of_negative_and_infinite_numbers() {
    for columns in [1, 3, 65, 257] {
        let mut case = Case::new(6);
        let shape = [4, columns];
        let place = columns / 2;
        let mut values: Vec<f32> = (0..4 * columns)
            .map(|index| -1.0 - (index % 7) as f32)
            .collect();
        values[place] = -0.5;
        values[columns + place] = f32::INFINITY;
        values[2 * columns..3 * columns].fill(-f32::MAX);
        values[3 * columns + place] = 1e-30;
        let x = case.given("x", &shape, values);
        let most = case.output("most", &[4]);
        let of = rows(&shape, vec![whole(x, &shape)], &[], &[most], |tape| {
            (vec![], vec![tape.statistic(Fold::Max, tape.operand(0))])
        });
        case.program.push(Row::new(of));
        case.check_values(&[
            -0.5,
            f64::INFINITY,
            -f64::from(f32::MAX),
            f64::from(1e-30_f32),
        ]);
    }
}

/// A row of 16,384 rounds of a workgroup, and the longest there may be.
#[test]
fn a_row_as_long_as_a_workgroup_takes() {
    let mut case = Case::new(3);
    let columns = 1 << 20;
    let shape = [1, columns];
    let input = case.random("input", &shape, 3.0);
    let output = case.output("output", &shape);
    let of = rows(&shape, vec![whole(input, &shape)], &[output], &[], |tape| {
        (vec![softmax(tape, tape.operand(0))], vec![])
    });
    case.program.push(Row::new(of));
    case.check(1e-4);
}

#[test]
fn a_row_too_long_for_a_workgroup_is_refused() {
    let Some(device) = gpu() else { return };
    let mut program = Program::new();
    let shape = [1, (1 << 20) + 1];
    let input = program.tensor("input", &shape);
    let output = program.tensor("output", &shape);
    let of = rows(&shape, vec![whole(input, &shape)], &[output], &[], |tape| {
        (vec![softmax(tape, tape.operand(0))], vec![])
    });
    program.push(Row::new(of));
    let error = Executable::new(&device, program, &[]).unwrap_err();
    assert!(
        matches!(error, Error::Limit { needed, available, .. } if needed == available + 1),
        "{error}"
    );
}

#[test]
fn more_rows_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(8);
    let shape = [65_535 + 7, 3];
    let x = case.random("x", &shape, 1.0);
    let y = case.output("y", &shape);
    let of = rows(&shape, vec![whole(x, &shape)], &[y], &[], |tape| {
        (vec![softmax(tape, tape.operand(0))], vec![])
    });
    case.program.push(Row::new(of));
    case.check(SINGLE);
}

/// The bits are the same for a run after another, and on one device whatever runs beside.
#[test]
fn bits_stay() {
    for device in devices() {
        let case = cross_entropy(300, 257, |row| ((row * 5) % 257) as u32);
        assert_eq!(case.run(&device), case.run(&device), "{device}");
    }
}

#[test]
fn bodies_that_do_not_fit_are_refused() {
    let mut program = Program::new();
    let x = program.tensor("x", &[3, 4]);
    let y = program.tensor("y", &[3, 4]);
    let shape = [3, 4];
    let mut of = rows(&shape, vec![whole(x, &shape)], &[y], &[], |tape| {
        (vec![tape.operand(1)], vec![])
    });
    program.push(Row::new(of.clone()));
    let message = reason(program.clone());
    assert!(
        message.contains("(row): node 0 of the body, Operand(1), reads what is not there"),
        "{message}"
    );

    of.body = super::body(|tape| (vec![tape.operand(0)], vec![tape.operand(0)]));
    let mut program = Program::new();
    program.tensor("x", &[3, 4]);
    program.tensor("y", &[3, 4]);
    program.push(Row::new(of));
    let message = reason(program);
    assert!(
        message.contains("1 elements and 0 results, of which the body computes 1 and 1"),
        "{message}"
    );
}
