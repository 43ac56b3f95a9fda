//! Windows, sequences and scaling.

use bptt::data::{Dataset, Sequences, Standardizer, Values, Windows, pad, unpad};
use ndarray::{Array2, Array3, ArrayD, arr1, arr3, array};

fn floats(values: &Values) -> &ArrayD<f32> {
    match values {
        Values::F32(values) => values,
        other => panic!("{other:?}"),
    }
}

fn series(rows: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, 2), |(row, column)| (10 * row + column) as f32)
}

#[test]
fn windows_are_time_major_and_end_before_their_target() {
    let windows = Windows::new(series(6), series(6) * 100.0, 3).unwrap();
    assert_eq!(windows.len(), 3);
    let batch = windows.batch(&[2, 0]);
    let x = arr3(&[
        [[20.0, 21.0], [0.0, 1.0]],
        [[30.0, 31.0], [10.0, 11.0]],
        [[40.0, 41.0], [20.0, 21.0]],
    ]);
    assert_eq!(floats(batch.x()), &x.into_dyn());
    assert_eq!(
        floats(&batch.target),
        &array![[5000.0, 5100.0], [3000.0, 3100.0]].into_dyn()
    );
    let batch = Windows::new(series(6), series(6), 3)
        .unwrap()
        .every_step()
        .batch(&[1]);
    let target = arr3(&[[[20.0, 21.0]], [[30.0, 31.0]], [[40.0, 41.0]]]);
    assert_eq!(floats(&batch.target), &target.into_dyn());
}

#[test]
fn sequences_are_taken_by_number() {
    let x = Array3::from_shape_fn((2, 3, 1), |(t, n, _)| (10 * t + n) as f32);
    let one = Sequences::many_to_one(x.clone(), Array2::from_shape_fn((3, 1), |(n, _)| n as f32))
        .unwrap();
    let batch = one.batch(&[2, 1]);
    assert_eq!(
        floats(batch.x()),
        &arr3(&[[[2.0], [1.0]], [[12.0], [11.0]]]).into_dyn()
    );
    assert_eq!(floats(&batch.target), &array![[2.0], [1.0]].into_dyn());
    let many = Sequences::many_to_many(x.clone(), x.clone()).unwrap();
    assert_eq!(
        floats(&many.batch(&[0]).target),
        &arr3(&[[[0.0]], [[10.0]]]).into_dyn()
    );
    let error = Sequences::many_to_one(x.clone(), Array2::zeros((2, 1))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "target: shape [2, 1], expected [3, O], as x"
    );
    assert!(Sequences::many_to_many(x, Array3::zeros((2, 2, 1))).is_err());
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let error = Windows::new(series(3), series(3), 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rows: 3, expected more than the window of 3"
    );
    assert!(Windows::new(series(6), series(5), 3).is_err());
    assert!(Windows::new(series(6), series(6), 0).is_err());
}

#[test]
fn scaling_goes_there_and_back() {
    let scale = Standardizer::fit(&arr1(&[1.0, 3.0, 5.0, 7.0])).unwrap();
    assert_eq!(scale.mean, 4.0);
    assert!((scale.deviation - 5.0_f32.sqrt()).abs() < 1e-6);
    assert!((scale.invert(scale.apply(6.25)) - 6.25).abs() < 1e-6);
    assert_eq!(
        Standardizer::fit(&arr1(&[2.0, 2.0])).unwrap().deviation,
        1.0
    );
    assert!(
        Standardizer::fit(&arr1(&[1.0, f32::NAN]))
            .unwrap_err()
            .to_string()
            .contains("NaN")
    );
    assert!(Standardizer::fit(&arr1(&[])).is_err());
}

#[test]
fn padding_goes_there_and_back() {
    let sequences = [series(3), series(0), series(5) * 2.0, series(1)];
    let views: Vec<_> = sequences.iter().map(|sequence| sequence.view()).collect();
    let (x, lengths) = pad(&views).unwrap();
    assert_eq!((x.dim(), &lengths[..]), ((5, 4, 2), &[3, 0, 5, 1][..]));
    assert_eq!(x[[4, 2, 1]], 82.0);
    assert!(
        x.slice(ndarray::s![3.., 0, ..])
            .iter()
            .all(|value| *value == 0.0)
    );
    assert_eq!(unpad(&x, &lengths).unwrap(), sequences);

    let error = pad::<f32>(&[]).unwrap_err().to_string();
    assert_eq!(error, "sequences: none, expected at least one");
    let narrow = Array2::<f32>::zeros((2, 1));
    let error = pad(&[views[0], narrow.view()]).unwrap_err().to_string();
    assert_eq!(error, "sequences[1]: shape [2, 1], expected [T, 2]");
    assert!(unpad(&x, &[3]).is_err());
    let error = unpad(&x, &[3, 0, 6, 1]).unwrap_err().to_string();
    assert_eq!(error, "lengths: 6, expected 0 to T = 5");
}

/// A row of a padded batch gives what it gives alone.
#[test]
fn a_ragged_batch_is_its_rows_one_by_one() {
    use bptt::Tensor;
    use bptt::nn::{Gru, Input};
    for device in crate::common::devices() {
        let layer = Gru::new(2, 7)
            .layers(2)
            .bidirectional(true)
            .build(&device, 1)
            .unwrap();
        let sequences = [series(3) / 40.0, series(6) / 60.0, series(1) + 0.5];
        let views: Vec<_> = sequences.iter().map(|sequence| sequence.view()).collect();
        let (x, lengths) = pad(&views).unwrap();
        let x = Tensor::from_array(&device, &x).unwrap();
        let (y, state) = layer
            .forward(Input::with_lengths(&x, &lengths), None)
            .unwrap();
        let y = y
            .to_array::<f32>()
            .unwrap()
            .into_dimensionality::<ndarray::Ix3>()
            .unwrap();
        let h = state.h().to_array::<f32>().unwrap();
        for (row, (sequence, y)) in sequences
            .iter()
            .zip(unpad(&y, &lengths).unwrap())
            .enumerate()
        {
            let alone = sequence.clone().insert_axis(ndarray::Axis(1));
            let alone = Tensor::from_array(&device, &alone).unwrap();
            let (expected, state) = layer.forward(&alone, None).unwrap();
            let close = |got: ArrayD<f32>, expected: ArrayD<f32>| {
                let difference = (got - expected).mapv(f32::abs);
                assert!(
                    difference.iter().all(|d| *d < 1e-6),
                    "row {row} on {device}: {difference}"
                );
            };
            let expected = expected.to_array::<f32>().unwrap();
            close(y.into_dyn(), expected.remove_axis(ndarray::Axis(1)));
            let expected = state.h().to_array::<f32>().unwrap();
            close(
                h.index_axis(ndarray::Axis(1), row).to_owned(),
                expected.remove_axis(ndarray::Axis(1)),
            );
        }
    }
}
