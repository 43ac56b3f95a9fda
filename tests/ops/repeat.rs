use super::program::reason;
use crate::common::Case;
use bptt::program::{Program, Repeat};
use bptt::verify::SINGLE;

/// M, N and R, of this operation and its gradient.
pub const SIZES: [(usize, usize, usize); 8] = [
    (1, 1, 1),
    (3, 7, 4),
    (7, 3, 1),
    (17, 33, 3),
    (65, 1, 7),
    (1, 65, 3),
    (33, 257, 2),
    (257, 17, 4),
];

#[test]
fn with_and_without_bias() {
    for (rows, width, times) in SIZES {
        for bias in [false, true] {
            let columns = times * width;
            let mut case = Case::new(41);
            let (_, input) = case.random_around("input", rows, width);
            let bias = bias.then(|| case.random("bias", &[columns + 5], 1.0).part(3, columns));
            let (whole, output) = case.random_around("output", rows, columns);
            // What lies around the output must stay.
            case.also_output(whole);
            case.program.push(Repeat {
                input,
                bias,
                output,
            });
            case.check(SINGLE);
        }
    }
}

#[test]
fn by_hand() {
    let mut case = Case::new(0);
    let input = case.given("input", &[2, 2], vec![1.0, 2.0, 3.0, 4.0]);
    let bias = case.given("bias", &[4], vec![10.0, 20.0, 30.0, 40.0]);
    let output = case.output("output", &[2, 4]);
    case.program.push(Repeat {
        input: input.matrix(2, 2),
        bias: Some(bias),
        output: output.matrix(2, 4),
    });
    case.check_values(&[11.0, 22.0, 31.0, 42.0, 13.0, 24.0, 33.0, 44.0]);
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(42);
    let rows = 65_535 * 64 / 6 + 7;
    let input = case.random("input", &[rows, 2], 1.0).matrix(rows, 2);
    let bias = Some(case.random("bias", &[6], 1.0));
    let output = case.output("output", &[rows, 6]).matrix(rows, 6);
    case.program.push(Repeat {
        input,
        bias,
        output,
    });
    case.check(SINGLE);
}

#[test]
fn columns_that_do_not_divide_are_refused() {
    let refused = |input: (usize, usize), bias: usize, output: (usize, usize)| {
        let mut program = Program::new();
        let op = Repeat {
            input: program
                .tensor("input", &[input.0, input.1])
                .matrix(input.0, input.1),
            bias: Some(program.tensor("bias", &[bias])),
            output: program
                .tensor("output", &[output.0, output.1])
                .matrix(output.0, output.1),
        };
        program.push(op);
        reason(program)
    };
    for (message, expected) in [
        (
            refused((2, 3), 7, (2, 7)),
            "(repeat): 7 columns are no repetition of 3",
        ),
        (
            refused((2, 3), 2, (2, 2)),
            "(repeat): 2 columns are no repetition of 3",
        ),
        (
            refused((2, 0), 6, (2, 6)),
            "(repeat): 6 columns are no repetition of 0",
        ),
        (
            refused((1, 3), 6, (2, 6)),
            "(repeat): input is [1, 3], not [2, 3]",
        ),
        (
            refused((2, 3), 3, (2, 6)),
            "(repeat): bias has 3 elements, not 6",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}
