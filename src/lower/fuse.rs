//! Steps joined: expressions with what reads them, expressions over one space with each other, products with what they are added to.

use super::Request;
use super::steps::{Step, uses};
use crate::expr::{Body, Fold, Function, Inlined, Node, Operator, Tape};
use crate::graph::{Argument, Graph, Op, PointwiseOp, Var};
use crate::program::{MOST_OPERANDS, MOST_OUTPUTS, product};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Storage bindings that a kernel may have besides its parameters, by WebGPU's default limits.
const BINDINGS: usize = 7;

/// Floating-point operations of an expression that is worth repeating rather than storing.
const CHEAP: usize = 4;

/// Joins what can be joined.
pub(super) fn fuse(graph: &Graph, steps: &mut Vec<Step>, request: &Request<'_>) {
    into_consumers(graph, steps, request);
    into_producers(graph, steps, request);
    side_by_side(graph, steps);
    onto_sums(graph, steps, request);
}

fn pointwise(step: &Step) -> Option<&PointwiseOp> {
    match &step.op {
        Op::Pointwise(op) => Some(op),
        _ => None,
    }
}

/// An expression joins the only one that reads it.
fn into_consumers(graph: &Graph, steps: &mut Vec<Step>, request: &Request<'_>) {
    let uses = uses(steps, request);
    let mut producers: HashMap<Var, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        if pointwise(step).is_some_and(|op| op.folded == 0) && step.outputs.len() == 1 {
            producers.insert(step.outputs[0], index);
        }
    }
    let mut gone = vec![false; steps.len()];
    for index in 0..steps.len() {
        // What was joined may read more that can be.
        while let Some((input, producer)) = (0..steps[index].inputs.len()).find_map(|input| {
            let var = steps[index].inputs[input];
            let producer = *producers.get(&var).filter(|_| uses[&var] == 1)?;
            let fits = joins(graph, &steps[producer], &steps[index], input);
            fits.then_some((input, producer))
        }) {
            let joined = join(&steps[producer], &steps[index], input);
            steps[index] = joined;
            gone[producer] = true;
        }
    }
    let mut gone = gone.into_iter();
    steps.retain(|_| !gone.next().unwrap_or(false));
}

/// Whether a step's expression may be computed where another reads it as its n-th input.
fn joins(graph: &Graph, producer: &Step, consumer: &Step, input: usize) -> bool {
    let (Some(from), Some(to)) = (pointwise(producer), pointwise(consumer)) else {
        return false;
    };
    let mut readers = to.arguments.iter().filter(|argument| match argument {
        Argument::Input { input: of, .. } => *of == input,
        Argument::Gather {
            input: of, index, ..
        } => *of == input || *index == input,
        _ => false,
    });
    let only = matches!(
        (readers.next(), readers.next()),
        (Some(Argument::Input { .. }), None)
    );
    let costly = |node: &Node| matches!(node, Node::Apply(function, _) if !matches!(function, Function::Neg | Function::Abs));
    let cheap =
        from.body.flops() <= CHEAP && !from.body.nodes.iter().any(costly) && !producer.is_random();
    let repeats = product(&from.shape) < product(&to.shape);
    let operands = from.arguments.len() + to.arguments.len();
    only && (cheap || !repeats)
        && operands <= MOST_OPERANDS
        && bindings(graph, [producer, consumer], Some(producer.outputs[0])) <= BINDINGS
}

/// The storage bindings of steps joined, at most: the values they read and write, weights and what is fed being in one tensor each.
fn bindings(graph: &Graph, of: [&Step; 2], without: Option<Var>) -> usize {
    let mut values: Vec<Var> = vec![];
    let (mut weights, mut fed) = (0, 0);
    for step in of {
        if step.is_random() {
            fed = 1;
        }
        for var in step.inputs.iter().chain(&step.outputs) {
            match graph.nodes[var.node].op {
                Op::Parameter(_) => weights = 1,
                _ if Some(*var) == without || values.contains(var) => {}
                _ => values.push(*var),
            }
        }
    }
    values.len() + weights + fed
}

