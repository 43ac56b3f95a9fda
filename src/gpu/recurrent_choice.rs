//! How the recurrence kernels run on an adapter.

use self::RecurrentWalk::{Device, Invocation, Workgroup};
use super::adapter::AdapterKind;
use crate::error::{Error, Result};
use crate::program::RecurrentShape;
use crate::tuning::Choice;

/// Who walks the steps of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecurrentWalk {
    /// Each step is a dispatch, or two, and all of the device works on it.
    Device,
    /// A workgroup walks the whole sequence of its batch rows, its invocations waiting for each other
    /// at every step: dispatches do not grow with T, but for a limit on the rounds of a dispatch.
    Workgroup,
    /// A single invocation walks it and waits for nobody: for layers of a few units.
    Invocation,
}

/// How the steps of a recurrent layer are cut into dispatches, workgroups and invocations.
///
/// The numbers do not depend on it: all ways add the same products in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecurrentChoice {
    /// Who walks the steps.
    pub walk: RecurrentWalk,
    /// Batch rows of an invocation, 1 to 16: each weight it loads serves them all.
    pub rows: usize,
    /// Neighbouring units of an invocation backwards, 1, 2 or 4: each input it loads serves them
    /// all. Forward it is the gates of one unit.
    pub outputs: usize,
    /// Whether the invocations of a subgroup load inputs for each other; those that walk by themselves cannot.
    pub subgroups: bool,
}

/// Invocations that load inputs for each other: `LANES` in `product_subgroup.wgsl`.
pub(crate) const SUBGROUP: u32 = 8;

/// G·H² up to which an invocation may walk the steps by itself; of P, where that is larger.
const INVOCATION_WEIGHTS: usize = 1024;

/// On a software adapter, G·H·P and rows up to which workgroups do better than the whole device.
const WORKGROUP_WEIGHTS: usize = 1 << 14;
const WORKGROUP_ROWS: usize = 8;

/// Inputs of a product are padded to a multiple of this.
pub(crate) const INPUTS: usize = 32;

impl Choice for RecurrentChoice {
    const FAMILY: &'static str = "recurrence";
    fn name(self) -> String {
        let walk = match self.walk {
            Device => "device",
            Workgroup => "workgroup",
            Invocation => "invocation",
        };
        let subgroups = if self.subgroups { " subgroups" } else { "" };
        format!("{walk} {} {}{subgroups}", self.rows, self.outputs)
    }
}

impl RecurrentChoice {
    /// A choice of these numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] for `rows` or `outputs` other than those named, and for `subgroups` with
    /// [`RecurrentWalk::Invocation`].
    pub fn new(walk: RecurrentWalk, rows: usize, outputs: usize, subgroups: bool) -> Result<Self> {
        let choice = Self {
            walk,
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
        if self.subgroups && self.walk == Invocation {
            let expected = "false where invocations walk by themselves";
            return Err(Error::argument("subgroups", true, expected));
        }
        Ok(())
    }

    /// Whether a step is short enough for a single invocation.
    fn suits_invocation(shape: &RecurrentShape, gates: usize) -> bool {
        gates * shape.hidden.max(shape.output).pow(2) <= INVOCATION_WEIGHTS
    }

    /// A single invocation for each row of a batch.
    fn by_invocation(shape: &RecurrentShape) -> Self {
        Self {
            walk: Invocation,
            rows: 1,
            // Of few units, most of a block of four were none.
            outputs: if shape.hidden.min(shape.output) < 8 {
                1
            } else {
                4
            },
            subgroups: false,
        }
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
        let rows = best.rows;
        let (walk, other) = match best.walk {
            Device => (Device, Workgroup),
            Workgroup | Invocation => (Workgroup, Device),
        };
        let on_software = [
            (other, rows, 2),
            (Device, 1, 1),
            (Device, 2, 4),
            (Device, 16, 4),
            (Device, 16, 2),
            (Device, 8, 4),
            (Device, 4, 4),
        ];
        // Fewer rows give more workgroups, more rows more work for each weight.
        let on_hardware = [
            (other, rows, 1),
            (walk, 1, 1),
            (other, 1, 1),
            (Device, 8, 1),
            (Device, 4, 4),
            (Workgroup, 2, 1),
            (Workgroup, 8, 1),
        ];
        let others = match kind {
            AdapterKind::Software => on_software,
            _ => on_hardware,
        };
        let others = others.into_iter().map(|(walk, rows, outputs)| Self {
            walk,
            rows,
            outputs,
            subgroups,
        });
        let invocation = Self::suits_invocation(shape, gates).then(|| Self::by_invocation(shape));
        let mut candidates = vec![best];
        for other in invocation.into_iter().chain(others) {
            if other.rows <= shape.batch.next_power_of_two() && !candidates.contains(&other) {
                candidates.push(other);
            }
        }
        candidates
    }

    /// The choice where nothing was measured: a function of the adapter's kind, the shape, the
    /// bytes of a weight and, on a software adapter, the processor's cores.
    pub(crate) fn of(
        kind: AdapterKind,
        subgroups: bool,
        shape: &RecurrentShape,
        gates: usize,
        weight_bytes: usize,
    ) -> Self {
        if kind == AdapterKind::Software {
            return Self::on_software(subgroups, shape, gates);
        }
        let weights = gates * shape.hidden * shape.output;
        // A workgroup streams all weights each step, at some 100 bytes a nanosecond, against some 5 µs for a dispatch.
        let small = weights * weight_bytes <= 400_000;
        Self {
            walk: if small { Workgroup } else { Device },
            // Idle lanes cost a GPU more than loads.
            rows: shape.batch.next_power_of_two().min(4),
            outputs: 1,
            subgroups,
        }
    }

    /// The choice on Mesa's llvmpipe, which pays for loads, and for a dispatch some 25 µs to wake its threads (measured).
    fn on_software(subgroups: bool, shape: &RecurrentShape, gates: usize) -> Self {
        if Self::suits_invocation(shape, gates) {
            return Self::by_invocation(shape);
        }
        let weights = gates * shape.hidden * shape.output;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let tiles = cores.div_ceil(shape.directions.max(1));
        let rows = shape.batch.div_ceil(tiles).max(1);
        if weights <= WORKGROUP_WEIGHTS && rows <= WORKGROUP_ROWS {
            return Self {
                walk: Workgroup,
                rows,
                // A workgroup has 32 invocations at least, of which none should be idle.
                outputs: if shape.hidden > 32 { 2 } else { 1 },
                subgroups,
            };
        }
        let rows = shape.batch.next_power_of_two().min(16);
        Self {
            walk: Device,
            rows,
            outputs: if rows > 1 { 4 } else { 1 },
            subgroups,
        }
    }
}
