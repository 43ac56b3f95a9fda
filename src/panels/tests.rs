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

/// Panels too large for the near cache are taken in blocks, and what comes next is fetched meanwhile.
#[test]
fn far_panels_give_the_bits_of_near_ones() {
    let (m, n) = (15, 129);
    let k = caches::near() / (2 * size_of::<f32>() * n) + 9;
    let number = |i: usize, j: usize| ((i * 7 + j * 3) % 101) as f32 / 101.0 - 0.3;
    let (a, b) = (
        Array2::from_shape_fn((m, k), |(i, j)| number(i, j)),
        Array2::from_shape_fn((k, n), |(i, j)| number(j, i)),
    );
    let panels = Panels::new(b.view());
    assert!(panels.want_fetching(&(0..panels.count()), m));
    let row: Vec<f32> = (0..panels.width()).map(|j| j as f32).collect();
    for start in [Start::Zero, Start::Row(&row), Start::Sum] {
        let mut whole = Array2::from_elem((m, panels.width()), 0.1);
        let [mut parts, mut back] = [whole.clone(), whole.clone()];
        panels.product_to(a.view(), start, &mut whole);
        let a3 = a.view().insert_axis(Axis(0));
        let all = || 0..panels.count();
        panels.part(
            (all(), Order::Back),
            a3,
            start,
            back.as_slice_mut().unwrap(),
            panels.width(),
        );
        for (panel, order) in all().zip([Order::Forth, Order::Back].into_iter().cycle()) {
            let columns = panels.columns(&(panel..panel + 1));
            assert!(!panels.want_fetching(&(panel..panel + 1), m));
            let mut part = parts.slice(s![.., columns.clone()]).to_owned();
            let a = a.view().insert_axis(Axis(0));
            panels.part(
                (panel..panel + 1, order),
                a,
                start,
                part.as_slice_mut().unwrap(),
                columns.len(),
            );
            parts.slice_mut(s![.., columns]).assign(&part);
        }
        let bits = |product: &Array2<f32>| product.mapv(f32::to_bits);
        assert_eq!(bits(&whole), bits(&parts));
        assert_eq!(bits(&whole), bits(&back));
    }
}

#[test]
fn panels_begin_at_a_cache_line() {
    for len in [1, 15, 16, 1000] {
        assert!(aligned_zeros::<f32>(len).as_ptr().addr().is_multiple_of(64));
        assert!(aligned_zeros::<f64>(len).as_ptr().addr().is_multiple_of(64));
    }
}
