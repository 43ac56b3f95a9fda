use super::{counted, steps_before, with_rest};
use crate::expr::{Body, Tape};

/// What an expression of some numbers gives again and again.
fn repeated<const N: usize>(
    body: &Body,
    mut state: [f32; N],
    number: f32,
    times: usize,
) -> [f32; N] {
    for _ in 0..times {
        let mut new = state;
        body.evaluate(
            number,
            |index| state.get(index).copied().unwrap_or(number),
            |index, value| new[index] = value,
        );
        state = new;
    }
    state
}

#[test]
fn a_sum_over_steps_is_right_after_a_hundred_million_of_them() {
    let tape = Tape::new();
    let [sum, rest, number] = [0, 1, 2].map(|index| tape.operand(index));
    let body = tape.finish(&with_rest([sum, rest], number), &[]);
    for number in [0.1_f32, 1.0 / 3.0, 0.7, 1.0, 1e-3, -2.3] {
        let check = |state: [f32; 2], before: f64, times: usize| {
            let [sum, rest] = repeated(&body, state, number, times).map(f64::from);
            let expected = before + f64::from(number) * times as f64;
            let error = ((sum + rest) / expected - 1.0).abs();
            assert!(error < 1e-7, "{times} times {number}: {error:e}");
        };
        check([0.0; 2], 0.0, 3_000_000);
        // The state after ninety-nine million steps.
        let far = 99e6 * f64::from(number);
        let sum = far as f32;
        let rest = (far - f64::from(sum)) as f32;
        check([sum, rest], far, 1_000_000);
    }
}

#[test]
fn the_first_step_that_is_not_finite_stays_known() {
    let tape = Tape::new();
    let body = tape.finish(&[counted(tape.operand(0), tape.operand(1).finite())], &[]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for before in [0, 1, 17] {
            let good = repeated(&body, [0.0], 1.0, before);
            assert_eq!(steps_before(f64::from(good[0])), None);
            let seen = repeated(&body, repeated(&body, good, bad, 1), 1.0, 5);
            assert_eq!(steps_before(f64::from(seen[0])), Some(before as u64));
        }
    }
}
