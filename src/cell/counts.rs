//! What a cell has of each thing.

use super::{Cell, MAX_COUNT};
use crate::CellRef;
use crate::error::{Error, Result};

/// What a cell says it has.
pub(crate) struct Counts([usize; 5]);

/// The counts of a cell, whether it is shared or not.
macro_rules! counts {
    ($cell:expr) => {
        Self([
            $cell.gates(),
            $cell.states(),
            $cell.saved(),
            $cell.diagonals(),
            $cell.early_gates(),
        ])
    };
}

impl Counts {
    /// Those of a cell as it is.
    pub(crate) fn of(cell: &impl Cell) -> Self {
        counts!(cell)
    }

    /// Those of a cell that may save nothing, as its backward functions are then derived.
    pub(crate) fn to_derive(cell: &impl Cell) -> Self {
        let mut counts = Self::of(cell);
        counts.0[2] = counts.0[2].max(1);
        counts
    }

    /// Those of a shared cell.
    pub(crate) fn shared(cell: &CellRef) -> Self {
        counts!(cell)
    }

    /// The counts that are not in their range: name, count, least, most.
    pub(crate) fn outside(&self) -> Vec<(&'static str, usize, usize, usize)> {
        let names = ["gates", "states", "saved", "diagonals", "early_gates"];
        let most = |name: &str| match name {
            "early_gates" => self.0[0],
            _ => MAX_COUNT,
        };
        (names.into_iter().zip(self.0))
            .map(|(name, count)| (name, count, usize::from(name != "diagonals"), most(name)))
            .filter(|(_, count, least, most)| !(least..=most).contains(&count))
            .collect()
    }

    /// `Ok` where all are in their range.
    pub(crate) fn check(&self, cell: &str) -> Result<()> {
        match self.outside().first() {
            Some((name, count, least, most)) => {
                let (argument, expected) =
                    (format!("{name} of {cell}"), format!("{least} to {most}"));
                Err(Error::argument(argument, count, expected))
            }
            None => Ok(()),
        }
    }
}
