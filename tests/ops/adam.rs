use crate::common::Case;
use bptt::program::Adam;
use bptt::verify::SINGLE;

#[test]
fn both_decays_with_and_without_clipping() {
    for len in [1, 65, 257] {
        for (decay, kept) in [(0.0, 1.0), (0.05, 1.0), (0.0, 0.99)] {
            for clip in [false, true] {
                let mut case = Case::new(10);
                let parameter = case.random("parameter", &[len], 1.0);
                let gradient = case.random("gradient", &[len], 1.0);
                let first_moment = case.random("first_moment", &[len], 1.0);
                let second_moment = case.given("second_moment", &[len], vec![0.3; len]);
                let scalars = vec![0.01, 0.9, 0.1, 0.999, 0.001, 1e-8, 0.1, decay, kept];
                let scalars = case.given("scalars", &[9], scalars);
                let clip = clip.then(|| case.given("clip", &[2], vec![4.0, 0.25]));
                [parameter, first_moment, second_moment]
                    .into_iter()
                    .for_each(|slice| case.also_output(slice));
                case.program.push(Adam {
                    parameter,
                    gradient,
                    first_moment,
                    second_moment,
                    scalars,
                    clip,
                });
                case.check(SINGLE);
            }
        }
    }
}
