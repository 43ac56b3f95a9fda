//! Sums of so many numbers that rounding would tell.

use super::body;
use crate::common::{Case, devices};
use bptt::expr::Fold;
use bptt::program::{Operand, Pointwise, Reduce, View};

/// Sums of millions, where each addition to one number would be rounded the same way.
#[test]
fn sums_of_sixteen_million_are_right_to_a_millionth() {
    for number in [0.1_f32, 1.0 / 3.0, 0.7] {
        for (shape, strides, folded) in [
            (vec![4096, 4099], vec![0, 0], 2),
            (vec![8, 1 << 21], vec![1, 0], 1),
            (vec![300, 1 << 16], vec![1, 0], 1),
            (vec![1024, 1000], vec![1, 0], 1),
        ] {
            let mut case = Case::new(0);
            let x = case.given("x", &[1024], vec![number; 1024]);
            let kept = &shape[..shape.len() - folded];
            let sums = case.output("sums", kept);
            case.program.push(Reduce::new(Pointwise {
                name: "sum".into(),
                shape: shape.clone(),
                folded,
                operands: vec![Operand::Float(View::new(x, strides))],
                body: body(|tape| (vec![], vec![tape.statistic(Fold::Sum, tape.operand(0))])),
                elements: vec![],
                results: vec![View::whole(sums, kept)],
            }));
            let count: usize = shape[kept.len()..].iter().product();
            let expected = f64::from(number) * count as f64;
            for device in devices() {
                for got in &case.run(&device).remove(0).1 {
                    let error = (got / expected - 1.0).abs();
                    assert!(
                        error < 1e-6,
                        "{count} times {number} on {device}: {error:e}"
                    );
                }
            }
        }
    }
}
