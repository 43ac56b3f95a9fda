//! What an executable will do, and how long each part of it took.
//!
//! [`Trainer::plan`](crate::train::Trainer::plan), [`Model::plan`](crate::nn::Model::plan) and
//! [`Executable::plan`](crate::Executable::plan) give an [`ExecutionPlan`] before anything has run;
//! [`Trainer::profile_step`](crate::train::Trainer::profile_step), [`Model::profile`](crate::nn::Model::profile) and
//! [`Executable::profile`](crate::Executable::profile) run once and give a [`Profile`].

mod plan;
mod table;
mod trace;

pub(crate) use plan::Launch;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use plan::groups;
pub use plan::{ExecutionPlan, Owner, PlannedKernel, PlannedTensor};

use std::fmt;
use table::table;

/// Consecutive dispatches of one kernel for one operation, or on a CPU the operation itself, and how long they took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTime {
    /// What ran.
    pub kernel: PlannedKernel,
    /// When it started, in nanoseconds after the first one did.
    pub start: u64,
    /// How long it took, in nanoseconds. On a CPU the input products of a recurrence are part of
    /// it, and next to nothing of their own.
    pub duration: u64,
}

/// A profiled run. `{profile}` prints a table by kernel.
///
/// On a GPU the times are the device's own timestamps around passes of consecutive dispatches of
/// one kernel, copies in and out not among them. A run without a profile is one pass, so that what
/// passes cost (a few microseconds each on many GPUs) is here alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The device.
    pub device: String,
    /// The times of kernels, in the order they ran.
    pub times: Vec<KernelTime>,
    /// Nanoseconds from before the work was submitted until it was done, as the host sees it.
    pub wall: u64,
}

/// All that one kernel did in a [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTotal {
    /// The kernel's name.
    pub kernel: String,
    /// How many times it was dispatched; on a CPU how many operations it ran.
    pub dispatches: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// Operations on floats, as [`PlannedKernel::flops`].
    pub flops: u64,
    /// Bytes it must move, as [`PlannedKernel::bytes`].
    pub bytes: u64,
}

impl Profile {
    /// Nanoseconds of all kernels.
    pub fn duration(&self) -> u64 {
        self.times.iter().map(|time| time.duration).sum()
    }

    /// The totals by kernel, the one that took longest first.
    pub fn kernels(&self) -> Vec<KernelTotal> {
        let mut totals: Vec<KernelTotal> = vec![];
        for KernelTime {
            kernel, duration, ..
        } in &self.times
        {
            let is_its = |total: &KernelTotal| total.kernel == kernel.kernel;
            let index = totals.iter().position(is_its).unwrap_or_else(|| {
                totals.push(KernelTotal {
                    kernel: kernel.kernel.clone(),
                    dispatches: 0,
                    duration: 0,
                    flops: 0,
                    bytes: 0,
                });
                totals.len() - 1
            });
            let total = &mut totals[index];
            total.dispatches += kernel.dispatches;
            total.duration += duration;
            total.flops += kernel.flops;
            total.bytes += kernel.bytes;
        }
        totals.sort_by_key(|total| std::cmp::Reverse(total.duration));
        totals
    }

    /// The totals by kernel as lines of comma-separated values: kernel, dispatches, milliseconds,
    /// GFLOP, GB, percent of the time.
    pub fn to_csv(&self) -> String {
        let all = self.duration().max(1) as f64;
        let lines = self.kernels().into_iter().map(|total| {
            format!(
                "{},{},{:.6},{:.9},{:.9},{:.2}\n",
                total.kernel,
                total.dispatches,
                total.duration as f64 / 1e6,
                total.flops as f64 / 1e9,
                total.bytes as f64 / 1e9,
                100.0 * total.duration as f64 / all,
            )
        });
        std::iter::once("kernel,dispatches,ms,gflop,gb,percent\n".to_owned())
            .chain(lines)
            .collect()
    }

    /// A trace in Chrome's format (JSON), for `chrome://tracing` and Perfetto: one event a [`KernelTime`].
    pub fn to_chrome_trace(&self) -> String {
        trace::chrome(self)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let all = self.duration().max(1) as f64;
        writeln!(
            f,
            "{}: {:.3} ms in kernels of {:.3} ms from submit to end",
            self.device,
            milliseconds(self.duration()),
            milliseconds(self.wall),
        )?;
        let rows = self.kernels().into_iter().map(|total| {
            let rate = |count: u64| match count {
                0 => "–".to_owned(),
                _ => format!("{:.2}", count as f64 / total.duration.max(1) as f64),
            };
            vec![
                total.kernel,
                total.dispatches.to_string(),
                format!("{:.4}", milliseconds(total.duration)),
                format!("{:.1}", 100.0 * total.duration as f64 / all),
                rate(total.flops),
                rate(total.bytes),
            ]
        });
        let columns = ["kernel", "count", "ms", "%", "GFLOP/s", "GB/s"];
        f.write_str(&table(&columns, rows.collect()))
    }
}
