//! What is constant over a sequence, packed into one buffer, once until it changes: operations that take the same find it packed.

use super::input_product::InputWeights;
use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::compose::{EACH_INVOCATION, HALF};
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::INPUTS;
use crate::program::{PerDirection, RecurrentShape, RecurrentWeights, Slice, TensorId};

kernel! {
    /// Weights of the recurrence, the projection and the inputs, biases, diagonal weights and mask,
    /// as the recurrence kernels read them
    PackRecurrent = "pack_recurrent", PackRecurrentParams {
        units: u32, inputs: u32, gates: u32, projected_units: u32, projected_inputs: u32, diagonals: u32,
        weight: u32, weight_stride: u32, projection: u32, projection_stride: u32, bias: u32, bias_stride: u32, has_bias: u32,
        diagonal: u32, diagonal_stride: u32, mask: u32, mask_inputs: u32, mask_width: u32,
        input: u32, input_stride: u32, input_bias: u32, input_bias_stride: u32, has_input_bias: u32, layer_inputs: u32,
        projection_at: u32, bias_at: u32, diagonal_at: u32, mask_at: u32, input_at: u32, input_end: u32, len: u32,
    }
    bindings { weight: Read, projection: Read, bias: Read, diagonal: Read, mask: Read, input: Read, packed: ReadWrite }
    libraries [EACH_INVOCATION, HALF]
    overrides ["TRANSPOSED", "HALF"]
}

/// What to pack, and which way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constants {
    pub(super) shape: RecurrentShape,
    /// G
    pub(super) gates: usize,
    /// V
    pub(super) diagonals: usize,
    pub(super) weights: RecurrentWeights,
    /// `[D, B, G, P]`
    pub(super) mask: Option<Slice>,
    /// The weights of the inputs, where the steps take their product too.
    pub(super) input: Option<InputWeights>,
    /// Whether they are packed for the backward pass.
    pub(super) transposed: bool,
}

/// The buffer, and where in it each part starts: the projection in vectors of 4 weights, the others in words.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) buffer: wgpu::Buffer,
    pub(super) projection: u32,
    pub(super) bias: u32,
    pub(super) diagonal: u32,
    pub(super) mask: u32,
    pub(super) input: u32,
}

impl Constants {
    pub(super) fn pack(self, plan: &mut PlanBuilder<'_>) -> Result<Packed> {
        if let Some((_, packed)) = plan.memo.find(|(of, _): &(Self, Packed)| *of == self) {
            return Ok(packed.clone());
        }
        let packed = self.pack_anew(plan)?;
        let sources = self.sources();
        plan.memo.keep((self, packed.clone()), sources);
        Ok(packed)
    }

    /// The tensors that are packed.
    fn sources(&self) -> Vec<TensorId> {
        let weights = &self.weights;
        let bias = weights.bias_hh.filter(|_| !self.transposed);
        let input = self.input.map(|input| input.weight_ih);
        let weights = [
            Some(weights.weight_hh),
            bias,
            weights.weight_hr,
            weights.weight_diag,
            input,
        ];
        let weights = weights.map(|weight| weight.map(|weight| weight.first));
        let all = weights.into_iter().chain([self.mask]).flatten();
        all.map(|slice| slice.tensor).collect()
    }

