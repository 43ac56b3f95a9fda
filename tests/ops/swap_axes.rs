use super::program::reason;
use crate::common::{Case, every_device};
use bptt::program::{Program, SwapAxes};
use bptt::verify::SINGLE;

#[test]
fn every_size() {
    for (a, b, n) in [
        (1, 1, 1),
        (3, 7, 1),
        (7, 3, 17),
        (1, 65, 3),
        (65, 1, 3),
        (17, 33, 7),
        (257, 3, 33),
        (33, 65, 5),
    ] {
        let mut case = Case::new(61);
        let len = a * b * n;
        let input = case.random("input", &[len + 6], 1.0).part(5, len);
        let whole = case.random("output", &[len + 4], 1.0);
        // What lies around the output must stay.
        case.also_output(whole);
        case.program.push(SwapAxes {
            input,
            output: whole.part(3, len),
            shape: [a, b, n],
        });
        case.check(SINGLE);
    }
}

#[test]
fn by_hand() {
    let mut case = Case::new(0);
    let values = (0..12).map(|value| value as f32).collect();
    let input = case.given("input", &[2, 3, 2], values);
    let output = case.output("output", &[3, 2, 2]);
    case.program.push(SwapAxes {
        input,
        output,
        shape: [2, 3, 2],
    });
    case.check_values(&[0., 1., 6., 7., 2., 3., 8., 9., 4., 5., 10., 11.]);
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds_there_and_back() {
    let (a, b) = (3, 65_535 * 64 / 3 + 7);
    let mut case = Case::new(62);
    let input = case.random("input", &[a, b, 1], 1.0);
    let swapped = case.output("swapped", &[b, a, 1]);
    let back = case.output("back", &[a, b, 1]);
    case.also_output(input);
    for (input, output, shape) in [(input, swapped, [a, b, 1]), (swapped, back, [b, a, 1])] {
        case.program.push(SwapAxes {
            input,
            output,
            shape,
        });
    }
    let expected = case.run(&bptt::Device::cpu_f64());
    for device in every_device() {
        let got = case.run(&device);
        assert!(got[0].1 == expected[0].1, "swapped on {device}");
        assert!(got[1].1 == got[2].1, "there and back on {device}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for (input, output, expected) in [
        (11, 12, "(swap_axes): input has 11 elements, not 12"),
        (12, 13, "(swap_axes): output has 13 elements, not 12"),
    ] {
        let mut program = Program::new();
        let input = program.tensor("input", &[input]);
        let output = program.tensor("output", &[output]);
        program.push(SwapAxes {
            input,
            output,
            shape: [2, 3, 2],
        });
        let message = reason(program);
        assert!(message.contains(expected), "{message}");
    }
}
