//! One recurrent layer as an operation of a graph.

use super::{Graph, Op, Type, Var};
use crate::CellRef;
use crate::program::RecurrentShape;
use std::sync::Arc;

/// What a layer drops at random in training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Regularisers {
    /// Between layers.
    pub(crate) dropout: f64,
    pub(crate) input_dropout: f64,
    pub(crate) recurrent_dropout: f64,
    pub(crate) weight_dropout: f64,
    /// Probabilities of zoneout, of h and of the other states.
    pub(crate) zoneout: [f64; 2],
}

/// The weights of one direction of a layer, or what belongs to them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DirectionWeights<T> {
    /// `[G·H, F]`; absent where x enters the gates as it is.
    pub(crate) weight_ih: Option<T>,
    /// `[G·H, P]`
    pub(crate) weight_hh: Option<T>,
    /// `[G·H]`
    pub(crate) bias_ih: Option<T>,
    /// `[G·H]`
    pub(crate) bias_hh: Option<T>,
    /// `[P, H]`
    pub(crate) weight_hr: Option<T>,
    /// `[V·H]`
    pub(crate) weight_diag: Option<T>,
}

impl<T> DirectionWeights<T> {
    /// Each weight that is there, in order, replaced.
    pub(crate) fn map<U>(self, mut map: impl FnMut(T) -> Option<U>) -> DirectionWeights<U> {
        DirectionWeights {
            weight_ih: self.weight_ih.and_then(&mut map),
            weight_hh: self.weight_hh.and_then(&mut map),
            bias_ih: self.bias_ih.and_then(&mut map),
            bias_hh: self.bias_hh.and_then(&mut map),
            weight_hr: self.weight_hr.and_then(&mut map),
            weight_diag: self.weight_diag.and_then(&mut map),
        }
    }
}

/// One layer, all directions.
#[derive(Clone, Debug)]
pub(crate) struct Recurrence {
    pub(crate) cell: CellRef,
    pub(crate) shape: RecurrentShape,
    /// For each direction its weights, as places among the node's inputs.
    pub(crate) weights: Vec<DirectionWeights<usize>>,
    /// The places of the lengths and of the initial states.
    pub(crate) lengths: Option<usize>,
    pub(crate) initial: Option<usize>,
    pub(crate) regularisers: Regularisers,
    /// The first of the layer's sites of random numbers.
    pub(crate) site: u32,
    /// Says whether random numbers are drawn.
    pub(crate) is_random: bool,
}

impl Recurrence {
    /// The elements of all states, `[S][D, B, ·]`.
    pub(crate) fn states_len(&self) -> usize {
        self.shape.state_offset(self.cell.states())
    }

    /// The places of all weights among the node's inputs, in order.
    pub(crate) fn weight_inputs(&self) -> Vec<usize> {
        let mut all = vec![];
        for weights in &self.weights {
            weights.map(|input| {
                all.push(input);
                Some(input)
            });
        }
        all
    }
}

impl Graph {
    /// Adds a layer. x: `[T, B, F]`; initial: `[S][D, B, ·]` flat. Returns y `[T, B, D·P]` and the last states, laid out as the initial.
    pub(crate) fn recurrence(
        &mut self,
        mut layer: Recurrence,
        x: Var,
        initial: Option<Var>,
        weights: &[DirectionWeights<Var>],
    ) -> (Var, Var) {
        let mut inputs = vec![x];
        let mut place = |var: Var| {
            inputs.push(var);
            Some(inputs.len() - 1)
        };
        let lengths = self.ty(x).lengths;
        layer.lengths = lengths.and_then(&mut place);
        layer.initial = initial.and_then(&mut place);
        layer.weights = weights.iter().map(|own| own.map(&mut place)).collect();
        let shape = layer.shape;
        // Saturating: a stack too large for any device is refused by its weights' tensor.
        let width = shape.directions.saturating_mul(shape.output);
        let outputs = vec![
            Type::float([shape.steps, shape.batch, width]).with_lengths(lengths),
            Type::float([layer.states_len()]),
        ];
        let vars = self.push(Op::Recurrence(Arc::new(layer)), inputs, outputs);
        (vars[0], vars[1])
    }
}
