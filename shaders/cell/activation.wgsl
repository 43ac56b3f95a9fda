// The activations that gates can have, behind a clip.

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

// x held to ±bound; a NaN stays one.
fn clipped(x: f32, bound: f32) -> f32 {
    return keep_nan(x, clamp(x, -bound, bound));
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
        case RELU { return select(x, 0.0, at_most_zero(x)); }
        case HARD_SIGMOID { return keep_nan(x, clamp(gate.alpha * x + gate.beta, 0.0, 1.0)); }
        case SOFTSIGN { return x / (1.0 + abs(x)); }
        case LEAKY_RELU { return select(x, gate.alpha * x, x < 0.0); }
        case ELU { return select(x, gate.alpha * exp_m1(x), x < 0.0); }
        case AFFINE { return gate.alpha * x + gate.beta; }
        case SCALED_TANH { return gate.alpha * tanh_exact(gate.beta * x); }
        case THRESHOLDED_RELU { return keep_nan(x, select(x, 0.0, x <= gate.alpha)); }
        default { return softplus(x); }
    }
}

// f′(x); 0 at the kinks of ReLU and hard sigmoid, and where the clip holds x; anything where x is NaN.
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
