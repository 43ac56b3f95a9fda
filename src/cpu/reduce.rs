//! Sums over rows, in a fixed order.

use super::Memory;
use super::map::work;
use super::pointwise::{Inputs, Outputs, PART, PreparedBody, Stage, part_extent, parts_of};
use super::row::{folded, row};
use crate::expr::{BLOCK, Block, Fold};
use crate::program::{Operand, Pointwise, product};
use crate::rows::RowScalar;
use crate::threads;
use std::ops::Range;

/// Σ over the last axes, and what is computed for every element on the way.
pub(super) fn reduce<F: RowScalar>(prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let of = &prepared.of;
    let done = if along_columns(of) {
        columns(prepared, memory);
        true
    } else {
        of.folded == of.shape.len() && of.len() > PART && in_parts(prepared, memory)
    };
    if !done {
        row(prepared, memory);
    }
}

/// Whether neighbours in memory are neighbours among the sums.
fn along_columns(of: &Pointwise) -> bool {
    let (kept, _) = of.split_shape();
    let only_sums = of.elements.is_empty() && !of.body.statistics.is_empty();
    let (Some(inner), true) = (kept.len().checked_sub(1), only_sums) else {
        return false;
    };
    let last = of.shape.len() - 1;
    let view = of.operands.iter().find_map(Operand::float);
    view.is_some_and(|view| kept[inner] > 1 && view.strides[inner] == 1 && view.strides[last] != 1)
}

