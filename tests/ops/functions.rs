//! Every function of an expression.

use super::whole;
use crate::common::{Case, devices, every_device};
use bptt::expr::Lanes;
use bptt::program::{Map, Operand, View};

/// A NaN stays wherever it is computed with, and does not reach what it was not chosen for.
#[test]
fn nan_stays_nan() {
    type Unary = for<'t> fn(bptt::expr::Expr<'t>) -> bptt::expr::Expr<'t>;
    let functions: [(&str, Unary); 14] = [
        ("neg", |x| -x),
        ("abs", |x| x.abs()),
        ("sqrt", |x| x.sqrt()),
        ("exp", |x| x.exp()),
        ("exp_m1", |x| x.exp_m1()),
        ("ln", |x| x.ln()),
        ("softplus", |x| x.softplus()),
        ("sigmoid", |x| x.sigmoid()),
        ("tanh", |x| x.tanh()),
        ("erf", |x| x.erf()),
        ("max", |x| x.max(x.constant(0.25))),
        ("min", |x| x.min(x.constant(0.25))),
        ("relu", |x| x.where_positive(x, x.zero())),
        ("product", |x| x * 0.25),
    ];
    for (name, function) in functions {
        for len in [1, 3, 17] {
            let mut case = Case::new(3);
            let x = case.given(
                "x",
                &[len],
                (0..len).map(|index| 0.3 + index as f32 / 7.0).collect(),
            );
            case.poison(x, len / 2);
            let to = case.output("to", &[len]);
            let operands = vec![whole(x, &[len])];
            case.program.push(Map::new(
                "function",
                &[len],
                operands,
                vec![View::whole(to, &[len])],
                |tape| vec![function(tape.operand(0))],
            ));
            for device in every_device() {
                let got = case.run(&device).remove(0).1;
                for (index, value) in got.iter().enumerate() {
                    assert_eq!(
                        value.is_nan(),
                        index == len / 2,
                        "{name} of {len} on {device}: {got}"
                    );
                }
            }
        }
    }
    // Not chosen, not there: as what lies past a sequence's end, or has a weight of 0.
    let mut case = Case::new(3);
    let x = case.given("x", &[4], vec![f32::NAN, 2.0, f32::NAN, 4.0]);
    let counts = case.wholes("counts", &[4], vec![0, 1, 0, 7]);
    let to = case.output("to", &[4]);
    let operands = vec![whole(x, &[4]), Operand::Whole(View::new(counts, [1]))];
    case.program.push(Map::new(
        "counts",
        &[4],
        operands,
        vec![View::whole(to, &[4])],
        |tape| {
            let count = tape.whole_operand(1);
            vec![count.equal(
                count.constant(0),
                tape.constant(0.0),
                tape.operand(0) * count.to_float(),
            )]
        },
    ));
    case.check_values(&[0.0, 2.0, 0.0, 28.0]);
}

/// Every function over its range on every device, and at the ends of the numbers.
#[test]
fn functions_over_their_range() {
    type Unary = for<'t> fn(bptt::expr::Expr<'t>) -> bptt::expr::Expr<'t>;
    let (infinity, most) = (f32::INFINITY, f32::MAX);
    /// A name, the function, the range it is drawn from, and what it gives at some places.
    type Over<'a> = (&'a str, Unary, [f32; 2], &'a [(f32, f32)]);
    let functions: [Over; 10] = [
        (
            "abs",
            |x| x.abs(),
            [-1e3, 1e3],
            &[(-infinity, infinity), (-most, most)],
        ),
        (
            "sqrt",
            |x| x.sqrt(),
            [0.0, 1e3],
            &[(infinity, infinity), (0.0, 0.0)],
        ),
        (
            "exp",
            |x| x.exp(),
            [-80.0, 80.0],
            &[(-infinity, 0.0), (-200.0, 0.0)],
        ),
        (
            "exp_m1",
            |x| x.exp_m1(),
            [-20.0, 80.0],
            &[(-infinity, -1.0), (1e-20, 1e-20), (-200.0, -1.0)],
        ),
        ("ln", |x| x.ln(), [1e-30, 1e30], &[(1.0, 0.0)]),
        (
            "softplus",
            |x| x.softplus(),
            [-80.0, 1e3],
            &[(infinity, infinity), (-infinity, 0.0), (1e30, 1e30)],
        ),
        (
            "sigmoid",
            |x| x.sigmoid(),
            [-80.0, 80.0],
            &[(infinity, 1.0), (-infinity, 0.0), (-1e30, 0.0)],
        ),
        (
            "tanh",
            |x| x.tanh(),
            [-9.0, 9.0],
            &[
                (infinity, 1.0),
                (-infinity, -1.0),
                (1e-20, 1e-20),
                (1e30, 1.0),
            ],
        ),
        (
            "erf",
            |x| x.erf(),
            [-4.0, 4.0],
            &[
                (infinity, 1.0),
                (-infinity, -1.0),
                (1e-20, 1.128_379_2e-20),
                (50.0, 1.0),
            ],
        ),
        ("neg", |x| -x, [-1e3, 1e3], &[(-infinity, infinity)]),
    ];
    for (name, function, [from, to], extremes) in functions {
        let map = |values: Vec<f32>| {
            let len = values.len();
            let mut case = Case::new(3);
            let x = case.given("x", &[len], values);
            let y = case.output(name, &[len]);
            case.program.push(Map::new(
                "function",
                &[len],
                vec![whole(x, &[len])],
                vec![View::whole(y, &[len])],
                |tape| vec![function(tape.operand(0))],
            ));
            case
        };
        // Each alone, as a tolerance relative to the root mean square of all would hide small ones.
        let count = 1001;
        let x = |index: usize| from + (to - from) * index as f32 / (count - 1) as f32;
        let mut values: Vec<f32> = (0..count).map(x).collect();
        values.extend(
            (1..30)
                .flat_map(|power| [0.1_f32.powi(power), -(0.1_f32.powi(power))])
                .filter(|x| *x >= from),
        );
        let case = map(values.clone());
        let expected = case.run(&bptt::Device::cpu_f64()).remove(0).1;
        for device in devices() {
            let got = case.run(&device).remove(0).1;
            for ((got, expected), x) in got.iter().zip(&expected).zip(&values) {
                let near = (got - expected).abs() <= 2e-6 * expected.abs() + 1e-37;
                // exp's error grows with its argument on a GPU, by WGSL's rule.
                let wide = ["exp", "exp_m1", "softplus", "sigmoid"].contains(&name);
                let near = near || wide && (got - expected).abs() <= 2e-5 * expected.abs();
                assert!(
                    near || expected.abs() < 1e-34,
                    "{name} of {x} on {device}: {got:e}, expected {expected:e}"
                );
            }
        }
        let case = map(extremes.iter().map(|(x, _)| *x).collect());
        for device in every_device() {
            let got = case.run(&device).remove(0).1;
            for (got, (x, expected)) in got.iter().zip(extremes) {
                let (got, expected) = (*got as f32, *expected);
                let near =
                    got == expected || (got - expected).abs() <= 1e-6 * expected.abs() + 1e-37;
                assert!(
                    near,
                    "{name} of {x:e} on {device}: {got:e}, expected {expected:e}"
                );
            }
        }
    }
}
