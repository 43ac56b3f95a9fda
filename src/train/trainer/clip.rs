//! Gradients clipped to a global norm.

use crate::device::Device;
use crate::expr::{Expr, Fold, Lanes, Tape};
use crate::program::{Operand, Pointwise, Reduce, Slice, View};
use crate::train::reduce::counted;
use std::borrow::Cow;
use std::sync::Arc;

/// Powers of two that small and large numbers are multiplied by, so that their squares are numbers of a precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales {
    up: f64,
    down: f64,
    /// A square root of the largest number, about: what is above may be cut off.
    most: f64,
}

impl Scales {
    /// Those of a device's precision.
    pub(super) fn of(device: &Device) -> Self {
        let [up, down, most] = match device.element_size() {
            4 => [90, -80, 63],
            _ => [700, -700, 511],
        }
        .map(|exponent| 2.0_f64.powi(exponent));
        Self { up, down, most }
    }

    /// `yes` where a root is of a sum that was not cut off.
    fn fits<'t>(self, root: Expr<'t>, yes: Expr<'t>, no: Expr<'t>) -> Expr<'t> {
        let beyond = (root - self.most).where_positive(no, yes);
        (root.finite() - 0.5).where_positive(beyond, no)
    }
}

/// clip = [‖gradients‖₂, a, b], with a · b = min(1, max_norm / (‖gradients‖₂ + 1e-6)): PyTorch's `clip_grad_norm_`, the factors applied one
/// after the other by the optimizer, as their product may be too small for a number. b is NaN where the norm is not finite. `count`: see
/// [`counted`].
///
/// Three sums of squares, of the gradients scaled up, as they are, and scaled down. The first that is finite has lost nothing: what is too
/// small for it is nothing beside what was too large for the one before.
pub(super) fn clip_norm(
    gradients: Slice,
    (clip, count): (Slice, Slice),
    max_norm: f64,
    scales: Scales,
) -> Reduce {
    let tape = Tape::new();
    let (g, before) = (tape.operand(0), tape.operand(1));
    let one = tape.constant(1.0);
    let root = |scale: f64| {
        // Stored, since a compiler may else square the gradient first.
        let scaled = (g * scale).stored();
        tape.statistic(Fold::Sum, scaled * scaled).sqrt()
    };
    let (small, middle, large) = (root(scales.up), root(1.0), root(scales.down));
    let choose = |[up, same, down]: [_; 3]| scales.fits(small, up, scales.fits(middle, same, down));
    let norm = choose([
        small * (1.0 / scales.up),
        middle,
        large * (1.0 / scales.down),
    ]);
    let by = norm + 1e-6;
    let clipped = |yes, no| (by - max_norm).where_positive(yes, no);
    let down = tape.constant(scales.down);
    let factors = [
        choose([one, one, down]),
        tape.constant(max_norm) / choose([by, by, large]),
    ];
    let [a, b] = factors.map(|factor| clipped(factor, one));
    let finite = norm.finite();
    let b = (finite - 0.5).where_positive(b, tape.constant(f64::NAN));
    let results = [norm, a, b, counted(before, finite)];
    let clip = (0..3).map(|index| clip.part(index, 1));
    Reduce::new(Pointwise {
        name: Cow::Borrowed("clip_norm"),
        shape: vec![gradients.len],
        folded: 1,
        operands: vec![
            Operand::Float(View::new(gradients, [1])),
            Operand::Float(View::new(count, [0])),
        ],
        body: Arc::new(tape.finish(&[], &results)),
        elements: vec![],
        results: clip.chain([count]).map(|to| View::new(to, [])).collect(),
    })
}
