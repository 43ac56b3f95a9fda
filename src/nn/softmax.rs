//! Softmax over the features.

use super::module::{Backward, Mode, Module, Value};
use super::parameters::Parameter;
use crate::error::Result;
use crate::program::{self, Program};

/// y = softmax(x), row by row.
#[derive(Clone, Debug)]
pub(crate) struct Softmax;

impl Module for Softmax {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }

    fn forward(
        &self,
        program: &mut Program,
        _: &[Parameter],
        x: Value,
        mode: Mode,
    ) -> (Value, Backward) {
        let y = Value::new(program, "softmax.y", &x.shape, mode.train);
        let output = y.matrix();
        program.push(program::Softmax {
            input: x.matrix(),
            output,
        });
        let d_output = y.gradient_matrix();
        let backward = move |program: &mut Program| {
            if let (Some(d_output), Some(d_input)) = (d_output, x.gradient_matrix()) {
                program.push(program::SoftmaxBackward {
                    output,
                    d_output,
                    d_input,
                });
            }
        };
        (y, Box::new(backward))
    }

    fn is_softmax(&self) -> bool {
        true
    }
}
