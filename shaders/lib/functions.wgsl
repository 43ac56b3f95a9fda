// The functions that expressions apply, exact on every driver; NaN where x is.
//
// A NaN is told by its bits: WGSL lets an implementation assume that there is none, so that comparisons, min(), max() and the builtin
// functions may make a number of one.

fn has_nan_bits(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// y, a function's value at x; NaN where x is.
fn keep_nan(x: f32, y: f32) -> f32 {
    return select(y, x, has_nan_bits(x));
}

// Whether x ≤ 0, which a NaN is not.
fn at_most_zero(x: f32) -> bool {
    let bits = bitcast<u32>(x);
    return bits - 1u >= 0x7fffffffu && bits <= 0xff800000u;
}

// The larger of two numbers; NaN where one is.
fn larger(a: f32, b: f32) -> f32 {
    return keep_nan(a, keep_nan(b, max(a, b)));
}

// The number of some bits: a function, as constant expressions must be finite.
fn of_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

// Logistic function. exp(-x) overflows to infinity for very negative x on some drivers and to a finite maximum on others; the
// clamp keeps the quotient 0 to rounding in both cases.
fn sigmoid(x: f32) -> f32 {
    return keep_nan(x, 1.0 / (1.0 + exp(-max(x, -87.0))));
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
    let size = min(abs(x), 20.0);
    let magnitude = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    return keep_nan(x, select(select(magnitude, -magnitude, x < 0.0), near_zero, size < 0.625));
}

// eˣ − 1 = 2t / (1 − t) with t = tanh(x/2), exact near 0.
fn exp_m1(x: f32) -> f32 {
    let t = tanh_exact(0.5 * x);
    return keep_nan(x, select(exp(x) - 1.0, 2.0 * t / (1.0 - t), abs(x) < 1.0));
}

// ln(1 + eˣ) = max(0, x) + ln(1 + u) with u = e^−|x|, which is 2 artanh(u / (2 + u)), by its series: the sum 1 + u would lose
// digits.
fn softplus(x: f32) -> f32 {
    let small = exp(-min(abs(x), 87.0));
    let ratio = small / (2.0 + small);
    let square = ratio * ratio;
    var series = fma(square, 6.6666667e-2, 7.6923077e-2);
    series = fma(series, square, 9.0909091e-2);
    series = fma(series, square, 1.1111111e-1);
    series = fma(series, square, 1.4285714e-1);
    series = fma(series, square, 2e-1);
    series = fma(series, square, 3.3333333e-1);
    return keep_nan(x, max(x, 0.0) + 2.0 * fma(series * square, ratio, ratio));
}

// The error function to a few ulp: below 1 its Taylor series' economised form, above it 1 − e^(−x²) times a polynomial of 1 / (1
// + x/2), W. J. Cody's rational form as given by Numerical Recipes (erfcc).
fn erf(x: f32) -> f32 {
    let square = x * x;
    var series = fma(square, 7.853861353153693e-5, -8.010193625184903e-4);
    series = fma(series, square, 5.188327685732524e-3);
    series = fma(series, square, -2.685381193529856e-2);
    series = fma(series, square, 1.128358514861418e-1);
    series = fma(series, square, -3.761262582423300e-1);
    series = fma(series, square, 1.128379165726710);
    let size = min(abs(x), 10.0);
    let t = 1.0 / (1.0 + 0.5 * size);
    var tail = fma(t, 0.17087277, -0.82215223);
    tail = fma(tail, t, 1.48851587);
    tail = fma(tail, t, -1.13520398);
    tail = fma(tail, t, 0.27886807);
    tail = fma(tail, t, -0.18628806);
    tail = fma(tail, t, 0.09678418);
    tail = fma(tail, t, 0.37409196);
    tail = fma(tail, t, 1.00002368);
    let magnitude = 1.0 - t * exp(-size * size - 1.26551223 + t * tail);
    return keep_nan(x, select(select(magnitude, -magnitude, x < 0.0), series * x, abs(x) < 1.0));
}
