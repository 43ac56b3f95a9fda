// h = act(x + r), with GATE_0 as act. Saves x + r.

const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 1u;

fn cell_forward(in: CellIn) -> CellForward {
    let argument = in.x[0] + in.r[0];
    return CellForward(array<f32, STATES>(gate_value(GATE_0, argument)), array<f32, SAVED>(argument));
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let d = in.d_state[0] * gate_slope(GATE_0, in.saved[0]);
    var out: CellBackward;
    out.d_x[0] = d;
    out.d_r[0] = d;
    return out;
}
