//! The linear forecast to beat.

use ndarray::{Array1, Array2, s};

/// Forecasts of the values from `test` on by x_t = a + Σ b_k x_(t−k), k = 1 … window, fitted to the values before `test` by least
/// squares.
pub fn autoregression(values: &[f32], test: usize, window: usize) -> Result<Vec<f32>, String> {
    let rows = test - window;
    // Around the mean, so that the normal equations are well conditioned.
    let mean = values[..test].iter().map(|x| f64::from(*x)).sum::<f64>() / test as f64;
    let value = |index: usize| f64::from(values[index]) - mean;
    let regressors = |at: usize| -> Array1<f64> {
        (0..=window)
            .map(|k| if k == window { 1.0 } else { value(at - 1 - k) })
            .collect()
    };
    let mut a = Array2::zeros((rows, window + 1));
    for (row, mut a) in a.outer_iter_mut().enumerate() {
        a.assign(&regressors(row + window));
    }
    let b: Array1<f64> = (window..test).map(value).collect();
    let coefficients = solve(a.t().dot(&a), a.t().dot(&b))?;
    Ok((test..values.len())
        .map(|at| (regressors(at).dot(&coefficients) + mean) as f32)
        .collect())
}

/// Solves a symmetric positive definite system by Cholesky's decomposition.
fn solve(mut a: Array2<f64>, mut b: Array1<f64>) -> Result<Array1<f64>, String> {
    let n = b.len();
    for j in 0..n {
        let row = a.slice(s![j, ..j]).to_owned();
        let pivot = a[[j, j]] - row.dot(&row);
        if pivot <= 1e-12 * a[[j, j]].abs() {
            return Err(
                "the autoregression has no unique fit: the series is constant or repeats exactly"
                    .into(),
            );
        }
        a[[j, j]] = pivot.sqrt();
        for i in j + 1..n {
            a[[i, j]] = (a[[i, j]] - a.slice(s![i, ..j]).dot(&row)) / a[[j, j]];
        }
    }
    for j in 0..n {
        b[j] = (b[j] - a.slice(s![j, ..j]).dot(&b.slice(s![..j]))) / a[[j, j]];
    }
    for j in (0..n).rev() {
        b[j] = (b[j] - a.slice(s![j + 1.., j]).dot(&b.slice(s![j + 1..]))) / a[[j, j]];
    }
    Ok(b)
}
