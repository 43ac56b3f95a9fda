//! Backward passes, written as more of the same graph.

use super::{Graph, Var};
use crate::error::Result;
use crate::expr::Tape;
use std::collections::HashMap;

impl Graph {
    /// The gradients of Σ ⟨seed, value⟩ with respect to some values: none where nothing depends on them. What reaches a value on
    /// several ways adds up.
    ///
    /// # Errors
    /// Those of the operations that are added.
    pub(crate) fn gradients(
        &mut self,
        seeds: &[(Var, Var)],
        of: &[Var],
    ) -> Result<Vec<Option<Var>>> {
        let wanted = self.dependants(of);
        let mut contributions: HashMap<Var, Vec<Var>> = HashMap::new();
        for (value, seed) in seeds {
            contributions.entry(*value).or_default().push(*seed);
        }
        let last = seeds.iter().map(|(value, _)| value.node).max();
        let mut totals: HashMap<Var, Var> = HashMap::new();
        for node in (0..=last.unwrap_or(0)).rev().filter(|node| wanted[*node]) {
            let mut gradients = vec![None; self.nodes[node].outputs.len()];
            for (output, gradient) in gradients.iter_mut().enumerate() {
                let var = Var { node, output };
                if let Some(parts) = contributions.remove(&var) {
                    let total = self.sum_of(&parts)?;
                    totals.insert(var, total);
                    *gradient = Some(total);
                }
            }
            let inputs = self.nodes[node].inputs.clone();
            let needed: Vec<bool> = inputs.iter().map(|input| wanted[input.node]).collect();
            if gradients.iter().all(Option::is_none) || !needed.contains(&true) {
                continue;
            }
            for (input, gradient) in inputs.iter().zip(self.vjp(node, &gradients, &needed)?) {
                if let Some(gradient) = gradient {
                    contributions.entry(*input).or_default().push(gradient);
                }
            }
        }
        Ok(of.iter().map(|var| totals.get(var).copied()).collect())
    }

    /// For each node whether it is, or depends on, one of some values through floats.
    fn dependants(&self, of: &[Var]) -> Vec<bool> {
        let mut depends: Vec<bool> = vec![];
        for (index, node) in self.nodes.iter().enumerate() {
            let own = of.iter().any(|var| var.node == index);
            let through = node.inputs.iter().any(|input| depends[input.node]);
            depends.push(own || through);
        }
        depends
    }

    /// The sum of values of one shape.
    pub(crate) fn sum_of(&mut self, parts: &[Var]) -> Result<Var> {
        let [first, rest @ ..] = parts else {
            unreachable!("there is a contribution")
        };
        // Two at a time, so that each may be added where the other is.
        rest.iter().try_fold(*first, |sum, part| {
            let tape = Tape::new();
            let body = tape.finish(&[tape.operand(0) + tape.operand(1)], &[]);
            Ok(self.broadcast("add", &[sum, *part], 0, body, vec![])?[0])
        })
    }
}
