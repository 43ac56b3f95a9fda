//! Where values are best put: views are aliases both ways.

use super::Lowering;
use super::recurrence::d_state_len;
use super::tasks::Task;
use crate::graph::{Graph, Op, Var, inverse};
use crate::program::{TensorId, View};

impl Lowering<'_> {
    /// Chooses the places of values, from what is asked for backwards, so that nothing need be copied.
    pub(super) fn choose_places(&mut self) {
        for (var, slice) in &self.request.stores {
            let place = View::whole(*slice, self.graph.shape(*var));
            self.offer(*var, place, false);
        }
        for task in self.tasks.iter().rev() {
            let output = task.outputs[0];
            let changes = self.changing.contains(&output);
            match &task.op {
                Op::Reshape => {
                    let shape = self.graph.shape(output);
                    let place = self.places.get(&output);
                    if let Some(slice) = place.and_then(|place| place.contiguous(shape)) {
                        let input = task.inputs[0];
                        let place = View::whole(slice, self.graph.shape(input));
                        self.offer(input, place, changes);
                    }
                }
                Op::Permute(order) => {
                    if let Some(place) = self.places.get(&output) {
                        let place = place.permuted(&inverse(order));
                        self.offer(task.inputs[0], place, changes);
                    }
                }
                Op::Concat { .. } | Op::Pad { .. } => {
                    for (input, place) in self.parts(task) {
                        self.offer(input, place, changes);
                    }
                }
                Op::MatMul { .. } => {
                    if let Some(onto) = task.onto {
                        let place = self.place(output, "product");
                        self.offer(onto, place, true);
                    }
                }
                Op::RecurrenceGradient { of, inputs } => {
                    let layer = self.layer(*of);
                    let d_state = self.program.temporary("d.states", &[d_state_len(layer)]);
                    self.d_states.insert(output.node, d_state);
                    if let (true, Some(d_last)) = (inputs[1], task.inputs.last()) {
                        self.offer(*d_last, View::new(d_state, [1]), true);
                    }
                }
                _ => {}
            }
        }
    }

    /// What a concatenation, or a padded value, consists of, and where.
    pub(super) fn parts(&mut self, task: &Task) -> Vec<(Var, View)> {
        let name = match task.op {
            Op::Concat { .. } => "concat",
            _ => "padded",
        };
        let whole = self.place(task.outputs[0], name);
        let (axis, mut start) = task.op.parts().expect("it has parts");
        let part = |input: &Var| {
            let place = whole.part(axis, start);
            start += self.graph.shape(*input)[axis];
            (*input, place)
        };
        task.inputs.iter().map(part).collect()
    }

    /// Puts a value in a place where its task can, and where nothing is in the way. `changes`: whether it is changed there.
    fn offer(&mut self, var: Var, place: View, changes: bool) {
        let shared = changes && self.uses[&var] > 1;
        let free = !shared && !self.places.contains_key(&var) && !self.meets(var, &place);
        if free && can_put(self.graph, self.producers[&var], var, &place) {
            self.places.insert(var, place);
            if changes {
                self.changing.insert(var);
            }
        }
    }

    /// The tensor that a value has been given so far, a view that of what it views.
    fn tensor(&self, var: Var) -> Option<TensorId> {
        if let Some(place) = self.places.get(&var) {
            return Some(place.tensor);
        }
        let task = self.producers[&var];
        let of = is_view(&task.op).then(|| task.inputs[0])?;
        self.tensor(of)
    }

    /// Whether a value at a place meets another of its tensor in one operation that writes there: an operation that reads a tensor must
    /// not write to it.
    fn meets(&self, var: Var, place: &View) -> bool {
        let task = self.producers[&var];
        let same = |other: Var| self.tensor(other) == Some(place.tensor);
        if !moves(&task.op) && self.read(task).any(same) {
            return true;
        }
        let extent = |var: Var, place: &View| place.extent(self.graph.shape(var));
        let mut others = task.outputs.iter().copied().filter(|other| *other != var);
        let in_the_way = match task.op {
            Op::Pointwise(_) => others.any(|other| {
                let known = self.places.get(&other);
                known.is_some_and(|known| extent(other, known).overlaps(&extent(var, place)))
            }),
            // A layer writes each of its outputs through a binding of its own.
            Op::Recurrence(_) => others.any(same),
            _ => false,
        };
        if in_the_way {
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

fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape | Op::Slice { .. } | Op::Permute(_))
}

/// Whether a task only moves elements, which it can do within a tensor.
fn moves(op: &Op) -> bool {
    is_view(op) || matches!(op, Op::Concat { .. } | Op::Pad { .. })
}

/// Whether a task can put an output of its in a place.
fn can_put(graph: &Graph, task: &Task, var: Var, place: &View) -> bool {
    let shape = graph.shape(var);
    let is_matrix = || place.matrix(shape).is_some();
    match &task.op {
        Op::Input(_) | Op::Parameter(_) | Op::Slice { .. } | Op::Custom(_) => false,
        Op::Pointwise(_) | Op::Permute(_) | Op::Concat { .. } | Op::Pad { .. } => true,
        Op::MatMul { .. } | Op::Scatter => is_matrix(),
        Op::RecurrenceGradient { .. } if var.output == 0 => is_matrix(),
        Op::RecurrenceGradient { .. } if var.output == 1 => false,
        Op::Reshape | Op::Recurrence(_) | Op::RecurrenceGradient { .. } => {
            place.contiguous(shape).is_some()
        }
    }
}
