// The minimal gated unit's WGSL half. Gates f, n; state h: n = tanh(x_n + R_n (f h₋) + b_n), h = (1 − f) h₋ + f n. f is the early
// gate. Saves f, n, h₋.

const GATES: u32 = 2u;
const STATES: u32 = 1u;
const SAVED: u32 = 3u;

fn cell_inner(in: CellIn) -> f32 {
    return sigmoid(in.x[0] + in.r[0]) * in.before[0];
}

fn cell_forward(in: CellIn) -> CellForward {
    let forget = sigmoid(in.x[0] + in.r[0]);
    let candidate = tanh_exact(in.x[1] + in.r[1]);
    let h_before = in.before[0];
    return CellForward(
        array<f32, STATES>((1.0 - forget) * h_before + forget * candidate),
        array<f32, SAVED>(forget, candidate, h_before),
    );
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let forget = in.saved[0];
    let candidate = in.saved[1];
    let h_before = in.saved[2];
    let d_h = in.d_state[0];
    var out: CellBackward;
    out.d_x[0] = d_h * (candidate - h_before) * forget * (1.0 - forget);
    out.d_x[1] = d_h * forget * (1.0 - candidate * candidate);
    out.d_r = out.d_x;
    out.d_before[0] = d_h * (1.0 - forget);
    return out;
}

// What the gradient of f h₋ adds.
fn cell_inner_backward(saved: array<f32, SAVED>, d_inner: f32) -> CellBackward {
    let forget = saved[0];
    var out: CellBackward;
    out.d_x[0] = d_inner * saved[2] * forget * (1.0 - forget);
    out.d_r[0] = out.d_x[0];
    out.d_before[0] = d_inner * forget;
    return out;
}
