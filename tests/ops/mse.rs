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
                loss_weight: 3.5,
                loss,
                gradient,
            });
            case.check(SINGLE);
        }
    }
}