    fn pack_anew(&self, plan: &mut PlanBuilder<'_>) -> Result<Packed> {
        let RecurrentShape {
            batch,
            hidden,
            output,
            directions,
            ..
        } = self.shape;
        let RecurrentWeights {
            weight_hh,
            bias_hh,
            weight_hr,
            weight_diag,
        } = self.weights;
        let padded = |inputs: usize| inputs.next_multiple_of(INPUTS);
        // Units and inputs as a pass sees them.
        let ((units, inputs), (projected_units, projected_inputs)) = if self.transposed {
            ((output, hidden), (hidden, output))
        } else {
            ((hidden, output), (output, hidden))
        };
        let columns = |units: usize| match self.transposed {
            true => units.next_multiple_of(4),
            false => units,
        };
        let projection_at = directions * self.gates * padded(inputs) * columns(units);
        let projected = directions * padded(projected_inputs) * columns(projected_units);
        let elements = projection_at + weight_hr.map_or(0, |_| projected);
        // Words: of what comes before, two f16 take one.
        let bias_at = if plan.half { elements / 2 } else { elements };
        let biases = directions * self.gates * hidden;
        let diagonal_at = bias_at + if self.transposed { 0 } else { biases };
        let diagonals = directions * self.diagonals * hidden;
        // The mask is read in vectors of 4.
        let mask_at = (diagonal_at + diagonals).next_multiple_of(4);
        let mask_width = if self.transposed {
            output
        } else {
            padded(output)
        };
        let masked = self.mask.map_or(0, |_| directions * batch * self.gates);
        let input_at = mask_at + masked * mask_width;
        // The bias is a row more.
        let input_rows = self.input.map_or(0, |input| input.inputs + 1);
        let input_end = input_at + directions * input_rows * self.gates * hidden;
        let len = input_end.next_multiple_of(4);
        let buffer = plan.lasting("packed recurrent weights", len)?;
        let first = |weight: Option<PerDirection>| weight.map(|weight| weight.first);
        let stride = |weight: Option<PerDirection>| weight.map_or(0, |weight| weight.stride as u32);
        let bias = bias_hh.filter(|_| !self.transposed);
        let input = self.input.map(|input| input.weight_ih);
        let input_bias = self.input.and_then(|input| input.bias_ih);
        let kernel = PackRecurrent {
            weight: plan.buffer(weight_hh.first.tensor),
            projection: &plan.read_or_unused(first(weight_hr)),
            bias: &plan.read_or_unused(first(bias)),
            diagonal: &plan.read_or_unused(first(weight_diag)),
            mask: &plan.read_or_unused(self.mask),
            input: &plan.read_or_unused(first(input)),
            packed: &buffer,
        };
        let params = PackRecurrentParams {
            units: units as u32,
            inputs: inputs as u32,
            gates: self.gates as u32,
            projected_units: projected_units as u32,
            projected_inputs: projected_inputs as u32,
            diagonals: (self.diagonals * hidden) as u32,
            weight: weight_hh.first.offset as u32,
            weight_stride: weight_hh.stride as u32,
            projection: offset(first(weight_hr)),
            projection_stride: stride(weight_hr),
            bias: offset(first(bias)),
            bias_stride: stride(bias),
            has_bias: flag(bias.is_some()),
            diagonal: offset(first(weight_diag)),
            diagonal_stride: stride(weight_diag),
            mask: offset(self.mask),
            mask_inputs: output as u32,
            mask_width: mask_width as u32,
            input: offset(first(input)),
            input_stride: stride(input),
            input_bias: offset(first(input_bias)),
            input_bias_stride: stride(input_bias),
            has_input_bias: flag(input_bias.is_some()),
            layer_inputs: self.input.map_or(0, |input| input.inputs as u32),
            projection_at: projection_at as u32,
            bias_at: bias_at as u32,
            diagonal_at: diagonal_at as u32,
            mask_at: mask_at as u32,
            input_at: input_at as u32,
            input_end: input_end as u32,
            len: len as u32,
        };
        let overrides = [("TRANSPOSED", self.transposed), ("HALF", plan.half)];
        let overrides = overrides
            .map(|(name, set)| (name, f64::from(flag(set))))
            .to_vec();
        let variant = Variant {
            overrides,
            ..Variant::default()
        };
        let workgroups = plan.workgroups(len.div_ceil(GROUP), 1)?;
        plan.dispatch_once(&kernel, &variant, params, workgroups, self.sources())?;
        Ok(Packed {
            projection: (projection_at / 4) as u32,
            bias: bias_at as u32,
            diagonal: diagonal_at as u32,
            mask: (mask_at / if self.transposed { 1 } else { 4 }) as u32,
            input: input_at as u32,
            buffer,
        })
    }
}
