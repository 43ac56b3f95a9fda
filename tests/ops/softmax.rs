use crate::common::{Case, gpu};
use bptt::program::Softmax;
use bptt::verify::SINGLE;
use bptt::{Error, Executable};

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

#[test]
fn a_row_as_long_as_a_workgroup_takes() {
    let mut case = Case::new(3);
    let columns = 1 << 20;
    let input = case.random("input", &[columns], 3.0).matrix(1, columns);
    let output = case.output("output", &[columns]).matrix(1, columns);
    case.program.push(Softmax { input, output });
    // The CPU adds a million numbers one after another.
    case.check(1e-3);
}

#[test]
fn a_row_too_long_for_a_workgroup_is_refused() {
    let Some(device) = gpu() else { return };
    let mut case = Case::new(3);
    let columns = (1 << 20) + 1;
    let input = case.program.tensor("input", &[columns]).matrix(1, columns);
    let output = case.program.tensor("output", &[columns]).matrix(1, columns);
    case.program.push(Softmax { input, output });
    let error = Executable::new(&device, case.program, &[]).unwrap_err();
    assert!(
        matches!(error, Error::Limit { needed, available, .. } if needed == available + 1),
        "{error}"
    );
}
