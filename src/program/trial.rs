//! Trials of recurrences: the operation itself over few steps and memory of its own, for devices that measure how they run it best.

use super::recurrent::GatesLayout;
use super::{
    PerDirection, Program, RecurrentBackward, RecurrentForward, RecurrentShape, RecurrentWeights,
    Segment, Slice, Zoneout,
};
use crate::CellRef;

/// The operands that both directions of time have.
#[derive(Clone, Copy)]
pub(crate) struct RecurrentOperands<'a> {
    pub(crate) cell: &'a CellRef,
    pub(crate) shape: RecurrentShape,
    pub(crate) segment: Segment,
    pub(crate) weights: RecurrentWeights,
    pub(crate) mask: Option<Slice>,
    pub(crate) zoneout: Option<Zoneout>,
    pub(crate) lengths: Option<Slice>,
}

/// The steps of a layer in either direction of time.
pub(crate) trait RecurrentOp: Sized {
    /// Says whether the pass walks the steps backwards.
    const BACKWARD: bool;

    fn operands(&self) -> RecurrentOperands<'_>;

    /// Says whether the pass keeps what a pass after it needs.
    fn keeps(&self) -> bool;

    /// The operation over all of a trial's steps and over tensors that it adds, without zoneout, lengths or states.
    fn in_trial(&self, trial: &mut TrialProgram) -> Self;
}

impl RecurrentOp for RecurrentForward {
    const BACKWARD: bool = false;

    fn operands(&self) -> RecurrentOperands<'_> {
        RecurrentOperands {
            cell: &self.cell,
            shape: self.shape,
            segment: self.segment,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            lengths: self.lengths,
        }
    }

    fn keeps(&self) -> bool {
        self.saved.is_some()
    }

    fn in_trial(&self, trial: &mut TrialProgram) -> Self {
        let (cell, shape) = (&self.cell, trial.shape);
        let rows = shape.rows();
        let saved_len = rows * shape.hidden * cell.saved();
        let inner_len = Self::inner_len(cell, &shape, self.weights.weight_hr.is_some());
        let mut tensor = |name: &str, len: usize| trial.program.tensor(name, &[len]);
        let kept = tensor("saved", saved_len + inner_len);
        Self {
            cell: cell.clone(),
            shape,
            segment: trial.segment,
            products: vec![],
            x_gates: tensor("x_gates", rows * cell.gates() * shape.hidden),
            weights: trial.weights,
            mask: trial.mask,
            zoneout: None,
            lengths: None,
            initial: None,
            last: tensor("last", shape.state_offset(cell.states())),
            y: tensor("y", rows * shape.output),
            inner: (inner_len > 0).then(|| kept.part(saved_len, inner_len)),
            saved: self.saved.map(|_| kept.part(0, saved_len)),
        }
    }
}

impl RecurrentOp for RecurrentBackward {
    const BACKWARD: bool = true;

    fn operands(&self) -> RecurrentOperands<'_> {
        RecurrentOperands {
            cell: &self.cell,
            shape: self.shape,
            segment: self.segment,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            lengths: self.lengths,
        }
    }

    fn keeps(&self) -> bool {
        false
    }

    fn in_trial(&self, trial: &mut TrialProgram) -> Self {
        let (cell, shape) = (&self.cell, trial.shape);
        let projected = self.weights.weight_hr.is_some();
        let states = shape.state_offset(cell.states());
        let sums = shape.directions * shape.batch * cell.diagonals() * shape.hidden;
        let mut tensor = |name: &str, len: usize| trial.program.tensor(name, &[len]);
        Self {
            cell: cell.clone(),
            shape,
            segment: trial.segment,
            weights: trial.weights,
            mask: trial.mask,
            zoneout: None,
            saved: tensor("saved", shape.rows() * shape.hidden * cell.saved()),
            d_y: tensor("d_y", shape.rows() * shape.output),
            lengths: None,
            d_state: tensor("d_state", states + sums),
            has_d_last: false,
            wants_initial: false,
            d_gates: tensor("d_gates", GatesLayout::new(cell, &shape, projected).len),
        }
    }
}

/// A program for a trial of either direction of time, with the tensors that both need.
pub(crate) struct TrialProgram {
    pub(crate) program: Program,
    pub(crate) shape: RecurrentShape,
    pub(crate) segment: Segment,
    pub(crate) weights: RecurrentWeights,
    pub(crate) mask: Option<Slice>,
}

impl TrialProgram {
    /// A trial of at most so many steps of an operation.
    pub(crate) fn new(op: &impl RecurrentOp, steps: usize) -> Self {
        let RecurrentOperands {
            cell,
            shape,
            weights: of,
            mask,
            ..
        } = op.operands();
        let gates = cell.gates() * shape.hidden;
        let RecurrentShape {
            batch,
            hidden,
            output,
            directions,
            ..
        } = shape;
        let shape = RecurrentShape {
            steps: shape.steps.min(steps),
            ..shape
        };
        let mut program = Program::new();
        let mut each = |name: &str, of: Option<PerDirection>, len: usize| {
            of.map(|_| PerDirection {
                first: program.tensor(name, &[directions, len]).part(0, len),
                stride: len,
            })
        };
        let weights = RecurrentWeights {
            weight_hh: each("weight_hh", Some(of.weight_hh), gates * output)
                .unwrap_or(of.weight_hh),
            bias_hh: each("bias_hh", of.bias_hh, gates),
            weight_hr: each("weight_hr", of.weight_hr, output * hidden),
            weight_diag: each("weight_diag", of.weight_diag, cell.diagonals() * hidden),
        };
        let mask_shape = [directions, batch, cell.gates(), output];
        let mask = mask.map(|_| program.tensor("mask", &mask_shape));
        Self {
            segment: Segment::whole(&shape),
            program,
            shape,
            weights,
            mask,
        }
    }
}

/// Operations that only a trial can run, as their tensors are nowhere.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::program::TensorId;

    const NOWHERE: Slice = Slice {
        tensor: TensorId(0),
        offset: 0,
        len: 0,
    };
    const WEIGHT: PerDirection = PerDirection {
        first: NOWHERE,
        stride: 0,
    };

    /// The steps of a cell, with a projection where P is not H.
    pub(crate) fn forward(cell: &CellRef, shape: RecurrentShape) -> RecurrentForward {
        let projected = shape.output != shape.hidden;
        RecurrentForward {
            cell: cell.clone(),
            shape,
            segment: Segment::whole(&shape),
            products: vec![],
            x_gates: NOWHERE,
            weights: RecurrentWeights {
                weight_hh: WEIGHT,
                bias_hh: Some(WEIGHT),
                weight_hr: projected.then_some(WEIGHT),
                weight_diag: None,
            },
            mask: None,
            zoneout: None,
            lengths: None,
            initial: None,
            last: NOWHERE,
            y: NOWHERE,
            inner: (projected || cell.has_late_gates()).then_some(NOWHERE),
            saved: Some(NOWHERE),
        }
    }

    /// The steps back, with masks where that is asked for.
    pub(crate) fn backward(of: &RecurrentForward, masked: bool) -> RecurrentBackward {
        RecurrentBackward {
            cell: of.cell.clone(),
            shape: of.shape,
            segment: of.segment,
            weights: of.weights,
            mask: masked.then_some(NOWHERE),
            zoneout: None,
            saved: NOWHERE,
            d_y: NOWHERE,
            lengths: None,
            d_state: NOWHERE,
            has_d_last: false,
            wants_initial: false,
            d_gates: NOWHERE,
        }
    }
}
