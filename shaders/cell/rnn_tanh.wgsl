// h = tanh(x + r). Saves h.

const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 1u;

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, before: array<f32, STATES>) -> CellForward {
    let h = tanh_exact(x[0] + r[0]);
    return CellForward(array<f32, STATES>(h), array<f32, SAVED>(h));
}

fn cell_backward(saved: array<f32, SAVED>, d_state: array<f32, STATES>) -> CellBackward {
    let h = saved[0];
    let d = d_state[0] * (1.0 - h * h);
    return CellBackward(array<f32, GATES>(d), array<f32, GATES>(d), array<f32, STATES>(0.0));
}
