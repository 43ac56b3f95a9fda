//! Maps: an expression at every element.

use super::pointwise::{Inputs, Locked, Outputs, PreparedBody, Walk, part_extent, parts_of};
use super::Memory;
use crate::threads;
use crate::rows::RowScalar;
use crate::expr::BLOCK;
use crate::program::{Map, Pointwise, product};
use std::ops::Range;

/// y = f(x₁ … xₙ)
pub(super) fn map<F: RowScalar>(op: &Map, prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let of = &op.0;
    let inputs = Inputs::new(of, memory);
    let mut locked = Locked::new(of, memory);
    let walk = Walk::new(of);
    let task = |range: Range<usize>, mut outputs: Outputs<'_, F>| {
        prepared.with_block(of, |block| {
            for start in range.clone().step_by(BLOCK) {
                let range = start..(start + BLOCK).min(range.end);
                let nodes = &prepared.elements[..];
                walk.load((of, nodes), range.clone(), &inputs, &outputs, block);
                block.evaluate(&of.body, nodes, range.len());
                walk.store(of, range, &mut outputs, block);
            }
        });
    };
    let rest = product(of.shape.get(1..).unwrap_or(&[]));
    let work = work(of) * walk.len();
    if threads::split(work, usize::MAX) > 1 {
        let first = of.shape[0];
        let (count, rows) = parts_of(first, rest);
        let part = |index: usize| index * rows..((index + 1) * rows).min(first);
        let extent = |output: usize, index: usize| {
            let view = &of.elements[output];
            let len = view.extent(&of.shape).len;
            part_extent(len, view.strides[0], part(index), first)
        };
        if let Some(outputs) = locked.parts(count, extent) {
            let range = |index: usize| part(index).start * rest..part(index).end * rest;
            let tasks = outputs.into_iter().enumerate().collect();
            return threads::for_each(tasks, |(index, outputs)| task(range(index), outputs));
        }
    }
    task(0..walk.len(), locked.whole());
}

/// What an element takes, as threads count work: memory counts more than arithmetic.
pub(super) fn work(of: &Pointwise) -> usize {
    of.body.nodes.len() + 4 * of.operands.len()
}
