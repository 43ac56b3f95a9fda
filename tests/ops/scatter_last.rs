use super::program::reason;
use crate::common::Case;
use bptt::program::{Program, ScatterLast};
use bptt::verify::SINGLE;

#[test]
fn only_the_last_row_of_each_sequence() {
    for (steps, batch, columns) in [
        (1, 1, 1),
        (1, 3, 7),
        (4, 1, 17),
        (7, 3, 1),
        (3, 17, 65),
        (33, 65, 3),
        (5, 2, 257),
    ] {
        let mut case = Case::new(51);
        let (_, d_output) = case.random_around("d_output", batch, columns);
        // Of every kind: 0, T and between, among other numbers.
        let length = |row: usize| ((3 * row + 1) % (steps + 1)) as f32;
        let lengths: Vec<f32> = (0..batch).map(length).collect();
        let lengths = [&[9.0, 9.0], &lengths[..], &[9.0]].concat();
        let lengths = case.given("lengths", &[batch + 3], lengths).part(2, batch);
        let (whole, d_input) = case.random_around("d_input", steps * batch, columns);
        // What lies around it must stay.
        case.also_output(whole);
        case.program.push(ScatterLast {
            d_output,
            lengths,
            d_input,
        });
        case.check(SINGLE);
    }
}

#[test]
fn by_hand() {
    let mut case = Case::new(0);
    let d_output = case.given("d_output", &[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let lengths = case.given("lengths", &[3], vec![2.0, 0.0, 1.0]);
    let d_input = case.output("d_input", &[2, 3, 2]);
    case.program.push(ScatterLast {
        d_output: d_output.matrix(3, 2),
        lengths,
        d_input: d_input.matrix(6, 2),
    });
    case.check_values(&[0.0, 0.0, 0.0, 0.0, 5.0, 6.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let (steps, batch) = (3, 65_535 * 64 / 3 + 7);
    let mut case = Case::new(52);
    let d_output = case.random("d_output", &[batch, 1], 1.0).matrix(batch, 1);
    let lengths = (0..batch).map(|row| (row % 4) as f32).collect();
    let lengths = case.given("lengths", &[batch], lengths);
    let d_input = case.output("d_input", &[steps * batch, 1]);
    case.program.push(ScatterLast {
        d_output,
        lengths,
        d_input: d_input.matrix(steps * batch, 1),
    });
    case.check(SINGLE);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    for (d_output, lengths, d_input, expected) in [
        ((3, 2), 2, (6, 2), "lengths has 2 elements, not 3"),
        ((3, 4), 3, (6, 2), "d_output is [3, 4], not [3, 2]"),
        ((3, 2), 3, (7, 2), "d_input is [7, 2], not [6, 2]"),
    ] {
        let mut program = Program::new();
        let mut matrix = |name: &str, (rows, columns): (usize, usize)| {
            let slice = program.tensor(name, &[rows, columns]);
            slice.matrix(rows, columns)
        };
        let (d_output, d_input) = (matrix("d_output", d_output), matrix("d_input", d_input));
        let lengths = program.tensor("lengths", &[lengths]);
        program.push(ScatterLast {
            d_output,
            lengths,
            d_input,
        });
        let message = reason(program);
        assert!(message.contains("(scatter_last)"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
