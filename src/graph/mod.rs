//! What is computed, without saying where: the storey between layers and programs.
//!
//! A [`Graph`] is a list of operations on typed values ([`Var`]s). A value may be used any number of times, views cost nothing, and
//! `gradients` writes a graph's backward pass as more of the same graph. `lower` makes a
//! [`Program`](crate::Program) of it.

mod gradients;
mod op;
mod pointwise;
mod pointwise_vjp;
mod ragged;
mod recurrence;
mod vjp;

pub(crate) use op::{Argument, Gather, Op, PointwiseOp, inverse};
pub(crate) use pointwise::follow;
pub(crate) use recurrence::{DirectionWeights, Recurrence, Regularisers};

use crate::error::{Error, Result, check_shape};
use crate::operation::OperationRef;
use crate::program::product;

/// A value of a graph: an activation, a weight, an input, a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var {
    pub(crate) node: usize,
    pub(crate) output: usize,
}

/// What a value's elements are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Floats: f32, or f64 on [`Device::cpu_f64`](crate::Device::cpu_f64).
    #[default]
    Float,
    /// Whole numbers from 0 to 2³² − 1: classes, tokens, lengths.
    Index,
}

/// What is known of a value before anything runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Type {
    /// The shape of the value, row-major; of a sequence `[T, B, …]`.
    pub shape: Vec<usize>,
    /// What its elements are.
    pub dtype: Dtype,
    /// The steps of each row of a sequence `[T, B, …]` whose rows end early, `[B]`, whole numbers.
    pub lengths: Option<Var>,
    /// Says whether the value's rows are distributions already, as softmax gives them.
    pub distribution: bool,
}

impl Type {
    /// Floats of a shape.
    pub fn float(shape: impl Into<Vec<usize>>) -> Self {
        Self {
            shape: shape.into(),
            ..Self::default()
        }
    }

    /// Whole numbers of a shape.
    pub fn index(shape: impl Into<Vec<usize>>) -> Self {
        Self {
            shape: shape.into(),
            dtype: Dtype::Index,
            ..Self::default()
        }
    }

    /// The same with the steps of each row.
    #[must_use]
    pub fn with_lengths(self, lengths: Option<Var>) -> Self {
        Self { lengths, ..self }
    }

    fn check_axis(&self, axis: usize) -> Result<()> {
        if axis < self.shape.len() {
            return Ok(());
        }
        let expected = format!("one of the {} of {:?}", self.shape.len(), self.shape);
        Err(Error::argument("axis", axis, expected))
    }

    /// The same elements or some of them in another shape: rows are distributions no more, and have their lengths where time and the batch
    /// are kept.
    fn in_shape(&self, shape: Vec<usize>, keeps_rows: bool) -> Self {
        Self {
            shape,
            dtype: self.dtype,
            lengths: self.lengths.filter(|_| keeps_rows),
            distribution: false,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        product(&self.shape)
    }

    /// Says whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// F, the last dimension; 1 without dimensions.
    pub fn features(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// An operation with its inputs and what it gives.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Var>,
    pub(crate) outputs: Vec<Type>,
}

/// Operations on values, each after those it uses.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// The inputs' names.
    names: Vec<String>,
}

impl Graph {
    /// What is known of a value.
    pub fn ty(&self, var: Var) -> &Type {
        &self.nodes[var.node].outputs[var.output]
    }

    /// A value's shape.
    pub fn shape(&self, var: Var) -> &[usize] {
        &self.ty(var).shape
    }

    /// Adds what is fed at every run.
    pub(crate) fn input(&mut self, name: impl Into<String>, ty: Type) -> Var {
        self.names.push(name.into());
        self.push_one(Op::Input(self.names.len() - 1), vec![], ty)
    }

    /// Says that a value's rows are distributions.
    pub(crate) fn mark_distribution(&mut self, var: Var) {
        self.nodes[var.node].outputs[var.output].distribution = true;
    }

    /// The number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.names.len()
    }

    /// An input's name and shape.
    pub(crate) fn input_ty(&self, slot: usize) -> (&str, &[usize]) {
        let is_it = |node: &&Node| matches!(node.op, Op::Input(of) if of == slot);
        let node = self.nodes.iter().find(is_it);
        let shape = node.map_or(&[][..], |node| &node.outputs[0].shape);
        (&self.names[slot], shape)
    }

