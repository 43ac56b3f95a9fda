//! What a recurrent stack is besides its cell.

use crate::error::{Result, check_positive, require};
use crate::graph::Regularisers;
use crate::nn::Scope;
use crate::program::RecurrentShape;

/// Each layer draws at 8 sites of its own.
const MOST_LAYERS: usize = Scope::SITES as usize / 8;

/// The biases of a recurrent layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// None.
    None,
    /// `bias_ih` only, as in textbooks. It moves half as far in training as the sum of two, each of which gets the full gradient.
    One,
    /// `bias_ih` and `bias_hh`, as in PyTorch and cuDNN.
    #[default]
    Two,
}

impl From<bool> for Bias {
    fn from(bias: bool) -> Self {
        if bias { Self::Two } else { Self::None }
    }
}

impl Bias {
    pub(crate) fn count(self) -> usize {
        self as usize
    }
}

impl Regularisers {
    fn check(&self) -> Result<()> {
        for (argument, rate) in [
            ("dropout", self.dropout),
            ("input_dropout", self.input_dropout),
            ("recurrent_dropout", self.recurrent_dropout),
            ("weight_dropout", self.weight_dropout),
            ("zoneout of h", self.zoneout[0]),
            ("zoneout of c", self.zoneout[1]),
        ] {
            require(argument, rate, (0.0..1.0).contains(&rate), "0 to below 1")?;
        }
        Ok(())
    }

    /// Whether a layer draws random numbers itself, besides those for what goes into it.
    pub(super) fn are_inside(&self) -> bool {
        let inside = [self.recurrent_dropout, self.weight_dropout];
        inside.iter().chain(&self.zoneout).any(|rate| *rate > 0.0)
    }

    /// Whether anything is drawn at random in training.
    pub(super) fn are_random(&self, layers: usize) -> bool {
        let between = if layers > 1 { self.dropout } else { 0.0 };
        between > 0.0 || self.input_dropout > 0.0 || self.are_inside()
    }
}

/// The sizes and options of a recurrent stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// 0 where it is that of the input.
    pub(crate) input_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) proj_size: Option<usize>,
    pub(crate) layers: usize,
    pub(crate) bidirectional: bool,
    pub(crate) bias: Bias,
    pub(crate) forget_bias: Option<f32>,
    pub(crate) skip_input: bool,
    pub(crate) batch_first: bool,
    pub(crate) regularisers: Regularisers,
    /// Whether weights have PyTorch's names of a cell, `weight_ih`, instead of a layer's, `weight_ih_l0`.
    pub(super) is_one_step: bool,
}

impl Options {
    pub(super) fn new(input_size: usize, hidden_size: usize) -> Self {
        Self {
            input_size,
            hidden_size,
            proj_size: None,
            layers: 1,
            bidirectional: false,
            bias: Bias::Two,
            forget_bias: None,
            skip_input: false,
            batch_first: false,
            regularisers: Regularisers::default(),
            is_one_step: false,
        }
    }

    /// `Ok` where the options fit each other.
    pub(super) fn check(&self) -> Result<()> {
        let (inputs, hidden) = (self.input_size, self.hidden_size);
        check_positive("hidden_size", hidden)?;
        check_positive("layers", self.layers)?;
        let few = self.layers <= MOST_LAYERS;
        require("layers", self.layers, few, format!("at most {MOST_LAYERS}"))?;
        self.regularisers.check()?;
        if let Some(value) = self.forget_bias {
            let has_bias = self.bias != Bias::None;
            require(
                "forget_bias",
                "set",
                has_bias,
                "unset where there is no bias",
            )?;
            require("forget_bias", value, value.is_finite(), "a finite number")?;
        }
        if let Some(size) = self.proj_size {
            let expected = format!("1 to below the hidden size, {hidden}");
            require("proj_size", size, (1..hidden).contains(&size), expected)?;
        }
        let fits = !self.skip_input || inputs == hidden;
        let expected = format!("the hidden size, {hidden}, with skip_input");
        require("input_size", inputs, fits, expected)
    }

    /// D
    pub(crate) fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// P, the width of h.
    pub(crate) fn output_size(&self) -> usize {
        self.proj_size.unwrap_or(self.hidden_size)
    }

    /// Features a layer reads.
    pub(super) fn layer_input(&self, layer: usize) -> usize {
        match layer {
            0 => self.input_size,
            _ => self.directions().saturating_mul(self.output_size()),
        }
    }

    pub(super) fn shape(&self, steps: usize, batch: usize) -> RecurrentShape {
        RecurrentShape {
            steps,
            batch,
            hidden: self.hidden_size,
            output: self.output_size(),
            directions: self.directions(),
        }
    }

    /// `[L·D, B, ·]` of a state: h is P wide, the others H.
    pub(crate) fn state_shape(&self, state: usize, batch: usize) -> [usize; 3] {
        let width = match state {
            0 => self.output_size(),
            _ => self.hidden_size,
        };
        [self.layers * self.directions(), batch, width]
    }

    /// Where a state `[D, B, ·]` is among one layer's: (first element, length).
    pub(super) fn state_part(&self, state: usize, batch: usize) -> (usize, usize) {
        let shape = self.shape(1, batch);
        let first = shape.state_offset(state);
        (first, shape.state_offset(state + 1) - first)
    }
}
