//! A graph under construction.

use super::feed::Signature;
use super::parameters::{ParameterSpec, Parameters};
use crate::graph::{Dtype, Graph, Op, Type, Var};

/// A graph under construction, with its inputs and the weights it uses.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) graph: Graph,
    /// The weights that were declared so far; where they are known before, all there are.
    pub(super) specs: Vec<ParameterSpec>,
    /// Says whether no further weight may be declared.
    pub(super) are_known: bool,
    /// The values of weights, once used.
    pub(super) weights: Vec<Option<Var>>,
    /// Says whether random numbers are drawn, as in training.
    pub(super) training: bool,
    pub(super) inputs: Vec<InputSlots>,
    /// Inputs that hold the sum of others, which are lengths.
    pub(super) counts: Vec<(usize, usize)>,
    /// How many layers there are so far.
    pub(super) layers: u32,
}

/// The places of an input among those of the graph: its values, and its lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct InputSlots {
    pub(super) values: usize,
    pub(super) lengths: Option<usize>,
    /// The input, this one or another, whose lengths say which steps there are.
    pub(super) ragged_as: Option<usize>,
}

impl Trace {
    /// A trace that uses these weights and no others. The default one declares its own.
    pub(crate) fn new(parameters: Option<&Parameters>, training: bool) -> Self {
        let specs = parameters.map_or(vec![], |parameters| parameters.specs().to_vec());
        Self {
            weights: vec![None; specs.len()],
            specs,
            are_known: true,
            training,
            ..Self::default()
        }
    }

    /// The place of a weight.
    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|spec| spec.name == name)
    }

    /// Declares a weight. Returns its place.
    pub(super) fn declare(&mut self, spec: ParameterSpec) -> usize {
        self.specs.push(spec);
        self.weights.push(None);
        self.specs.len() - 1
    }

    /// The value of a weight.
    pub(super) fn weight(&mut self, slot: usize) -> Var {
        let ty = || Type::float(self.specs[slot].shape.clone());
        *self.weights[slot]
            .get_or_insert_with(|| self.graph.push_one(Op::Parameter(slot), vec![], ty()))
    }

    /// The values of the weights that were used, by their place.
    pub(crate) fn used_weights(&self) -> &[Option<Var>] {
        &self.weights
    }

    /// A tensor besides the weights, by its place behind them.
    pub(crate) fn variable(&mut self, index: usize, ty: Type) -> Var {
        let slot = self.specs.len() + index;
        self.graph.push_one(Op::Parameter(slot), vec![], ty)
    }

    /// Adds an input of a signature, time-major.
    pub(crate) fn input(&mut self, name: &str, of: &Signature) -> Var {
        self.input_of(name, of, 1)
    }

    /// Adds an input of a signature whose rows are along an axis. What is fed past the lengths reads as zeros.
    pub(crate) fn input_of(&mut self, name: &str, of: &Signature, batch_axis: usize) -> Var {
        let graph = &mut self.graph;
        let lengths = of.has_lengths.then(|| {
            let batch = of.shape.get(batch_axis).copied().unwrap_or(0);
            graph.input(format!("lengths of {name}"), Type::index([batch]))
        });
        let slot = lengths.map(|_| graph.inputs() - 1);
        let own = lengths.map(|_| self.inputs.len());
        self.push_input(name, of, (lengths, batch_axis), (slot, own))
    }

    /// Adds an input that goes with a value: where this is a sequence with lengths, they are the input's too.
    pub(crate) fn input_beside(&mut self, name: &str, of: &Signature, value: Var) -> Var {
        let is_like = |ty: &&Type| of.shape.len() >= 2 && ty.shape.get(..2) == of.shape.get(..2);
        let lengths = Some(self.graph.ty(value)).filter(is_like);
        let lengths = lengths.and_then(|ty| ty.lengths);
        let ragged_as = lengths.and_then(|_| self.input_with_lengths_of(value));
        self.push_input(name, of, (lengths, 1), (None, ragged_as))
    }

    fn push_input(
        &mut self,
        name: &str,
        of: &Signature,
        (lengths, batch_axis): (Option<Var>, usize),
        (slot, ragged_as): (Option<usize>, Option<usize>),
    ) -> Var {
        let ty = Type {
            shape: of.shape.clone(),
            dtype: of.dtype,
            lengths,
            distribution: false,
        };
        let var = self.graph.input(name, ty);
        self.inputs.push(InputSlots {
            values: self.graph.inputs() - 1,
            lengths: slot,
            ragged_as,
        });
        match lengths {
            Some(lengths) if of.is_unclean && of.dtype == Dtype::Float => {
                let axes = [1 - batch_axis, batch_axis];
                self.graph.valid_sequence(var, lengths, axes)
            }
            _ => var,
        }
    }

    /// The input whose lengths a value has.
    pub(crate) fn input_with_lengths_of(&self, var: Var) -> Option<usize> {
        let lengths = self.graph.ty(var).lengths?;
        let Op::Input(slot) = self.graph.nodes[lengths.node].op else {
            return None;
        };
        let has = |input: &InputSlots| input.lengths == Some(slot);
        self.inputs.iter().position(has)
    }
}
