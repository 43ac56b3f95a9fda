//! What a training program keeps between its passes.

use super::RecurrentConfig;
use super::stack::{Stack, Surroundings};
use crate::Device;
use crate::cell::LstmUnit;
use crate::nn::module::{Mode, Module, Value};
use crate::nn::parameters::Parameters;
use crate::program::{Op, Program, RecurrentForward, Role, TensorId};
use std::collections::BTreeSet;

const STEPS: usize = 5;
const BATCH: usize = 3;
const INPUTS: usize = 6;

/// The elements that the backward pass reads of those the forward pass wrote, and those that the cell's contract allows.
fn kept_and_allowed(stack: &Stack) -> (usize, usize) {
    let parameters = Parameters::new(&Device::cpu(), stack.parameters(), 1).unwrap();
    let mut program = Program::new();
    let values = parameters.external(&mut program);
    let gradients = program.external(1, "the gradients", parameters.flat().shape());
    let weights = parameters.slices(values, Some(gradients));
    let x = Value::new(&mut program, "x", &[STEPS, BATCH, INPUTS], false);
    let mode = Mode::new(&mut program, true, None, false);
    let around = Surroundings::default();
    let x_tensor = x.slice.tensor;
    program.keep(x_tensor);
    let (y, _, backward) = stack.emit(&mut program, &weights, x, around, mode);
    let (tensors, ops) = (program.tensors().len(), program.ops().len());
    if let Some(gradient) = y.gradient {
        program.keep(gradient.tensor);
    }
    backward(&mut program);
    program.check().unwrap();

    let read: BTreeSet<TensorId> = program.ops()[ops..]
        .iter()
        .flat_map(|op| match op {
            Op::RecurrentBackward(op) => vec![op.saved.tensor],
            Op::Gemm(op) => vec![op.a.tensor, op.b.tensor],
            Op::ColumnSum(op) => vec![op.input.tensor],
            other => panic!("{}: what does it read?", other.name()),
        })
        .collect();
    let kept = read
        .into_iter()
        .filter(|id| id.0 < tensors && *id != x_tensor)
        .map(|id| program.spec(id))
        .filter(|spec| !matches!(spec.role, Role::External(_)) && !spec.name.starts_with("d."))
        .map(|spec| spec.len())
        .sum();

    let shape = stack.shape(STEPS, BATCH);
    let rows = STEPS * BATCH * shape.directions;
    let inner = RecurrentForward::inner_len(&stack.cell, &shape, stack.proj_size.is_some());
    let layer = rows * (stack.cell.saved() * shape.hidden + shape.output) + inner;
    (kept, stack.layers * layer)
}

/// K·T·B·H saved values a direction and y, which is there anyway; with a projection or late gates also what their product takes.
#[test]
fn the_backward_pass_reads_no_more_of_the_forward_pass_than_the_contract_says() {
    for cell in crate::CellRef::builtin() {
        for (layers, bidirectional) in [(1, false), (1, true), (3, true)] {
            let config = RecurrentConfig::<LstmUnit>::new(INPUTS, 7);
            let config = config.layers(layers).bidirectional(bidirectional);
            let mut stack = config.stack().unwrap();
            stack.cell = cell.clone();
            let (kept, allowed) = kept_and_allowed(&stack);
            assert!(kept > 0, "{cell:?}: it saves nothing");
            assert!(kept <= allowed, "{cell:?}: {kept}, allowed {allowed}");
        }
    }
    let projected = RecurrentConfig::<LstmUnit>::new(INPUTS, 7).proj_size(4);
    let (kept, allowed) = kept_and_allowed(&projected.stack().unwrap());
    assert!(kept <= allowed, "projected: {kept}, allowed {allowed}");
}
