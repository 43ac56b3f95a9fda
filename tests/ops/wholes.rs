//! Whole numbers: lengths, indices, positions.

use super::strided;
use crate::common::Case;
use bptt::program::{Map, Operand, View};
use bptt::verify::SINGLE;

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
