//! Where a layer writes what it computes.

use super::parameters::{Init, ParameterSpec};
use super::trace::Trace;
use crate::error::{Error, Result, check_shape};
use crate::expr::{Body, Expr, Fold, Tape, WholeExpr};
use crate::graph::{Argument, Dtype, Gather, Graph, Op, PointwiseOp, Type, Var, follow};
use crate::nn::Layer;
use crate::operation::OperationRef;
use std::borrow::Cow;
use std::sync::Arc;

impl Trace {
    /// The scope of a whole model.
    pub(crate) fn root(&mut self) -> Scope<'_> {
        Scope {
            trace: self,
            path: String::new(),
            // Far from those of the layers inside.
            site: 1 << 31,
            drawn: 0,
        }
    }

    /// The scope of a layer that is a model by itself.
    pub(crate) fn only_layer(&mut self) -> Scope<'_> {
        Scope {
            site: 0,
            ..self.root()
        }
    }
}

/// What a [`Layer`] writes its computation with: operations on values, weights by name, layers inside.
///
/// Operations repeat values of fewer or smaller axes as PyTorch and NumPy do, aligned at the last axis. The lengths of ragged sequences
/// travel with their values.
#[derive(Debug)]
pub struct Scope<'a> {
    trace: &'a mut Trace,
    path: String,
    /// The first of the layer's sites of random numbers, and how many it has drawn from.
    site: u32,
    drawn: u32,
}

