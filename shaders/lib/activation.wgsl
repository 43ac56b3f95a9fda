// Activation functions and what keeps them exact on every driver.

// Logistic function. exp(-x) overflows to infinity for very negative x on some drivers and to a finite maximum on others; the
// clamp keeps the quotient 0 to rounding in both cases.
fn sigmoid(x: f32) -> f32 {
    // Comparisons and not max() and min(), which may turn a NaN into a number: a NaN must stay one.
    return 1.0 / (1.0 + exp(-select(x, -87.0, x < -87.0)));
}

// tanh to a few ulp. The builtin may lose all relative precision near 0 (sinh/cosh, or an exponential minus 1) and gives NaN
// for large arguments on some drivers. Odd polynomial below 0.625: Cephes' tanhf (Moshier).
fn tanh_exact(x: f32) -> f32 {
    let square = x * x;
    var series = fma(-5.70498872745e-3, square, 2.06390887954e-2);
    series = fma(series, square, -5.37397155531e-2);
    series = fma(series, square, 1.33314422036e-1);
    series = fma(series, square, -3.33332819422e-1);
    let near_zero = fma(series * square, x, x);
    let size = select(abs(x), 20.0, abs(x) > 20.0);
    let magnitude = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    return select(select(magnitude, -magnitude, x < 0.0), near_zero, size < 0.625);
}
