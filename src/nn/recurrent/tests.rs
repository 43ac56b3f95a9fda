//! What a training program keeps between its passes.

use super::config::Stack;
use super::stack_model::{Call, StackModel};
use crate::Device;
use crate::nn::{Lstm, Recurrent};
use crate::program::{Map, Op, Operand, Pointwise, RecurrentForward, Reduce, Role, TensorId};
use std::collections::BTreeSet;

const CALL: Call = Call {
    steps: 5,
    batch: 3,
    lengths: false,
    random: false,
    initial: false,
    gradient: true,
    d_last: false,
};
const INPUTS: usize = 6;

/// The tensors that an operation of a backward pass reads.
fn read(op: &Op) -> Vec<TensorId> {
    match op {
        Op::RecurrentBackward(op) => vec![op.saved.tensor, op.d_y.tensor],
        Op::Gemm(op) => vec![op.a.tensor, op.b.tensor],
        Op::Map(Map(Pointwise { operands, .. }))
        | Op::Reduce(Reduce(Pointwise { operands, .. })) => {
            let views = operands.iter().map(|operand| match operand {
                Operand::Float(view) | Operand::Whole(view) => view.tensor,
                other => panic!("{other:?}: what does it read?"),
            });
            views.collect()
        }
        other => panic!("{}: what does it read?", other.name()),
    }
}

/// The elements that the backward pass reads of those the forward pass wrote, and those that the cell's contract allows.
fn kept_and_allowed(stack: Stack) -> (usize, usize) {
    let model = StackModel::new(&Device::cpu(), stack, 1).unwrap();
    let compiled = model.compile(CALL).unwrap();
    let program = compiled.executable.program();
    let ops = program.ops();
    let last = ops
        .iter()
        .rposition(|op| matches!(op, Op::RecurrentForward(_)));
    let (forward, backward) = ops.split_at(last.unwrap() + 1);
    let written: BTreeSet<_> = forward.iter().flat_map(|op| program.written(op)).collect();
    let read: BTreeSet<_> = backward.iter().flat_map(read).collect();
    let kept = read.intersection(&written).map(|id| program.spec(*id));
    let kept = kept.filter(|spec| !matches!(spec.role, Role::External(_)));
    let kept = kept.map(|spec| spec.len()).sum();

    let stack = model.stack();
    let shape = stack.options.shape(CALL.steps, CALL.batch);
    let rows = shape.rows();
    let inner = RecurrentForward::inner_len(&stack.cell, &shape, stack.options.proj_size.is_some());
    let layer = rows * (stack.cell.saved() * shape.hidden + shape.output) + inner;
    (kept, stack.options.layers * layer)
}

/// K·T·B·H saved values a direction and y, which is there anyway; with a projection or late gates also what their product takes.
#[test]
fn the_backward_pass_reads_no_more_of_the_forward_pass_than_the_contract_says() {
    for cell in crate::CellRef::builtin() {
        for (layers, bidirectional) in [(1, false), (1, true), (3, true)] {
            let config: Lstm = Recurrent::new(INPUTS, 7);
            let config = config.layers(layers).bidirectional(bidirectional);
            let mut stack = config.stack(INPUTS).unwrap();
            stack.cell = cell.clone();
            let (kept, allowed) = kept_and_allowed(stack);
            assert!(kept > 0, "{cell:?}: it saves nothing");
            assert!(kept <= allowed, "{cell:?}: {kept}, allowed {allowed}");
        }
    }
    let projected = Lstm::new(INPUTS, 7).proj_size(4);
    let (kept, allowed) = kept_and_allowed(projected.stack(INPUTS).unwrap());
    assert!(
        kept > 0 && kept <= allowed,
        "projected: {kept}, allowed {allowed}"
    );
}
