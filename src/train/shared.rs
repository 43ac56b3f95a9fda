//! What the programs of a trainer share.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::executable::Executable;
use crate::program::{Program, Slice};
use crate::tensor::Tensor;

/// A loss added up on the device, each example counting once.
#[derive(Debug)]
pub(super) struct LossSum {
    pub(super) sum: Tensor,
    pub(super) examples: usize,
}

impl LossSum {
    pub(super) fn new(device: &Device) -> Result<Self> {
        Ok(Self {
            sum: Tensor::named(device, "the loss", &[1])?,
            examples: 0,
        })
    }

    pub(super) fn reset(&mut self) -> Result<()> {
        self.examples = 0;
        self.sum.write_slice(0, &[0.0_f32])
    }

    pub(super) async fn take(&mut self) -> Result<f64> {
        if self.examples == 0 {
            return Err(Error::argument(
                "steps since the last take_loss",
                0,
                "at least 1",
            ));
        }
        let mean = self.sum.read_slice::<f64>(0, 1).await?[0] / self.examples as f64;
        self.reset()?;
        Ok(mean)
    }
}

/// A program under construction with the tensors it shares with others.
#[derive(Default)]
pub(super) struct Externals {
    pub(super) program: Program,
    tensors: Vec<Tensor>,
}

impl Externals {
    pub(super) fn add(&mut self, name: &str, tensor: &Tensor) -> Slice {
        self.tensors.push(tensor.clone());
        self.program
            .external(self.tensors.len() - 1, name, tensor.shape())
    }

    pub(super) fn compile(self, device: &Device) -> Result<Executable> {
        Executable::new(device, self.program, &self.tensors)
    }
}
