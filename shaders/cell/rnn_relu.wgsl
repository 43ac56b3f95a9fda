// h = max(0, x + r). Saves h.

const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 1u;

fn cell_forward(in: CellIn) -> CellForward {
    let pre_activation = in.x[0] + in.r[0];
    let h = select(pre_activation, 0.0, at_most_zero(pre_activation));
    return CellForward(array<f32, STATES>(h), array<f32, SAVED>(h));
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let d = select(in.d_state[0], 0.0, at_most_zero(in.saved[0]));
    var out: CellBackward;
    out.d_x[0] = d;
    out.d_r[0] = d;
    return out;
}
