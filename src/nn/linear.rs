//! A matrix and a bias, applied to every row.

use super::module::{Backward, Module, Value};
use super::parameters::{Init, Parameter, ParameterSpec};
use crate::error::Result;
use crate::program::{ColumnSum, Gemm, Program};

/// y = x Wᵀ + b (PyTorch's `nn.Linear`): `weight [out, in]`, `bias [out]`, both first drawn from U(±1/√in).
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) input_size: usize,
    pub(crate) output_size: usize,
}

impl Module for Linear {
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
        train: bool,
    ) -> (Value, Backward) {
        let [weight, bias] = [weights[0], weights[1]];
        let (inputs, outputs) = (self.input_size, self.output_size);
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("activations have features") = outputs;
        let y = Value::new(program, "linear.y", &shape, train);
        let product = Gemm::new(x.matrix(), weight.value.matrix(outputs, inputs), y.matrix());
        program.push(product.transpose_b().bias(Some(bias.value)));
        let d_y = y.gradient_matrix();
        let backward = move |program: &mut Program| {
            let d_y = d_y.expect("a training program has the gradients of its activations");
            if let (Some(d_weight), Some(d_bias)) = (weight.gradient, bias.gradient) {
                let d_weight = d_weight.matrix(outputs, inputs);
                program.push(Gemm::new(d_y, x.matrix(), d_weight).transpose_a());
                program.push(ColumnSum {
                    input: d_y,
                    output: d_bias,
                    accumulate: false,
                });
            }
            if let Some(d_x) = x.gradient_matrix() {
                program.push(Gemm::new(d_y, weight.value.matrix(outputs, inputs), d_x));
            }
        };
        (y, Box::new(backward))
    }
}
