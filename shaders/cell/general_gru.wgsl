// The GRU, reset gate after the product, with GATE_0 … GATE_2 for r, z, n; state h: n = act(x_n + r r_n), h = (1 − z) n + z h₋.
// Saves the arguments of r, z, n, then h₋ and r_n.

const GATES: u32 = 3u;
const STATES: u32 = 1u;
const SAVED: u32 = 5u;

fn cell_forward(in: CellIn) -> CellForward {
    let reset = in.x[0] + in.r[0];
    let update = in.x[1] + in.r[1];
    let candidate = in.x[2] + gate_value(GATE_0, reset) * in.r[2];
    let z = gate_value(GATE_1, update);
    let h = (1.0 - z) * gate_value(GATE_2, candidate) + z * in.before[0];
    return CellForward(
        array<f32, STATES>(h),
        array<f32, SAVED>(reset, update, candidate, in.before[0], in.r[2]),
    );
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let z = gate_value(GATE_1, in.saved[1]);
    let n = gate_value(GATE_2, in.saved[2]);
    let d_h = in.d_state[0];
    let d_n = d_h * (1.0 - z) * gate_slope(GATE_2, in.saved[2]);
    let d_reset = d_n * in.saved[4] * gate_slope(GATE_0, in.saved[0]);
    let d_update = d_h * (in.saved[3] - n) * gate_slope(GATE_1, in.saved[1]);
    var out: CellBackward;
    out.d_x = array<f32, GATES>(d_reset, d_update, d_n);
    out.d_r = array<f32, GATES>(d_reset, d_update, d_n * gate_value(GATE_0, in.saved[0]));
    out.d_before[0] = d_h * z;
    return out;
}
