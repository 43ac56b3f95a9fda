//! Sums over rows, in a fixed order.

use super::map::work;
use super::pointwise::{Inputs, Locked, Outputs, PART, PreparedBody, Walk, part_extent, parts_of};
use super::row::{folded, rows};
use super::Memory;
use crate::threads;
use crate::rows::RowScalar;
use crate::expr::{BLOCK, Block, Fold};
use crate::program::{Operand, Pointwise, Reduce, product};
use std::ops::Range;

/// Σ over the last axes, and what is computed for every element on the way.
pub(super) fn reduce<F: RowScalar>(op: &Reduce, prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let of = &op.0;
    let done = if along_columns(of) {
        columns(of, prepared, memory);
        true
    } else {
        of.folded == of.shape.len() && of.len() > PART && in_parts(of, prepared, memory)
    };
    if !done {
        rows(of, prepared, memory);
    }
}

/// Whether neighbours in memory are neighbours among the sums.
fn along_columns(of: &Pointwise) -> bool {
    let (kept, _) = of.split_shape();
    let (Some(inner), true) = (kept.len().checked_sub(1), of.elements.is_empty()) else {
        return false;
    };
    let last = of.shape.len() - 1;
    let view = of.operands.iter().find_map(Operand::float);
    view.is_some_and(|view| kept[inner] > 1 && view.strides[inner] == 1 && view.strides[last] != 1)
}

