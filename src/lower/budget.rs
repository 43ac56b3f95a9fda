//! Programs within a memory budget and the limits of a device.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Graph, Op};
use crate::program::{Program, Role};

/// The bytes of a program's tensors on a device, external ones aside.
pub(crate) fn bytes_of(program: &Program, device: &Device) -> Result<usize> {
    let len = program.memory()?.len();
    Ok(len.saturating_mul(device.element_size()))
}

/// Whether each tensor of a program may be as large as it is, external ones aside.
pub(crate) fn is_within_limits(program: &Program, device: &Device) -> bool {
    let mut own = program.tensors().iter();
    own.all(|of| matches!(of.role, Role::External(_)) || of.len() <= device.most_elements())
}

/// Lengths of segments to be tried, from longer to shorter ones down to about √T, below which the states between them would take what shorter
/// ones save. The number of segments grows by a quarter at most, so that there are few.
fn segments(steps: usize) -> Vec<usize> {
    let most = (1..).take_while(|count: &usize| (count - 1).pow(2) < steps);
    let most = most.last().unwrap_or(1);
    let next = |count: &usize| (*count < most).then(|| (count + (count / 4).max(1)).min(most));
    let counts = std::iter::successors(Some(1), next).skip(1);
    let mut segments: Vec<_> = counts.map(|count| steps.div_ceil(count)).collect();
    segments.dedup();
    segments
}

/// The first of what `write` gives for a graph that is within a budget of so many bytes and within a device's limits: for all of T steps at once
/// (no segments), then for longer to shorter segments. Where no segments bring it within the limits, the shortest, as compiling it says why.
pub(crate) fn within_budget<W>(
    budget: Option<usize>,
    device: &Device,
    graph: &Graph,
    write: impl Fn(Option<usize>) -> Result<W>,
    program: impl Fn(&W) -> &Program,
) -> Result<W> {
    let steps = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Recurrence(layer) => Some(layer.shape.steps),
        _ => None,
    });
    let steps = steps.max().unwrap_or(0);
    let mut written = write(None)?;
    let mut shorter = segments(steps).into_iter();
    let mut least = None;
    loop {
        if is_within_limits(program(&written), device) {
            let Some(budget) = budget else {
                return Ok(written);
            };
            let needed = bytes_of(program(&written), device)?;
            if needed <= budget {
                return Ok(written);
            }
            least = Some(least.map_or(needed, |least: usize| least.min(needed)));
        }
        match shorter.next() {
            Some(segment) => written = write(Some(segment))?,
            None => break,
        }
    }
    let (Some(least), Some(budget)) = (least, budget) else {
        return Ok(written);
    };
    let of = match steps {
        0 => "this batch needs".to_owned(),
        steps => format!("these {steps} steps need"),
    };
    Err(Error::argument(
        "memory_budget",
        format!("{budget} bytes"),
        format!("at least the {least} bytes that {of}"),
    ))
}
