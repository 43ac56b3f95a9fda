//! What an operation reads and writes, and what must hold of that before it runs. Behind this check, devices may index without asking again.

use super::{MOST_ELEMENTS, Matrix, Program, Slice, counted};
use std::borrow::Cow;

/// What is given where a condition holds, else why it does not.
pub(super) type Check<T = ()> = std::result::Result<T, String>;

/// `Ok` where a condition holds.
pub(super) fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(reason()) }
}

/// `Ok` where the elements of some sizes can be counted, and so all that is made of them.
pub(super) fn check_count(what: &str, sizes: &[usize]) -> Check {
    ensure(counted(sizes).is_some(), || {
        format!("{what} {sizes:?} has more than {MOST_ELEMENTS} elements")
    })
}

/// What an operation does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// It reads an element just where it writes one of an output [`Beside`](Access::Beside) others.
    ReadInPlace,
    Write,
    /// It writes all such outputs in a tensor through one binding.
    Beside,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Beside)
    }
}

#[derive(Debug)]
struct Operand {
    name: Cow<'static, str>,
    slice: Slice,
    access: Access,
}

/// Collects the operands of an operation and judges them together.
#[derive(Debug)]
pub(super) struct Operands<'a> {
    program: &'a Program,
    all: Vec<Operand>,
}

impl<'a> Operands<'a> {
    pub(super) fn of(program: &'a Program) -> Self {
        let all = vec![];
        Self { program, all }
    }

    /// What the operation reads, with the operands' names; what shares a tensor with another operand may be missing.
    pub(super) fn reads(&self) -> impl Iterator<Item = (&str, Slice)> {
        let reads = self.all.iter().filter(|of| !of.access.writes());
        reads.map(|of| (&*of.name, of.slice))
    }

    /// What it writes.
    pub(super) fn writes(&self) -> impl Iterator<Item = Slice> {
        let writes = self.all.iter().filter(|of| of.access.writes());
        writes.map(|of| of.slice)
    }

    /// What it reads or writes.
    pub(super) fn all(&self) -> impl Iterator<Item = Slice> {
        self.all.iter().map(|of| of.slice)
    }

    fn inside(&self, name: &str, slice: Slice) -> Check {
        let Some(spec) = self.program.tensors().get(slice.tensor.0) else {
            return Err(format!("{name} is a tensor of another program"));
        };
        let (end, len) = (slice.offset.saturating_add(slice.len), spec.len());
        ensure(end <= len, || {
            let tensor = &spec.name;
            format!("{name} ends at {end}, past the {len} elements of {tensor}")
        })
    }

    /// Adds an operand, whatever its length.
    pub(super) fn add(
        &mut self,
        access: Access,
        name: impl Into<Cow<'static, str>>,
        slice: Slice,
    ) -> Check {
        let name = name.into();
        if access == Access::Beside {
            let mut beside = self.all.iter().filter(|of| of.access == Access::Beside);
            if let Some(other) = beside.find(|of| of.slice.overlaps(&slice)) {
                return Err(format!("{name} overlaps {}", other.name));
            }
        }
        self.inside(&name, slice)?;
        self.all.push(Operand {
            name,
            slice,
            access,
        });
        Ok(())
    }

    /// Adds a slice of so many elements, where there is one.
    fn slice(
        &mut self,
        access: Access,
        name: impl Into<Cow<'static, str>>,
        slice: impl Into<Option<Slice>>,
        len: usize,
    ) -> Check {
        let Some(slice) = slice.into() else {
            return Ok(());
        };
        let name = name.into();
        check_len(&name, slice, len)?;
        self.add(access, name, slice)
    }

    pub(super) fn read(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        slice: impl Into<Option<Slice>>,
        len: usize,
    ) -> Check {
        self.slice(Access::Read, name, slice, len)
    }

    pub(super) fn write(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        slice: impl Into<Option<Slice>>,
        len: usize,
    ) -> Check {
        self.slice(Access::Write, name, slice, len)
    }

    /// Adds an operand that shares its tensor, and so its binding, with another of the same access that is known already, where both are
    /// present.
    pub(super) fn share(
        &mut self,
        access: Access,
        name: &'static str,
        slice: Slice,
        len: usize,
        with: Option<Slice>,
    ) -> Check {
        let Some(with) = with else {
            return self.slice(access, name, slice, len);
        };
        check_len(name, slice, len)?;
        self.inside(name, slice)?;
        ensure(with.tensor == slice.tensor, || {
            format!("{name} is in another tensor than what it shares a binding with")
        })?;
        ensure(!with.overlaps(&slice), || {
            format!("{name} overlaps what it shares a tensor with")
        })
    }

    pub(super) fn matrix(
        &mut self,
        access: Access,
        name: &'static str,
        matrix: Matrix,
        [rows, columns]: [usize; 2],
    ) -> Check {
        let got = [matrix.rows, matrix.columns];
        ensure(got == [rows, columns], || {
            format!("{name} is {got:?}, not [{rows}, {columns}]")
        })?;
        check_count(name, &got)?;
        ensure(matrix.row_stride >= columns, || {
            let stride = matrix.row_stride;
            format!("{name}'s row stride {stride} is less than its {columns} columns")
        })?;
        self.add(access, name, matrix.extent())
    }

    /// WebGPU binds a whole tensor either for reading or for writing, so one operation may not do both through two operands.
    pub(super) fn disjoint(&self) -> Check {
        let shares = |of: &Operand| matches!(of.access, Access::Beside | Access::ReadInPlace);
        for (index, written) in self.all.iter().enumerate() {
            let meets = |(at, other): &(usize, &Operand)| {
                *at != index
                    && other.slice.tensor == written.slice.tensor
                    && !(shares(other) && shares(written))
            };
            let found = self.all.iter().enumerate().find(meets);
            if let Some((_, other)) = found.filter(|_| written.access.writes()) {
                let (name, other) = (&written.name, &other.name);
                return Err(format!(
                    "{name} and {other} are in one tensor and one of them is written"
                ));
            }
        }
        Ok(())
    }
}

fn check_len(name: &str, slice: Slice, len: usize) -> Check {
    ensure(slice.len == len, || {
        format!("{name} has {} elements, not {len}", slice.len)
    })
}
