//! Recurrent cells: data plus two pointwise functions.
//!
//! The recurrence kernels of both devices are generic. A cell gives its counts, its forward and its backward function for one
//! hidden unit, once in Rust (generic over [`Real`]) and once in WGSL, and is known to the crate by one line in [`builtin`].
//!
//! Per unit j and step t, with x = (W x_t + b_ih) and r = (R h₋ + b_hh) the two parts of the G pre-activations:
//!
//! ```text
//! forward:  x [G], r [G], states [S]                    → states [S], saved [K]
//! backward: saved [K], gradient of the new states [S]   → gradient of x [G], of r [G], direct gradient of the old states [S]
//! ```
//!
//! State 0 is h. What reaches h₋ through R is added by the recurrence kernel, not by the cell.

mod erased;
mod gru;
mod lstm;
mod rnn;

pub use erased::CellRef;
pub(crate) use erased::{BackwardRow, ErasedCell, ForwardRow};
pub use gru::Gru;
pub use lstm::Lstm;
pub use rnn::{Nonlinearity, Rnn};

use crate::Real;

/// The most gates, states or saved values a cell may have.
pub const MAX_COUNT: usize = 8;

/// A WGSL source with the name that errors give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WgslSource {
    /// The file's name, for error messages.
    pub file: &'static str,
    /// The text.
    pub text: &'static str,
}

/// A recurrent cell. See the [module](self) for the contract.
pub trait Cell: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The cell's name, unique among the cells in use: `lstm`.
    fn name(&self) -> &'static str;
    /// G, the gates: the rows of `weight_ih` and `weight_hh` a hidden unit has. 1 to [`MAX_COUNT`].
    fn gates(&self) -> usize;
    /// S, the states a unit carries from step to step; state 0 is h. 1 to [`MAX_COUNT`].
    fn states(&self) -> usize;
    /// K, the values a unit keeps a step for the backward pass. 1 to [`MAX_COUNT`].
    fn saved(&self) -> usize;
    /// Whether the gradients of x and r are always equal (as where a pre-activation is x + r): they are then stored once.
    fn shared_gradient(&self) -> bool;
    /// The WGSL half: `GATES`, `STATES`, `SAVED` as `const … : u32`, `cell_forward` and `cell_backward`
    /// (their types stand in `shaders/cell/contract.wgsl`).
    fn wgsl(&self) -> WgslSource;
    /// One unit, one step. x, r: `[G]`; state: `[S]`, the old states in, the new ones out; saved: `[K]`, out.
    fn forward<F: Real>(&self, x: &[F], r: &[F], state: &mut [F], saved: &mut [F]);
    /// One unit, one step back. saved: `[K]`; d_state: `[S]`, the gradient of the new states in, the direct gradient of the
    /// old ones out; d_x, d_r: `[G]`, out.
    fn backward<F: Real>(&self, saved: &[F], d_state: &mut [F], d_x: &mut [F], d_r: &mut [F]);
}

/// The cells of the crate. Shader validation, gradient checks, comparisons and benches run over this list.
pub fn builtin() -> Vec<CellRef> {
    vec![
        CellRef::new(Rnn {
            nonlinearity: Nonlinearity::Tanh,
        }),
        CellRef::new(Rnn {
            nonlinearity: Nonlinearity::Relu,
        }),
        CellRef::new(Lstm),
        CellRef::new(Gru),
    ]
}
