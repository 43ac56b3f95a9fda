//! What an operation reads and writes, and what must hold of that before it runs. Behind this check, devices may index without asking again.

use super::{Matrix, PerDirection, Program, Slice};

pub(super) type Check = std::result::Result<(), String>;

/// Collects the operands of an operation and judges them together.
pub(super) struct Operands<'a> {
    program: &'a Program,
    reads: Vec<(&'static str, Slice)>,
    /// What is written through one binding a tensor.
    beside: Vec<(&'static str, Slice)>,
    /// What is read just where it is written.
    in_place: Vec<(&'static str, Slice)>,
    writes: Vec<(&'static str, Slice)>,
}

impl<'a> Operands<'a> {
    pub(super) fn of(program: &'a Program) -> Self {
        Self {
            program,
            reads: vec![],
            beside: vec![],
            in_place: vec![],
            writes: vec![],
        }
    }

    /// What the operation reads, by operand; what shares a tensor with another operand may be missing.
    pub(super) fn reads(&self) -> impl Iterator<Item = &(&'static str, Slice)> {
        self.reads.iter().chain(&self.in_place)
    }

    /// What it writes.
    pub(super) fn writes(&self) -> impl Iterator<Item = &(&'static str, Slice)> {
        self.writes.iter().chain(&self.beside)
    }

    /// What it reads or writes.
    pub(super) fn all(&self) -> impl Iterator<Item = &(&'static str, Slice)> {
        self.reads().chain(self.writes())
    }

    fn inside(&self, name: &str, slice: Slice) -> Check {
        let Some(spec) = self.program.tensors().get(slice.tensor.0) else {
            return Err(format!("{name} is a tensor of another program"));
        };
        let end = slice.offset.saturating_add(slice.len);
        if end > spec.len() {
            return Err(format!(
                "{name} ends at {}, past the {} elements of {}",
                end,
                spec.len(),
                spec.name
            ));
        }
        Ok(())
    }

    fn length(name: &str, slice: Slice, len: usize) -> Check {
        if slice.len == len {
            Ok(())
        } else {
            Err(format!("{name} has {} elements, not {len}", slice.len))
        }
    }

    pub(super) fn read(&mut self, name: &'static str, slice: Slice, len: usize) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        self.reads.push((name, slice));
        Ok(())
    }

    pub(super) fn write(&mut self, name: &'static str, slice: Slice, len: usize) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        self.writes.push((name, slice));
        Ok(())
    }

    /// What is read just where one of the outputs is written.
    pub(super) fn read_in_place(&mut self, name: &'static str, slice: Slice) -> Check {
        self.inside(name, slice)?;
        self.in_place.push((name, slice));
        Ok(())
    }

    /// What may lie in one tensor with other outputs, all written through one binding.
    pub(super) fn write_beside(&mut self, name: &'static str, slice: Slice) -> Check {
        let overlaps = |other: &Slice| {
            other.tensor == slice.tensor
                && slice.offset < other.offset + other.len
                && other.offset < slice.offset + slice.len
        };
        if let Some((other, _)) = self.beside.iter().find(|(_, other)| overlaps(other)) {
            return Err(format!("{name} overlaps {other}"));
        }
        self.inside(name, slice)?;
        self.beside.push((name, slice));
        Ok(())
    }

    fn matrix(name: &str, matrix: Matrix, rows: usize, columns: usize) -> Check {
        if (matrix.rows, matrix.columns) != (rows, columns) {
            return Err(format!(
                "{name} is [{}, {}], not [{rows}, {columns}]",
                matrix.rows, matrix.columns
            ));
        }
        if matrix.row_stride < columns {
            return Err(format!(
                "{name}'s row stride {} is less than its {columns} columns",
                matrix.row_stride
            ));
        }
        Ok(())
    }

    /// An operand that shares its tensor, and so its binding, with another of the same access that is known already, where both are
    /// present.
    pub(super) fn shares(
        &mut self,
        name: &str,
        slice: Slice,
        with: Option<Slice>,
        len: usize,
    ) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        match with {
            Some(with) if with.tensor != slice.tensor => Err(format!(
                "{name} is in another tensor than what it shares a binding with"
            )),
            Some(with)
                if slice.offset < with.offset + with.len
                    && with.offset < slice.offset + slice.len =>
            {
                Err(format!("{name} overlaps what it shares a tensor with"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn read_matrix(
        &mut self,
        name: &'static str,
        matrix: Matrix,
        rows: usize,
        columns: usize,
    ) -> Check {
        Self::matrix(name, matrix, rows, columns)?;
        let extent = matrix.extent();
        self.read(name, extent, extent.len)
    }

    pub(super) fn write_matrix(
        &mut self,
        name: &'static str,
        matrix: Matrix,
        rows: usize,
        columns: usize,
    ) -> Check {
        Self::matrix(name, matrix, rows, columns)?;
        let extent = matrix.extent();
        self.write(name, extent, extent.len)
    }

    pub(super) fn read_optional(
        &mut self,
        name: &'static str,
        slice: Option<Slice>,
        len: usize,
    ) -> Check {
        slice.map_or(Ok(()), |slice| self.read(name, slice, len))
    }

    pub(super) fn write_optional(
        &mut self,
        name: &'static str,
        slice: Option<Slice>,
        len: usize,
    ) -> Check {
        slice.map_or(Ok(()), |slice| self.write(name, slice, len))
    }

    pub(super) fn read_per_direction(
        &mut self,
        name: &'static str,
        weight: PerDirection,
        len: usize,
        directions: usize,
    ) -> Check {
        (0..directions).try_for_each(|direction| self.read(name, weight.of(direction), len))
    }

    /// WebGPU binds a whole tensor either for reading or for writing, so one operation may not do both through two operands.
    pub(super) fn disjoint(&self) -> Check {
        for (name, written) in &self.beside {
            let others = self.reads.iter().chain(&self.writes);
            if let Some((other, _)) = others
                .into_iter()
                .find(|(_, slice)| slice.tensor == written.tensor)
            {
                return Err(format!(
                    "{name} and {other} are in one tensor and one of them is written"
                ));
            }
        }
        for (index, (name, written)) in self.writes.iter().enumerate() {
            let others = self.reads.iter().chain(&self.writes[index + 1..]);
            if let Some((other, _)) = others
                .into_iter()
                .find(|(_, slice)| slice.tensor == written.tensor)
            {
                return Err(format!(
                    "{name} and {other} are in one tensor and one of them is written"
                ));
            }
        }
        Ok(())
    }
}
