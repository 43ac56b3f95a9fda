use crate::common::Case;
use bptt::program::{Softmax, SoftmaxBackward};
use bptt::verify::SINGLE;

#[test]
fn gradient() {
    for (rows, columns) in [(1, 1), (3, 7), (17, 65), (5, 257)] {
        let mut case = Case::new(4);
        let input = case
            .random("input", &[rows, columns], 3.0)
            .matrix(rows, columns);
        let d_output = case
            .random("d_output", &[rows, columns], 1.0)
            .matrix(rows, columns);
        let output = case
            .output("output", &[rows, columns])
            .matrix(rows, columns);
        let d_input = case
            .output("d_input", &[rows, columns])
            .matrix(rows, columns);
        case.program.push(Softmax { input, output });
        case.program.push(SoftmaxBackward {
            output,
            d_output,
            d_input,
        });
        case.check(SINGLE);
    }
}
