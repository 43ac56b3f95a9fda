//! The steps of a recurrent layer.

use super::{Memory, threads};
use crate::Real;
use crate::cell::{CellRef, ForwardRow};
use crate::program::{RecurrentForward, RecurrentShape, Slice};
use crate::trusted::product;
use ndarray::{
    Array2, ArrayView, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut, ArrayViewMut3, Axis,
    Dimension, Ix4, ShapeBuilder, StrideShape, s,
};

/// r = R h₋ + b_hh, then the cell, for every step; the batch split over threads, each of which walks its rows' whole sequence.
pub(super) fn recurrent_forward<F: Real>(op: &RecurrentForward, memory: &Memory<'_, F>) {
    let RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        ..
    } = op.shape;
    let gate_width = op.cell.gates() * hidden;
    let saved_width = op.cell.saved() * hidden;
    let x_gates = memory.read(op.x_gates);
    let x_gates = view(&x_gates, (steps, batch, directions, gate_width));
    let lengths = lengths(memory, op.lengths, steps, batch);
    let initial = op.initial.map(|initial| memory.read(initial));
    let initial = initial
        .as_ref()
        .map(|initial| view(initial, state_shape(&op.cell, &op.shape)));
    let mut last = memory.write(op.last);
    let mut last = view_mut(&mut last, state_shape(&op.cell, &op.shape));
    let mut y = memory.write(op.y);
    let mut y = view_mut(&mut y, (steps, batch, directions, hidden));
    let mut saved = op.saved.map(|saved| memory.write(saved));
    let mut saved = saved
        .as_mut()
        .map(|saved| view_mut(saved, (directions, batch, steps, saved_width)));

    let rows = batch.div_ceil(threads::split(
        2 * steps * batch * gate_width * hidden,
        batch,
    ));
    for direction in 0..directions {
        let weight = memory.read(op.weight_hh.of(direction));
        let weight = view(&weight, (gate_width, hidden));
        let bias = op.bias_hh.map(|bias| memory.read(bias.of(direction)));
        let x_gates = x_gates.slice(s![.., .., direction, ..]);
        let initial = initial
            .as_ref()
            .map(|initial| initial.slice(s![.., direction, .., ..]));
        let mut initial = initial
            .as_ref()
            .map(|initial| initial.axis_chunks_iter(Axis(1), rows));
        let mut last = last.index_axis_mut(Axis(1), direction);
        let mut y = y.index_axis_mut(Axis(2), direction);
        let mut saved = saved
            .as_mut()
            .map(|saved| saved.index_axis_mut(Axis(0), direction));
        let mut saved = saved
            .as_mut()
            .map(|saved| saved.axis_chunks_iter_mut(Axis(0), rows));
        let tasks = x_gates
            .axis_chunks_iter(Axis(1), rows)
            .zip(last.axis_chunks_iter_mut(Axis(1), rows))
            .zip(y.axis_chunks_iter_mut(Axis(1), rows))
            .zip(lengths.chunks(rows))
            .map(|(((x_gates, last), y), lengths)| {
                let saved = saved.as_mut().and_then(Iterator::next);
                (
                    x_gates,
                    lengths,
                    initial.as_mut().and_then(Iterator::next),
                    last,
                    y,
                    saved,
                )
            })
            .collect();
        let bias = bias.as_deref().map(ArrayView1::from);
        threads::for_each(tasks, |(x_gates, lengths, initial, last, y, saved)| {
            let layer = Layer {
                cell: &op.cell,
                weight,
                bias,
                reverse: direction == 1,
            };
            layer.forward(x_gates, lengths, initial, last, y, saved);
        });
    }
}

/// One direction of a layer.
struct Layer<'a, F> {
    cell: &'a CellRef,
    /// `[G·H, H]`
    weight: ArrayView2<'a, F>,
    /// `[G·H]`
    bias: Option<ArrayView1<'a, F>>,
    reverse: bool,
}

