use crate::common::{Case, devices};
use bptt::Device;
use bptt::program::ClipNorm;
use bptt::verify::SINGLE;

#[test]
fn norm_and_scale() {
    for len in [1, 17, 257, 100_003] {
        for max_norm in [0.01, 1e6] {
            let mut case = Case::new(6);
            let gradient = case.random("gradient", &[len], 1.0);
            let clip = case.output("clip", &[2]);
            case.program.push(ClipNorm {
                gradient,
                max_norm,
                clip,
            });
            // Norm and scale apart: beside a norm of 200 a scale of 0 would pass as nearly 5e-5.
            let expected = case.run(&Device::cpu_f64()).remove(0).1;
            for device in devices() {
                let got = case.run(&device).remove(0).1;
                for index in 0..2 {
                    let error = (got[[index]] / expected[[index]] - 1.0).abs();
                    assert!(
                        error < SINGLE,
                        "{index} of {len} on {device}: {got}, expected {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_nan_gradient_gives_a_nan_scale() {
    for device in devices() {
        let mut case = Case::new(6);
        let gradient = case.given("gradient", &[3], vec![1.0, f32::NAN, 2.0]);
        let clip = case.output("clip", &[2]);
        case.program.push(ClipNorm {
            gradient,
            max_norm: 1.0,
            clip,
        });
        assert!(
            case.run(&device)[0].1.iter().all(|value| value.is_nan()),
            "on {device}"
        );
    }
}
