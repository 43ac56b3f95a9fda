//! Losses and metrics added up on the device.

use crate::device::Device;
use crate::error::Result;
use crate::tensor::Tensor;

/// Sums over examples, each of which counts once.
#[derive(Debug)]
pub(super) struct DeviceSum {
    /// One number for each thing that is added up.
    pub(super) sums: Tensor,
    pub(super) examples: usize,
}

impl DeviceSum {
    pub(super) fn new(device: &Device, count: usize) -> Result<Self> {
        Ok(Self {
            sums: Tensor::named(device, "the loss", &[count])?,
            examples: 0,
        })
    }

    pub(super) fn reset(&mut self) -> Result<()> {
        self.examples = 0;
        self.sums.write_slice(0, &vec![0.0_f32; self.sums.len()])
    }

    /// The means, which it forgets.
    pub(super) async fn take(&mut self) -> Result<Vec<f64>> {
        let sums = self.sums.read_slice::<f64>(0, self.sums.len()).await?;
        let examples = self.examples as f64;
        self.reset()?;
        Ok(sums.into_iter().map(|sum| sum / examples).collect())
    }
}