/// Arguments and inputs of expressions that become one, each once.
#[derive(Default)]
struct Merged {
    arguments: Vec<Argument>,
    inputs: Vec<Var>,
}

impl Merged {
    /// The place of an argument of a step among all.
    fn place(&mut self, mut argument: Argument, of: &[Var]) -> usize {
        argument.renumber(|input| {
            let known = self.inputs.iter().position(|var| *var == of[input]);
            known.unwrap_or_else(|| {
                self.inputs.push(of[input]);
                self.inputs.len() - 1
            })
        });
        let known = self.arguments.iter().position(|known| *known == argument);
        known.unwrap_or_else(|| {
            self.arguments.push(argument);
            self.arguments.len() - 1
        })
    }

    /// The places of all arguments of a step but one.
    fn places(&mut self, step: &Step, but: Option<usize>) -> Vec<usize> {
        let op = pointwise(step).expect("only expressions join");
        let places =
            op.arguments
                .iter()
                .enumerate()
                .map(|(index, argument)| match Some(index) == but {
                    true => usize::MAX,
                    false => self.place(argument.clone(), &step.inputs),
                });
        places.collect()
    }

    fn step(self, op: PointwiseOp, outputs: Vec<Var>, rank: usize) -> Step {
        let arguments = self.arguments;
        Step {
            op: Op::Pointwise(Box::new(PointwiseOp { arguments, ..op })),
            inputs: self.inputs,
            outputs,
            onto: None,
            rank,
        }
    }
}

/// The argument by which a step reads its n-th input, and the axes that it follows.
fn reader(step: &Step, input: usize) -> Option<(usize, &[Option<usize>])> {
    let arguments = pointwise(step)?.arguments.iter().enumerate();
    let own = |(index, argument)| match argument {
        &Argument::Input {
            input: of,
            ref axes,
        } if of == input => Some((index, &axes[..])),
        _ => None,
    };
    arguments.into_iter().find_map(own)
}

fn join(producer: &Step, consumer: &Step, input: usize) -> Step {
    let (Some(from), Some(to), Some((read, axes))) = (
        pointwise(producer),
        pointwise(consumer),
        reader(consumer, input),
    ) else {
        unreachable!("only expressions join")
    };
    let mut merged = Merged::default();
    let of_from: Vec<_> = (from.arguments.iter())
        .map(|argument| merged.place(argument.moved(axes), &producer.inputs))
        .collect();
    let of_to = merged.places(consumer, Some(read));
    let tape = Tape::new();
    let (joined, _) = tape.inline(&from.body, |operand| Inlined::Operand(of_from[operand]));
    let (elements, results) = tape.inline(&to.body, |operand| match operand == read {
        true => Inlined::Expr(joined[0]),
        false => Inlined::Operand(of_to[operand]),
    });
    let op = PointwiseOp {
        name: joined_name(&from.name, &to.name),
        body: Arc::new(tape.finish(&elements, &results)),
        ..to.clone()
    };
    merged.step(op, consumer.outputs.clone(), consumer.rank)
}

