//! From a sequence to its last step.

use super::module::{Backward, Mode, Module, Value};
use super::parameters::Parameter;
use crate::error::{Error, Result};
use crate::program::{Fill, GatherLast, Program, ScatterLast};

/// `[T, B, F]` to `[B, F]`: the last step only (many-to-one), of each row's own length where there are lengths (0 for a length of 0).
#[derive(Clone, Debug)]
pub(crate) struct LastStep;

impl Module for LastStep {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        match input {
            [_, batch, features] => Ok(vec![*batch, *features]),
            _ => Err(Error::argument(
                "last_step",
                "a second last_step",
                "one, after the recurrent layers",
            )),
        }
    }

    fn forward(
        &self,
        program: &mut Program,
        _: &[Parameter],
        x: Value,
        mode: Mode,
    ) -> (Value, Backward) {
        let (batch, features) = (x.shape[1], x.features());
        if let Some(lengths) = mode.lengths {
            let y = Value::new(program, "last_step.y", &[batch, features], mode.train);
            program.push(GatherLast {
                input: x.matrix(),
                lengths,
                first: 0,
                output: y.matrix(),
            });
            let gradients = y.gradient_matrix().zip(x.gradient_matrix());
            let backward = move |program: &mut Program| {
                if let Some((d_output, d_input)) = gradients {
                    program.push(ScatterLast {
                        d_output,
                        lengths,
                        d_input,
                    });
                }
            };
            return (y, Box::new(backward));
        }
        let len = batch * features;
        let start = x.slice.len - len;
        // Views: output and gradient are the last part of the input's, so nothing is copied either way.
        let last = |slice: crate::program::Slice| slice.part(start, len);
        let y = Value {
            shape: vec![batch, features],
            slice: last(x.slice),
            gradient: x.gradient.map(last),
        };
        let backward = move |program: &mut Program| {
            if let Some(d_x) = x.gradient.filter(|_| start > 0) {
                program.push(Fill {
                    target: d_x.part(0, start),
                    value: 0.0,
                });
            }
        };
        (y, Box::new(backward))
    }
}
