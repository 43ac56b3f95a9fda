//! Maps: an expression at every element.

use super::Memory;
use super::pointwise::{Inputs, Outputs, PreparedBody, part_extent, parts_of};
use crate::expr::BLOCK;
use crate::program::{Pointwise, product};
use crate::rows::RowScalar;
use crate::threads;
use std::ops::Range;

/// y = f(x₁ … xₙ)
pub(super) fn map<F: RowScalar>(prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let PreparedBody {
        of, walk, elements, ..
    } = prepared;
    let inputs = Inputs::new(prepared, memory);
    let mut locked = prepared.lock(memory);
    let task = |range: Range<usize>, mut outputs: Outputs<'_, F>| {
        prepared.with_block(&inputs, |block| {
            for start in range.clone().step_by(BLOCK) {
                let range = start..(start + BLOCK).min(range.end);
                let elsewhere = walk.find(elements, range.clone(), &inputs, &outputs, block);
                block.evaluate(&of.body, &elements.schedule, range.len(), &elsewhere);
                drop(elsewhere);
                walk.store(&of.body.elements, range, &mut outputs, block);
            }
        });
    };
    let work = work(of) * walk.len();
    if threads::split(work, usize::MAX) > 1 {
        let (first, rest) = (of.shape[0], product(&of.shape[1..]));
        let (count, rows) = parts_of(first, rest);
        let part = |index: usize| index * rows..((index + 1) * rows).min(first);
        let extent = |output: usize, index: usize| {
            let (_, _, len) = prepared.outputs[output];
            part_extent(len, of.elements[output].strides[0], part(index), first)
        };
        if let Some(outputs) = locked.parts(count, extent) {
            let range = |index: usize| part(index).start * rest..part(index).end * rest;
            let tasks = outputs.into_iter().enumerate();
            return threads::for_each(tasks, |(index, outputs)| task(range(index), outputs));
        }
    }
    task(0..walk.len(), locked.whole());
}

/// What an element takes, as threads count work: memory counts more than arithmetic.
pub(super) fn work(of: &Pointwise) -> usize {
    of.body.nodes.len() + 4 * of.operands.len()
}
