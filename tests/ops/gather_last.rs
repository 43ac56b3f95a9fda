use crate::common::Case;
use bptt::program::GatherLast;
use bptt::verify::SINGLE;

#[test]
fn the_last_row_of_each_sequence() {
    // With steps before and behind those of the input.
    for (steps, batch, columns, first) in
        [(1, 1, 1, 0), (4, 3, 7, 0), (3, 17, 65, 0), (3, 17, 65, 2)]
    {
        let mut case = Case::new(15);
        let rows = steps * batch;
        let input = case
            .random("input", &[rows, columns + 1], 1.0)
            .matrix(rows, columns + 1);
        let length = |row: usize| ((3 * row + 1) % (steps + 2 * first + 1)) as f32;
        let lengths = case.given("lengths", &[batch], (0..batch).map(length).collect());
        let output = case
            .output("output", &[batch, columns])
            .matrix(batch, columns);
        case.program.push(GatherLast {
            input: input.columns(1, columns),
            lengths,
            first,
            output,
        });
        case.check(SINGLE);
    }
}
