//! The comparator itself: what it must reject.

use bptt::verify::compare;
use ndarray::{ArrayD, array};

const TOLERANCE: f64 = 1e-5;

fn expected() -> ArrayD<f64> {
    array![[1.0, -2.0, 3.0], [0.5, 0.0, -1.5]].into_dyn()
}

#[test]
fn equal_and_nearly_equal_arrays_pass() {
    assert_eq!(compare("a", &expected(), &expected(), TOLERANCE), Ok(0.0));
    let near = expected().mapv(|x| x * (1.0 + 1e-6));
    let worst = compare("a", &near, &expected(), TOLERANCE).unwrap();
    assert!(worst > 0.0 && worst < 1e-6);
}

#[test]
fn a_single_perturbed_element_is_rejected_wherever_it_is() {
    for index in 0..6 {
        let mut got = expected();
        got.as_slice_mut().unwrap()[index] += 2e-4;
        let mismatch = compare("a", &got, &expected(), TOLERANCE)
            .unwrap_err()
            .to_string();
        assert!(mismatch.contains("1 of 6 elements"), "{mismatch}");
        assert!(
            mismatch.contains(&format!("[{}, {}]", index / 3, index % 3)),
            "{mismatch}"
        );
    }
}

#[test]
fn nan_is_rejected_on_either_side() {
    let mut bad = expected();
    bad[[1, 1]] = f64::NAN;
    assert!(compare("a", &bad, &expected(), TOLERANCE).is_err());
    assert!(compare("a", &expected(), &bad, TOLERANCE).is_err());
    assert!(compare("a", &bad, &bad, TOLERANCE).is_err());
    let all = expected().mapv(|_| f64::NAN);
    assert!(compare("a", &all, &all, f64::INFINITY).is_err());
}

#[test]
fn a_transpose_and_a_wrong_shape_are_rejected() {
    let square = array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
    assert!(compare("a", &square.t().to_owned(), &square, TOLERANCE).is_err());
    let flat = expected().to_shape(6).unwrap().to_owned().into_dyn();
    let mismatch = compare("a", &flat, &expected(), TOLERANCE)
        .unwrap_err()
        .to_string();
    assert_eq!(mismatch, "a: shape [6], expected [2, 3]");
}

#[test]
fn infinities_must_be_met() {
    let infinite = array![f64::INFINITY, 1.0].into_dyn();
    assert!(compare("a", &infinite, &infinite, TOLERANCE).is_ok());
    assert!(compare("a", &array![1e30, 1.0].into_dyn(), &infinite, TOLERANCE).is_err());
    assert!(compare("a", &infinite, &array![1e30, 1.0].into_dyn(), TOLERANCE).is_err());
}

#[test]
fn zeros_where_numbers_were_expected_are_rejected() {
    let zeros = ArrayD::zeros(expected().shape());
    assert!(compare("a", &zeros, &expected(), TOLERANCE).is_err());
    assert!(compare("a", &expected(), &zeros, TOLERANCE).is_err());
}

#[test]
fn numbers_whose_squares_are_none_are_compared_too() {
    for scale in [1e300, 1e200, 1e-200, 1e-310] {
        let expected = expected() * scale;
        assert_eq!(compare("a", &expected, &expected, TOLERANCE), Ok(0.0));
        let off = &expected * 1.1;
        assert!(compare("a", &off, &expected, TOLERANCE).is_err(), "{scale}");
        assert!(compare("a", &off, &expected, 0.11).is_ok(), "{scale}");
    }
}

#[test]
fn a_tolerance_that_is_none_is_refused() {
    for tolerance in [f64::NAN, -1.0] {
        let mismatch = compare("a", &expected(), &expected(), tolerance);
        let text = mismatch.unwrap_err().to_string();
        let begins = format!("a: tolerance {tolerance}, expected a number");
        assert!(text.starts_with(&begins), "{text}");
    }
}
