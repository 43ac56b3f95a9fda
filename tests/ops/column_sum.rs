use crate::common::Case;
use bptt::program::ColumnSum;
use bptt::verify::SINGLE;

fn check(rows: usize, columns: usize, accumulate: bool, copies: usize) {
    let mut case = Case::new(1);
    let input = case
        .random("input", &[rows, columns + 2], 1.0)
        .matrix(rows, columns + 2)
        .columns(1, columns);
    let outputs = case.random("output", &[copies, columns + 2], 1.0);
    case.also_output(outputs);
    let output = outputs.matrix(copies, columns + 2).columns(1, columns);
    case.program.push(ColumnSum {
        input,
        output,
        accumulate,
    });
    case.check(SINGLE);
}

#[test]
fn sums() {
    for (rows, columns) in [
        (0, 3),
        (1, 1),
        (3, 7),
        (17, 33),
        (129, 65),
        (257, 257),
        (20_000, 3),
    ] {
        check(rows, columns, false, 1);
        check(rows, columns, false, 2);
        check(rows, columns, true, 3);
    }
}

#[test]
fn sums_of_sums_of_sums() {
    check(128 * 128 + 1, 2, false, 2);
}
