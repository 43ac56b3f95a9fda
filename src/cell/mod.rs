//! Recurrent cells: data plus a few pointwise functions.
//!
//! The recurrence kernels of both devices are generic. A cell gives its counts and its forward
//! function for one hidden unit, in Rust, generic over [`Lanes`]: one number, a register of them, or
//! a recording. From recordings come its WGSL and, where it has none of its own, its backward
//! function. The cells of the crate have both written by hand, for the check of one by the other,
//! and are known to it by one line in [`CellRef::builtin`](crate::CellRef::builtin).
//!
//! Per unit j and step t, with x = (W x_t + b_ih) and r = (R h₋ + b_hh) the two parts of the G
//! pre-activations:
//!
//! ```text
//! forward:  x [G], r [G], states [S]                    → states [S], saved [K]
//! backward: saved [K], gradient of the new states [S]   → gradient of x [G], of r [G], direct gradient of the old states [S]
//! ```
//!
//! State 0 is h. What reaches h₋ through R is added by the recurrence kernel, not by the cell.
//!
//! A cell may also have *diagonal weights*, V of its own a unit (peepholes), and *late gates*,
//! whose recurrent product takes another vector than h₋, one that depends on the early gates (as
//! r⊙h₋ of a GRU whose reset gate acts before the product):
//!
//! ```text
//! inner:          x [G], r [E] of the early gates, states [S]  → v, the late gates' input: r = R v + b_hh for them
//! inner_backward: saved [K], gradient of v                     → what it adds to the gradients of x, r and the old states
//! ```

mod activation;
mod counts;
mod derived;
mod gru;
mod lstm;
mod plain;
mod recorded;
mod rnn;

pub use crate::expr::Lanes;
pub(crate) use crate::expr::Vector;
pub use activation::Activation;
pub(crate) use counts::Counts;
pub(crate) use derived::Derived;
pub use gru::{GruUnit, Reset};
pub use lstm::LstmUnit;
pub(crate) use recorded::wgsl as recorded_wgsl;
pub use rnn::RnnUnit;

use crate::CellRef;
use crate::error::Result;

/// The most gates, states, saved values or diagonal weights a cell may have.
pub const MAX_COUNT: usize = 8;

/// A WGSL source with the name that errors give it. [`wgsl!`](crate::wgsl) makes one of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WgslSource {
    /// The file's name, for error messages.
    pub file: &'static str,
    /// The text.
    pub text: &'static str,
    /// The Rust file and line that name it: near the cell's Rust half, where it is a cell's.
    pub rust: (&'static str, u32),
}

/// The [`WgslSource`](crate::cell::WgslSource) of a file, whose path starts at the package's root:
/// `bptt::wgsl!("src/mgu.wgsl")`.
#[macro_export]
macro_rules! wgsl {
    ($file:literal) => {
        $crate::cell::WgslSource {
            file: $file,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file)),
            rust: (file!(), line!()),
        }
    };
}

/// One unit (or a register of them) of one step: what [`Cell::forward`] reads and writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Forward<'a, N> {
    /// `[G]`: W x + b_ih.
    pub x: &'a [N],
    /// `[G]`: R h₋ + b_hh.
    pub r: &'a [N],
    /// `[V]`: the unit's diagonal weights.
    pub diagonal: &'a [N],
    /// `[S]`: the old states in, the new ones out. With a projection, state 0 is nothing at first
    /// and the projection's input in the end.
    pub state: &'a mut [N],
    /// `[K]`, out: for [`Cell::backward`].
    pub saved: &'a mut [N],
}

/// One unit (or a register of them) of one step back: what [`Cell::backward`] reads and writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Backward<'a, N> {
    /// `[K]`: as the forward pass left it.
    pub saved: &'a [N],
    /// `[V]`: the unit's diagonal weights.
    pub diagonal: &'a [N],
    /// `[S]`: the gradient of the new states in, the direct gradient of the old ones out.
    pub d_state: &'a mut [N],
    /// `[G]`, out: the gradient of x.
    pub d_x: &'a mut [N],
    /// `[G]`, out: the gradient of r.
    pub d_r: &'a mut [N],
    /// `[V]`, out: the gradient of the diagonal weights at this step.
    pub d_diagonal: &'a mut [N],
}

/// One unit between the two products of a step: what [`Cell::inner`] reads.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inner<'a, N> {
    /// `[G]`: W x + b_ih.
    pub x: &'a [N],
    /// `[E]`: R h₋ + b_hh of the early gates.
    pub r: &'a [N],
    /// `[S]`: the old states.
    pub state: &'a [N],
}

