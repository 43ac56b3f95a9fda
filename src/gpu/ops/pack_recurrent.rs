//! What is constant over a sequence, packed into one buffer, once a run: operations that take the same find it packed.

use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program::{PerDirection, Slice, TensorId};

kernel! {
    /// `[D][G·U, K]` to `[D, K, U, G]`, `[D][G·U]` to `[D, U, G]`, then `[D, V, U]` and `[D, B, G, K]` as they are
    PackRecurrent = "pack_recurrent", PackRecurrentParams {
        units: u32, inputs: u32, gates: u32, directions: u32, diagonals: u32, weight: u32, weight_stride: u32,
        bias: u32, bias_stride: u32, has_bias: u32, diagonal: u32, diagonal_stride: u32, mask: u32,
        weights_len: u32, biases_len: u32, diagonals_len: u32, len: u32,
    }
    bindings { weight: Read, bias: Read, diagonal: Read, mask: Read, packed: ReadWrite }
}

/// What to pack.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constants {
    /// U: rows of a gate.
    pub(super) units: usize,
    /// K: columns.
    pub(super) inputs: usize,
    /// G
    pub(super) gates: usize,
    /// D
    pub(super) directions: usize,
    /// V
    pub(super) diagonals: usize,
    /// `[D][G·U, K]`
    pub(super) weight: Option<PerDirection>,
    /// `[D][G·U]`; where absent there are zeros in its place if there are weights.
    pub(super) bias: Option<PerDirection>,
    /// `[D][V·U]`
    pub(super) diagonal: Option<PerDirection>,
    /// `[D, B, G, K]`
    pub(super) mask: Option<Slice>,
}

/// What a plan's operations so far have packed.
#[derive(Debug, Default)]
pub(crate) struct Packings {
    known: Vec<(Constants, Packed)>,
}

impl Packings {
    /// Forgets what was made of tensors that an operation has written.
    pub(crate) fn forget(&mut self, written: &[TensorId]) {
        let stands = |of: &Option<Slice>| of.is_none_or(|of| !written.contains(&of.tensor));
        self.known.retain(|(constants, _)| {
            let of = [constants.weight, constants.bias, constants.diagonal];
            let of = of.map(|weight| weight.map(|weight| weight.first));
            of.iter().chain([&constants.mask]).all(stands)
        });
    }
}

/// The buffer, and where in it each part starts.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) buffer: wgpu::Buffer,
    pub(super) bias: u32,
    pub(super) diagonal: u32,
    pub(super) mask: u32,
}

impl Constants {
    pub(super) fn pack(self, plan: &mut PlanBuilder<'_>) -> Result<Packed> {
        let known = plan.packings.known.iter().find(|(of, _)| *of == self);
        if let Some((_, packed)) = known {
            return Ok(packed.clone());
        }
        let packed = self.pack_anew(plan)?;
        plan.packings.known.push((self, packed.clone()));
        Ok(packed)
    }

    fn pack_anew(&self, plan: &mut PlanBuilder<'_>) -> Result<Packed> {
        let rows = self.directions * self.units * self.gates;
        let (weights_len, biases_len) = match self.weight {
            Some(_) => (rows * self.inputs, rows),
            None => (0, 0),
        };
        let diagonals_len = self.directions * self.units * self.diagonals;
        let mask_at = weights_len + biases_len + diagonals_len;
        let len = mask_at + self.mask.map_or(0, |mask| mask.len);
        let buffer = plan.lasting("packed recurrent weights", len.max(1))?;
        let first = |weight: Option<PerDirection>| weight.map(|weight| weight.first);
        let stride = |weight: Option<PerDirection>| weight.map_or(0, |weight| weight.stride as u32);
        let kernel = PackRecurrent {
            weight: &plan.read_or_unused(first(self.weight)),
            bias: &plan.read_or_unused(first(self.bias)),
            diagonal: &plan.read_or_unused(first(self.diagonal)),
            mask: &plan.read_or_unused(self.mask),
            packed: &buffer,
        };
        let params = PackRecurrentParams {
            units: self.units as u32,
            inputs: self.inputs as u32,
            gates: self.gates as u32,
            directions: self.directions as u32,
            diagonals: self.diagonals as u32,
            weight: offset(first(self.weight)),
            weight_stride: stride(self.weight),
            bias: offset(first(self.bias)),
            bias_stride: stride(self.bias),
            has_bias: flag(self.bias.is_some()),
            diagonal: offset(first(self.diagonal)),
            diagonal_stride: stride(self.diagonal),
            mask: offset(self.mask),
            weights_len: weights_len as u32,
            biases_len: biases_len as u32,
            diagonals_len: diagonals_len as u32,
            len: len as u32,
        };
        let workgroups = plan.workgroups(len.div_ceil(GROUP), 1)?;
        plan.dispatch(&kernel, &Variant::default(), params, workgroups)?;
        Ok(Packed {
            bias: weights_len as u32,
            diagonal: (weights_len + biases_len) as u32,
            mask: mask_at as u32,
            buffer,
        })
    }
}
