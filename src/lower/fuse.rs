//! Expressions joined: with what reads them, and over one space with each other.

use super::Request;
use super::tasks::{Task, depends, producers, uses};
use crate::expr::{Fold, Function, Inlined, Node, Tape, place_in};
use crate::graph::{Argument, Graph, Op, PointwiseOp, Var};
use crate::program::{MOST_OPERANDS, MOST_OUTPUTS, product};
use std::collections::HashMap;
use std::sync::Arc;

/// Storage bindings that a kernel may have besides its parameters, by WebGPU's default limits.
const BINDINGS: usize = 7;

/// Floating-point operations of an expression that is worth repeating rather than storing.
const CHEAP: usize = 4;

/// Joins what can be joined.
pub(super) fn fuse(graph: &Graph, tasks: &mut Vec<Task>, request: &Request<'_>) {
    into_consumers(graph, tasks, request);
    into_producers(graph, tasks, request);
    side_by_side(graph, tasks);
}

/// An expression joins the only one that reads it.
fn into_consumers(graph: &Graph, tasks: &mut Vec<Task>, request: &Request<'_>) {
    let uses = uses(tasks, request);
    let mut producers: HashMap<Var, usize> = HashMap::new();
    for (index, task) in tasks.iter().enumerate() {
        if let Some(op) = task.pointwise().filter(|op| op.folded == 0)
            && (op.body.elements.len(), op.body.results.len()) == (1, 0)
        {
            producers.insert(task.outputs[0], index);
        }
    }
    let mut gone = vec![false; tasks.len()];
    for index in 0..tasks.len() {
        let candidate = |task: &Task| {
            task.inputs.iter().enumerate().find_map(|(input, var)| {
                let producer = *producers.get(var).filter(|_| uses[var] == 1)?;
                let fits = joins(graph, &tasks[producer], task, input);
                fits.then_some((input, producer))
            })
        };
        // What was joined may read more that can be.
        let mut task = tasks[index].clone();
        while let Some((input, producer)) = candidate(&task) {
            let (read, axes) = reader(&task, input).expect("it reads that input");
            task = joined([&tasks[producer], &task], Some((0, read)), Some(axes));
            gone[producer] = true;
        }
        tasks[index] = task;
    }
    let mut gone = gone.into_iter();
    tasks.retain(|_| !gone.next().unwrap_or(false));
}

/// Whether a task's expression may be computed where another reads it as its n-th input.
fn joins(graph: &Graph, producer: &Task, consumer: &Task, input: usize) -> bool {
    let (Some(from), Some(to)) = (producer.pointwise(), consumer.pointwise()) else {
        return false;
    };
    let mut readers = to.arguments.iter().filter(|of| of.reads(input));
    let only = matches!(
        (readers.next(), readers.next()),
        (Some(Argument::Input { .. }), None)
    );
    let costly = |node: &Node| matches!(node, Node::Apply(function, _) if !matches!(function, Function::Neg | Function::Abs));
    let cheap =
        from.body.flops() <= CHEAP && !from.body.nodes.iter().any(costly) && !producer.is_random();
    let repeats = product(&from.shape) < product(&to.shape);
    only && (cheap || !repeats) && fit(graph, [producer, consumer], Some(producer.outputs[0]))
}

/// Whether a kernel may have the operands and storage bindings of two expressions, at most: the values they read and write, weights and
/// what is fed being in one tensor each.
fn fit(graph: &Graph, of: [&Task; 2], without: Option<Var>) -> bool {
    let mut values: Vec<Var> = vec![];
    let (mut operands, mut weights, mut fed) = (0, 0, 0);
    for task in of {
        operands += task.pointwise().map_or(0, |op| op.arguments.len());
        fed = fed.max(usize::from(task.is_random()));
        for var in task.inputs.iter().chain(&task.outputs) {
            match graph.nodes[var.node].op {
                Op::Parameter(_) => weights = 1,
                _ if Some(*var) == without || values.contains(var) => {}
                _ => values.push(*var),
            }
        }
    }
    operands <= MOST_OPERANDS && values.len() + weights + fed <= BINDINGS
}

/// The argument by which a task reads its n-th input, and the axes that it follows.
fn reader(task: &Task, input: usize) -> Option<(usize, &[Option<usize>])> {
    let mut arguments = task.pointwise()?.arguments.iter().enumerate();
    arguments.find_map(|(index, argument)| match argument {
        Argument::Input { input: of, axes } if *of == input => Some((index, &axes[..])),
        _ => None,
    })
}

