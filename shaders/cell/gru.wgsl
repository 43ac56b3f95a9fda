// Gates r, z, n; state h: n = tanh(x_n + r r_n), h = (1 − z) n + z h₋. Saves r, z, n, r_n, h₋.

const GATES: u32 = 3u;
const STATES: u32 = 1u;
const SAVED: u32 = 5u;

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, before: array<f32, STATES>) -> CellForward {
    let reset = sigmoid(x[0] + r[0]);
    let update = sigmoid(x[1] + r[1]);
    let candidate = tanh_exact(x[2] + reset * r[2]);
    let h = (1.0 - update) * candidate + update * before[0];
    return CellForward(
        array<f32, STATES>(h),
        array<f32, SAVED>(reset, update, candidate, r[2], before[0]),
    );
}

fn cell_backward(saved: array<f32, SAVED>, d_state: array<f32, STATES>) -> CellBackward {
    let reset = saved[0];
    let update = saved[1];
    let candidate = saved[2];
    let d_h = d_state[0];
    let d_candidate = d_h * (1.0 - update) * (1.0 - candidate * candidate);
    let d_reset = d_candidate * saved[3] * reset * (1.0 - reset);
    let d_update = d_h * (saved[4] - candidate) * update * (1.0 - update);
    return CellBackward(
        array<f32, GATES>(d_reset, d_update, d_candidate),
        array<f32, GATES>(d_reset, d_update, d_candidate * reset),
        array<f32, STATES>(d_h * update),
    );
}
