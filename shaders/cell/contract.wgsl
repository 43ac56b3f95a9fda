// The types of a cell's two functions. A cell defines GATES, STATES and SAVED, and
//   fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, before: array<f32, STATES>) -> CellForward
//   fn cell_backward(saved: array<f32, SAVED>, d_state: array<f32, STATES>) -> CellBackward

struct CellForward {
    state: array<f32, STATES>,
    saved: array<f32, SAVED>,
}

struct CellBackward {
    d_x: array<f32, GATES>,
    d_r: array<f32, GATES>,
    // The direct gradient of the states before; what flows through R h is added by the recurrence kernel.
    d_before: array<f32, STATES>,
}