impl<F: Real> Layer<'_, F> {
    /// x_gates: `[T, b, G·H]`, lengths: `[b]`, initial and last: `[S, b, H]`, y: `[T, b, H]`, saved: `[b, T, K·H]`.
    fn forward(
        &self,
        x_gates: ArrayView3<'_, F>,
        lengths: &[usize],
        initial: Option<ArrayView3<'_, F>>,
        mut last: ArrayViewMut3<'_, F>,
        mut y: ArrayViewMut3<'_, F>,
        mut saved: Option<ArrayViewMut3<'_, F>>,
    ) {
        let (steps, batch, gate_width) = x_gates.dim();
        let (states, hidden) = (self.cell.states(), y.len_of(Axis(2)));
        let mut state = load_state(initial, batch, states, hidden);
        let mut r = Array2::zeros((batch, gate_width));
        for step in 0..steps {
            let t = time_of(step, steps, self.reverse);
            let mut y = y.index_axis_mut(Axis(0), t);
            y.fill(F::zero());
            if lengths.iter().all(|length| t >= *length) {
                continue;
            }
            match self.bias {
                Some(bias) => r.outer_iter_mut().for_each(|mut row| row.assign(&bias)),
                None => r.fill(F::zero()),
            }
            product(
                state.slice(s![.., ..hidden]),
                self.weight.t(),
                r.view_mut(),
                true,
                1,
            );
            for row in (0..batch).filter(|row| t < lengths[*row]) {
                let mut saved = saved.as_mut().map(|saved| saved.slice_mut(s![row, t, ..]));
                let saved = saved
                    .as_mut()
                    .map(|saved| saved.as_slice_mut().expect(CONTIGUOUS));
                let state = state.row_mut(row).into_slice().expect(CONTIGUOUS);
                F::cell_forward(
                    self.cell.erased(),
                    ForwardRow {
                        x: x_gates.slice(s![t, row, ..]).to_slice().expect(CONTIGUOUS),
                        r: r.row(row).to_slice().expect(CONTIGUOUS),
                        state,
                        saved,
                    },
                );
                y.row_mut(row).assign(&ndarray::aview1(&state[..hidden]));
            }
        }
        store_state(&state, &mut last);
    }
}

pub(super) const CONTIGUOUS: &str = "rows are contiguous";

/// The lengths of all rows, T where none are given.
pub(super) fn lengths<F: Real>(
    memory: &Memory<'_, F>,
    lengths: Option<Slice>,
    steps: usize,
    batch: usize,
) -> Vec<usize> {
    lengths.map_or_else(|| vec![steps; batch], |lengths| memory.lengths(lengths))
}

/// The place in time of a direction's n-th step.
pub(super) fn time_of(step: usize, steps: usize, reverse: bool) -> usize {
    if reverse { steps - 1 - step } else { step }
}

/// `[S, b, H]` (zeros where absent) as the rows `[b, S·H]` that cells take.
pub(super) fn load_state<F: Real>(
    states: Option<ArrayView3<'_, F>>,
    batch: usize,
    count: usize,
    hidden: usize,
) -> Array2<F> {
    let mut rows = Array2::zeros((batch, count * hidden));
    for (index, state) in states
        .iter()
        .flat_map(|states| states.outer_iter())
        .enumerate()
    {
        rows.slice_mut(s![.., index * hidden..(index + 1) * hidden])
            .assign(&state);
    }
    rows
}

/// The opposite of [`load_state`].
pub(super) fn store_state<F: Real>(rows: &Array2<F>, states: &mut ArrayViewMut3<'_, F>) {
    let hidden = states.len_of(Axis(2));
    for (index, mut state) in states.outer_iter_mut().enumerate() {
        state.assign(&rows.slice(s![.., index * hidden..(index + 1) * hidden]));
    }
}

/// `[S, D, B, H]` inside `[S, L·D, B, H]`.
pub(super) fn state_shape(cell: &CellRef, shape: &RecurrentShape) -> StrideShape<Ix4> {
    let RecurrentShape {
        batch,
        hidden,
        directions,
        state_stride,
        ..
    } = *shape;
    (cell.states(), directions, batch, hidden).strides((state_stride, batch * hidden, hidden, 1))
}

/// Elements as an array.
pub(super) fn view<F, D: Dimension>(
    elements: &[F],
    shape: impl Into<StrideShape<D>>,
) -> ArrayView<'_, F, D> {
    ArrayView::from_shape(shape, elements).expect("the program was checked")
}

/// Elements as an array, for writing.
pub(super) fn view_mut<F, D: Dimension>(
    elements: &mut [F],
    shape: impl Into<StrideShape<D>>,
) -> ArrayViewMut<'_, F, D> {
    ArrayViewMut::from_shape(shape, elements).expect("the program was checked")
}
