use crate::common::{Case, devices};
use bptt::program::SoftmaxCrossEntropy;
use bptt::verify::SINGLE;

fn case(rows: usize, columns: usize, gradient: bool, class: impl Fn(usize) -> f32) -> Case {
    weighted_case(rows, columns, gradient, class, false)
}

fn weighted_case(
    rows: usize,
    columns: usize,
    gradient: bool,
    class: impl Fn(usize) -> f32,
    weighted: bool,
) -> Case {
    let mut case = Case::new(5);
    let logits = case
        .random("logits", &[rows, columns], 20.0)
        .matrix(rows, columns);
    let classes = case.given("classes", &[rows], (0..rows).map(class).collect());
    let weights = (0..rows).map(|row| (row % 3) as f32 / 8.0).collect();
    let row_weights = weighted.then(|| case.given("weights", &[rows], weights));
    let loss = case.given("loss", &[1], vec![1.0]);
    case.also_output(loss);
    let gradient = gradient.then(|| {
        case.output("gradient", &[rows, columns])
            .matrix(rows, columns)
    });
    case.program.push(SoftmaxCrossEntropy {
        logits,
        classes,
        row_weights,
        loss_weight: 2.5,
        loss,
        gradient,
    });
    case
}

#[test]
fn loss_and_gradient() {
    for (rows, columns) in [(1, 1), (3, 7), (17, 65), (33, 257), (300, 3)] {
        for gradient in [true, false] {
            case(rows, columns, gradient, |row| ((row * 5) % columns) as f32).check(SINGLE);
        }
    }
}

#[test]
fn rows_of_different_weight() {
    for (rows, columns) in [(1, 1), (3, 7), (17, 65), (300, 3)] {
        // The rows that do not count, every third from the first, have a class outside.
        let class = |row: usize| {
            if row.is_multiple_of(3) {
                -1.0
            } else {
                ((row * 5) % columns) as f32
            }
        };
        weighted_case(rows, columns, true, class, true).check(SINGLE);
    }
}

#[test]
fn a_class_outside_gives_nan() {
    for device in devices() {
        for class in [3.0, -1.0, -0.5, f32::NAN] {
            let outputs = case(2, 3, true, |row| if row == 0 { class } else { 1.0 }).run(&device);
            let (loss, gradient) = (&outputs[0].1, &outputs[1].1);
            assert!(loss[[0]].is_nan(), "class {class} of 3 on {device}: {loss}");
            let row = |row: usize| gradient.index_axis(ndarray::Axis(0), row);
            assert!(
                row(0).iter().all(|d| d.is_nan()),
                "class {class} on {device}: {gradient}"
            );
            assert!(
                row(1).iter().all(|d| d.is_finite()),
                "class {class} on {device}: {gradient}"
            );
        }
    }
}
