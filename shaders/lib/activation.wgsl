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

// ONNX' activations by number, in the order of cell::Activation.
const SIGMOID: u32 = 0u;
const TANH: u32 = 1u;
const RELU: u32 = 2u;
const HARD_SIGMOID: u32 = 3u;
const SOFTSIGN: u32 = 4u;
const LEAKY_RELU: u32 = 5u;
const ELU: u32 = 6u;
const AFFINE: u32 = 7u;
const SCALED_TANH: u32 = 8u;
const THRESHOLDED_RELU: u32 = 9u;
const SOFTPLUS: u32 = 10u;

// An activation behind a clip of its argument. Cells have them as constants, so that drivers fold the switches below.
struct Gate {
    kind: u32,
    alpha: f32,
    beta: f32,
    has_clip: bool,
    clip: f32,
}

// x held to ±bound. Comparisons, so that a NaN stays one.
fn clipped(x: f32, bound: f32) -> f32 {
    return select(select(x, -bound, x < -bound), bound, x > bound);
}

fn gate_argument(gate: Gate, x: f32) -> f32 {
    if gate.has_clip {
        return clipped(x, gate.clip);
    }
    return x;
}

// f(x)
fn gate_value(gate: Gate, argument: f32) -> f32 {
    let x = gate_argument(gate, argument);
    switch gate.kind {
        case SIGMOID { return sigmoid(x); }
        case TANH { return tanh_exact(x); }
        case RELU { return select(x, 0.0, x < 0.0); }
        case HARD_SIGMOID {
            let line = gate.alpha * x + gate.beta;
            return select(select(line, 0.0, line < 0.0), 1.0, line > 1.0);
        }
        case SOFTSIGN { return x / (1.0 + abs(x)); }
        case LEAKY_RELU { return select(x, gate.alpha * x, x < 0.0); }
        case ELU {
            // eˣ − 1 = 2t / (1 − t) with t = tanh(x/2), exact near 0.
            let t = tanh_exact(0.5 * x);
            return select(x, gate.alpha * (2.0 * t / (1.0 - t)), x < 0.0);
        }
        case AFFINE { return gate.alpha * x + gate.beta; }
        case SCALED_TANH { return gate.alpha * tanh_exact(gate.beta * x); }
        case THRESHOLDED_RELU { return select(x, 0.0, x <= gate.alpha); }
        default {
            // ln(1 + eˣ) = max(0, x) + ln(1 + e^−|x|); of a small e^−|x| the series.
            let small = exp(-select(abs(x), 87.0, abs(x) > 87.0));
            let tail = select(log(1.0 + small), small - 0.5 * small * small, small < 1e-3);
            return select(x, 0.0, x < 0.0) + tail;
        }
    }
}

// f′(x); 0 at the kinks of ReLU and hard sigmoid, and where the clip holds x.
fn gate_slope(gate: Gate, argument: f32) -> f32 {
    let x = gate_argument(gate, argument);
    if gate.has_clip && abs(argument) > gate.clip {
        return 0.0;
    }
    switch gate.kind {
        case SIGMOID {
            let y = sigmoid(x);
            return y * (1.0 - y);
        }
        case TANH {
            let y = tanh_exact(x);
            return 1.0 - y * y;
        }
        case RELU { return select(0.0, 1.0, x > 0.0); }
        case HARD_SIGMOID {
            let line = gate.alpha * x + gate.beta;
            return select(0.0, gate.alpha, line > 0.0 && line < 1.0);
        }
        case SOFTSIGN {
            let size = 1.0 + abs(x);
            return 1.0 / (size * size);
        }
        case LEAKY_RELU { return select(1.0, gate.alpha, x < 0.0); }
        case ELU { return select(1.0, gate.alpha * exp(x), x < 0.0); }
        case AFFINE { return gate.alpha; }
        case SCALED_TANH {
            let y = tanh_exact(gate.beta * x);
            return gate.alpha * gate.beta * (1.0 - y * y);
        }
        case THRESHOLDED_RELU { return select(0.0, 1.0, x > gate.alpha); }
        default { return sigmoid(x); }
    }
}
