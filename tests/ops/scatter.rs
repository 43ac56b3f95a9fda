use super::program::reason;
use crate::common::Case;
use bptt::program::{Program, Scatter};
use bptt::verify::SINGLE;

#[test]
fn rows_add_up_by_their_index() {
    for (count, rows, columns) in [
        (1, 1, 1),
        (3, 7, 5),
        (65, 3, 33),
        (257, 17, 1),
        (33, 1000, 7),
        (17, 2, 257),
    ] {
        for accumulate in [false, true] {
            let mut case = Case::new(51);
            let (_, input) = case.random_around("input", count, columns);
            // Some rows several times, some never; some past the last, which are left out.
            let index = |at: usize| match at % 7 {
                5 => rows as u32,
                6 => u32::MAX - at as u32,
                _ => (at * at % rows) as u32,
            };
            let indices = (0..count + 3).map(index).collect();
            let indices = case.wholes("indices", &[count + 3], indices).part(2, count);
            let (whole, output) = case.random_around("output", rows, columns);
            // What lies around it must stay.
            case.also_output(whole);
            case.program.push(Scatter {
                input,
                indices,
                output,
                accumulate,
            });
            case.check(SINGLE);
        }
    }
}

#[test]
fn by_hand() {
    for (accumulate, expected) in [
        (false, [6.0, 8.0, 0.0, 0.0, 3.0, 4.0]),
        (true, [7.0, 9.0, 1.0, 1.0, 4.0, 5.0]),
    ] {
        let mut case = Case::new(0);
        let input = case.given(
            "input",
            &[4, 2],
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        );
        let indices = case.wholes("indices", &[4], vec![0, 2, 0, 3]);
        let output = case.given("output", &[3, 2], vec![1.0; 6]);
        case.also_output(output);
        case.program.push(Scatter {
            input: input.matrix(4, 2),
            indices,
            output: output.matrix(3, 2),
            accumulate,
        });
        case.check_values(&expected);
    }
}

#[test]
fn what_is_replaced_may_hold_anything() {
    let mut case = Case::new(44);
    let input = case.random("input", &[5, 3], 1.0).matrix(5, 3);
    let indices = case.wholes("indices", &[5], vec![1, 1, 0, 3, 1]);
    // Poisoned as every output is.
    let output = case.output("output", &[4, 3]).matrix(4, 3);
    case.program.push(Scatter {
        input,
        indices,
        output,
        accumulate: false,
    });
    case.check(SINGLE);
}

/// More indices than an invocation looks at, in one dispatch.
#[test]
fn many_indices() {
    for accumulate in [false, true] {
        let mut case = Case::new(45);
        let count = 2 * 32_768 + 5;
        let input = case.random("input", &[count, 2], 1.0).matrix(count, 2);
        let indices = (0..count).map(|at| (at % 5) as u32).collect();
        let indices = case.wholes("indices", &[count], indices);
        let whole = case.random("output", &[4, 2], 1.0);
        case.also_output(whole);
        case.program.push(Scatter {
            input,
            indices,
            output: whole.matrix(4, 2),
            accumulate,
        });
        case.check(SINGLE);
    }
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let mut case = Case::new(52);
    let rows = 65_535 * 64 / 2 + 7;
    let input = case.random("input", &[3, 2], 1.0).matrix(3, 2);
    let indices = case.wholes("indices", &[3], vec![0, rows as u32 - 1, 0]);
    let output = case.output("output", &[rows, 2]).matrix(rows, 2);
    case.program.push(Scatter {
        input,
        indices,
        output,
        accumulate: false,
    });
    case.check(SINGLE);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    for (input, indices, expected) in [
        ((3, 2), 2, "indices has 2 elements, not 3"),
        ((3, 4), 3, "input is [3, 4], not [3, 2]"),
    ] {
        let mut program = Program::new();
        let input = program
            .tensor("input", &[input.0, input.1])
            .matrix(input.0, input.1);
        let indices = program.tensor("indices", &[indices]);
        let output = program.tensor("output", &[6, 2]).matrix(6, 2);
        program.push(Scatter {
            input,
            indices,
            output,
            accumulate: false,
        });
        let message = reason(program);
        assert!(message.contains("(scatter)"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
