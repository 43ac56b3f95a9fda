use crate::common::Case;
use bptt::program::Sgd;
use bptt::verify::SINGLE;

#[test]
fn plain_momentum_and_nesterov_with_and_without_clipping() {
    for len in [1, 65, 257] {
        for (momentum, nesterov) in [(false, false), (true, false), (true, true)] {
            for clip in [false, true] {
                let mut case = Case::new(9);
                let parameter = case.random("parameter", &[len], 1.0);
                let gradient = case.random("gradient", &[len], 1.0);
                let momentum = momentum.then(|| case.random("momentum", &[len], 1.0));
                let scalars = case.given("scalars", &[3], vec![0.1, 0.9, 0.05]);
                let clip = clip.then(|| case.given("clip", &[2], vec![4.0, 0.25]));
                case.also_output(parameter);
                momentum
                    .into_iter()
                    .for_each(|momentum| case.also_output(momentum));
                case.program.push(Sgd {
                    parameter,
                    gradient,
                    momentum,
                    nesterov,
                    scalars,
                    clip,
                });
                case.check(SINGLE);
            }
        }
    }
}
