//! What the steps of a recurrence hand on: states, with h's rows padded, and what the backward pass
//! adds.

use super::GROUP;
use crate::error::Result;
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

/// Memory of a step before and a step after, which change places at every step: two buffers, as a
/// dispatch cannot read as vectors what it writes, or two halves of one where a dispatch does many
/// steps.
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

    /// Makes `states` what the first step takes.
    pub(super) fn load(&self, plan: &mut PlanBuilder<'_>, states: Slice) -> Result<()> {
        let layout = self.layout;
        let params = CarryParams {
            rows: layout.rows as u32,
            width: layout.width as u32,
            from_at: states.offset as u32,
            from_width: layout.width as u32,
            to_at: 0,
            to_width: layout.h_width as u32,
            rest: layout.states as u32,
            len: layout.len as u32,
        };
        let from = plan.buffer(states.tensor);
        self.shift(plan, from, &self.buffers[0], params)
    }

    /// The memory of a step, counted from 0. `loaded`: whether the first step takes any states.
    pub(super) fn of_step(&self, plan: &PlanBuilder<'_>, step: usize, loaded: bool) -> StepMemory {
        let fresh = step == 0 && !loaded;
        let (now, next) = (step % 2, (step + 1) % 2);
        if !self.by_device {
            return StepMemory {
                before: plan.read_or_unused(None),
                after: self.buffers[0].clone(),
                take_at: (now * self.layout.len) as u32,
                leave_at: (next * self.layout.len) as u32,
                fresh,
            };
        }
        StepMemory {
            before: self.buffers[now].clone(),
            after: self.buffers[next].clone(),
            take_at: 0,
            leave_at: 0,
            fresh,
        }
    }

    /// What the first `steps` steps leave, for a dispatch that writes to `to`.
    pub(super) fn after_steps(
        &self,
        plan: &PlanBuilder<'_>,
        steps: usize,
        to: Slice,
    ) -> StepMemory {
        let half = steps % 2;
        let (before, take_at) = if self.by_device {
            (half, 0)
        } else {
            (0, half * self.layout.len)
        };
        StepMemory {
            before: self.buffers[before].clone(),
            after: plan.buffer(to.tensor).clone(),
            take_at: take_at as u32,
            leave_at: to.offset as u32,
            fresh: false,
        }
    }

    /// Writes the states, and the sums behind them, as the first `steps` steps leave them.
    pub(super) fn store(
        &self,
        plan: &mut PlanBuilder<'_>,
        steps: usize,
        states: Slice,
    ) -> Result<()> {
        let layout = self.layout;
        let memory = self.after_steps(plan, steps, states);
        let rest = layout.states + layout.sums;
        let params = CarryParams {
            rows: layout.rows as u32,
            width: layout.width as u32,
            from_at: memory.take_at,
            from_width: layout.h_width as u32,
            to_at: memory.leave_at,
            to_width: layout.width as u32,
            rest: rest as u32,
            len: (layout.rows * layout.width + rest) as u32,
        };
        self.shift(plan, &memory.before, &memory.after, params)
    }

    fn shift(
        &self,
        plan: &mut PlanBuilder<'_>,
        from_states: &wgpu::Buffer,
        to_states: &wgpu::Buffer,
        params: CarryParams,
    ) -> Result<()> {
        let kernel = Shift {
            from_states,
            to_states,
        };
        let workgroups = plan.workgroups((params.len as usize).div_ceil(GROUP), 1)?;
        plan.dispatch(&kernel, &Variant::default(), params, workgroups)
    }
}