/// Two expressions as one, in the space of the second. `through`: which element of the first the second reads, and as which operand.
/// `axes`: for each axis of the second's space the one of the first's, where these are not the same.
fn joined(of: [&Task; 2], through: Option<(usize, usize)>, axes: Option<&[Option<usize>]>) -> Task {
    let [first, second] = of;
    let [Some(from), Some(to)] = of.map(Task::pointwise) else {
        unreachable!("only expressions join")
    };
    let (mut arguments, mut inputs) = (vec![], vec![]);
    let mut place = |argument: &Argument, task: &Task, axes: Option<&[Option<usize>]>| {
        let mut argument = axes.map_or_else(|| argument.clone(), |axes| argument.moved(axes));
        argument.renumber(|input| place_in(&mut inputs, task.inputs[input]));
        place_in(&mut arguments, argument)
    };
    let of_from = from.arguments.iter();
    let of_from: Vec<_> = of_from
        .map(|argument| place(argument, first, axes))
        .collect();
    let read = through.map(|(_, read)| read);
    let of_to = to.arguments.iter().enumerate();
    let of_to: Vec<_> = of_to
        .map(|(index, argument)| match Some(index) == read {
            true => usize::MAX,
            false => place(argument, second, None),
        })
        .collect();
    let tape = Tape::new();
    let (mut elements, mut results) =
        tape.inline(&from.body, |operand| Inlined::Operand(of_from[operand]));
    let (more_elements, more_results) = tape.inline(&to.body, |operand| match through {
        Some((element, read)) if operand == read => Inlined::Expr(elements[element]),
        _ => Inlined::Operand(of_to[operand]),
    });
    // What the second computes for every element stands for what it reads, or behind all.
    let replaced = match through {
        Some((element, _)) => element..element + 1,
        None => elements.len()..elements.len(),
    };
    let mut outputs = first.outputs.clone();
    let (of_elements, of_results) = second.outputs.split_at(more_elements.len());
    outputs.splice(replaced.clone(), of_elements.iter().copied());
    outputs.extend(of_results);
    elements.splice(replaced, more_elements);
    results.extend(more_results);
    let op = PointwiseOp {
        lengths: None,
        name: joined_name(&from.name, &to.name).into(),
        shape: to.shape.clone(),
        folded: from.folded.max(to.folded),
        arguments,
        body: Arc::new(tape.finish(&elements, &results)),
    };
    Task {
        op: Op::Pointwise(Box::new(op)),
        inputs,
        outputs,
        onto: None,
        rank: first.rank.max(second.rank),
    }
}

/// The last name says what comes out; the first few say of what.
fn joined_name(first: &str, second: &str) -> String {
    match second.contains(first) || first.len() + second.len() >= 40 {
        true => second.to_owned(),
        false => format!("{first}_{second}"),
    }
}

/// A map of what an expression with rows gives for every element joins that expression.
fn into_producers(graph: &Graph, tasks: &mut Vec<Task>, request: &Request<'_>) {
    let mut index = 0;
    let mut known = (uses(tasks, request), producers(tasks));
    while index < tasks.len() {
        let (uses_of, producers_of) = &known;
        let consumer = &tasks[index];
        let candidate = consumer.inputs.iter().enumerate().find_map(|(input, var)| {
            let (read, axes) = reader(consumer, input)?;
            let to = consumer.pointwise().filter(|to| to.folded == 0)?;
            let producer = producers_of[var];
            let from = tasks[producer].pointwise().filter(|from| from.folded > 0)?;
            let outputs = &tasks[producer].outputs[..from.body.elements.len()];
            let output = outputs.iter().position(|of| of == var)?;
            let follows = |(axis, of): (usize, &Option<usize>)| {
                *of == Some(axis) || to.shape[axis] == 1 && of.is_none()
            };
            let apart = |other: &Var| {
                let of = producers_of[other];
                other == var || of != producer && !depends(tasks, of, producer)
            };
            let fits = uses_of[var] == 1
                && from.shape == to.shape
                && axes.iter().enumerate().all(follows)
                && fit(graph, [&tasks[producer], consumer], Some(*var))
                && consumer.inputs.iter().all(apart);
            fits.then_some((producer, output, read))
        });
        match candidate {
            Some((producer, output, read)) => {
                let of = [&tasks[producer], consumer];
                tasks[index] = joined(of, Some((output, read)), None);
                tasks.remove(producer);
                // The others have moved, and may be used less often.
                known = (uses(tasks, request), producers(tasks));
                index = 0;
            }
            None => index += 1,
        }
    }
}

/// Expressions over one space that read the same, of which none needs the other, become one.
fn side_by_side(graph: &Graph, tasks: &mut Vec<Task>) {
    let mut index = 0;
    while index < tasks.len() {
        let partner = (0..index).find(|other| {
            pair(graph, &tasks[*other], &tasks[index])
                && !depends(tasks, index, *other)
                && !depends(tasks, *other, index)
        });
        match partner {
            Some(other) => {
                let of = [&tasks[other], &tasks[index]];
                tasks[index] = joined(of, None, None);
                tasks.remove(other);
            }
            None => index += 1,
        }
    }
}

/// Whether two tasks are expressions that one pass over a space may compute.
fn pair(graph: &Graph, a: &Task, b: &Task) -> bool {
    let (Some(first), Some(second)) = (a.pointwise(), b.pointwise()) else {
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
        let mut statistics = op.body.statistics.iter();
        statistics.all(|(fold, _)| *fold == Fold::Sum)
    };
    first.shape == second.shape
        && (first.folded == second.folded || first.folded.min(second.folded) == 0)
        // A map and a sum, or rows: a map alone gains nothing beside another.
        && first.folded + second.folded > 0
        && (sums(first) && sums(second) || first.folded == second.folded)
        && first.arguments.iter().any(shares)
        && a.outputs.len() + b.outputs.len() <= MOST_OUTPUTS
        && fit(graph, [a, b], None)
}
