//! What is drawn at random, and where from.

use super::scope::Scope;
use super::space::Space;
use crate::error::{Error, Result};
use crate::expr::Tape;
use crate::graph::{Type, Var};
use crate::program::keep;

impl Scope<'_> {
    /// The sites of random numbers that a layer has.
    pub(super) const SITES: u32 = 1 << 16;

    /// The next `count` of the layer's sites of random numbers.
    pub(crate) fn sites(&mut self, count: u32) -> u32 {
        self.drawn += count;
        self.site + self.drawn - count
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
            stride = stride.saturating_mul(*size);
        }
        let tape = Tape::new();
        let mut space = Space::new(&tape, &shape).with_lengths(lengths);
        let x = space.element(x);
        let word = space.random(site, strides);
        Ok(space.map(self, "dropout", x * keep(&tape, word, rate)))
    }
}
