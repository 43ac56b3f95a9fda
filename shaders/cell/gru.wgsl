// Gates r, z, n; state h: n = tanh(x_n + r r_n), h = (1 − z) n + z h₋. Saves r, z, n, r_n, h₋.

const GATES: u32 = 3u;
const STATES: u32 = 1u;
const SAVED: u32 = 5u;

fn cell_forward(in: CellIn) -> CellForward {
    let reset = sigmoid(in.x[0] + in.r[0]);
    let update = sigmoid(in.x[1] + in.r[1]);
    let candidate = tanh_exact(in.x[2] + reset * in.r[2]);
    let h = (1.0 - update) * candidate + update * in.before[0];
    return CellForward(
        array<f32, STATES>(h),
        array<f32, SAVED>(reset, update, candidate, in.r[2], in.before[0]),
    );
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let reset = in.saved[0];
    let update = in.saved[1];
    let candidate = in.saved[2];
    let d_h = in.d_state[0];
    let d_candidate = d_h * (1.0 - update) * (1.0 - candidate * candidate);
    let d_reset = d_candidate * in.saved[3] * reset * (1.0 - reset);
    let d_update = d_h * (in.saved[4] - candidate) * update * (1.0 - update);
    var out: CellBackward;
    out.d_x = array<f32, GATES>(d_reset, d_update, d_candidate);
    out.d_r = array<f32, GATES>(d_reset, d_update, d_candidate * reset);
    out.d_before[0] = d_h * update;
    return out;
}
