//! What the steps of a recurrence hand on: states, with h's rows padded, and what the backward pass adds.

use super::GROUP;
use crate::error::Result;
use crate::gpu::compose::EACH_INVOCATION;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program::Slice;

kernel! {
    /// States moved between a tensor and the memory that a step hands them on in
    Shift = "carry", CarryParams {
        rows: u32, width: u32, from_at: u32, from_width: u32, to_at: u32, to_width: u32, rest: u32, len: u32,
    }
    bindings { from_states: Read, to_states: ReadWrite }
    libraries [EACH_INVOCATION]
}

/// Where things are in a carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CarryLayout {
    /// Rows of h, D·B.
    pub(super) rows: usize,
    /// Elements of a row of h, P.
    pub(super) width: usize,
    /// Elements of a row of h with its padding.
    pub(super) h_width: usize,
    /// The elements of the other states.
    pub(super) states: usize,
    /// The elements behind the states that are results too.
    pub(super) sums: usize,
    /// All elements, a multiple of 4.
    pub(super) len: usize,
}

/// Memory of a step before and a step after, which change places at every step: two buffers, as a dispatch cannot read as vectors
/// what it writes, or two halves of one where a dispatch does many steps.
#[derive(Clone, Debug)]
pub(super) struct Carry {
    layout: CarryLayout,
    by_device: bool,
    /// New memory is zero, and nothing ever writes to the padding.
    buffers: Vec<wgpu::Buffer>,
}

/// The memory of one step, and where in the buffers it is.
pub(super) struct StepMemory {
    pub(super) before: wgpu::Buffer,
    pub(super) after: wgpu::Buffer,
    pub(super) take_at: u32,
    pub(super) leave_at: u32,
    /// Whether the step takes zeros instead.
    pub(super) fresh: bool,
}

impl Carry {
    /// The memory for a layout: what another operation of the plan has, if there is one.
    pub(super) fn new(
        plan: &mut PlanBuilder<'_>,
        by_device: bool,
        layout: CarryLayout,
    ) -> Result<Self> {
        let fits = |carry: &Self| carry.layout == layout && carry.by_device == by_device;
        if let Some(known) = plan.memo.find(fits) {
            return Ok(known.clone());
        }
        let (count, len) = if by_device {
            (2, layout.len)
        } else {
            (1, 2 * layout.len)
        };
        let buffers = (0..count)
            .map(|_| plan.lasting("what steps hand on", len))
            .collect::<Result<_>>()?;
        let carry = Self {
            layout,
            by_device,
            buffers,
        };
        plan.memo.keep(carry.clone(), vec![]);
        Ok(carry)
    }

    /// Where the first `steps` steps leave their numbers.
    fn after(&self, steps: usize) -> (&wgpu::Buffer, u32) {
        match (self.by_device, steps % 2) {
            (true, half) => (&self.buffers[half], 0),
            (false, half) => (&self.buffers[0], (half * self.layout.len) as u32),
        }
    }

    /// The memory of a step, counted from 0. `loaded`: whether the first step takes any states.
    pub(super) fn of_step(&self, plan: &PlanBuilder<'_>, step: usize, loaded: bool) -> StepMemory {
        let (before, take_at) = self.after(step);
        let (after, leave_at) = self.after(step + 1);
        StepMemory {
            before: match self.by_device {
                true => before.clone(),
                false => plan.read_or_unused(None),
            },
            after: after.clone(),
            take_at,
            leave_at,
            fresh: step == 0 && !loaded,
        }
    }

    /// What the first `steps` steps leave, for a dispatch that writes to `to`.
    pub(super) fn after_steps(
        &self,
        plan: &PlanBuilder<'_>,
        steps: usize,
        to: Slice,
    ) -> StepMemory {
        let (before, take_at) = self.after(steps);
        StepMemory {
            before: before.clone(),
            after: plan.buffer(to.tensor).clone(),
            take_at,
            leave_at: to.offset as u32,
            fresh: false,
        }
    }

    /// Makes `states` what the first step takes.
    pub(super) fn load(&self, plan: &mut PlanBuilder<'_>, states: Slice) -> Result<()> {
        let CarryLayout { width, h_width, .. } = self.layout;
        let from = (plan.buffer(states.tensor), states.offset as u32, width);
        let to = (self.after(0).0, 0, h_width);
        self.shift(plan, from, to, (self.layout.states, self.layout.len))
    }

    /// Writes the states, and the sums behind them, as the first `steps` steps leave them.
    pub(super) fn store(
        &self,
        plan: &mut PlanBuilder<'_>,
        steps: usize,
        states: Slice,
    ) -> Result<()> {
        let CarryLayout {
            rows,
            width,
            h_width,
            ..
        } = self.layout;
        let rest = self.layout.states + self.layout.sums;
        let (from, at) = self.after(steps);
        let to = (plan.buffer(states.tensor), states.offset as u32, width);
        self.shift(plan, (from, at, h_width), to, (rest, rows * width + rest))
    }

    /// Moves states between buffers, each with where they start and the elements of a row of h. `rest`: the elements behind h,
    /// `len`: all that are written.
    fn shift(
        &self,
        plan: &mut PlanBuilder<'_>,
        from: (&wgpu::Buffer, u32, usize),
        to: (&wgpu::Buffer, u32, usize),
        (rest, len): (usize, usize),
    ) -> Result<()> {
        let kernel = Shift {
            from_states: from.0,
            to_states: to.0,
        };
        let params = CarryParams {
            rows: self.layout.rows as u32,
            width: self.layout.width as u32,
            from_at: from.1,
            from_width: from.2 as u32,
            to_at: to.1,
            to_width: to.2 as u32,
            rest: rest as u32,
            len: len as u32,
        };
        let workgroups = plan.workgroups(len.div_ceil(GROUP), 1)?;
        plan.dispatch(&kernel, &Variant::default(), params, workgroups)
    }
}
