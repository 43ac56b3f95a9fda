//! Products that are added to what they are summed with.

use super::Request;
use super::tasks::{Task, producers, uses};
use crate::expr::{Node, Operator};
use crate::graph::{Argument, Graph, Op, Var};

/// A product that is only used in a sum is added to the other summand where that lies.
pub(super) fn onto_sums(graph: &Graph, tasks: &mut Vec<Task>, request: &Request<'_>) {
    let mut index = 0;
    let mut known = (uses(tasks, request), producers(tasks));
    while index < tasks.len() {
        let (uses_of, producers_of) = &known;
        let sum = tasks[index].outputs[0];
        let is_product = |task: &Task| {
            let is_product = matches!(task.op, Op::MatMul { .. });
            is_product && task.onto.is_none() && task.inputs.len() == 2
        };
        let alone = |var: Var| uses_of[&var] == 1 && graph.shape(var) == graph.shape(sum);
        let candidate = summands(&tasks[index]).and_then(|[a, b]| {
            [(a, b), (b, a)].into_iter().find(|(before, added)| {
                let given = matches!(
                    tasks[producers_of[before]].op,
                    Op::Input(_) | Op::Parameter(_)
                );
                is_product(&tasks[producers_of[added]]) && alone(*before) && alone(*added) && !given
            })
        });
        if let Some((before, added)) = candidate {
            let rank = tasks[index].rank;
            let task = &mut tasks[producers_of[&added]];
            (task.onto, task.outputs, task.rank) = (Some(before), vec![sum], rank);
            tasks.remove(index);
            known = (uses(tasks, request), producers(tasks));
        } else {
            index += 1;
        }
    }
}

/// The two values whose sum a task is.
fn summands(task: &Task) -> Option<[Var; 2]> {
    let op = task.pointwise()?;
    let [
        Argument::Input { input: a, .. },
        Argument::Input { input: b, .. },
    ] = op.arguments[..]
    else {
        return None;
    };
    let sum = matches!(
        op.body.nodes[..],
        [
            Node::Operand(0),
            Node::Operand(1),
            Node::Combine(Operator::Add, [0, 1])
        ]
    );
    let simple = op.folded == 0 && op.body.elements == [2];
    (sum && simple).then(|| [task.inputs[a], task.inputs[b]])
}
