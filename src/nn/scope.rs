//! Where a layer writes what it computes.

use super::parameters::{Init, ParameterSpec};
use super::space::Space;
use super::trace::Trace;
use crate::error::{Error, Result, check_shape};
use crate::expr::{Expr, Tape};
use crate::graph::{Dtype, Graph, Op, Type, Var, follow};
use crate::nn::Layer;
use crate::operation::OperationRef;

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
    pub(super) site: u32,
    pub(super) drawn: u32,
}

impl Scope<'_> {
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
        let slot = match self.trace.slot(&name) {
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
                self.trace.declare(spec)
            }
        };
        Ok(self.trace.weight(slot))
    }

    /// A weight of another layer, by its whole name in the model, such as `embedding.weight`: tied weights.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none so far.
    pub fn shared(&mut self, name: &str) -> Result<Var> {
        let slot = self.trace.slot(name).ok_or_else(|| {
            Error::argument("shared weight", name, "one that was declared before")
        })?;
        Ok(self.trace.weight(slot))
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

    /// `Ok` where all values are floats.
    pub(super) fn check_floats(&self, of: &[Var]) -> Result<()> {
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

    /// a + b. Errors as [`Scope::map`].
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
        let (of_x, of_weight) = (self.ty(x), self.shape(weight));
        let features = of_x.features();
        if of_weight.len() != 2 || of_weight[1] != features || of_x.shape.is_empty() {
            let expected = format!("[out, {features}], as x {:?} has features", of_x.shape);
            return Err(Error::shape(
                "weight of a linear layer",
                of_weight,
                expected,
            ));
        }
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

    /// The axes in another order: the n-th is what was the `order[n]`-th. It costs nothing where an expression reads it;
    /// products and layers read a copy.
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
        let graph = self.graph();
        graph.check_dtype("indices", indices, Dtype::Index)?;
        graph.check_dtype("table", table, Dtype::Float)?;
        let [_, columns] = *graph.shape(table) else {
            return Err(Error::shape("table", graph.shape(table), "[V, E]"));
        };
        let Type { shape, lengths, .. } = graph.ty(indices).clone();
        let mut axes = vec![None; shape.len()];
        axes.push((columns > 1).then_some(1));
        let mut index_axes = follow(&shape, &shape);
        index_axes.push(None);
        let tape = Tape::new();
        let mut space = Space::new(&tape, &[&shape[..], &[columns]].concat()).with_lengths(lengths);
        let row = space.gather((table, axes), (indices, index_axes), 0);
        Ok(space.map(self, "gather", row))
    }

    /// The gradients of Σ ⟨seed, value⟩ with respect to some values: inputs, states, weights, activations. None where nothing depends
    /// on them. They are values as others are, to be used or fetched. Past the lengths of its value a seed has
    /// no effect, and a gradient is 0.
    ///
    /// # Errors
    /// [`Error::Shape`] where a seed is not like its value; [`Error::Argument`] where the way leads through a gradient of a
    /// recurrent layer or of a table, which have no second derivatives, or through an [`Operation`](crate::Operation) without one.
    pub fn gradients(&mut self, seeds: &[(Var, Var)], of: &[Var]) -> Result<Vec<Option<Var>>> {
        for (value, seed) in seeds {
            check_shape("seed", self.shape(*seed), self.shape(*value))?;
        }
        let graph = self.graph();
        let valid = |graph: &mut Graph, value: Var, seed: Var| match graph.ty(value).lengths {
            // A recurrent layer does not read past them.
            Some(lengths) if !matches!(graph.nodes[value.node].op, Op::Recurrence(_)) => {
                graph.valid(seed, lengths, [0, 1])
            }
            _ => seed,
        };
        let seeds = seeds.iter();
        let seeds: Vec<_> = seeds
            .map(|(value, seed)| (*value, valid(graph, *value, *seed)))
            .collect();
        let mut found = graph.gradients(&seeds, of)?;
        for (gradient, of) in found.iter_mut().zip(of) {
            if let (Some(gradient), Some(lengths)) = (gradient, graph.ty(*of).lengths) {
                *gradient = graph.valid(*gradient, lengths, [0, 1]);
            }
        }
        Ok(found)
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
