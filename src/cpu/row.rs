//! Rows: statistics of each row in turns, then an expression that may use them.

use super::Memory;
use super::map::work;
use super::pointwise::{Inputs, Outputs, PreparedBody, part_extent, parts_of};
use crate::expr::{BLOCK, Block, Fold};
use crate::program::product;
use crate::rows::RowScalar;
use crate::threads;
use smallvec::{SmallVec, smallvec};
use std::ops::Range;

/// The statistics of every row, then what uses them.
pub(super) fn row<F: RowScalar>(prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let of = &prepared.of;
    let (kept, folded) = of.split_shape();
    let (count, columns) = (product(kept), product(folded));
    let rows = Rows {
        prepared,
        inputs: Inputs::new(prepared, memory),
        columns,
        axes: kept.len(),
    };
    let mut locked = prepared.lock(memory);
    let work = work(of) * prepared.walk.len();
    if !kept.is_empty() && threads::split(work, usize::MAX) > 1 {
        let (first, rest) = (kept[0], product(&kept[1..]));
        let (parts, places) = parts_of(first, rest * columns);
        let part = |index: usize| index * places..((index + 1) * places).min(first);
        let extent = |output: usize, index: usize| {
            let mut all = of.elements.iter().chain(&of.results);
            let view = all.nth(output).expect("it is one of them");
            let (_, _, len) = prepared.outputs[output];
            part_extent(len, view.strides[0], part(index), first)
        };
        if let Some(outputs) = locked.parts(parts, extent) {
            let range = |index: usize| part(index).start * rest..part(index).end * rest;
            let tasks = outputs.into_iter().enumerate();
            return threads::for_each(tasks, |(index, outputs)| {
                rows.run(range(index), outputs);
            });
        }
    }
    rows.run(0..count, locked.whole());
}

struct Rows<'a, F> {
    prepared: &'a PreparedBody<F>,
    inputs: Inputs<'a, F>,
    columns: usize,
    /// Axes that form no row.
    axes: usize,
}

impl<F: RowScalar> Rows<'_, F> {
    /// Some of the rows: as many at once as fit in a block, or one in several blocks.
    fn run(&self, rows: Range<usize>, mut outputs: Outputs<'_, F>) {
        self.prepared.with_block(&self.inputs, |block| {
            let at_once = (BLOCK / self.columns.max(1)).max(1);
            for first in rows.clone().step_by(at_once) {
                let rows = first..(first + at_once).min(rows.end);
                self.block_of_rows(rows, &mut outputs, block);
            }
        });
    }

    fn block_of_rows(
        &self,
        rows: Range<usize>,
        outputs: &mut Outputs<'_, F>,
        block: &mut Block<F>,
    ) {
        let PreparedBody {
            of,
            walk,
            turns,
            elements,
            results,
            ..
        } = self.prepared;
        let (body, inputs) = (&of.body, &self.inputs);
        let columns = self.columns.max(1);
        let space = rows.start * self.columns..rows.end * self.columns;
        let pieces = || {
            let starts = space.clone().step_by(BLOCK);
            starts.map(|start| start..(start + BLOCK).min(space.end))
        };
        for (turn, stage) in turns {
            let start = |index: &usize| match body.statistics[*index].0 {
                Fold::Sum => 0.0,
                Fold::Max => f64::NEG_INFINITY,
            };
            // By statistic and row.
            let mut folds: SmallVec<[f64; 32]> = smallvec![0.0; turn.len() * rows.len()];
            for (folds, index) in folds.chunks_mut(rows.len()).zip(turn) {
                folds.fill(start(index));
            }
            for piece in pieces() {
                let len = piece.len();
                walk.load(stage, (piece, 0), inputs, outputs, block);
                block.evaluate(body, &stage.schedule, len, &[]);
                for (folds, index) in folds.chunks_mut(rows.len()).zip(turn) {
                    let (fold, node) = body.statistics[*index];
                    let of_rows = block.floats(node)[..len].chunks(columns);
                    for (total, row) in folds.iter_mut().zip(of_rows) {
                        *total = folded(fold, *total, row);
                    }
                }
            }
            for (folds, index) in folds.chunks(rows.len()).zip(turn) {
                let Some(node) = self.prepared.statistics[*index] else {
                    continue;
                };
                if let [one] = folds {
                    block.set(node, F::from_double(*one));
                    continue;
                }
                let to = block.floats_mut(node).chunks_mut(columns);
                for (to, total) in to.zip(folds) {
                    to.fill(F::from_double(*total));
                }
            }
        }
        if !body.elements.is_empty() {
            for piece in pieces() {
                walk.load(elements, (piece.clone(), 0), inputs, outputs, block);
                block.evaluate(body, &elements.schedule, piece.len(), &[]);
                walk.store(&body.elements, piece, outputs, block);
            }
        }
        if !body.results.is_empty() {
            // The first element of each row stands for the row.
            let (start, end) = (rows.start * columns, rows.end * columns);
            let some = start..end.min(start + BLOCK);
            let len = some.len().max(1);
            walk.load(results, (some, 0), inputs, outputs, block);
            block.evaluate(body, &results.schedule, len, &[]);
            for (index, row) in rows.enumerate() {
                for (result, node) in body.results.iter().enumerate() {
                    let output = of.elements.len() + result;
                    let to = walk.output_at(output, row, self.axes);
                    outputs.set(output, to, block.floats(*node)[index * columns.min(BLOCK)]);
                }
            }
        }
    }
}

/// A fold goes on over some values: in f64, as over a long row f32 would lose digits; in several sums, which vector instructions take.
pub(super) fn folded<F: RowScalar>(fold: Fold, total: f64, values: &[F]) -> f64 {
    match fold {
        Fold::Sum => {
            const SUMS: usize = 16;
            let (parts, rest) = values.as_chunks::<SUMS>();
            let mut sums = [0.0; SUMS];
            for part in parts {
                for (sum, value) in sums.iter_mut().zip(part) {
                    *sum += value.to_double();
                }
            }
            let rest: f64 = rest.iter().map(|value| value.to_double()).sum();
            total + (sums.iter().sum::<f64>() + rest)
        }
        Fold::Max => values.iter().fold(total, |most, value| {
            let value = value.to_double();
            // A NaN stays.
            if value > most || value.is_nan() {
                value
            } else {
                most
            }
        }),
    }
}
