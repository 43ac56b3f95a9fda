//! Arithmetic on one element, as data.
//!
//! An expression is written once, as a Rust function over [`Lanes`] or over [`Expr`]s, and recorded on a [`Tape`]. What was
//! recorded, a [`Body`], is evaluated on the CPU a block of elements at a time, is written out as WGSL for a GPU, and has a
//! derivative, which is more of the same recording. The operations `Map`, `Row` and `Reduce` of a
//! [`Program`](crate::Program) carry one each.

mod block;
mod derivative;
mod lanes;
mod node;
mod tape;
mod vector;
mod wgsl;

pub(crate) use block::{BLOCK, Block, BlockScalar, REGISTER, Schedule};
pub use lanes::Lanes;
pub use node::{Body, Fold, Function, Node, NodeId, Operator, Relation};
pub use tape::{Expr, Tape, WholeExpr};
pub(crate) use tape::{Inlined, place_in};
pub(crate) use vector::Vector;
pub(crate) use wgsl::{Printer, literal};

#[cfg(test)]
mod tests;