    /// An input's name.
    pub(crate) fn input_name(&self, slot: usize) -> &str {
        &self.names[slot]
    }

    pub(crate) fn push(&mut self, op: Op, inputs: Vec<Var>, outputs: Vec<Type>) -> Vec<Var> {
        let node = self.nodes.len();
        let count = outputs.len();
        self.nodes.push(Node {
            op,
            inputs,
            outputs,
        });
        (0..count).map(|output| Var { node, output }).collect()
    }

    pub(crate) fn push_one(&mut self, op: Op, inputs: Vec<Var>, output: Type) -> Var {
        self.push(op, inputs, vec![output])[0]
    }

    /// a · b, or a · bᵀ, or aᵀ · b (+ bias in every row). a: `[…, K]`, b: `[K, N]`; transposed `[…, M]` with rows as K, and `[N, K]`;
    /// bias: `[N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not agree.
    pub(crate) fn matmul(
        &mut self,
        a: Var,
        b: Var,
        transpose: [bool; 2],
        bias: Option<Var>,
    ) -> Result<Var> {
        let (of_a, of_b) = (self.ty(a), self.ty(b));
        let [rows, columns] = of_b.shape[..] else {
            return Err(Error::shape("b of a product", &of_b.shape, "[K, N]"));
        };
        let [k, n] = if transpose[1] {
            [columns, rows]
        } else {
            [rows, columns]
        };
        let columns = of_a.features();
        let rows = of_a.len() / columns.max(1);
        let got_k = if transpose[0] { rows } else { columns };
        if got_k != k || of_a.shape.is_empty() {
            let expected = format!("{k} columns, as b {:?} has rows", of_b.shape);
            return Err(Error::shape("a of a product", &of_a.shape, expected));
        }
        let mut output = Type::float([columns, n]);
        if let ([kept @ .., _], false) = (&of_a.shape[..], transpose[0]) {
            output = Type::float([kept, &[n]].concat()).with_lengths(of_a.lengths);
        }
        if let Some(bias) = bias {
            check_shape("bias", self.shape(bias), &[n])?;
        }
        let inputs = [a, b].into_iter().chain(bias).collect();
        Ok(self.push_one(Op::MatMul { transpose }, inputs, output))
    }

