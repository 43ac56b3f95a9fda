//! What a stack's arguments must be.

use super::model::{Input, State};
use super::stack_model::{Call, StackModel};
use crate::error::{Error, Result, check_positive, check_shape};

impl StackModel {
    /// `Ok` where the arguments of [`StackModel::forward`] fit.
    #[cfg(feature = "safetensors")]
    pub(crate) fn check(&self, input: Input<'_>, state: Option<&State>) -> Result<()> {
        self.call(input, state).map(drop)
    }

    pub(super) fn call(&self, input: Input<'_>, state: Option<&State>) -> Result<Call> {
        let (x, of) = (input.x, &self.stack.options);
        x.check_device("x", &self.device)?;
        let (order, [time, row]) = match of.batch_first {
            true => ("B, T", [1, 0]),
            false => ("T, B", [0, 1]),
        };
        let shape = x.shape();
        if shape.len() != 3 || shape[2] != of.input_size {
            let expected = format!("[{order}, {}]", of.input_size);
            return Err(Error::shape("x", shape, expected));
        }
        let (steps, batch) = (shape[time], shape[row]);
        check_positive("x: T", steps)?;
        check_positive("x: B", batch)?;
        if let Some(lengths) = input.lengths {
            check_lengths(lengths, steps, batch)?;
        }
        self.check_state("state", state, |state| of.state_shape(state, batch))?;
        Ok(Call {
            steps,
            batch,
            lengths: input.lengths.is_some(),
            random: input.random.is_some() && of.regularisers.are_random(of.layers),
            initial: state.is_some(),
            gradient: false,
            d_last: false,
        })
    }

    /// `Ok` where there is no state, or one with all parts, each of the shape that is asked for.
    pub(super) fn check_state<const N: usize>(
        &self,
        argument: &str,
        state: Option<&State>,
        shape: impl Fn(usize) -> [usize; N],
    ) -> Result<()> {
        let Some(state) = state else { return Ok(()) };
        self.stack.check_parts(argument, state.parts.len())?;
        for (index, part) in state.parts.iter().enumerate() {
            let name = match index {
                0 => format!("{argument}.h"),
                1 => format!("{argument}.c"),
                _ => format!("{argument}, part {index}"),
            };
            part.check_device(&name, &self.device)?;
            check_shape(&name, part.shape(), &shape(index))?;
        }
        Ok(())
    }
}

/// `Ok` where there is one length for each row, none above T.
pub(crate) fn check_lengths(lengths: &[usize], steps: usize, batch: usize) -> Result<()> {
    check_shape("lengths", &[lengths.len()], &[batch])?;
    match lengths.iter().find(|length| **length > steps) {
        Some(bad) => Err(Error::argument("lengths", bad, format!("0 to T = {steps}"))),
        None => Ok(()),
    }
}
