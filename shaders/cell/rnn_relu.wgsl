// h = max(0, x + r). Saves h.

const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 1u;

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, before: array<f32, STATES>) -> CellForward {
    let pre_activation = x[0] + r[0];
    // Not max(): it may turn a NaN into 0.
    let h = select(pre_activation, 0.0, pre_activation < 0.0);
    return CellForward(array<f32, STATES>(h), array<f32, SAVED>(h));
}

fn cell_backward(saved: array<f32, SAVED>, d_state: array<f32, STATES>) -> CellBackward {
    let d = select(d_state[0], 0.0, saved[0] <= 0.0);
    return CellBackward(array<f32, GATES>(d), array<f32, GATES>(d), array<f32, STATES>(0.0));
}
