//! Rates that are a function of the step: those of PyTorch's `torch.optim.lr_scheduler`, stepped after every optimizer step.

use super::{Place, Schedule};
use crate::error::{Result, check_above_zero, require};
use std::f64::consts::PI;

/// base · gamma^⌊step / step_size⌋ (PyTorch's `StepLR`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDecay {
    /// The steps between two changes.
    pub step_size: u64,
    /// What the rate is multiplied by. PyTorch's default is 0.1.
    pub gamma: f64,
}

impl Schedule for StepDecay {
    fn rate(&self, base: f64, at: Place) -> f64 {
        base * self.gamma.powf((at.step / self.step_size.max(1)) as f64)
    }

    fn check(&self) -> Result<()> {
        check_steps("step_size", self.step_size)?;
        check_above_zero("gamma", self.gamma)
    }
}

/// base · gamma^step (PyTorch's `ExponentialLR`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialDecay {
    /// What the rate is multiplied by at every step.
    pub gamma: f64,
}

impl Schedule for ExponentialDecay {
    fn rate(&self, base: f64, at: Place) -> f64 {
        base * self.gamma.powf(at.step as f64)
    }

    fn check(&self) -> Result<()> {
        check_above_zero("gamma", self.gamma)
    }
}

/// Half a cosine from the optimizer's rate to `least`, and back again after that (PyTorch's `CosineAnnealingLR`; Loshchilov & Hutter, 2017).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealing {
    /// The steps down (PyTorch's `T_max`).
    pub steps: u64,
    /// The lowest rate (PyTorch's `eta_min`, 0 by default).
    pub least: f64,
}

impl Schedule for CosineAnnealing {
    fn rate(&self, base: f64, at: Place) -> f64 {
        cosine(base, self.least, at.step as f64 / self.steps.max(1) as f64)
    }

    fn check(&self) -> Result<()> {
        check_steps("steps", self.steps)?;
        check_least(self.least)
    }
}

/// Half cosines from the optimizer's rate to `least`, each beginning anew (PyTorch's `CosineAnnealingWarmRestarts`; Loshchilov & Hutter, 2017).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineRestarts {
    /// The steps of the first (PyTorch's `T_0`).
    pub steps: u64,
    /// How many times as long each is as the one before (PyTorch's `T_mult`, 1 by default).
    pub longer: u64,
    /// The lowest rate (PyTorch's `eta_min`, 0 by default).
    pub least: f64,
}

impl Schedule for CosineRestarts {
    fn rate(&self, base: f64, at: Place) -> f64 {
        let (mut steps, mut done) = (self.steps.max(1), at.step);
        if self.longer <= 1 {
            done %= steps;
        }
        while done >= steps {
            done -= steps;
            steps = steps.saturating_mul(self.longer);
        }
        cosine(base, self.least, done as f64 / steps as f64)
    }

    fn check(&self) -> Result<()> {
        check_steps("steps", self.steps)?;
        check_steps("longer", self.longer)?;
        check_least(self.least)
    }
}

/// Up to a largest rate and down to almost nothing, each by half a cosine (PyTorch's `OneCycleLR`, momentum left as it is; Smith & Topin, 2019).
/// All groups have the same rate, whatever their own is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The largest rate (PyTorch's `max_lr`).
    pub largest: f64,
    /// All steps; past them the rate stays.
    pub steps: u64,
    /// The share of steps on the way up (PyTorch's `pct_start`). Default: 0.3.
    pub rising: f64,
    /// By what the first rate is smaller than the largest. Default: 25.
    pub div_factor: f64,
    /// By what the last rate is smaller than the first. Default: 1e4.
    pub final_div_factor: f64,
}

impl OneCycle {
    /// One cycle with PyTorch's defaults.
    pub fn new(largest: f64, steps: u64) -> Self {
        Self {
            largest,
            steps,
            rising: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
        }
    }
}

impl Schedule for OneCycle {
    fn rate(&self, _: f64, at: Place) -> f64 {
        let last = self.steps.saturating_sub(1) as f64;
        let (step, top) = (
            (at.step as f64).min(last),
            self.rising * self.steps as f64 - 1.0,
        );
        let first = self.largest / self.div_factor;
        if step <= top {
            return cosine(
                first,
                self.largest,
                if top > 0.0 { step / top } else { 1.0 },
            );
        }
        let done = (step - top) / (last - top);
        cosine(self.largest, first / self.final_div_factor, done)
    }

    fn check(&self) -> Result<()> {
        check_above_zero("largest", self.largest)?;
        check_steps("steps", self.steps)?;
        let fits = (0.0..=1.0).contains(&self.rising);
        require("rising", self.rising, fits, "a share, 0 to 1")?;
        check_above_zero("div_factor", self.div_factor)?;
        check_above_zero("final_div_factor", self.final_div_factor)
    }
}

/// A line from 0 to the optimizer's rate, then half a cosine down to 0 (the Transformer libraries' `get_cosine_schedule_with_warmup`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmupCosine {
    /// The steps of the line, the first of which has a rate of 0.
    pub warmup_steps: u64,
    /// All steps; past them the rate is 0.
    pub total_steps: u64,
}

impl Schedule for WarmupCosine {
    fn rate(&self, base: f64, at: Place) -> f64 {
        if at.step < self.warmup_steps {
            return base * at.step as f64 / self.warmup_steps as f64;
        }
        let falling = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let done = (at.step - self.warmup_steps) as f64 / falling;
        cosine(base, 0.0, done.min(1.0))
    }

    fn check(&self) -> Result<()> {
        let fits = self.total_steps > self.warmup_steps;
        let expected = format!("more than warmup_steps, {}", self.warmup_steps);
        require("total_steps", self.total_steps, fits, expected)
    }
}

/// Half a cosine: `from` at 0, `to` at 1.
pub(super) fn cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * done).cos())
}

/// `Ok` for a lowest rate.
pub(super) fn check_least(least: f64) -> Result<()> {
    let fits = least.is_finite() && least >= 0.0;
    require("least", least, fits, "a finite number, at least 0")
}

fn check_steps(name: &str, steps: u64) -> Result<()> {
    require(name, steps, steps > 0, "at least 1")
}
