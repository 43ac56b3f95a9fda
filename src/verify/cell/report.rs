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
        write!(
            f,
            "{}: derivatives agree with finite differences to {:.1e}",
            self.cell, self.derivatives
        )?;
        for (device, worst) in &self.devices {
            write!(
                f,
                "\n{}: {device} agrees with f64 to {worst:.1e}",
                self.cell
            )?;
        }
        Ok(())
    }
}

/// Something wrong with a cell, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellFault {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, with the values.
    pub what: String,
}

impl fmt::Display for CellFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// All that [`check_cell`](super::check_cell) found wrong, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellFaults(pub Vec<CellFault>);

impl fmt::Display for CellFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(CellFault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for CellFaults {}
