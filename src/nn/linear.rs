//! A matrix and a bias, applied to every row.

use super::module::{Backward, Mode, Module, Value};
use super::parameters::{Init, Parameter, ParameterSpec, Parameters};
use super::sequential::Sequential;
use crate::device::Device;
use crate::error::{Error, Result, check_positive};
use crate::program::{ColumnSum, Gemm, Program};
use crate::tensor::Tensor;

/// [`Linear`] as a part of a model.
#[derive(Clone, Debug)]
pub(crate) struct LinearModule {
    pub(crate) input_size: usize,
    pub(crate) output_size: usize,
}

impl Module for LinearModule {
    fn parameters(&self) -> Vec<ParameterSpec> {
        let init = Init::Uniform((self.input_size as f64).powf(-0.5));
        vec![
            ParameterSpec::new("weight", &[self.output_size, self.input_size], init.clone()),
            ParameterSpec::new("bias", &[self.output_size], init),
        ]
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let mut shape = input.to_vec();
        *shape.last_mut().expect("activations have features") = self.output_size;
        Ok(shape)
    }

    fn forward(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        mode: Mode,
    ) -> (Value, Backward) {
        let [weight, bias] = [weights[0], weights[1]];
        let (inputs, outputs) = (self.input_size, self.output_size);
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("activations have features") = outputs;
        let y = Value::new(program, "linear.y", &shape, mode.train);
        let product = Gemm::new(x.matrix(), weight.value.matrix(outputs, inputs), y.matrix());
        program.push(product.transpose_b().bias(Some(bias.value)).weights());
        let d_y = y.gradient_matrix();
        let backward = move |program: &mut Program| {
            let d_y = d_y.expect("a training program has the gradients of its activations");
            if let (Some(d_weight), Some(d_bias)) = (weight.gradient, bias.gradient) {
                let d_weight = d_weight.matrix(outputs, inputs);
                program.push(Gemm::new(d_y, x.matrix(), d_weight).transpose_a());
                program.push(ColumnSum {
                    input: d_y,
                    output: d_bias.matrix(1, outputs),
                    accumulate: false,
                });
            }
            if let Some(d_x) = x.gradient_matrix() {
                let weight = weight.value.matrix(outputs, inputs);
                program.push(Gemm::new(d_y, weight, d_x).weights());
            }
        };
        (y, Box::new(backward))
    }
}

/// y = x Wᵀ + b (PyTorch's `nn.Linear`): `weight [out, in]`, `bias [out]`, both first drawn from U(±1/√in).
///
/// To train it, put it into a [`Sequential`] by [`linear`](super::SequentialBuilder::linear).
#[derive(Debug)]
pub struct Linear {
    model: Sequential,
}

impl Linear {
    /// From `input_size` features to `output_size`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of 0; [`Error::Limit`] and [`Error::OutOfMemory`].
    pub fn new(device: &Device, input_size: usize, output_size: usize, seed: u64) -> Result<Self> {
        check_positive("input_size", input_size)?;
        check_positive("output_size", output_size)?;
        let module = LinearModule {
            input_size,
            output_size,
        };
        let parameters = Parameters::new(device, module.parameters(), seed)?;
        let model = Sequential::from_parts(input_size, vec![Box::new(module)], parameters);
        Ok(Self { model })
    }

    /// The weights: `weight [out, in]`, `bias [out]`.
    pub fn parameters(&self) -> &Parameters {
        self.model.parameters()
    }

    /// Applies it to every row. x: `[…, in]`; y: `[…, out]`. On a GPU it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] where x does not fit; the GPU's errors.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [rows @ .., features] = x.shape() else {
            return Err(Error::shape("x", x.shape(), "at least one dimension"));
        };
        let sequence = x.reshape(&[1, rows.iter().product(), *features])?;
        let y = self.model.forward(&sequence)?;
        let outputs = y.shape()[2];
        y.reshape(&[rows, &[outputs]].concat())
    }
}
