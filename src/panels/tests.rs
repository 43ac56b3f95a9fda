use super::*;

#[test]
fn equals_the_plain_product() {
    for (m, k, n) in [
        (1, 1, 1),
        (2, 3, 5),
        (6, 7, 64),
        (7, 33, 65),
        (13, 17, 257),
        (9, 65, 3),
        (101, 33, 65),
    ] {
        let a = Array2::from_shape_fn((m, k), |(i, j)| ((i * 7 + j * 3) % 11) as f64 - 5.0);
        let b = Array2::from_shape_fn((n, k), |(i, j)| ((i * 5 + j) % 13) as f64 - 6.0);
        let expected = a.dot(&b.t());
        let panels = Panels::new(b.t());
        let width = panels.width();
        let rows: Vec<f64> = (0..width).map(|j| j as f64).collect();
        let a3 = a.view().insert_axis(Axis(1));
        // Two numbers of room between rows, which stay as they are.
        let mut c = Array2::from_elem((m, width + 2), f64::NAN);
        let stride = width + 2;
        panels.product(a3, Start::Row(&rows), c.as_slice_mut().unwrap(), stride);
        let of_row = Array2::from_shape_fn((m, n), |(_, j)| j as f64);
        assert_eq!(c.slice(s![.., ..n]), &expected + &of_row, "{m} {k} {n}");
        assert!(c.slice(s![.., width..]).iter().all(|c| c.is_nan()));
        panels.product(a3, Start::Sum, c.as_slice_mut().unwrap(), stride);
        let twice = &expected + &expected + of_row;
        assert_eq!(c.slice(s![.., ..n]), twice, "{m} {k} {n} added");
        // Whole numbers of this size are exact in f32 too; columns contiguous or rows.
        let a = a.mapv(|x| x as f32);
        let b = b
            .mapv(|x| x as f32)
            .reversed_axes()
            .as_standard_layout()
            .into_owned();
        let single = Panels::new(b.view());
        let mut c = vec![f32::NAN; m * single.width()];
        let zeros = vec![0.0; single.width()];
        let a = a.view().insert_axis(Axis(0));
        single.product(a, Start::Row(&zeros), &mut c, single.width());
        let c = Array2::from_shape_vec((m, single.width()), c).unwrap();
        let c = c.slice(s![.., ..n]).mapv(f64::from);
        assert_eq!(c, expected, "{m} {k} {n} in f32");
    }
}

#[test]
fn panels_begin_at_a_cache_line() {
    for len in [1, 15, 16, 1000] {
        assert!(aligned_zeros::<f32>(len).as_ptr().addr().is_multiple_of(64));
        assert!(aligned_zeros::<f64>(len).as_ptr().addr().is_multiple_of(64));
    }
}