    /// The same elements in another shape. Lengths stay where T and B do.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub(crate) fn reshape(&mut self, of: Var, shape: &[usize]) -> Result<Var> {
        let ty = self.ty(of);
        if ty.shape == shape {
            return Ok(of);
        }
        if product(shape) != ty.len() {
            let expected = format!("{} elements, as {:?}", ty.len(), ty.shape);
            return Err(Error::shape("shape", shape, expected));
        }
        let sequence = shape.len() >= 2 && ty.shape.get(..2) == shape.get(..2);
        let output = ty.in_shape(shape.to_vec(), sequence);
        Ok(self.push_one(Op::Reshape, vec![of], output))
    }

    /// The same elements in the shape of another value.
    pub(crate) fn reshape_like(&mut self, of: Var, like: Var) -> Result<Var> {
        let shape = self.shape(like).to_vec();
        self.reshape(of, &shape)
    }

    /// Places `start .. start + len` of an axis. Lengths stay unless the axis is time or the batch.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such axis, or no such place.
    pub(crate) fn slice(&mut self, of: Var, axis: usize, start: usize, len: usize) -> Result<Var> {
        let ty = self.ty(of);
        ty.check_axis(axis)?;
        let size = ty.shape[axis];
        if start.checked_add(len).is_none_or(|end| end > size) {
            let expected = format!("within the {size} of axis {axis}");
            let got = format!("{start} + {len}");
            return Err(Error::argument("slice", got, expected));
        }
        if len == size {
            return Ok(of);
        }
        let mut output = ty.in_shape(ty.shape.clone(), axis > 1);
        output.shape[axis] = len;
        Ok(self.push_one(Op::Slice { axis, start }, vec![of], output))
    }

    /// The axes in another order: the n-th is what was the `order[n]`-th.
    ///
    /// # Errors
    /// [`Error::Argument`] where the order names an axis twice or not at all.
    pub(crate) fn permute(&mut self, of: Var, order: &[usize]) -> Result<Var> {
        let ty = self.ty(of);
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..ty.shape.len()) {
            let expected = format!("each of the {} axes once", ty.shape.len());
            return Err(Error::argument("order", format!("{order:?}"), expected));
        }
        if order.is_sorted() {
            return Ok(of);
        }
        let shape = order.iter().map(|axis| ty.shape[*axis]).collect();
        let output = ty.in_shape(shape, order[..2] == [0, 1]);
        Ok(self.push_one(Op::Permute(order.to_vec()), vec![of], output))
    }

    /// A sequence `[B, T, …]` as `[T, B, …]`, or the other way, with its lengths.
    ///
    /// # Errors
    /// [`Error::Argument`] without two axes.
    pub(crate) fn permute_sequence(&mut self, of: Var) -> Result<Var> {
        let Type { shape, lengths, .. } = self.ty(of);
        let (rank, lengths) = (shape.len(), *lengths);
        if rank < 2 {
            return Err(Error::shape("sequence", shape, "[T, B, …]"));
        }
        let order: Vec<_> = [1, 0].into_iter().chain(2..rank).collect();
        let swapped = self.permute(of, &order)?;
        self.nodes[swapped.node].outputs[swapped.output].lengths = lengths;
        Ok(swapped)
    }

    /// An operation of a user's own. Lengths are the first input's, where an output has its T and B.
    ///
    /// # Errors
    /// Those of the operation's shapes; [`Error::Argument`] for whole numbers.
    pub(crate) fn custom(&mut self, operation: &OperationRef, inputs: &[Var]) -> Result<Vec<Var>> {
        for (index, input) in inputs.iter().enumerate() {
            let name = format!("input {index} of {operation:?}");
            self.check_dtype(&name, *input, Dtype::Float)?;
        }
        let shapes: Vec<_> = inputs.iter().map(|input| self.shape(*input)).collect();
        let shapes = operation.shapes(&shapes)?.into_iter();
        let first = inputs.first().map(|first| self.ty(*first));
        let typed = |shape: Vec<usize>| {
            let like = |of: &&Type| shape.len() >= 2 && of.shape.get(..2) == shape.get(..2);
            let lengths = first.filter(like).and_then(|of| of.lengths);
            Type::float(shape).with_lengths(lengths)
        };
        let outputs = shapes.map(typed).collect();
        let lengths = first.and_then(|first| first.lengths);
        let inputs = inputs.iter().map(|var| self.valid_beside(*var, lengths));
        let inputs = inputs.collect();
        let outputs = self.push(Op::Custom(operation.clone()), inputs, outputs);
        // An operation may make anything of the zeros past the lengths.
        let valid = |var: Var| match self.ty(var).lengths {
            Some(lengths) => self.valid_sequence(var, lengths, [0, 1]),
            None => var,
        };
        Ok(outputs.into_iter().map(valid).collect())
    }

    /// Values one behind the other along an axis. Lengths are the first that there are, unless the axis is time or the batch.
    ///
    /// # Errors
    /// [`Error::Argument`] for no value or no such axis, [`Error::Shape`] where the other axes differ.
    pub(crate) fn concat(&mut self, of: &[Var], axis: usize) -> Result<Var> {
        let Some(first) = of.first() else {
            return Err(Error::argument("values", "none", "at least one"));
        };
        if of.len() == 1 {
            return Ok(*first);
        }
        let ty = self.ty(*first);
        ty.check_axis(axis)?;
        let lengths = self.common_lengths(of).filter(|_| axis > 1);
        let mut output = Type::float(ty.shape.clone()).with_lengths(lengths);
        output.dtype = ty.dtype;
        for (index, var) in of.iter().enumerate().skip(1) {
            let own = self.ty(*var);
            let mut expected = ty.shape.clone();
            if let Some(size) = own.shape.get(axis) {
                expected[axis] = *size;
            }
            if own.shape != expected || own.dtype != ty.dtype {
                let expected = format!("like {:?} but for axis {axis}", ty.shape);
                return Err(Error::shape(
                    format!("values[{index}]"),
                    &own.shape,
                    expected,
                ));
            }
            output.shape[axis] = output.shape[axis].saturating_add(own.shape[axis]);
        }
        let of = of.iter().map(|var| self.valid_beside(*var, lengths));
        let of = of.collect();
        Ok(self.push_one(Op::Concat { axis }, of, output))
    }
}
