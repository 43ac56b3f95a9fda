//! Where values lie, and where they are best put: views are aliases both ways.

use super::Request;
use super::recurrence::Layer;
use super::steps::Step;
use crate::graph::{Graph, Op, Var};
use crate::program::{Matrix, Program, Slice, View, product};
use std::collections::HashMap;

/// Where a value lies: element (i₀, i₁, …) at the slice's first plus Σ iₖ · strideₖ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slice: Slice,
    pub(super) strides: Vec<usize>,
}

impl Place {
    /// A slice in row-major order.
    pub(super) fn whole(slice: Slice, shape: &[usize]) -> Self {
        let view = View::whole(slice, shape);
        Self {
            slice,
            strides: view.strides,
        }
    }

    pub(super) fn view(&self) -> View {
        View::new(self.slice, self.strides.clone())
    }

    /// The slice, where the value is in row-major order without gaps.
    pub(super) fn contiguous(&self, shape: &[usize]) -> Option<Slice> {
        let mut expected = 1;
        for (size, stride) in shape.iter().zip(&self.strides).rev() {
            if *size > 1 && *stride != expected {
                return None;
            }
            expected *= size;
        }
        Some(Slice {
            len: expected,
            ..self.slice
        })
    }

    /// The value as a matrix of its features, where it is one: rows of neighbours, at one distance.
    pub(super) fn matrix(&self, shape: &[usize]) -> Option<Matrix> {
        let (columns, rows) = shape.split_last()?;
        let (stride, of_rows) = self.strides.split_last()?;
        if *columns > 1 && *stride != 1 {
            return None;
        }
        // Axes of size 1 say nothing.
        let mut row_stride = None;
        let mut expected = 0;
        for (size, stride) in rows.iter().zip(of_rows).rev() {
            if *size == 1 {
                continue;
            }
            if row_stride.is_some() && *stride != expected {
                return None;
            }
            row_stride.get_or_insert(*stride);
            expected = stride * size;
        }
        Some(Matrix {
            tensor: self.slice.tensor,
            offset: self.slice.offset,
            rows: product(rows),
            columns: *columns,
            row_stride: row_stride.unwrap_or(*columns).max(*columns),
        })
        .filter(|_| row_stride.is_none_or(|stride| stride >= *columns))
    }

    /// Places of an axis, from `start` on.
    pub(super) fn part(&self, axis: usize, start: usize) -> Self {
        let mut part = self.clone();
        let skipped = start * self.strides[axis];
        part.slice.offset += skipped;
        part.slice.len = part.slice.len.saturating_sub(skipped);
        part
    }

    pub(super) fn permuted(&self, order: &[usize]) -> Self {
        Self {
            slice: self.slice,
            strides: order.iter().map(|axis| self.strides[*axis]).collect(),
        }
    }
}

/// The places that values are given before they are computed, so that nothing need be copied.
pub(super) struct Destinations {
    pub(super) places: HashMap<Var, Place>,
    /// For each gradient of a layer, by its rank, the gradients of the states.
    pub(super) d_states: HashMap<usize, Slice>,
}

/// Chooses places from what is asked for backwards.
pub(super) fn destinations(
    graph: &Graph,
    steps: &[Step],
    request: &Request<'_>,
    program: &mut Program,
) -> Destinations {
    let mut producers: HashMap<Var, &Step> = HashMap::new();
    for step in steps {
        step.outputs.iter().for_each(|var| _ = producers.insert(*var, step));
    }
    let mut places: HashMap<Var, Place> = HashMap::new();
    let mut d_states = HashMap::new();
    let mut put = |places: &mut HashMap<Var, Place>, var: Var, place: Place| {
        let step = producers[&var];
        if !places.contains_key(&var) && can_put(graph, step, var, &place) {
            places.insert(var, place);
        }
    };
    for (var, slice) in &request.stores {
        put(&mut places, *var, Place::whole(*slice, graph.shape(*var)));
    }
    for step in steps.iter().rev() {
        let output = step.outputs[0];
        let shape = graph.shape(output);
        let mut place = |places: &mut HashMap<Var, Place>, name: &str| {
            let known = places.get(&output).cloned();
            known.unwrap_or_else(|| {
                let place = Place::whole(program.temporary(name, shape), shape);
                places.insert(output, place.clone());
                place
            })
        };
        match &step.op {
            Op::Reshape => {
                let known = places.get(&output).and_then(|place| place.contiguous(shape));
                if let Some(slice) = known {
                    let input = step.inputs[0];
                    put(&mut places, input, Place::whole(slice, graph.shape(input)));
                }
            }
            Op::Permute(order) => {
                if let Some(known) = places.get(&output).cloned() {
                    let mut inverse = vec![0; order.len()];
                    (order.iter().enumerate()).for_each(|(to, from)| inverse[*from] = to);
                    put(&mut places, step.inputs[0], known.permuted(&inverse));
                }
            }
            Op::Concat { axis } => {
                let whole = place(&mut places, "concat");
                let mut start = 0;
                for input in &step.inputs {
                    put(&mut places, *input, whole.part(*axis, start));
                    start += graph.shape(*input)[*axis];
                }
            }
            Op::Pad { axis, start } => {
                let whole = place(&mut places, "padded");
                put(&mut places, step.inputs[0], whole.part(*axis, *start));
            }
            Op::MatMul { .. } => {
                if let Some(onto) = step.onto {
                    let whole = place(&mut places, "product");
                    put(&mut places, onto, whole);
                }
            }
            Op::RecurrenceGradient { of, inputs } => {
                let Op::Recurrence(layer) = &graph.nodes[*of].op else {
                    unreachable!("it is a layer's gradient")
                };
                let len = Layer::d_state_len(layer);
                let d_state = program.temporary("d.states", &[len]);
                d_states.insert(step.rank, d_state);
                if inputs[1] {
                    let d_last = step.inputs[step.inputs.len() - 1];
                    let states = d_state.part(0, layer.states_len());
                    // The layer changes it, so nobody else may read it.
                    let readers = steps.iter().flat_map(Step::needs);
                    if readers.filter(|var| *var == d_last).count() == 1 {
                        put(&mut places, d_last, Place::whole(states, &[states.len]));
                    }
                }
            }
            _ => {}
        }
    }
    Destinations { places, d_states }
}

/// Whether a step can put an output of its in a place.
fn can_put(graph: &Graph, step: &Step, var: Var, place: &Place) -> bool {
    let shape = graph.shape(var);
    let contiguous = || place.contiguous(shape).is_some();
    match &step.op {
        Op::Input(_) | Op::Parameter(_) | Op::Slice { .. } => false,
        Op::Pointwise(_) | Op::Permute(_) | Op::Concat { .. } | Op::Pad { .. } => true,
        Op::MatMul { .. } | Op::Scatter => place.matrix(shape).is_some(),
        Op::Reshape | Op::Recurrence(_) => contiguous(),
        Op::RecurrenceGradient { .. } => match step.outputs.iter().position(|of| *of == var) {
            Some(0) => place.matrix(shape).is_some(),
            Some(1) => false,
            _ => contiguous(),
        },
    }
}
