//! Cases as lists of decisions, which shrink to shorter lists of smaller numbers, and the judgement of what they give.

use bptt::verify::compare;
use ndarray::ArrayD;
use proptest::prelude::*;
use proptest::test_runner::{
    Config, RngSeed, TestCaseError, TestCaseResult, TestError, TestRunner, contextualize_config,
};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Decisions drawn in advance: each takes the next number; past the end all are 0, the simplest.
#[derive(Clone)]
pub struct Choices<'a>(std::slice::Iter<'a, u32>);

impl<'a> Choices<'a> {
    pub fn new(numbers: &'a [u32]) -> Self {
        Self(numbers.iter())
    }

    /// 0 to below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0
            .next()
            .map_or(0, |number| *number as usize % count.max(1))
    }

    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }
}

/// How far, relative to themselves, values are moved: many times as far as f32 rounds, so that no kink is as near.
pub const STEP: f32 = 1e-5;

/// f32 against f64: of a few dozen operations and sums of a few thousand elements.
const SINGLE: f64 = 1e-4;

/// How many times as far the results of a fit case move, at most.
const CONDITION: f64 = 30.0;

/// Of differences beside gradients, relative to their sum and to the root of the sum of the squares of all terms. The difference's own error
/// is about the square of the step, 1e-10, where the third derivative is as large as the first; a term that is lost, or counted twice, is
/// some hundredths of the root.
const DIFFERENCES: f64 = 1e-5;

/// What values of about 1 are rounded by on their way.
const ROUNDING: f64 = 1e-15;

/// Results by name.
pub type Results = Vec<(String, ArrayD<f64>)>;

pub fn failed(reason: impl ToString) -> TestCaseError {
    TestCaseError::fail(reason.to_string())
}

/// What the values that cases compute with are at least about: where all of a result is 0 in f64, as a softmax's gradient where all is
/// shifted alike, the rounding of those is left in f32.
const FLOOR: f64 = 0.02;

/// As `bptt::verify::compare`, but for [`FLOOR`].
fn compare_all(got: &Results, expected: &Results, tolerance: f64) -> Result<(), String> {
    assert_eq!(got.len(), expected.len());
    for ((name, got), (_, expected)) in got.iter().zip(expected) {
        let tiny = |values: &ArrayD<f64>| values.iter().all(|value| value.abs() <= FLOOR);
        if got.shape() == expected.shape() && tiny(expected) && tiny(got) {
            let off = got
                .iter()
                .zip(expected)
                .map(|(got, expected)| (got - expected).abs());
            if off.fold(0.0, f64::max) <= tolerance * FLOOR {
                continue;
            }
        }
        compare(name, got, expected, tolerance).map_err(|mismatch| mismatch.to_string())?;
    }
    Ok(())
}

/// f32 results against those in f64. A NaN never passes.
pub fn check_single(on: impl ToString, got: &Results, expected: &Results) -> TestCaseResult {
    let on = on.to_string();
    compare_all(got, expected, SINGLE).map_err(|reason| failed(format!("on {on}: {reason}")))
}

/// Whether devices can agree on a case: what is smooth changes by opposite amounts when everything moves forward and back, so the mean of
/// both stays; of a jump, at a kink that is too near, half is left. Only the CPU path in f64 is looked at.
pub fn check_fit(results: &Results, [plus, minus]: [&Results; 2]) -> TestCaseResult {
    for (name, values) in results {
        if !values.iter().all(|value| value.is_finite()) {
            return Err(failed(format!("{name} is not finite: {values}")));
        }
    }
    let mean = plus
        .iter()
        .zip(minus)
        .map(|((name, plus), (_, minus))| (name.clone(), (plus + minus) / 2.0));
    let mean: Results = mean.collect();
    let reject = |reason: String| TestCaseError::reject(reason);
    compare_all(&mean, results, SINGLE / 4.0).map_err(reject)?;
    // Where a sum's terms happen to cancel, f32 may miss the tolerance.
    compare_all(plus, results, CONDITION * f64::from(STEP)).map_err(reject)
}

/// What gradients say of a move beside what the outputs did. `terms`: gradient · move of each element; `changes`: seed · value after and before.
pub fn check_differences(
    terms: impl IntoIterator<Item = f64>,
    changes: impl IntoIterator<Item = [f64; 2]>,
) -> TestCaseResult {
    let (mut by_gradients, mut squares) = (0.0, 0.0);
    for term in terms {
        by_gradients += term;
        squares += term * term;
    }
    let (mut by_difference, mut rounding) = (0.0, ROUNDING);
    for [plus, minus] in changes {
        by_difference += plus - minus;
        rounding += 1e-14 * plus.abs();
    }
    let off: f64 = by_gradients - by_difference;
    match off.abs() <= DIFFERENCES * (f64::sqrt(squares) + by_gradients.abs()) + rounding {
        true => Ok(()),
        false => Err(failed(format!(
            "the gradients say {by_gradients:e}, the outputs change by {by_difference:e} (terms {:e})",
            f64::sqrt(squares)
        ))),
    }
}

/// Runs cases of up to `len` decisions. `check` counts what it has compared; each of `required` must be among that.
pub fn run(
    cases: u32,
    len: usize,
    required: &[&str],
    check: impl Fn(&[u32], &mut BTreeMap<String, usize>) -> TestCaseResult,
) {
    let config = contextualize_config(Config {
        cases,
        max_shrink_iters: 2000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    });
    let all = config.cases >= cases;
    let max_global_rejects = config.cases / 10 + 5;
    let mut runner = TestRunner::new(Config {
        max_global_rejects,
        ..config
    });
    let seen = RefCell::new(BTreeMap::new());
    let outcome = runner.run(
        &proptest::collection::vec(any::<u32>(), 0..=len),
        |numbers| {
            let mut own = BTreeMap::new();
            let result = check(&numbers, &mut own);
            if result.is_ok() {
                for (feature, count) in own {
                    *seen.borrow_mut().entry(feature).or_insert(0) += count;
                }
            }
            result
        },
    );
    match outcome {
        Ok(()) => {
            let seen = seen.borrow();
            eprintln!("compared: {seen:?}");
            let missing: Vec<_> = required
                .iter()
                .filter(|feature| !seen.contains_key(**feature))
                .collect();
            assert!(!all || missing.is_empty(), "never compared: {missing:?}");
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, numbers)) => panic!("{reason}\n{numbers:?}"),
    }
}
