use crate::common::Case;
use bptt::program::Softmax;
use bptt::verify::SINGLE;

#[test]
fn rows_of_every_width() {
    for (rows, columns) in [(1, 1), (3, 7), (17, 65), (5, 257), (70_000, 2)] {
        let mut case = Case::new(3);
        let input = case
            .random("input", &[rows, columns], 30.0)
            .matrix(rows, columns);
        let output = case
            .output("output", &[rows, columns])
            .matrix(rows, columns);
        case.program.push(Softmax { input, output });
        case.check(SINGLE);
    }
}
