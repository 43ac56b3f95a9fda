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
        let x = input.x;
        x.check_device("x", &self.device)?;
        let (steps, batch) = match *x.shape() {
            [batch, steps, features]
                if features == self.stack.input_size && self.stack.batch_first =>
            {
                (steps, batch)
            }
            [steps, batch, features]
                if features == self.stack.input_size && !self.stack.batch_first =>
            {
                (steps, batch)
            }
            _ => {
                let order = if self.stack.batch_first {
                    "B, T"
                } else {
                    "T, B"
                };
                let expected = format!("[{order}, {}]", self.stack.input_size);
                return Err(Error::shape("x", x.shape(), expected));
            }
        };
        check_positive("x: T", steps)?;
        check_positive("x: B", batch)?;
        if let Some(lengths) = input.lengths {
            check_lengths(lengths, steps, batch)?;
        }
        self.check_state("state", state, |state| {
            self.stack.state_shape(state, batch).to_vec()
        })?;
        Ok(Call {
            steps,
            batch,
            lengths: input.lengths.is_some(),
            random: input.random.is_some() && self.stack.regularisers.are_random(self.stack.layers),
            initial: state.is_some(),
            gradient: false,
            d_last: false,
        })
    }

    /// `Ok` where there is no state, or one with all parts, each of the shape that is asked for.
    pub(super) fn check_state(
        &self,
        argument: &str,
        state: Option<&State>,
        shape: impl Fn(usize) -> Vec<usize>,
    ) -> Result<()> {
        let Some(state) = state else { return Ok(()) };
        let expected = self.stack.cell.states();
        if state.parts.len() != expected {
            let got = format!("{} states", state.parts.len());
            return Err(Error::argument(
                argument,
                got,
                format!("{expected} for {}", self.stack.cell.name()),
            ));
        }
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
