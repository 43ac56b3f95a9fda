//! Losses and metrics added up on the device.

use crate::device::Device;
use crate::error::Result;
use crate::program::Slice;
use crate::tensor::Tensor;
use crate::train::reduce::{Count, SUM_LEN};

/// Sums over steps, right to some roundings after any number of them: see [`SUM_LEN`].
#[derive(Debug)]
pub(super) struct DeviceSum {
    /// The numbers of each sum, and behind them others that are zeros at the start too.
    pub(super) tensor: Tensor,
    sums: usize,
    /// What the host has counted for each sum.
    pub(super) counts: Vec<u64>,
}

impl DeviceSum {
    /// Zeros, with room for `more` numbers besides.
    pub(super) fn new(device: &Device, sums: usize, more: usize) -> Result<Self> {
        Ok(Self {
            tensor: Tensor::named(device, "the loss", &[sums * SUM_LEN + more])?,
            sums,
            counts: vec![0; sums],
        })
    }

    pub(super) fn reset(&mut self) -> Result<()> {
        self.counts.fill(0);
        self.tensor
            .write_slice(0, &vec![0.0_f32; self.tensor.len()])
    }

    /// The sums and the numbers behind them, which it forgets.
    pub(super) async fn take(&mut self) -> Result<(Vec<f64>, Vec<f64>)> {
        let mut numbers = self.tensor.read_slice::<f64>(0, self.tensor.len()).await?;
        self.reset()?;
        let more = numbers.split_off(self.sums * SUM_LEN);
        let sums = numbers.chunks(SUM_LEN).map(|of| of.iter().sum());
        Ok((sums.collect(), more))
    }
}

/// The numbers of a tensor one by one.
pub(super) fn numbers(of: Slice) -> impl Iterator<Item = Slice> {
    (0..of.len).map(move |index| of.part(index, 1))
}

impl Count {
    /// The elements of a batch whose rows have these lengths.
    pub(super) fn elements(self, lengths: Option<&[usize]>) -> u64 {
        match self {
            Self::All(count) => count as u64,
            Self::OfStep(count) => {
                let steps = lengths.unwrap_or_default().iter();
                steps.map(|length| *length as u64).sum::<u64>() * count as u64
            }
        }
    }
}