/// A map of what an expression with rows gives for every element joins that expression.
fn into_producers(graph: &Graph, steps: &mut Vec<Step>, request: &Request<'_>) {
    let mut index = 0;
    while index < steps.len() {
        let uses = uses(steps, request);
        let consumer = &steps[index];
        let candidate = (0..consumer.inputs.len()).find_map(|input| {
            let var = consumer.inputs[input];
            let (read, axes) = reader(consumer, input)?;
            let to = pointwise(consumer).filter(|to| to.folded == 0)?;
            let producer = steps.iter().position(|step| step.outputs.contains(&var))?;
            let from = pointwise(&steps[producer]).filter(|from| from.folded > 0)?;
            let output = steps[producer].outputs.iter().position(|of| *of == var)?;
            let follows = |(axis, of): (usize, &Option<usize>)| {
                *of == Some(axis) || to.shape[axis] == 1 && of.is_none()
            };
            let fits = output < from.body.elements.len()
                && uses[&var] == 1
                && from.shape == to.shape
                && axes.iter().enumerate().all(follows)
                && from.arguments.len() + to.arguments.len() <= MOST_OPERANDS
                && bindings(graph, [&steps[producer], consumer], Some(var)) <= BINDINGS
                && consumer
                    .inputs
                    .iter()
                    .filter(|other| **other != var)
                    .all(|other| {
                        let of = steps.iter().position(|step| step.outputs.contains(other));
                        of.is_some_and(|of| of != producer && !depends(steps, of, producer))
                    });
            fits.then_some((producer, output, read))
        });
        let Some((producer, output, read)) = candidate else {
            index += 1;
            continue;
        };
        let (first, second) = (&steps[producer], &steps[index]);
        let (Some(from), Some(to)) = (pointwise(first), pointwise(second)) else {
            unreachable!("only expressions join")
        };
        let mut merged = Merged::default();
        let of_from = merged.places(first, None);
        let of_to = merged.places(second, Some(read));
        let tape = Tape::new();
        let (mut elements, results) =
            tape.inline(&from.body, |operand| Inlined::Operand(of_from[operand]));
        let (mapped, _) = tape.inline(&to.body, |operand| match operand == read {
            true => Inlined::Expr(elements[output]),
            false => Inlined::Operand(of_to[operand]),
        });
        elements.splice(output..=output, mapped);
        let mut outputs = first.outputs.clone();
        outputs.splice(output..=output, second.outputs.iter().copied());
        let op = PointwiseOp {
            name: joined_name(&from.name, &to.name),
            body: Arc::new(tape.finish(&elements, &results)),
            ..from.clone()
        };
        steps[index] = merged.step(op, outputs, second.rank);
        steps.remove(producer);
        // The others have moved.
        index = 0;
    }
}

/// The last name says what comes out; the first few say of what.
fn joined_name(first: &str, second: &str) -> Cow<'static, str> {
    if first == second || second.contains(first) {
        Cow::Owned(second.to_owned())
    } else if first.len() + second.len() < 40 {
        Cow::Owned(format!("{first}_{second}"))
    } else {
        Cow::Owned(second.to_owned())
    }
}

/// Expressions over one space that read the same, of which none needs the other, become one.
fn side_by_side(graph: &Graph, steps: &mut Vec<Step>) {
    let mut index = 0;
    while index < steps.len() {
        let partner = (0..index).find(|other| {
            let (a, b) = (&steps[*other], &steps[index]);
            pair(graph, a, b) && !depends(steps, index, *other) && !depends(steps, *other, index)
        });
        match partner {
            Some(other) => {
                let joined = beside(&steps[other], &steps[index]);
                steps[index] = joined;
                steps.remove(other);
            }
            None => index += 1,
        }
    }
}

/// Whether two steps are expressions that one pass over a space may compute.
fn pair(graph: &Graph, a: &Step, b: &Step) -> bool {
    let (Some(first), Some(second)) = (pointwise(a), pointwise(b)) else {
        return false;
    };
    let shares = |argument: &Argument| {
        let Argument::Input { input, axes } = argument else {
            return false;
        };
        let var = a.inputs[*input];
        let whole = graph.ty(var).len() == product(&first.shape);
        let same = |other: &Argument| matches!(other, Argument::Input { input, axes: own } if b.inputs[*input] == var && own == axes);
        whole && second.arguments.iter().any(same)
    };
    let sums = |op: &PointwiseOp| {
        op.body
            .statistics
            .iter()
            .all(|(fold, _)| *fold == Fold::Sum)
    };
    let outputs = a.outputs.len() + b.outputs.len();
    first.shape == second.shape
        && (first.folded == second.folded || first.folded.min(second.folded) == 0)
        // A map and a sum, or rows: a map alone gains nothing beside another.
        && first.folded + second.folded > 0
        && (sums(first) && sums(second) || first.folded == second.folded)
        && first.arguments.iter().any(shares)
        && first.arguments.len() + second.arguments.len() <= MOST_OPERANDS
        && outputs <= MOST_OUTPUTS
        && bindings(graph, [a, b], None) <= BINDINGS
}

