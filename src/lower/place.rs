//! Where values lie, and where they are best put: views are aliases both ways.

use super::Request;
use super::recurrence::Layer;
use super::steps::{Step, uses};
use crate::graph::{Graph, Op, Var};
use crate::program::{Matrix, Program, Slice, TensorId, View, product};
use std::collections::{HashMap, HashSet};

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
    let uses = uses(steps, request);
    let neighbours = Neighbours::new(graph, steps);
    let mut places: HashMap<Var, Place> = HashMap::new();
    let mut d_states = HashMap::new();
    // Values that change where they lie, so nobody else may read them there.
    let mut changing: HashSet<Var> = HashSet::new();
    let put = |(places, changing): (&mut HashMap<Var, Place>, &mut HashSet<Var>),
               var: Var,
               place: Place,
               changes: bool| {
        let step = neighbours.producers[&var];
        let shared = changes && uses[&var] > 1;
        let free = !shared && !neighbours.meet(places, var, &place);
        if free && !places.contains_key(&var) && can_put(graph, step, var, &place) {
            places.insert(var, place);
            if changes {
                changing.insert(var);
            }
        }
    };
    for (var, slice) in &request.stores {
        put(
            (&mut places, &mut changing),
            *var,
            Place::whole(*slice, graph.shape(*var)),
            false,
        );
    }
    for step in steps.iter().rev() {
        let output = step.outputs[0];
        let changes = changing.contains(&output);
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
                let known = places
                    .get(&output)
                    .and_then(|place| place.contiguous(shape));
                if let Some(slice) = known {
                    let input = step.inputs[0];
                    put(
                        (&mut places, &mut changing),
                        input,
                        Place::whole(slice, graph.shape(input)),
                        changes,
                    );
                }
            }
            Op::Permute(order) => {
                if let Some(known) = places.get(&output).cloned() {
                    let mut inverse = vec![0; order.len()];
                    (order.iter().enumerate()).for_each(|(to, from)| inverse[*from] = to);
                    put(
                        (&mut places, &mut changing),
                        step.inputs[0],
                        known.permuted(&inverse),
                        changes,
                    );
                }
            }
            Op::Concat { axis } => {
                let whole = place(&mut places, "concat");
                let mut start = 0;
                for input in &step.inputs {
                    put(
                        (&mut places, &mut changing),
                        *input,
                        whole.part(*axis, start),
                        changes,
                    );
                    start += graph.shape(*input)[*axis];
                }
            }
            Op::Pad { axis, start } => {
                let whole = place(&mut places, "padded");
                put(
                    (&mut places, &mut changing),
                    step.inputs[0],
                    whole.part(*axis, *start),
                    changes,
                );
            }
            Op::MatMul { .. } => {
                if let Some(onto) = step.onto {
                    let whole = place(&mut places, "product");
                    put((&mut places, &mut changing), onto, whole, true);
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
                    put(
                        (&mut places, &mut changing),
                        d_last,
                        Place::whole(states, &[states.len]),
                        true,
                    );
                }
            }
            _ => {}
        }
    }
    Destinations { places, d_states }
}

/// What values have to do with each other: an operation that reads a tensor must not write to it.
struct Neighbours<'a> {
    graph: &'a Graph,
    producers: HashMap<Var, &'a Step>,
    readers: HashMap<Var, Vec<&'a Step>>,
}

impl<'a> Neighbours<'a> {
    fn new(graph: &'a Graph, steps: &'a [Step]) -> Self {
        let mut producers: HashMap<Var, &Step> = HashMap::new();
        let mut readers: HashMap<Var, Vec<&Step>> = HashMap::new();
        for step in steps {
            step.outputs
                .iter()
                .for_each(|var| _ = producers.insert(*var, step));
            for var in read(graph, step) {
                readers.entry(var).or_default().push(step);
            }
        }
        Self {
            graph,
            producers,
            readers,
        }
    }

    /// The tensor that a value has been given so far, a view that of what it views.
    fn tensor(&self, places: &HashMap<Var, Place>, var: Var) -> Option<TensorId> {
        match places.get(&var) {
            Some(place) => Some(place.slice.tensor),
            None => {
                let step = self.producers[&var];
                let of = is_view(&step.op).then(|| step.inputs[0])?;
                self.tensor(places, of)
            }
        }
    }

    /// Whether a value at a place meets another of its tensor in one operation that writes there.
    fn meet(&self, places: &HashMap<Var, Place>, var: Var, place: &Place) -> bool {
        let step = self.producers[&var];
        let same = |other: Var| self.tensor(places, other) == Some(place.slice.tensor);
        if !moves(&step.op) && read(self.graph, step).any(same) {
            return true;
        }
        let end = |var: Var, place: &Place| {
            let extent = place.view().extent(self.graph.shape(var));
            extent.offset + extent.len
        };
        let overlaps = |other: &Var| {
            let Some(known) = places.get(other).filter(|_| *other != var) else {
                return false;
            };
            known.slice.tensor == place.slice.tensor
                && known.slice.offset < end(var, place)
                && place.slice.offset < end(*other, known)
        };
        if matches!(step.op, Op::Pointwise(_)) && step.outputs.iter().any(overlaps) {
            return true;
        }
        // A layer writes each of its outputs through a binding of its own.
        let of_layer = matches!(step.op, Op::Recurrence(_));
        if of_layer
            && step
                .outputs
                .iter()
                .any(|other| *other != var && same(*other))
        {
            return true;
        }
        let mut values = vec![var];
        while let Some(value) = values.pop() {
            for reader in self.readers.get(&value).into_iter().flatten() {
                if is_view(&reader.op) {
                    values.push(reader.outputs[0]);
                } else if !moves(&reader.op) && reader.outputs.iter().copied().any(same) {
                    return true;
                }
            }
        }
        false
    }
}

/// What a step reads, but for what it adds to in place.
fn read<'a>(graph: &'a Graph, step: &'a Step) -> impl Iterator<Item = Var> + 'a {
    let of_layer: &[Var] = match step.op {
        Op::RecurrenceGradient { of, .. } => &graph.nodes[of].inputs,
        _ => &[],
    };
    step.inputs.iter().chain(of_layer).copied()
}

fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape | Op::Slice { .. } | Op::Permute(_))
}

/// Whether a step only moves elements, which it can do within a tensor.
fn moves(op: &Op) -> bool {
    is_view(op) || matches!(op, Op::Concat { .. } | Op::Pad { .. })
}

/// Whether a step can put an output of its in a place.
fn can_put(graph: &Graph, step: &Step, var: Var, place: &Place) -> bool {
    let shape = graph.shape(var);
    let contiguous = || place.contiguous(shape).is_some();
    match &step.op {
        Op::Input(_) | Op::Parameter(_) | Op::Slice { .. } | Op::Custom(_) => false,
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