/// One long row: parts of it on all threads, their sums added in order. False where the outputs of parts are not apart.
fn in_parts<F: RowScalar>(of: &Pointwise, prepared: &PreparedBody<F>, memory: &Memory<'_, F>) -> bool {
    let inputs = Inputs::new(of, memory);
    let mut locked = Locked::new(of, memory);
    let walk = Walk::new(of);
    let Some((turn, nodes)) = prepared.turns.first() else {
        return false;
    };
    let (first, rest) = (of.shape[0], product(&of.shape[1..]));
    let (count, places) = parts_of(first, rest);
    let part = |index: usize| index * places..((index + 1) * places).min(first);
    let extent = |output: usize, index: usize| match of.elements.get(output) {
        Some(view) => part_extent(view.extent(&of.shape).len, view.strides[0], part(index), first),
        None => 0..0,
    };
    let Some(outputs) = locked.parts(count, extent) else {
        return false;
    };
    let mut sums = vec![vec![0.0; turn.len()]; count];
    let tasks = sums.iter_mut().zip(outputs).enumerate().collect();
    let task = |(index, (sums, mut outputs)): (usize, (&mut Vec<f64>, Outputs<'_, F>))| {
        let range = part(index).start * rest..part(index).end * rest;
        prepared.with_block(of, |block| {
            for start in range.clone().step_by(BLOCK) {
                let piece = start..(start + BLOCK).min(range.end);
                let len = piece.len();
                walk.load((of, nodes), piece.clone(), &inputs, &outputs, block);
                block.evaluate(&of.body, nodes, len);
                for (sum, index) in sums.iter_mut().zip(turn) {
                    let values = &block.floats(of.body.statistics[*index].1)[..len];
                    *sum = folded(Fold::Sum, *sum, values);
                }
                if !prepared.elements.is_empty() {
                    let nodes = &prepared.elements[..];
                    walk.load((of, nodes), piece.clone(), &inputs, &outputs, block);
                    block.evaluate(&of.body, nodes, len);
                    walk.store(of, piece, &mut outputs, block);
                }
            }
        });
    };
    threads::for_each_of(work(of) * walk.len(), tasks, task);
    let mut outputs = locked.whole();
    prepared.with_block(of, |block| {
        for (place, index) in turn.iter().enumerate() {
            if let Some(node) = prepared.statistics[*index] {
                let sum: f64 = sums.iter().map(|sums| sums[place]).sum();
                block.set(node, F::from_double(sum));
            }
        }
        finish(of, (prepared, &walk), &inputs, 0..1, walk.len(), &mut outputs, block);
    });
    true
}

/// The results of some neighbouring rows whose statistics are in a block.
fn finish<F: RowScalar>(
    of: &Pointwise,
    (prepared, walk): (&PreparedBody<F>, &Walk<'_>),
    inputs: &Inputs<'_, F>,
    rows: Range<usize>,
    len: usize,
    outputs: &mut Outputs<'_, F>,
    block: &mut Block<F>,
) {
    let nodes = &prepared.results[..];
    let axes = of.split_shape().0.len();
    for (at, row) in rows.clone().enumerate() {
        walk.load_at((of, nodes), row * len, at, inputs, outputs, block);
    }
    block.evaluate(&of.body, nodes, rows.len());
    for (at, row) in rows.enumerate() {
        for (index, node) in of.body.results.iter().enumerate() {
            let output = of.elements.len() + index;
            let to = walk.output_at(output, row, axes);
            let (first, elements) = &mut outputs.0[output];
            elements[to - *first] = block.floats(*node)[at];
        }
    }
}

/// Rows of a sum that are added in their own precision before they join the others in f64: what bounds the rounding error.
const ROWS: usize = 256;

/// Neighbouring sums side by side, row after row.
fn columns<F: RowScalar>(of: &Pointwise, prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let (kept, axes) = of.split_shape();
    let (inner, len) = (kept[kept.len() - 1], product(axes));
    let outer = product(kept) / inner.max(1);
    let inputs = Inputs::new(of, memory);
    // The space with the rows' axes outside.
    let mut turned = of.clone();
    turned.move_axis(kept.len() - 1);
    let (walk, own) = (Walk::new(&turned), Walk::new(of));
    let blocks = inner.div_ceil(BLOCK);
    let (turn, nodes) = match prepared.turns.first() {
        Some((turn, nodes)) => (&turn[..], &nodes[..]),
        None => (&[][..], &[][..]),
    };
    let mut sums = vec![vec![[0.0; BLOCK]; turn.len()]; outer * blocks];
    let tasks = sums.iter_mut().enumerate().collect();
    let none = Outputs(vec![]);
    threads::for_each_of(
        work(of) * walk.len(),
        tasks,
        |(task, sums): (usize, &mut Vec<[f64; BLOCK]>)| {
            let (group, first) = (task / blocks, task % blocks * BLOCK);
            let width = BLOCK.min(inner - first);
            let mut partial = vec![[F::zero(); BLOCK]; turn.len()];
            prepared.with_block(of, |block| {
                for row in 0..len {
                    let start = (group * len + row) * inner + first;
                    walk.load((of, nodes), start..start + width, &inputs, &none, block);
                    block.evaluate(&of.body, nodes, width);
                    for (partial, index) in partial.iter_mut().zip(turn) {
                        let values = block.floats(of.body.statistics[*index].1);
                        let all = partial.iter_mut().zip(values).take(width);
                        all.for_each(|(sum, value)| *sum += *value);
                    }
                    if (row + 1) % ROWS == 0 || row + 1 == len {
                        for (sums, partial) in sums.iter_mut().zip(&mut partial) {
                            for (sum, part) in sums.iter_mut().zip(partial) {
                                *sum += part.to_double();
                                *part = F::zero();
                            }
                        }
                    }
                }
            });
        },
    );
    let mut locked = Locked::new(of, memory);
    let mut outputs = locked.whole();
    prepared.with_block(of, |block| {
        for (task, sums) in sums.iter().enumerate() {
            let (group, first) = (task / blocks, task % blocks * BLOCK);
            let width = BLOCK.min(inner - first);
            for (sums, index) in sums.iter().zip(turn) {
                if let Some(node) = prepared.statistics[*index] {
                    let to = block.floats_mut(node).iter_mut().zip(sums);
                    to.for_each(|(to, sum)| *to = F::from_double(*sum));
                }
            }
            let row = group * inner + first;
            let rows = row..row + width;
            finish(of, (prepared, &own), &inputs, rows, len, &mut outputs, block);
        }
    });
}