/// Whether a step needs another, directly or not.
fn depends(steps: &[Step], from: usize, on: usize) -> bool {
    let mut of: HashMap<Var, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        step.outputs
            .iter()
            .for_each(|var| _ = of.insert(*var, index));
    }
    let mut seen = vec![false; steps.len()];
    let mut stack = vec![from];
    while let Some(index) = stack.pop() {
        for needed in steps[index].needs().map(|var| of[&var]) {
            if needed == on {
                return true;
            }
            if !std::mem::replace(&mut seen[needed], true) {
                stack.push(needed);
            }
        }
    }
    false
}

fn beside(a: &Step, b: &Step) -> Step {
    let (Some(first), Some(second)) = (pointwise(a), pointwise(b)) else {
        unreachable!("only expressions join")
    };
    let tape = Tape::new();
    let mut merged = Merged::default();
    let mut add = |op: &PointwiseOp, step: &Step| {
        let places = merged.places(step, None);
        tape.inline(&op.body, |operand| Inlined::Operand(places[operand]))
    };
    let (mut elements, mut results) = add(first, a);
    let (more_elements, more_results) = add(second, b);
    elements.extend(more_elements);
    results.extend(more_results);
    let split = |op: &PointwiseOp, step: &Step| {
        let (elements, results) = step.outputs.split_at(op.body.elements.len());
        [elements.to_vec(), results.to_vec()]
    };
    let ([a_elements, a_results], [b_elements, b_results]) = (split(first, a), split(second, b));
    let op = PointwiseOp {
        name: joined_name(&first.name, &second.name),
        shape: first.shape.clone(),
        folded: first.folded.max(second.folded),
        arguments: vec![],
        body: Arc::new(tape.finish(&elements, &results)),
    };
    let outputs = [a_elements, b_elements, a_results, b_results].concat();
    merged.step(op, outputs, a.rank.max(b.rank))
}

/// A product that is only used in a sum is added to the other summand where that lies.
fn onto_sums(graph: &Graph, steps: &mut Vec<Step>, request: &Request<'_>) {
    let mut index = 0;
    while index < steps.len() {
        let uses = uses(steps, request);
        let step = &steps[index];
        let candidate = summands(step).and_then(|[a, b]| {
            let place = |var: Var| steps.iter().position(|step| step.outputs.contains(&var));
            let product = |var: Var| {
                let producer = place(var)?;
                let step = &steps[producer];
                let is_product = matches!(step.op, Op::MatMul { .. }) && step.onto.is_none();
                (is_product && step.inputs.len() == 2).then_some(producer)
            };
            let alone =
                |var: Var| uses[&var] == 1 && graph.shape(var) == graph.shape(step.outputs[0]);
            let own = |var: Var| {
                let producer = place(var);
                let views = |op: &Op| !matches!(op, Op::Input(_) | Op::Parameter(_));
                producer.is_some_and(|producer| views(&steps[producer].op))
            };
            [(a, b), (b, a)].into_iter().find_map(|(before, added)| {
                let fits = alone(before) && alone(added) && own(before);
                product(added)
                    .filter(|_| fits)
                    .map(|producer| (producer, before))
            })
        });
        if let Some((producer, before)) = candidate {
            let output = steps[index].outputs[0];
            let rank = steps[index].rank;
            let step = &mut steps[producer];
            (step.onto, step.outputs, step.rank) = (Some(before), vec![output], rank);
            steps.remove(index);
        } else {
            index += 1;
        }
    }
}

/// The two values whose sum a step is.
fn summands(step: &Step) -> Option<[Var; 2]> {
    let op = pointwise(step)?;
    let Body { nodes, .. } = &*op.body;
    let (Argument::Input { input: a, .. }, Argument::Input { input: b, .. }) =
        (op.arguments.first()?, op.arguments.get(1)?)
    else {
        return None;
    };
    let sum = matches!(
        nodes[..],
        [
            Node::Operand(0),
            Node::Operand(1),
            Node::Combine(Operator::Add, [0, 1])
        ]
    );
    let simple = op.folded == 0 && op.arguments.len() == 2 && op.body.elements == [2];
    (sum && simple).then(|| [step.inputs[*a], step.inputs[*b]])
}
