//! Operations of one's own.

use crate::error::Result;
use crate::real::Real;
use ndarray::{ArrayViewD, ArrayViewMutD};
use std::fmt::Debug;
use std::sync::Arc;

/// An operation of one's own: a function of a CPU, a kernel of a GPU, and the operation that is its
/// gradient. For what no expression says ([`Scope::map`](crate::nn::Scope::map) and its like need
/// neither WGSL nor a gradient). Values are floats, row-major.
///
/// [`Scope::apply`](crate::nn::Scope::apply) uses one in a layer or a loss, and
/// [`verify::check_operation`](crate::verify::check_operation) compares the three with each other.
///
/// ```
/// use bptt::verify::check_operation;
/// use bptt::{Device, Error, Operation, OperationRef, Real};
/// use ndarray::{ArrayViewD, ArrayViewMutD, Axis};
///
/// /// y_t = Σ_{s ≤ t} x_s, of x [T, …]; or from the end, which is its gradient.
/// #[derive(Debug)]
/// struct CumulativeSum {
///     back: bool,
/// }
///
/// impl Operation for CumulativeSum {
///     fn name(&self) -> &'static str {
///         if self.back { "cumulative_sum_back" } else { "cumulative_sum" }
///     }
///     fn shapes(&self, inputs: &[&[usize]]) -> bptt::Result<Vec<Vec<usize>>> {
///         match inputs {
///             // The gradient is also given the operation's input.
///             [x] | [x, _] if !x.is_empty() => Ok(vec![x.to_vec()]),
///             _ => Err(Error::argument("inputs", format!("{inputs:?}"), "[T, …]")),
///         }
///     }
///     fn run<F: Real>(&self, inputs: &[ArrayViewD<'_, F>], outputs: &mut [ArrayViewMutD<'_, F>]) {
///         let (mut x, mut y) = (inputs[inputs.len() - 1].view(), outputs[0].view_mut());
///         if self.back {
///             x.invert_axis(Axis(0));
///             y.invert_axis(Axis(0));
///         }
///         y.assign(&x);
///         y.accumulate_axis_inplace(Axis(0), |before, sum| *sum = *sum + *before);
///     }
///     fn wgsl(&self) -> String {
///         let (x, step) = if self.back { (1, "steps - 1u - t") } else { (0, "t") };
///         format!(
///             "fn invocation(index: u32) {{
///                 let steps = output_0_size_0();
///                 let width = output_0_len() / steps;
///                 var sum = 0.0;
///                 for (var t = 0u; t < steps; t += 1u) {{
///                     let at = ({step}) * width + index;
///                     sum += input_{x}(at);
///                     set_output_0(at, sum);
///                 }}
///             }}"
///         )
///     }
///     fn invocations(&self, outputs: &[&[usize]]) -> usize {
///         outputs[0][1..].iter().product()
///     }
///     fn gradient(&self) -> Option<OperationRef> {
///         Some(OperationRef::new(CumulativeSum { back: true }))
///     }
/// }
/// let sum = OperationRef::new(CumulativeSum { back: false });
/// check_operation(&sum, &[&[5, 3]], &[Device::cpu()]).unwrap();
/// ```
pub trait Operation: Debug + Send + Sync + 'static {
    /// The operation's name, for plans and errors: `cumulative_sum`.
    fn name(&self) -> &'static str;
    /// The outputs' shapes, from the inputs'.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) or [`Error::Argument`](crate::Error::Argument) where
    /// the inputs are not what it takes.
    fn shapes(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>>;
    /// The function on a CPU, in f32 and f64. It writes the outputs whole; what is in them before is anything.
    ///
    /// It runs while its program's tensors are locked, so it must wait for no work of another thread that may want
    /// one of them: a rayon pool that is used for such work, too, is not for it. In f32 numbers too small for all their digits count as 0.
    fn run<F: Real>(&self, inputs: &[ArrayViewD<'_, F>], outputs: &mut [ArrayViewMutD<'_, F>])
    where
        Self: Sized;
    /// The function on a GPU: WGSL with `fn invocation(index: u32)`, which is called once for each
    /// of [`Operation::invocations`], in no order. It finds, for each input n and axis k,
    ///
    /// ```text
    /// fn input_n(at: u32) -> f32      fn input_n_len() -> u32     fn input_n_size_k() -> u32
    /// fn set_output_n(at: u32, f32)   fn output_n_len() -> u32    fn output_n_size_k() -> u32
    /// ```
    ///
    /// where `at` is the row-major place of an element, and the functions of `shaders/lib/functions.wgsl`.
    fn wgsl(&self) -> String;
    /// How often `invocation` is called. Default: once for each element of the first output.
    fn invocations(&self, outputs: &[&[usize]]) -> usize {
        outputs
            .first()
            .map_or(0, |shape| crate::program::product(shape))
    }
    /// The operation that gives the gradients of all inputs, from the inputs and the gradients of
    /// all outputs. Default: none, so that no model is trained through it.
    fn gradient(&self) -> Option<OperationRef> {
        None
    }
}

/// A shared [`Operation`] of any type.
#[derive(Clone)]
pub struct OperationRef(Arc<dyn ErasedOperation>);

impl OperationRef {
    /// Shares an operation.
    pub fn new(operation: impl Operation) -> Self {
        Self(Arc::new(operation))
    }
    /// See [`Operation::name`].
    pub fn name(&self) -> &'static str {
        self.0.name()
    }
    /// See [`Operation::shapes`].
    ///
    /// # Errors
    /// Those of the operation.
    pub fn shapes(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        self.0.shapes(inputs)
    }
    /// See [`Operation::gradient`].
    pub fn gradient(&self) -> Option<Self> {
        self.0.gradient()
    }
    pub(crate) fn wgsl(&self) -> String {
        self.0.wgsl()
    }
    pub(crate) fn invocations(&self, outputs: &[&[usize]]) -> usize {
        self.0.invocations(outputs)
    }
    pub(crate) fn run<F: OperationScalar>(
        &self,
        inputs: &[ArrayViewD<'_, F>],
        outputs: &mut [ArrayViewMutD<'_, F>],
    ) {
        F::operation(&*self.0).run(inputs, outputs);
    }
}

impl Debug for OperationRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An operation for arrays of one scalar type.
pub trait OperationOf<F> {
    fn run(&self, inputs: &[ArrayViewD<'_, F>], outputs: &mut [ArrayViewMutD<'_, F>]);
}

/// An [`Operation`] of any type, for arrays of both.
pub trait ErasedOperation: Operation + OperationOf<f32> + OperationOf<f64> {}

impl<O: Operation> ErasedOperation for O {}

impl<O: Operation, F: Real> OperationOf<F> for O {
    fn run(&self, inputs: &[ArrayViewD<'_, F>], outputs: &mut [ArrayViewMutD<'_, F>]) {
        Operation::run(self, inputs, outputs);
    }
}

/// A scalar type that operations work on.
pub trait OperationScalar: Real {
    /// An operation for arrays of this type.
    fn operation(operation: &dyn ErasedOperation) -> &dyn OperationOf<Self>;
}

impl OperationScalar for f32 {
    fn operation(operation: &dyn ErasedOperation) -> &dyn OperationOf<Self> {
        operation
    }
}

impl OperationScalar for f64 {
    fn operation(operation: &dyn ErasedOperation) -> &dyn OperationOf<Self> {
        operation
    }
}
