//! Expressions over values: how their operands follow the axes of a space.

use super::{Argument, Dtype, Graph, Op, PointwiseOp, Type, Var};
use crate::error::{Error, Result};
use crate::expr::{Body, Tape};
use std::borrow::Cow;

/// The common shape of values that repeat along axes of size 1, aligned at their last axes as NumPy's and PyTorch's do.
pub(crate) fn broadcast(name: &str, shapes: &[&[usize]]) -> Result<Vec<usize>> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut common = vec![1; rank];
    for (index, shape) in shapes.iter().enumerate() {
        for (size, own) in common.iter_mut().rev().zip(shape.iter().rev()) {
            if *size != *own && *size != 1 && *own != 1 {
                let expected = format!("a shape that repeats to that of {:?}", shapes[0]);
                let value = format!("value {index} of {name}");
                return Err(Error::shape(value, shape, expected));
            }
            *size = if *size == 1 { *own } else { *size };
        }
    }
    Ok(common)
}

/// How a value of a shape follows the axes of a space that it repeats to.
pub(crate) fn follow(shape: &[usize], space: &[usize]) -> Vec<Option<usize>> {
    let missing = space.len() - shape.len();
    let axis = |axis: usize| {
        let own = axis.checked_sub(missing)?;
        (shape[own] == space[axis] && shape[own] > 1).then_some(own)
    };
    (0..space.len()).map(axis).collect()
}

impl Graph {
    /// Adds an expression. `arguments` name the inputs; the outputs are the body's elements, over the whole space, then its results, over
    /// the axes that form no row.
    pub(crate) fn pointwise(
        &mut self,
        mut op: PointwiseOp,
        mut inputs: Vec<Var>,
        lengths: Option<Var>,
    ) -> Vec<Var> {
        if op.body.statistics.is_empty() && op.body.results.is_empty() {
            op.folded = 0;
        }
        // A sequence of as many rows as there are lengths.
        let lengths = lengths.filter(|of| op.shape.get(1) == self.shape(*of).first());
        if let Some(lengths) = lengths {
            self.guard(&mut op, &mut inputs, lengths);
        }
        let (kept, _) = op.split_shape();
        let elements = op.body.elements.iter().map(|_| op.shape.clone());
        let results = op.body.results.iter().map(|_| kept.to_vec());
        let ty = |shape: Vec<usize>| {
            let lengths = lengths.filter(|_| shape.len() >= 2);
            Type::float(shape).with_lengths(lengths)
        };
        let outputs = elements.chain(results).map(ty).collect();
        self.push(Op::Pointwise(Box::new(op)), inputs, outputs)
    }

    /// A value of one number everywhere.
    pub(crate) fn constant(&mut self, shape: &[usize], value: f64) -> Var {
        let tape = Tape::new();
        let body = tape.finish(&[tape.constant(value)], &[]);
        let op = PointwiseOp::new("constant", shape, 0, vec![], body);
        self.pointwise(op, vec![], None)[0]
    }

    /// The lengths that an expression of some values has: the first that there are.
    pub(crate) fn common_lengths(&self, of: &[Var]) -> Option<Var> {
        of.iter().find_map(|var| self.ty(*var).lengths)
    }

    /// An expression at every element of values that repeat to a common shape; `folded`: how many of the last axes form a row.
    pub(crate) fn broadcast(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        of: &[Var],
        folded: usize,
        body: Body,
        more: Vec<Argument>,
    ) -> Result<Vec<Var>> {
        let shapes: Vec<_> = of.iter().map(|var| self.shape(*var)).collect();
        let name = name.into();
        let shape = broadcast(&name, &shapes)?;
        let mut arguments: Vec<_> = (shapes.iter().enumerate())
            .map(|(input, own)| Argument::input(input, follow(own, &shape)))
            .collect();
        arguments.extend(more);
        let op = PointwiseOp::new(name, &shape, folded, arguments, body);
        // Lengths are taken from a value whose time and batch are those of the space.
        let is_like = |var: &&Var| {
            let own = self.shape(**var);
            own.len() == shape.len() && own.get(..2) == shape.get(..2)
        };
        let like: Vec<_> = of.iter().filter(is_like).copied().collect();
        let lengths = self.common_lengths(&like);
        Ok(self.pointwise(op, of.to_vec(), lengths))
    }

    /// `Ok` where a value is of a kind.
    pub(crate) fn check_dtype(&self, argument: &str, var: Var, dtype: Dtype) -> Result<()> {
        let got = self.ty(var).dtype;
        if got == dtype {
            return Ok(());
        }
        let text = |dtype| match dtype {
            Dtype::Float => "floats",
            Dtype::Index => "whole numbers",
        };
        Err(Error::argument(argument, text(got), text(dtype)))
    }
}
