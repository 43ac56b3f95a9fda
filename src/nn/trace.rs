//! A graph under construction.

use super::parameters::{ParameterSpec, Parameters};
use crate::graph::{Graph, Op, Type, Var};
use std::collections::HashMap;

/// A graph under construction, with the weights it uses.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) graph: Graph,
    /// The weights that were declared so far; where they are known before, all there are.
    pub(super) specs: Vec<ParameterSpec>,
    pub(super) are_known: bool,
    pub(super) by_name: HashMap<String, usize>,
    /// The values of weights and of other tensors, once used.
    pub(super) variables: Vec<Option<Var>>,
    /// Whether what is dropped at random is.
    pub(crate) training: bool,
    /// Inputs that hold the sum of others, which are lengths.
    pub(crate) counts: Vec<(usize, usize)>,
    pub(super) layers: u32,
}

impl Trace {
    /// A trace that declares its weights.
    pub(crate) fn declaring() -> Self {
        Self::default()
    }

    /// A trace that has no weights.
    pub(crate) fn without_weights(training: bool) -> Self {
        Self {
            are_known: true,
            training,
            ..Self::default()
        }
    }

    /// A trace that uses known weights.
    pub(crate) fn with(parameters: &Parameters, training: bool) -> Self {
        let specs: Vec<_> = parameters.specs().cloned().collect();
        let names = specs.iter().enumerate();
        Self {
            by_name: names
                .map(|(slot, spec)| (spec.name.clone(), slot))
                .collect(),
            variables: vec![None; specs.len()],
            specs,
            are_known: true,
            training,
            ..Self::default()
        }
    }

    /// The weights that were declared.
    pub(crate) fn into_specs(self) -> Vec<ParameterSpec> {
        self.specs
    }

    /// A tensor besides the weights, by its place behind them.
    pub(crate) fn variable(&mut self, index: usize, ty: Type) -> Var {
        let slot = self.specs.len() + index;
        self.graph.push_one(Op::Parameter(slot), vec![], ty)
    }

    /// The value of a weight.
    pub(crate) fn weight(&mut self, slot: usize) -> Var {
        if let Some(var) = self.variables[slot] {
            return var;
        }
        let ty = Type::float(self.specs[slot].shape.clone());
        let var = self.graph.push_one(Op::Parameter(slot), vec![], ty);
        self.variables[slot] = Some(var);
        var
    }

    /// The values of the weights that were used, by their place.
    pub(crate) fn used_weights(&self) -> Vec<Option<Var>> {
        self.variables.clone()
    }
}
