//! What the check of a cell found.

use std::fmt;

/// What [`check_cell`](super::check_cell) found.
#[derive(Clone, Debug, PartialEq)]
pub struct CellReport {
    /// The cell's name.
    pub cell: String,
    /// The worst difference of a derivative from finite differences, relative to 1 + its size.
    pub derivatives: f64,
    /// For each device, the worst relative difference ([`compare`](crate::verify::compare)) of its
    /// results from the Rust half's in f64.
    pub devices: Vec<(String, f64)>,
}

impl fmt::Display for CellReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cell,
            derivatives,
            devices,
        } = self;
        write!(
            f,
            "{cell}: derivatives agree with finite differences to {derivatives:.1e}"
        )?;
        for (device, worst) in devices {
            write!(f, "\n{cell}: {device} agrees with f64 to {worst:.1e}")?;
        }
        Ok(())
    }
}

/// Something wrong with a cell, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct CellFault {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, with the values.
    pub what: String,
}

/// All that [`check_cell`](super::check_cell) found wrong, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(CellFault::to_string).collect::<Vec<_>>().join("\n"))]
pub struct CellFaults(pub Vec<CellFault>);
