use super::program::reason;
use crate::common::Case;
use bptt::program::Multiply;
use bptt::verify::SINGLE;

#[test]
fn factors_of_fewer_rows_are_used_again() {
    // M, N and K: one row, all rows, a number that does not divide, more than there are.
    for (rows, columns, factor_rows) in [
        (1, 1, 1),
        (3, 7, 1),
        (7, 3, 7),
        (17, 33, 5),
        (65, 257, 3),
        (33, 1, 65),
        (257, 17, 256),
    ] {
        let mut case = Case::new(31);
        let (_, input) = case.random_around("input", rows, columns);
        let (_, factor) = case.random_around("factor", factor_rows, columns);
        let (whole, output) = case.random_around("output", rows, columns);
        // What lies around the output must stay.
        case.also_output(whole);
        case.program.push(Multiply {
            input,
            factor,
            output,
        });
        case.check(SINGLE);
    }
}

#[test]
fn by_hand() {
    let mut case = Case::new(0);
    let input = case.given("input", &[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let factor = case.given("factor", &[2, 2], vec![10.0, 0.5, -1.0, 0.0]);
    let output = case.output("output", &[3, 2]);
    case.program.push(Multiply {
        input: input.matrix(3, 2),
        factor: factor.matrix(2, 2),
        output: output.matrix(3, 2),
    });
    case.check_values(&[10.0, 1.0, -3.0, 0.0, 50.0, 3.0]);
}

#[test]
fn both_factors_of_one_tensor() {
    let mut case = Case::new(32);
    let both = case.random("both", &[6, 5], 1.0).matrix(6, 5);
    let output = case.output("output", &[4, 5]).matrix(4, 5);
    case.program.push(Multiply {
        input: both.rows(0, 4),
        factor: both.rows(4, 2),
        output,
    });
    case.check(SINGLE);
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(33);
    let rows = 65_535 * 64 / 3 + 7;
    let input = case.random("input", &[rows, 3], 1.0).matrix(rows, 3);
    let factor = case.random("factor", &[5, 3], 1.0).matrix(5, 3);
    let output = case.output("output", &[rows, 3]).matrix(rows, 3);
    case.program.push(Multiply {
        input,
        factor,
        output,
    });
    case.check(SINGLE);
}

#[test]
fn matrices_that_do_not_fit_are_refused() {
    for (input, factor, expected) in [
        ((2, 4), (2, 4), "input is [2, 4], not [3, 4]"),
        ((3, 4), (2, 5), "factor is [2, 5], not [2, 4]"),
        ((3, 4), (0, 4), "factor is [0, 4], not [1, 4]"),
    ] {
        let mut case = Case::new(34);
        let mut matrix = |name: &str, (rows, columns): (usize, usize)| {
            let slice = case.program.tensor(name, &[rows, columns]);
            slice.matrix(rows, columns)
        };
        let op = Multiply {
            input: matrix("input", input),
            factor: matrix("factor", factor),
            output: matrix("output", (3, 4)),
        };
        case.program.push(op);
        let message = reason(case.program);
        assert!(message.contains("(multiply)"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
