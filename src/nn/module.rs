//! What a layer is to a program.

use super::parameters::{Parameter, ParameterSpec};
use crate::error::Result;
use crate::philox::RNG_LEN;
use crate::program::{Dropout, Matrix, Program, Slice};

/// An activation `[T, B, F]`, or `[B, F]` past the last-step layer, with its gradient where that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) slice: Slice,
    pub(crate) gradient: Option<Slice>,
}

impl Value {
    /// A new temporary tensor, and one for its gradient in a training program.
    pub(crate) fn new(program: &mut Program, name: &str, shape: &[usize], train: bool) -> Self {
        let slice = program.temporary(name, shape);
        let gradient = train.then(|| program.temporary(format!("d.{name}"), shape));
        Self {
            shape: shape.to_vec(),
            slice,
            gradient,
        }
    }

    /// The value, which is written or read between runs, and so is its gradient.
    pub(crate) fn keep(self, program: &mut Program) -> Self {
        program.keep(self.slice.tensor);
        if let Some(gradient) = self.gradient {
            program.keep(gradient.tensor);
        }
        self
    }

    /// F, the last dimension.
    pub(crate) fn features(&self) -> usize {
        *self.shape.last().expect("activations have features")
    }

    /// `[T·B, F]`
    pub(crate) fn matrix(&self) -> Matrix {
        self.as_matrix(self.slice)
    }

    /// The gradient `[T·B, F]`, where it is wanted.
    pub(crate) fn gradient_matrix(&self) -> Option<Matrix> {
        self.gradient.map(|gradient| self.as_matrix(gradient))
    }

    /// The gradient of a value that the backward pass reads: there is one in every training program.
    pub(crate) fn known_gradient(&self) -> Slice {
        self.gradient
            .expect("a training program has the gradients of its activations")
    }

    fn as_matrix(&self, slice: Slice) -> Matrix {
        slice.matrix(slice.len / self.features(), self.features())
    }

    /// The value with elements dropped at random, and the backward pass of that.
    pub(crate) fn dropout(
        &self,
        program: &mut Program,
        rng: Slice,
        site: u32,
        rate: f64,
        period: usize,
    ) -> (Self, Backward) {
        let shape = &self.shape;
        let output = program.temporary("dropout.y", shape);
        let gradient = self
            .gradient
            .map(|_| program.temporary("d.dropout.y", shape));
        let dropout = move |input, output| Dropout {
            input: Some(input),
            output,
            rng,
            site,
            rate,
            period,
        };
        program.push(dropout(self.slice, output));
        let gradients = gradient.zip(self.gradient);
        let backward = move |program: &mut Program| {
            if let Some((d_y, d_x)) = gradients {
                program.push(dropout(d_y, d_x));
            }
        };
        let value = Self {
            shape: shape.clone(),
            slice: output,
            gradient,
        };
        (value, Box::new(backward))
    }
}

/// Writes a layer's backward pass: reads the gradient of its output; writes that of its input, where that is wanted, and those
/// of its weights, where those are.
pub(crate) type Backward = Box<dyn FnOnce(&mut Program)>;

/// What a program is written for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mode {
    /// Whether what the backward pass needs is kept.
    pub(crate) train: bool,
    /// `[B]`, the steps of each row; all T where absent.
    pub(crate) lengths: Option<Slice>,
    /// `[8]`, seed and step of what is random; without it nothing is.
    pub(crate) rng: Option<Slice>,
    /// The most steps of a recurrent layer whose values are kept for the backward pass, which computes the others once more; all T where
    /// absent.
    pub(crate) segment: Option<usize>,
    /// The first of a module's own sites of random numbers.
    pub(crate) site: u32,
}

impl Mode {
    /// The sites a module may use.
    pub(crate) const SITES: u32 = 1 << 16;

    /// A mode with seed and step, and lengths, as a program's inputs: one tensor, as a kernel that takes both has one binding for them.
    pub(crate) fn new(
        program: &mut Program,
        train: bool,
        lengths: Option<usize>,
        random: bool,
    ) -> Self {
        let mut mode = Self {
            train,
            ..Self::default()
        };
        if lengths.is_some() || random {
            let batch = lengths.unwrap_or(0);
            let rows = program.tensor("seed, step and lengths", &[RNG_LEN + batch]);
            mode.rng = random.then(|| rows.part(0, RNG_LEN));
            mode.lengths = lengths.map(|batch| rows.part(RNG_LEN, batch));
        }
        mode
    }

    /// With recurrences in parts of so many steps.
    pub(crate) fn segment(self, segment: Option<usize>) -> Self {
        Self { segment, ..self }
    }

    /// Writes them.
    pub(crate) fn write(
        &self,
        executable: &crate::Executable,
        lengths: Option<&[usize]>,
        random: Option<(u64, u64)>,
    ) -> Result<()> {
        let write = |slice: Slice, values: &[f32]| {
            executable
                .tensor(slice.tensor)
                .write_slice(slice.offset, values)
        };
        if let (Some(slice), Some((seed, step))) = (self.rng, random) {
            write(slice, &crate::philox::rng_values(seed, step))?;
        }
        if let (Some(slice), Some(lengths)) = (self.lengths, lengths) {
            // Exact: a tensor of more than 2²⁴ steps does not fit any device.
            let lengths: Vec<f32> = lengths.iter().map(|length| *length as f32).collect();
            write(slice, &lengths)?;
        }
        Ok(())
    }
}

/// A layer of a model.
pub(crate) trait Module: std::fmt::Debug + Send + Sync {
    /// The weights it has, in PyTorch's order.
    fn parameters(&self) -> Vec<ParameterSpec> {
        vec![]
    }
    /// The shape of its output `[T, B, F]` or `[B, F]`, given that of its input.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>>;
    /// Writes its forward pass. Returns its output and its backward pass.
    fn forward(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        mode: Mode,
    ) -> (Value, Backward);
    /// Whether its output is a distribution already, so that a loss must not apply softmax again.
    fn is_softmax(&self) -> bool {
        false
    }
    /// Whether it draws random numbers in training.
    fn is_random(&self) -> bool {
        false
    }
}
