use crate::common::Case;
use bptt::program::Mse;
use bptt::verify::SINGLE;

#[test]
fn loss_and_gradient() {
    for len in [1, 7, 65, 257, 70_001] {
        for gradient in [true, false] {
            let mut case = Case::new(2);
            let prediction = case.random("prediction", &[len], 2.0);
            let target = case.random("target", &[len], 2.0);
            // The loss is added to what is there.
            let loss = case.given("loss", &[1], vec![3.0]);
            case.also_output(loss);
            let gradient = gradient.then(|| case.output("gradient", &[len]));
            let scale = 1.0 / len as f64;
            case.program.push(Mse {
                prediction,
                target,
                scale,
                row_weights: None,
                loss_weight: 3.5,
                loss,
                gradient,
            });
            case.check(SINGLE);
        }
    }
}

#[test]
fn rows_of_different_weight() {
    for (rows, width) in [(1, 1), (7, 3), (257, 5), (70_001, 1)] {
        let mut case = Case::new(3);
        let len = rows * width;
        let prediction = case.random("prediction", &[len], 2.0);
        let target = case.random("target", &[len], 2.0);
        let weights = (0..rows).map(|row| (row % 4) as f32 / 4.0).collect();
        let row_weights = Some(case.given("weights", &[rows], weights));
        // A row that does not count may hold anything.
        case.poison(target, 0);
        let loss = case.given("loss", &[1], vec![3.0]);
        case.also_output(loss);
        let gradient = Some(case.output("gradient", &[len]));
        case.program.push(Mse {
            prediction,
            target,
            scale: 1.0 / len as f64,
            row_weights,
            loss_weight: 3.5,
            loss,
            gradient,
        });
        case.check(SINGLE);
    }
}