impl Scope<'_> {
    /// The sites of random numbers that a layer has.
    const SITES: u32 = 1 << 16;

    pub(crate) fn graph(&mut self) -> &mut Graph {
        &mut self.trace.graph
    }

    /// What is known of a value.
    pub fn ty(&self, var: Var) -> &Type {
        self.trace.graph.ty(var)
    }

    /// A value's shape.
    pub fn shape(&self, var: Var) -> &[usize] {
        self.trace.graph.shape(var)
    }

    /// Whether the model is being trained, so that dropout and its like act.
    pub fn is_training(&self) -> bool {
        self.trace.training
    }

    /// The next `count` of the layer's sites of random numbers.
    pub(crate) fn sites(&mut self, count: u32) -> u32 {
        self.drawn += count;
        self.site + self.drawn - count
    }

    fn full_name(&self, name: &str) -> String {
        match &self.path[..] {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// A weight of this layer. The same name twice is one weight.
    ///
    /// # Errors
    /// [`Error::Shape`] where it is known in another shape; [`Error::Argument`] where a model that was built has none of that name.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var> {
        let name = self.full_name(name);
        let known = self.trace.by_name.get(&name).copied();
        let slot = match known {
            Some(slot) => {
                check_shape(&name, shape, &self.trace.specs[slot].shape)?;
                slot
            }
            None if self.trace.are_known => {
                let expected = "a weight that the model had when it was built";
                return Err(Error::argument("parameter", name, expected));
            }
            None => {
                init.check(&name)?;
                let spec = ParameterSpec::new(&name, shape, init);
                self.trace.specs.push(spec);
                self.trace.variables.push(None);
                let slot = self.trace.specs.len() - 1;
                self.trace.by_name.insert(name, slot);
                slot
            }
        };
        Ok(self.trace.weight(slot))
    }

    /// A weight of another layer, by its whole name in the model, such as `embedding.weight`: tied weights.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none so far.
    pub fn shared(&mut self, name: &str) -> Result<Var> {
        match self.trace.by_name.get(name).copied() {
            Some(slot) => Ok(self.trace.weight(slot)),
            None => Err(Error::argument(
                "shared weight",
                name,
                "one that was declared before",
            )),
        }
    }

    /// What a layer inside this one gives, its weights named `{name}.…`.
    ///
    /// # Errors
    /// Those of the layer.
    pub fn layer<L: Layer + ?Sized>(
        &mut self,
        name: &str,
        layer: &L,
        input: L::Input,
    ) -> Result<L::Output> {
        let path = self.full_name(name);
        let site = self.trace.layers.wrapping_mul(Self::SITES) & (u32::MAX >> 1);
        self.trace.layers += 1;
        let mut inner = Scope {
            trace: &mut *self.trace,
            path,
            site,
            drawn: 0,
        };
        layer.forward(&mut inner, input)
    }

    fn check_floats(&self, of: &[Var]) -> Result<()> {
        of.iter().enumerate().try_for_each(|(index, var)| {
            let name = format!("value {index} of {}", self.full_name("map"));
            self.trace.graph.check_dtype(&name, *var, Dtype::Float)
        })
    }

    /// y = f(x₁ … xₙ) at every element: `s.map("gated", [a, b], |[a, b]| a * b.sigmoid())`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not repeat to a common one, [`Error::Argument`] for whole numbers.
    pub fn map<const N: usize>(
        &mut self,
        name: &'static str,
        of: [Var; N],
        f: impl for<'t> FnOnce([Expr<'t>; N]) -> Expr<'t>,
    ) -> Result<Var> {
        self.check_floats(&of)?;
        let tape = Tape::new();
        let y = f(std::array::from_fn(|index| tape.operand(index)));
        let body = tape.finish(&[y], &[]);
        Ok(self.trace.graph.broadcast(name, &of, 0, body, vec![])?[0])
    }

    /// An expression of each row, the last axis: `s.rows("softmax", [x], |row, [x]| { let e = (x - row.max(x)).exp(); e / row.sum(e) })`.
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn rows<const N: usize>(
        &mut self,
        name: &'static str,
        of: [Var; N],
        f: impl for<'t> FnOnce(RowOf<'t>, [Expr<'t>; N]) -> Expr<'t>,
    ) -> Result<Var> {
        Ok(self.of_rows(name, &of, |row, x| {
            (vec![f(row, std::array::from_fn(|index| x[index]))], vec![])
        })?[0])
    }

    /// A number of each row, the last axis, which goes: `s.fold_rows("norm", [x], |row, [x]| row.sum(x * x).sqrt())`.
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn fold_rows<const N: usize>(
        &mut self,
        name: &'static str,
        of: [Var; N],
        f: impl for<'t> FnOnce(RowOf<'t>, [Expr<'t>; N]) -> Expr<'t>,
    ) -> Result<Var> {
        Ok(self.of_rows(name, &of, |row, x| {
            (vec![], vec![f(row, std::array::from_fn(|index| x[index]))])
        })?[0])
    }

    fn of_rows(
        &mut self,
        name: &'static str,
        of: &[Var],
        f: impl for<'t> FnOnce(RowOf<'t>, Vec<Expr<'t>>) -> (Vec<Expr<'t>>, Vec<Expr<'t>>),
    ) -> Result<Vec<Var>> {
        self.check_floats(of)?;
        if of.iter().all(|var| self.shape(*var).is_empty()) {
            return Err(Error::shape(
                name,
                &[],
                "[…, N], of which the last axis is a row",
            ));
        }
        let columns = of.iter().map(|var| self.ty(*var).features()).max();
        let tape = Tape::new();
        let row = RowOf {
            tape: &tape,
            columns: columns.unwrap_or(1),
        };
        let operands = (0..of.len()).map(|index| tape.operand(index)).collect();
        let (elements, results) = f(row, operands);
        let body = tape.finish(&elements, &results);
        self.trace.graph.broadcast(name, of, 1, body, vec![])
    }

    /// A number of each row, the last axis, and of the row's class, a whole number: what cross-entropies and accuracies are made of. x: `[…, N]`;
    /// classes: `[…]`; gives `[…]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is not one class a row, [`Error::Argument`] where classes are floats.
    pub fn fold_rows_of_class(
        &mut self,
        name: &'static str,
        x: Var,
        classes: Var,
        f: impl for<'t> FnOnce(RowOf<'t>, Expr<'t>, WholeExpr<'t>) -> Expr<'t>,
    ) -> Result<Var> {
        self.check_floats(&[x])?;
        let graph = &mut self.trace.graph;
        graph.check_dtype("classes", classes, Dtype::Index)?;
        let Type { shape, lengths, .. } = graph.ty(x).clone();
        let rank = shape.len().saturating_sub(1);
        check_shape("classes", graph.shape(classes), &shape[..rank])?;
        let mut of_class = follow(&shape[..rank], &shape[..rank]);
        of_class.push(None);
        let mut strides = vec![0; rank];
        strides.push(1);
        let arguments = vec![
            Argument::Input {
                input: 0,
                axes: follow(&shape, &shape),
            },
            Argument::Input {
                input: 1,
                axes: of_class,
            },
            Argument::Position { offset: 0, strides },
        ];
        let tape = Tape::new();
        let row = RowOf {
            tape: &tape,
            columns: shape.last().copied().unwrap_or(1),
        };
        let result = f(row, tape.operand(0), tape.whole_operand(1));
        let op = PointwiseOp {
            name: Cow::Borrowed(name),
            shape,
            folded: 1,
            arguments,
            body: Arc::new(tape.finish(&[], &[result])),
        };
        Ok(graph.pointwise(op, vec![x, classes], lengths)[0])
    }

    /// a + b
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        self.map("add", [a, b], |[a, b]| a + b)
    }

    /// The sum over some axes, which go.
    ///
    /// # Errors
    /// [`Error::Argument`] for an axis that is not there.
    pub fn sum(&mut self, of: Var, axes: &[usize]) -> Result<Var> {
        let rank = self.shape(of).len();
        if let Some(axis) = axes.iter().find(|axis| **axis >= rank) {
            return Err(Error::argument("axis", axis, format!("below {rank}")));
        }
        self.check_floats(&[of])?;
        match axes {
            [] => Ok(of),
            axes => Ok(self.trace.graph.sum_axes(of, axes)),
        }
    }

    /// y = x Wᵀ + b. x: `[…, in]`; weight: `[out, in]`; bias: `[out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not agree.
    pub fn linear(&mut self, x: Var, weight: Var, bias: Option<Var>) -> Result<Var> {
        self.trace.graph.matmul(x, weight, [false, true], bias)
    }

    /// a · b. a: `[…, K]`; b: `[K, N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not agree.
    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var> {
        self.trace.graph.matmul(a, b, [false, false], None)
    }

    /// The same elements in another shape; costs nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshape(&mut self, of: Var, shape: &[usize]) -> Result<Var> {
        self.trace.graph.reshape(of, shape)
    }

    /// Places `start .. start + len` of an axis; costs nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such axis, or no such place.
    pub fn slice(&mut self, of: Var, axis: usize, start: usize, len: usize) -> Result<Var> {
        self.trace.graph.slice(of, axis, start, len)
    }

    /// The axes in another order: the n-th is what was the `order[n]`-th.
    ///
    /// # Errors
    /// [`Error::Argument`] where the order names an axis twice or not at all.
    pub fn permute(&mut self, of: Var, order: &[usize]) -> Result<Var> {
        self.trace.graph.permute(of, order)
    }

    /// Values one behind the other along an axis.
    ///
    /// # Errors
    /// [`Error::Argument`] for no value or no such axis, [`Error::Shape`] where the other axes differ.
    pub fn concat(&mut self, of: &[Var], axis: usize) -> Result<Var> {
        self.trace.graph.concat(of, axis)
    }

    /// Rows of a table by their numbers: `[V, E]` and `[T, B]` (whole numbers) give `[T, B, E]`; zeros for a number past the last.
    ///
    /// # Errors
    /// [`Error::Shape`] where the table has no rows, [`Error::Argument`] where the indices are floats.
    pub fn gather(&mut self, table: Var, indices: Var) -> Result<Var> {
        let graph = &mut self.trace.graph;
        graph.check_dtype("indices", indices, Dtype::Index)?;
        graph.check_dtype("table", table, Dtype::Float)?;
        let [_, columns] = *graph.shape(table) else {
            return Err(Error::shape("table", graph.shape(table), "[V, E]"));
        };
        let of = graph.shape(indices).to_vec();
        let shape = [&of[..], &[columns]].concat();
        let mut axes = vec![None; shape.len()];
        axes[of.len()] = (columns > 1).then_some(1);
        let mut index_axes = follow(&of, &of);
        index_axes.push(None);
        let gather = Argument::Gather(Gather {
            input: 0,
            axes,
            along: 0,
            index: 1,
            index_axes,
            shift: 0,
        });
        let lengths = graph.ty(indices).lengths;
        Ok(self.expression(
            "gather",
            shape,
            vec![gather],
            vec![table, indices],
            lengths,
            |tape| vec![tape.operand(0)],
        ))
    }

    /// An expression over a space, with arguments of any kind.
    pub(crate) fn expression(
        &mut self,
        name: &'static str,
        shape: Vec<usize>,
        arguments: Vec<Argument>,
        inputs: Vec<Var>,
        lengths: Option<Var>,
        f: impl for<'t> FnOnce(&'t Tape) -> Vec<Expr<'t>>,
    ) -> Var {
        let tape = Tape::new();
        let body: Body = tape.finish(&f(&tape), &[]);
        let op = PointwiseOp {
            name: Cow::Borrowed(name),
            shape,
            folded: 0,
            arguments,
            body: Arc::new(body),
        };
        self.trace.graph.pointwise(op, inputs, lengths)[0]
    }

    /// Elements dropped with a probability, the others scaled up by 1 / (1 − rate), in training; else x itself.
    ///
    /// # Errors
    /// [`Error::Argument`] for a rate that is not 0 to below 1.
    pub fn dropout(&mut self, x: Var, rate: f64) -> Result<Var> {
        let site = self.sites(1);
        let len = self.ty(x).len();
        self.dropout_at(x, rate, site, len)
    }

    /// Dropout at a site, with one mask for every `period` elements.
    pub(crate) fn dropout_at(
        &mut self,
        x: Var,
        rate: f64,
        site: u32,
        period: usize,
    ) -> Result<Var> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::argument("rate", rate, "0 to below 1"));
        }
        if !self.is_training() || rate == 0.0 {
            return Ok(x);
        }
        self.check_floats(&[x])?;
        let Type { shape, lengths, .. } = self.ty(x).clone();
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for (axis, size) in shape.iter().enumerate().rev() {
            if stride < period {
                strides[axis] = stride;
            }
            stride *= size;
        }
        let arguments = vec![
            Argument::Input {
                input: 0,
                axes: follow(&shape, &shape),
            },
            Argument::Random { site, strides },
        ];
        Ok(
            self.expression("dropout", shape, arguments, vec![x], lengths, |tape| {
                vec![tape.operand(0) * crate::program::keep(tape, tape.whole_operand(1), rate)]
            }),
        )
    }

    /// The gradients of Σ ⟨seed, value⟩ with respect to some values: inputs, states, weights, activations. None where nothing depends
    /// on them. They are values as others are, to be used or fetched.
    ///
    /// # Errors
    /// [`Error::Shape`] where a seed is not like its value; [`Error::Argument`] where the way leads through a gradient of a
    /// recurrent layer or of a table, which have no second derivatives, or through an [`Operation`](crate::Operation) without one.
    pub fn gradients(&mut self, seeds: &[(Var, Var)], of: &[Var]) -> Result<Vec<Option<Var>>> {
        for (value, seed) in seeds {
            check_shape("seed", self.shape(*seed), self.shape(*value))?;
        }
        self.trace.graph.gradients(seeds, of)
    }

    /// What an [`Operation`](crate::Operation) of your own gives.
    ///
    /// # Errors
    /// Those of the operation's shapes; [`Error::Argument`] for whole numbers.
    pub fn apply(&mut self, operation: &OperationRef, inputs: &[Var]) -> Result<Vec<Var>> {
        self.trace.graph.custom(operation, inputs)
    }

    /// A value of one number everywhere.
    pub fn constant(&mut self, shape: &[usize], value: f64) -> Var {
        self.trace.graph.constant(shape, value)
    }

    /// How many steps all rows of a ragged sequence have together, at least 1, as one float `[1]`.
    pub(crate) fn valid_steps(&mut self, lengths: Var) -> Var {
        let Op::Input(of) = self.trace.graph.nodes[lengths.node].op else {
            unreachable!("lengths are fed")
        };
        let graph = &mut self.trace.graph;
        let var = graph.input("valid steps", Type::float([1]));
        self.trace.counts.push((graph.inputs() - 1, of));
        var
    }

    /// The name of this layer in the model.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A row of a recording, see [`Scope::rows`].
#[derive(Clone, Copy, Debug)]
pub struct RowOf<'t> {
    tape: &'t Tape,
    columns: usize,
}

impl<'t> RowOf<'t> {
    /// The sum of an expression over the row.
    pub fn sum(&self, of: Expr<'t>) -> Expr<'t> {
        self.tape.statistic(Fold::Sum, of)
    }

    /// The mean of an expression over the row.
    pub fn mean(&self, of: Expr<'t>) -> Expr<'t> {
        self.sum(of) * (1.0 / self.columns as f64)
    }

    /// `yes` at the place of a class in its row, else `no`; in [`Scope::fold_rows_of_class`].
    pub fn is(&self, class: WholeExpr<'t>, yes: Expr<'t>, no: Expr<'t>) -> Expr<'t> {
        self.tape.whole_operand(2).equal(class, yes, no)
    }

    /// The largest value of an expression over the row, whose gradient is taken for 0.
    pub fn max(&self, of: Expr<'t>) -> Expr<'t> {
        self.tape.statistic(Fold::Max, of)
    }
}
