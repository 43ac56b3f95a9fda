//! What checks a cell: its derivatives by finite differences, its two halves against each other.

use crate::cell::{Cell, Counts, Derived, WgslSource};
use crate::device::Device;
use crate::error::Error;
use crate::gpu::COUNTS;
use std::fmt;

mod derivatives;
mod on_device;
mod report;

pub use report::{CellFault, CellFaults, CellReport};

/// Checks a cell, built in or of your own:
///
/// - its counts are in range;
/// - [`Cell::backward`] and [`Cell::inner_backward`] are the derivatives of [`Cell::forward`] and
///   [`Cell::inner`], by central differences in f64 at 200 random points (a few may lie on kinks),
///   and agree with [`Cell::shared_gradient`];
/// - on each of `devices` the WGSL half compiles and every function gives what the Rust half gives
///   in f64; and so does a stack of two layers and two directions with lengths, forward and
///   backward.
///
/// ```
/// use bptt::{Device, cell::GruUnit, verify::check_cell};
/// let report = check_cell(&GruUnit::default(), &[Device::cpu()]).unwrap();
/// assert!(report.derivatives < 1e-6);
/// ```
///
/// # Errors
/// [`CellFaults`]: what is wrong, each with a file and a line. Of the Rust half that is where it
/// names its WGSL, of WGSL the function, or the statement that does not compile.
pub fn check_cell<C: Cell>(cell: &C, devices: &[Device]) -> Result<CellReport, CellFaults> {
    let derivable = || Counts::to_derive(cell).outside().is_empty() && cell.check().is_ok();
    if cell.saved() == 0 && derivable() {
        check(&Derived::new(cell), devices)
    } else {
        check(cell, devices)
    }
}

fn check<C: Cell>(cell: &C, devices: &[Device]) -> Result<CellReport, CellFaults> {
    let sources = CellSources {
        cell: cell.name(),
        wgsl: cell.wgsl(),
    };
    let counts = Counts::of(cell).outside().into_iter();
    let fault = |(name, count, least, most)| {
        sources.rust(format!("{name} is {count}, not {least} to {most}"))
    };
    let faults: Vec<_> = counts.map(fault).collect();
    if !faults.is_empty() {
        return Err(CellFaults(faults));
    }
    if let Err(error) = cell.check() {
        return Err(CellFaults(vec![sources.rust(error)]));
    }
    let (derivatives, mut faults) = derivatives::check(cell, &sources);
    let mut report = CellReport {
        cell: cell.name().to_owned(),
        derivatives,
        devices: vec![],
    };
    for device in devices {
        match on_device::check(cell, device, &sources) {
            Ok(worst) => report.devices.push((device.to_string(), worst)),
            Err(mut found) => faults.append(&mut found),
        }
    }
    if faults.is_empty() {
        Ok(report)
    } else {
        Err(CellFaults(faults))
    }
}

/// Where a cell's two halves are.
struct CellSources {
    cell: &'static str,
    /// The WGSL half where it has its own.
    wgsl: Option<WgslSource>,
}

impl CellSources {
    /// A fault of the Rust half, at the line that names the WGSL half: no more is known of it.
    fn rust(&self, reason: impl fmt::Display) -> CellFault {
        let (file, line) = self.wgsl.map_or((self.cell, 1), |wgsl| wgsl.rust);
        CellFault {
            file: file.to_owned(),
            line: line as usize,
            what: reason.to_string(),
        }
    }

    /// A fault of the WGSL half, at the first line that says `what`.
    fn wgsl(&self, what: &str, reason: impl fmt::Display) -> CellFault {
        let Some(wgsl) = self.wgsl else {
            return self.rust(reason);
        };
        let line = wgsl.text.lines().position(|line| line.contains(what));
        CellFault {
            file: wgsl.file.to_owned(),
            line: line.unwrap_or(0) + 1,
            what: reason.to_string(),
        }
    }

    /// An error of a device, at its place where it is one of WGSL.
    fn device(&self, device: &Device, error: &Error) -> CellFault {
        match error {
            Error::Shader { file, reason, .. } if *file == COUNTS => {
                let what = "GATES, STATES or SAVED are not what the Rust half says";
                self.wgsl("GATES", format!("{what}: {reason}"))
            }
            Error::Shader {
                file, line, reason, ..
            } => CellFault {
                file: (*file).to_owned(),
                line: *line,
                what: format!("on {device}: {reason}"),
            },
            _ => self.wgsl("fn cell_forward", format!("on {device}: {error}")),
        }
    }
}
