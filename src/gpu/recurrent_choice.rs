//! How the recurrence kernels run on an adapter.

use super::adapter::AdapterKind;
use super::tuner::Choice;
use crate::error::{Error, Result};
use crate::program::RecurrentShape;

/// How the steps of a recurrent layer are cut into dispatches, workgroups and invocations.
///
/// The numbers do not depend on it: all ways add the same products in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecurrentChoice {
    /// Whether a workgroup walks the whole sequence of its batch rows, so that the dispatches do not grow with T (but for a limit on the
    /// rounds of a dispatch). Else each step is a dispatch, or two, and all of the device works on it.
    pub resident: bool,
    /// Batch rows of an invocation, 1 to 16: each weight it loads serves them all.
    pub rows: usize,
    /// Neighbouring units of an invocation backwards, 1, 2 or 4: each input it loads serves them all. Forward it is the gates of one unit.
    pub outputs: usize,
    /// Whether the invocations of a subgroup load inputs for each other.
    pub subgroups: bool,
}

/// Invocations that load inputs for each other: `LANES` in `product_subgroup.wgsl`.
pub(crate) const SUBGROUP: u32 = 8;

/// Inputs of a product are padded to a multiple of this.
pub(crate) const INPUTS: usize = 32;

impl Choice for RecurrentChoice {
    const FAMILY: &'static str = "recurrence";
    fn name(self) -> String {
        let how = if self.resident {
            "resident"
        } else {
            "stepwise"
        };
        let subgroups = if self.subgroups { " subgroups" } else { "" };
        format!("{how} {} {}{subgroups}", self.rows, self.outputs)
    }
}

impl RecurrentChoice {
    /// Resident or not, with the other numbers as they suit an adapter by and large.
    ///
    /// # Errors
    /// [`Error::Argument`] for `rows` or `outputs` other than those named.
    pub fn new(resident: bool, rows: usize, outputs: usize, subgroups: bool) -> Result<Self> {
        let choice = Self {
            resident,
            rows,
            outputs,
            subgroups,
        };
        choice.check()?;
        Ok(choice)
    }

    /// Whether there are kernels for the numbers.
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=16).contains(&self.rows) {
            return Err(Error::argument("rows", self.rows, "1 to 16"));
        }
        if ![1, 2, 4].contains(&self.outputs) {
            return Err(Error::argument("outputs", self.outputs, "1, 2 or 4"));
        }
        Ok(())
    }

    /// What the tuner chooses from, the best guess first.
    pub(crate) fn candidates(
        kind: AdapterKind,
        subgroups: bool,
        shape: &RecurrentShape,
        gates: usize,
        weight_bytes: usize,
    ) -> Vec<Self> {
        let best = Self::of(kind, subgroups, shape, gates, weight_bytes);
        let Self { resident, rows, .. } = best;
        let others: &[_] = if kind == AdapterKind::Software {
            &[(false, 16, 4), (false, 16, 2), (false, 8, 4), (false, 4, 4)]
        } else {
            // Fewer rows give more workgroups, more rows more work for each weight.
            &[
                (!resident, rows, 1),
                (resident, 1, 1),
                (!resident, 1, 1),
                (false, 8, 1),
                (false, 4, 4),
                (true, 2, 1),
                (true, 8, 1),
            ]
        };
        let mut candidates = vec![best];
        for (resident, rows, outputs) in others {
            let other = Self {
                resident: *resident,
                rows: *rows,
                outputs: *outputs,
                subgroups,
            };
            if other.rows <= shape.batch.next_power_of_two() && !candidates.contains(&other) {
                candidates.push(other);
            }
        }
        candidates
    }

    /// The choice where nothing was measured: a function of the adapter's kind, the shape and the bytes of a weight alone.
    pub(crate) fn of(
        kind: AdapterKind,
        subgroups: bool,
        shape: &RecurrentShape,
        gates: usize,
        weight_bytes: usize,
    ) -> Self {
        let software = kind == AdapterKind::Software;
        // A software adapter pays for loads, a GPU for idle lanes.
        let most = if software { 16 } else { 4 };
        let rows = most.min(shape.batch.next_power_of_two());
        let weights = gates * shape.hidden * shape.output;
        // A workgroup streams all weights each step, at some 100 bytes a nanosecond, against some 5 µs for a dispatch. Software adapters: Mesa's
        // llvmpipe compiles kernels with barriers for minutes.
        let resident = !software && weights * weight_bytes <= 400_000;
        Self {
            resident,
            rows,
            outputs: if software && rows > 1 { 4 } else { 1 },
            subgroups,
        }
    }
}