/// One unit between the two products of a step back: what [`Cell::inner_backward`] reads and writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct InnerBackward<'a, N> {
    /// `[K]`: as the forward pass left it.
    pub saved: &'a [N],
    /// The gradient of v.
    pub d_inner: N,
    /// `[S]`, added to: the direct gradient of the old states.
    pub d_state: &'a mut [N],
    /// `[G]`, added to: the gradient of x.
    pub d_x: &'a mut [N],
    /// `[G]`, added to: the gradient of r.
    pub d_r: &'a mut [N],
}

/// A recurrent cell. See the [module](self) for the contract,
/// [`verify::check_cell`](crate::verify::check_cell) for what checks it. All that is needed of one:
///
/// ```
/// use bptt::cell::{Cell, Forward, Lanes};
/// use bptt::{Device, verify::check_cell};
///
/// /// A leaky integrator with a learned leak: h = h₋ + σ(x_a + r_a) (tanh(x_n + r_n) − h₋)
/// #[derive(Clone, Debug)]
/// struct Leaky;
///
/// impl Cell for Leaky {
///     fn name(&self) -> &'static str {
///         "leaky"
///     }
///     fn gates(&self) -> usize {
///         2
///     }
///     fn states(&self) -> usize {
///         1
///     }
///     #[inline(always)]
///     fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
///         let leak = (unit.x[0] + unit.r[0]).sigmoid();
///         let candidate = (unit.x[1] + unit.r[1]).tanh();
///         unit.state[0] = unit.state[0] + leak * (candidate - unit.state[0]);
///     }
/// }
/// check_cell(&Leaky, &[Device::cpu()]).unwrap();
/// ```
pub trait Cell: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The cell's name, unique among the cells in use: `lstm`.
    fn name(&self) -> &'static str;
    /// G, the gates: the rows of `weight_ih` and `weight_hh` a hidden unit has. 1 to [`MAX_COUNT`].
    fn gates(&self) -> usize;
    /// S, the states a unit carries from step to step; state 0 is h. 1 to [`MAX_COUNT`].
    fn states(&self) -> usize;
    /// K, the values a unit keeps a step for [`Cell::backward`]. 1 to [`MAX_COUNT`], or 0: the
    /// backward functions are derived from the forward ones. Default: 0.
    ///
    /// A derived cell keeps what its derivatives read: x + r of a gate where they are read as a sum
    /// alone, else each, and old states. The backward pass computes activations again, and on a CPU
    /// both passes interpret the recording: docs/guide.md has figures ("What a derived backward costs").
    fn saved(&self) -> usize {
        0
    }
    /// V, the diagonal weights of a unit: its part of `weight_diag [V·H]`. 0 to [`MAX_COUNT`].
    /// Default: 0.
    fn diagonals(&self) -> usize {
        0
    }
    /// E, the gates whose recurrent product takes h₋; those after them take [`Cell::inner`]. 1 to
    /// G. Default: G.
    fn early_gates(&self) -> usize {
        self.gates()
    }
    /// Whether the gradients of x and r are always equal (as where a pre-activation is x + r): they
    /// are then stored once. Derived backward functions know. Default: no.
    fn shared_gradient(&self) -> bool {
        false
    }
    /// WGSL of its own: `GATES`, `STATES`, `SAVED` as `const … : u32`, `cell_forward` and
    /// `cell_backward`, and with late gates `cell_inner` and `cell_inner_backward` (their types
    /// stand in `shaders/cell/contract.wgsl`). Default: none, it is recorded from the functions
    /// here. Of a cell whose [`saved`](Cell::saved) is 0 it always is.
    fn wgsl(&self) -> Option<WgslSource> {
        None
    }
    /// WGSL that goes before the source: the constants of this instance. Default: none.
    fn wgsl_constants(&self) -> String {
        String::new()
    }
    /// `Ok` where this instance can be used, its numbers being in range. Default: `Ok`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) that names the number.
    fn check(&self) -> Result<()> {
        Ok(())
    }
    /// The cell as another type of the same equations, where that is faster.
    #[doc(hidden)]
    fn fastest(&self) -> Option<CellRef> {
        None
    }
    /// Takes one unit one step forward. Mark it and the others `#[inline(always)]`, or they are not
    /// compiled for vector instructions.
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>);
    /// Takes one unit one step back. Called only where [`saved`](Cell::saved) is not 0.
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let nothing = unit.saved[0].constant(f64::NAN);
        for gradients in [unit.d_state, unit.d_x, unit.d_r, unit.d_diagonal] {
            gradients.fill(nothing);
        }
    }
    /// v, the late gates' input. Called only where there are late gates.
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        unit.x[0].constant(f64::NAN)
    }
    /// What the gradient of v adds to the others. Called only where there are late gates, after
    /// [`Cell::backward`].
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        let _ = unit;
    }
}
