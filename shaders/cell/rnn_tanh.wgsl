// h = tanh(x + r). Saves h.

const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 1u;

fn cell_forward(in: CellIn) -> CellForward {
    let h = tanh_exact(in.x[0] + in.r[0]);
    return CellForward(array<f32, STATES>(h), array<f32, SAVED>(h));
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let h = in.saved[0];
    let d = in.d_state[0] * (1.0 - h * h);
    var out: CellBackward;
    out.d_x[0] = d;
    out.d_r[0] = d;
    return out;
}
