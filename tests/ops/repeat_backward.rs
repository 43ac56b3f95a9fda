use super::program::reason;
use super::repeat::SIZES;
use crate::common::Case;
use bptt::program::{Program, RepeatBackward};
use bptt::verify::SINGLE;

#[test]
fn sums_alone_and_added() {
    for (rows, width, times) in SIZES {
        for accumulate in [false, true] {
            let mut case = Case::new(43);
            let (_, d_output) = case.random_around("d_output", rows, times * width);
            let (whole, d_input) = case.random_around("d_input", rows, width);
            // What lies around it must stay.
            case.also_output(whole);
            case.program.push(RepeatBackward {
                d_output,
                d_input,
                accumulate,
            });
            case.check(SINGLE);
        }
    }
}

#[test]
fn by_hand() {
    for (accumulate, expected) in [
        (false, [101.0, 202.0, 303.0, 404.0]),
        (true, [102.0, 203.0, 304.0, 405.0]),
    ] {
        let mut case = Case::new(0);
        let d_output = vec![1.0, 2.0, 100.0, 200.0, 3.0, 4.0, 300.0, 400.0];
        let d_output = case.given("d_output", &[2, 4], d_output);
        let d_input = case.given("d_input", &[2, 2], vec![1.0; 4]);
        case.also_output(d_input);
        case.program.push(RepeatBackward {
            d_output: d_output.matrix(2, 4),
            d_input: d_input.matrix(2, 2),
            accumulate,
        });
        case.check_values(&expected);
    }
}

#[test]
fn what_is_replaced_may_hold_anything() {
    let mut case = Case::new(44);
    let d_output = case.random("d_output", &[3, 8], 1.0).matrix(3, 8);
    // Poisoned as every output is.
    let d_input = case.output("d_input", &[3, 2]).matrix(3, 2);
    case.program.push(RepeatBackward {
        d_output,
        d_input,
        accumulate: false,
    });
    case.check(SINGLE);
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(45);
    let rows = 65_535 * 64 / 2 + 7;
    let d_output = case.random("d_output", &[rows, 4], 1.0).matrix(rows, 4);
    let d_input = case.output("d_input", &[rows, 2]).matrix(rows, 2);
    case.program.push(RepeatBackward {
        d_output,
        d_input,
        accumulate: false,
    });
    case.check(SINGLE);
}

#[test]
fn columns_that_do_not_divide_are_refused() {
    for (d_output, d_input, expected) in [
        ((2, 7), (2, 3), "7 columns are no repetition of 3"),
        ((2, 6), (2, 0), "6 columns are no repetition of 0"),
        ((1, 6), (2, 3), "d_output is [1, 6], not [2, 6]"),
    ] {
        let mut program = Program::new();
        let mut matrix = |name: &str, (rows, columns): (usize, usize)| {
            let slice = program.tensor(name, &[rows, columns]);
            slice.matrix(rows, columns)
        };
        let op = RepeatBackward {
            d_output: matrix("d_output", d_output),
            d_input: matrix("d_input", d_input),
            accumulate: true,
        };
        program.push(op);
        let message = reason(program);
        assert!(message.contains("(repeat_backward)"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
