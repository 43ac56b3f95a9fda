// The GRU, reset gate before the product, with GATE_0 … GATE_2 for r, z, n; state h: n = act(x_n + R_n (r h₋) + b_n),
// h = (1 − z) n + z h₋. r and z are the early gates. Saves the arguments of r, z, n, and h₋.

const GATES: u32 = 3u;
const STATES: u32 = 1u;
const SAVED: u32 = 4u;

fn cell_inner(in: CellIn) -> f32 {
    return gate_value(GATE_0, in.x[0] + in.r[0]) * in.before[0];
}

fn cell_forward(in: CellIn) -> CellForward {
    let reset = in.x[0] + in.r[0];
    let update = in.x[1] + in.r[1];
    let candidate = in.x[2] + in.r[2];
    let z = gate_value(GATE_1, update);
    let h = (1.0 - z) * gate_value(GATE_2, candidate) + z * in.before[0];
    return CellForward(array<f32, STATES>(h), array<f32, SAVED>(reset, update, candidate, in.before[0]));
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let z = gate_value(GATE_1, in.saved[1]);
    let n = gate_value(GATE_2, in.saved[2]);
    let d_h = in.d_state[0];
    let d_update = d_h * (in.saved[3] - n) * gate_slope(GATE_1, in.saved[1]);
    // The reset gate's is what the gradient of r h₋ brings.
    let d = array<f32, GATES>(0.0, d_update, d_h * (1.0 - z) * gate_slope(GATE_2, in.saved[2]));
    var out: CellBackward;
    out.d_x = d;
    out.d_r = d;
    out.d_before[0] = d_h * z;
    return out;
}

fn cell_inner_backward(saved: array<f32, SAVED>, d_inner: f32) -> CellBackward {
    let d_reset = d_inner * saved[3] * gate_slope(GATE_0, saved[0]);
    var out: CellBackward;
    out.d_x[0] = d_reset;
    out.d_r[0] = d_reset;
    out.d_before[0] = d_inner * gate_value(GATE_0, saved[0]);
    return out;
}
