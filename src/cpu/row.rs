//! Rows: statistics of each row in turns, then an expression that may use them.

use super::map::work;
use super::pointwise::{Inputs, Locked, Outputs, PreparedBody, Walk, part_extent, parts_of};
use super::Memory;
use crate::threads;
use crate::rows::RowScalar;
use crate::expr::{BLOCK, Block, Fold};
use crate::program::{Pointwise, Row, product};
use std::ops::Range;

/// The statistics of every row, then a map that uses them all.
pub(super) fn row<F: RowScalar>(op: &Row, prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    rows(&op.0, prepared, memory);
}

/// The same over rows of any number of axes.
pub(super) fn rows<F: RowScalar>(of: &Pointwise, prepared: &PreparedBody<F>, memory: &Memory<'_, F>) {
    let (kept, folded) = of.split_shape();
    let (count, columns) = (product(kept), product(folded));
    let rows = Rows {
        of,
        prepared,
        inputs: Inputs::new(of, memory),
        walk: Walk::new(of),
        columns,
        axes: kept.len(),
    };
    let mut locked = Locked::new(of, memory);
    let work = work(of) * rows.walk.len();
    if !kept.is_empty() && threads::split(work, usize::MAX) > 1 {
        let (first, rest) = (kept[0], product(&kept[1..]));
        let (parts, places) = parts_of(first, rest * columns);
        let part = |index: usize| index * places..((index + 1) * places).min(first);
        let extent = |output: usize, index: usize| {
            let elements = of.elements.iter().map(|view| (view, &of.shape[..]));
            let mut all = elements.chain(of.results.iter().map(|view| (view, kept)));
            let (view, shape) = all.nth(output).expect("it is one of them");
            let len = view.extent(shape).len;
            part_extent(len, view.strides[0], part(index), first)
        };
        if let Some(outputs) = locked.parts(parts, extent) {
            let range = |index: usize| part(index).start * rest..part(index).end * rest;
            let tasks = outputs.into_iter().enumerate().collect();
            return threads::for_each(tasks, |(index, outputs)| {
                rows.run(range(index), outputs);
            });
        }
    }
    rows.run(0..count, locked.whole());
}

struct Rows<'a, F> {
    of: &'a Pointwise,
    prepared: &'a PreparedBody<F>,
    inputs: Inputs<'a, F>,
    walk: Walk<'a>,
    columns: usize,
    /// Axes that form no row.
    axes: usize,
}

impl<F: RowScalar> Rows<'_, F> {
    /// Some of the rows: as many at once as fit in a block, or one in several blocks.
    fn run(&self, rows: Range<usize>, mut outputs: Outputs<'_, F>) {
        self.prepared.with_block(self.of, |block| {
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
        let body = &self.of.body;
        let columns = self.columns;
        let space = rows.start * columns..rows.end * columns;
        let pieces = || {
            let starts = space.clone().step_by(BLOCK);
            starts.map(|start| start..(start + BLOCK).min(space.end))
        };
        for (turn, nodes) in &self.prepared.turns {
            let mut folds = vec![vec![]; turn.len()];
            for (folds, index) in folds.iter_mut().zip(turn) {
                let start = match body.statistics[*index].0 {
                    Fold::Sum => 0.0,
                    Fold::Max => f64::NEG_INFINITY,
                };
                *folds = vec![start; rows.len()];
            }
            for piece in pieces() {
                let len = piece.len();
                self.walk.load((self.of, nodes), piece, &self.inputs, outputs, block);
                block.evaluate(body, nodes, len);
                for (folds, index) in folds.iter_mut().zip(turn) {
                    let (fold, node) = body.statistics[*index];
                    let values = &block.floats(node)[..len];
                    let of_rows = values.chunks(columns.max(1));
                    for (total, row) in folds.iter_mut().zip(of_rows) {
                        *total = folded(fold, *total, row);
                    }
                }
            }
            for (folds, index) in folds.iter().zip(turn) {
                let Some(node) = self.prepared.statistics[*index] else {
                    continue;
                };
                if rows.len() == 1 {
                    block.set(node, F::from_double(folds[0]));
                    continue;
                }
                let to = block.floats_mut(node).chunks_mut(columns.max(1));
                for (to, total) in to.zip(folds) {
                    to.fill(F::from_double(*total));
                }
            }
        }
        if !self.prepared.elements.is_empty() {
            for piece in pieces() {
                let nodes = &self.prepared.elements[..];
                self.walk.load((self.of, nodes), piece.clone(), &self.inputs, outputs, block);
                block.evaluate(body, nodes, piece.len());
                self.walk.store(self.of, piece, outputs, block);
            }
        }
        if !body.results.is_empty() {
            // Of each row its first element stands for it.
            let nodes = &self.prepared.results[..];
            let some = space.start..space.end.min(space.start + BLOCK);
            self.walk.load((self.of, nodes), some.clone(), &self.inputs, outputs, block);
            block.evaluate(body, nodes, some.len().max(1));
            for (index, row) in rows.enumerate() {
                self.store_results(row, index * columns.min(BLOCK), outputs, block);
            }
        }
    }

    fn store_results(
        &self,
        row: usize,
        at: usize,
        outputs: &mut Outputs<'_, F>,
        block: &Block<F>,
    ) {
        for (index, node) in self.of.body.results.iter().enumerate() {
            let output = self.of.elements.len() + index;
            let to = self.walk.output_at(output, row, self.axes);
            let (first, elements) = &mut outputs.0[output];
            elements[to - *first] = block.floats(*node)[at];
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
            if value > most || value.is_nan() { value } else { most }
        }),
    }
}
