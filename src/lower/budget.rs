//! Training programs within a memory budget.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::program::Program;

/// The bytes of a program's tensors on a device, external ones aside.
pub(crate) fn bytes_of(program: &Program, device: &Device) -> Result<usize> {
    let len = program.memory()?.len();
    Ok(len.saturating_mul(device.element_size()))
}

/// The first of what `write` gives that is within a budget of so many bytes: for all of T steps at once (no segments), then for longer
/// to shorter segments down to about √T, below which the states between them would take what shorter ones save.
pub(crate) fn within_budget<W>(
    budget: Option<usize>,
    device: &Device,
    steps: usize,
    write: impl Fn(Option<usize>) -> Result<W>,
    program: impl Fn(&W) -> &Program,
) -> Result<W> {
    let counts = (2..).take_while(|count: &usize| (count - 1).pow(2) < steps);
    let mut segments: Vec<_> = counts.map(|count| steps.div_ceil(count)).collect();
    segments.dedup();
    let mut least = usize::MAX;
    for segment in std::iter::once(None).chain(segments.into_iter().map(Some)) {
        let written = write(segment)?;
        let Some(budget) = budget else {
            return Ok(written);
        };
        let needed = bytes_of(program(&written), device)?;
        if needed <= budget {
            return Ok(written);
        }
        least = least.min(needed);
    }
    Err(Error::argument(
        "memory_budget",
        format!("{} bytes", budget.unwrap_or(0)),
        format!("at least the {least} bytes that these {steps} steps need"),
    ))
}