/// One long row: parts of it on all threads, their sums added in order. False where the outputs of parts are not apart.
fn in_parts<F: RowScalar>(prepared: &PreparedBody<F>, memory: &Memory<'_, F>) -> bool {
    let PreparedBody {
        of, walk, elements, ..
    } = prepared;
    let Some((turn, stage)) = prepared.turns.first() else {
        return false;
    };
    let inputs = Inputs::new(prepared, memory);
    let mut locked = prepared.lock(memory);
    let (first, rest) = (of.shape[0], product(&of.shape[1..]));
    let (count, places) = parts_of(first, rest);
    let part = |index: usize| index * places..((index + 1) * places).min(first);
    let extent = |output: usize, index: usize| match of.elements.get(output) {
        Some(view) => part_extent(
            prepared.outputs[output].2,
            view.strides[0],
            part(index),
            first,
        ),
        None => 0..0,
    };
    let Some(outputs) = locked.parts(count, extent) else {
        return false;
    };
    // By part and statistic.
    let of_part = turn.len().max(1);
    let mut sums = vec![0.0; count * of_part];
    let tasks = sums.chunks_mut(of_part).zip(outputs).enumerate();
    let task = |(index, (sums, mut outputs)): (usize, (&mut [f64], Outputs<'_, F>))| {
        let range = part(index).start * rest..part(index).end * rest;
        prepared.with_block(&inputs, |block| {
            for start in range.clone().step_by(BLOCK) {
                let piece = start..(start + BLOCK).min(range.end);
                let len = piece.len();
                walk.load(stage, (piece.clone(), 0), &inputs, &outputs, block);
                block.evaluate(&of.body, &stage.schedule, len, &[]);
                for (sum, index) in sums.iter_mut().zip(turn) {
                    let values = &block.floats(of.body.statistics[*index].1)[..len];
                    *sum = folded(Fold::Sum, *sum, values);
                }
                if !of.body.elements.is_empty() {
                    walk.load(elements, (piece.clone(), 0), &inputs, &outputs, block);
                    block.evaluate(&of.body, &elements.schedule, len, &[]);
                    walk.store(&of.body.elements, piece, &mut outputs, block);
                }
            }
        });
    };
    threads::for_each_of(work(of) * walk.len(), tasks, task);
    let mut outputs = locked.whole();
    prepared.with_block(&inputs, |block| {
        for (place, index) in turn.iter().enumerate() {
            if let Some(node) = prepared.statistics[*index] {
                let sum: f64 = sums.iter().skip(place).step_by(of_part).sum();
                block.set(node, F::from_double(sum));
            }
        }
        finish(prepared, &inputs, 0..1, &mut outputs, block);
    });
    true
}

/// The results of some rows, neighbours along one axis, whose statistics are in a block.
fn finish<F: RowScalar>(
    prepared: &PreparedBody<F>,
    inputs: &Inputs<'_, F>,
    rows: Range<usize>,
    outputs: &mut Outputs<'_, F>,
    block: &mut Block<F>,
) {
    let PreparedBody {
        of, walk, results, ..
    } = prepared;
    let (kept, folded) = of.split_shape();
    if results.reads_elements() {
        let len = product(folded).max(1);
        for (at, row) in rows.clone().enumerate() {
            let first = row * len;
            walk.load(results, (first..first + 1, at), inputs, outputs, block);
        }
    }
    block.evaluate(&of.body, &results.schedule, rows.len(), &[]);
    for (index, node) in of.body.results.iter().enumerate() {
        let output = of.elements.len() + index;
        let first = walk.output_at(output, rows.start, kept.len());
        let stride = of.results[index].strides.last().copied().unwrap_or(0);
        for (at, value) in block.floats(*node)[..rows.len()].iter().enumerate() {
            outputs.set(output, first + at * stride, *value);
        }
    }
}

/// Rows of a sum that are added in their own precision before they join the others in f64: what bounds the rounding error.
const ROWS: usize = 32;

/// Neighbouring sums side by side, row after row.
fn columns<F: RowScalar>(prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let of = &prepared.of;
    let (kept, axes) = of.split_shape();
    let (inner, len) = (kept[kept.len() - 1], product(axes));
    let outer = product(kept) / inner.max(1);
    let inputs = Inputs::new(prepared, memory);
    // The space with the rows' axes outside.
    let walk = prepared.columns.as_ref().expect("some axes form no row");
    let blocks = inner.div_ceil(BLOCK);
    let widest = inner.min(BLOCK);
    let none = Stage::default();
    let (turn, stage) = match prepared.turns.first() {
        Some((turn, stage)) => (&turn[..], stage),
        None => (&[][..], &none),
    };
    let direct = walk.direct(stage, &inputs).filter(|_| len > 0);
    // The sums of each statistic of each task, as many as the widest block has.
    let of_task = turn.len() * widest;
    let mut sums = vec![0.0; outer * blocks * of_task];
    let tasks = sums.chunks_mut(of_task.max(1)).enumerate();
    let task = |(task, sums): (usize, &mut [f64])| {
        let (group, first) = (task / blocks, task % blocks * BLOCK);
        let width = widest.min(inner - first);
        let mut partial = vec![F::zero(); of_task];
        let outputs = Outputs::default();
        let start = |row: usize| (group * len + row) * inner + first;
        let begin = |view: usize, row: usize| walk.at(view, start(row), of.shape.len());
        // The rows of one axis are evenly apart.
        let apart = direct
            .filter(|_| axes.len() == 1)
            .map(|(_, view)| begin(view, 1.min(len - 1)) - begin(view, 0));
        let origin = direct.map_or(0, |(_, view)| begin(view, 0));
        prepared.with_block(&inputs, |block| {
            for row in 0..len {
                let there = direct.map(|(elements, view)| {
                    let at = apart.map_or_else(|| begin(view, row), |apart| origin + row * apart);
                    &elements[at..at + width]
                });
                if there.is_none() {
                    let range = start(row)..start(row) + width;
                    walk.load(stage, (range, 0), &inputs, &outputs, block);
                    block.evaluate(&of.body, &stage.schedule, width, &[]);
                }
                for (partial, index) in partial.chunks_mut(widest).zip(turn) {
                    let computed = || block.floats(of.body.statistics[*index].1);
                    let values = there.unwrap_or_else(computed).iter().take(width);
                    let all = partial.iter_mut().zip(values);
                    all.for_each(|(sum, value)| *sum += *value);
                }
                if (row + 1) % ROWS == 0 || row + 1 == len {
                    for (sum, part) in sums.iter_mut().zip(&mut partial) {
                        *sum += part.to_double();
                        *part = F::zero();
                    }
                }
            }
        });
    };
    threads::for_each_of(work(of) * walk.len(), tasks, task);
    let mut locked = prepared.lock(memory);
    let mut outputs = locked.whole();
    prepared.with_block(&inputs, |block| {
        for (task, sums) in sums.chunks(of_task.max(1)).enumerate() {
            let (group, first) = (task / blocks, task % blocks * BLOCK);
            for (sums, index) in sums.chunks(widest).zip(turn) {
                if let Some(node) = prepared.statistics[*index] {
                    let to = block.floats_mut(node).iter_mut().zip(sums);
                    to.for_each(|(to, sum)| *to = F::from_double(*sum));
                }
            }
            let (row, width) = (group * inner + first, widest.min(inner - first));
            finish(prepared, &inputs, row..row + width, &mut outputs, block);
        }
    });
}
