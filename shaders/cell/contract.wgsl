// The types of a cell's functions. A cell defines GATES, STATES and SAVED, and
//   fn cell_forward(in: CellIn) -> CellForward
//   fn cell_backward(in: CellBackIn) -> CellBackward
// and where it has late gates
//   fn cell_inner(in: CellIn) -> f32            // of r only the early gates are known
//   fn cell_inner_backward(saved: array<f32, SAVED>, d_inner: f32) -> CellBackward   // what it adds
// DIAGONAL_SLOTS is the number of its diagonal weights, or 1 where it has none.

struct CellIn {
    x: array<f32, GATES>,
    r: array<f32, GATES>,
    before: array<f32, STATES>,
    diagonal: array<f32, DIAGONAL_SLOTS>,
}

struct CellForward {
    state: array<f32, STATES>,
    saved: array<f32, SAVED>,
}

struct CellBackIn {
    saved: array<f32, SAVED>,
    d_state: array<f32, STATES>,
    diagonal: array<f32, DIAGONAL_SLOTS>,
}

struct CellBackward {
    d_x: array<f32, GATES>,
    d_r: array<f32, GATES>,
    // The direct gradient of the states before; what flows through R h is added by the recurrence kernel.
    d_before: array<f32, STATES>,
    d_diagonal: array<f32, DIAGONAL_SLOTS>,
}
