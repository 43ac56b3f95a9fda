//! Graphs compiled for a signature, fed and run: the one place that does so.

use super::cache::Kept;
use super::feed::{Feed, Source};
use super::trace::{InputSlots, Trace};
use crate::data::Values;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::executable::{Executable, TensorCopy};
use crate::lower::{FED_ALIGNMENT, Lowered, Request, is_within_limits, lower};
use crate::philox::rng_words;
use crate::program::{Program, Slice};
use crate::tensor::Tensor;
use ndarray::Array1;
use std::borrow::Cow;

/// A program under construction: tensors that are there already, a lowered graph, the caller's own operations.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) program: Program,
    /// What the program's external tensors stand for.
    externals: Vec<Tensor>,
    pub(crate) lowered: Lowered,
}

impl Draft {
    /// Adds a tensor that is there already.
    pub(crate) fn external(&mut self, name: &str, tensor: &Tensor) -> Slice {
        self.externals.push(tensor.clone());
        let index = self.externals.len() - 1;
        self.program.external(index, name, tensor.shape())
    }

    /// Lowers a graph.
    pub(crate) fn lower(&mut self, trace: &Trace, request: &Request<'_>) -> Result<()> {
        self.lowered = lower(&trace.graph, &mut self.program, request)?;
        Ok(())
    }

    /// Compiles what was lowered of a trace.
    pub(crate) fn compile(self, device: &Device, trace: &Trace) -> Result<Compiled> {
        let too_large = !is_within_limits(&self.program, device);
        let executable = Executable::new(device, self.program, &self.externals);
        let executable = executable.map_err(|error| match error {
            Error::Limit { .. } if !too_large => error,
            error => of_inputs(error, trace),
        });
        Ok(Compiled {
            executable: executable?,
            lowered: self.lowered,
            inputs: trace.inputs.clone(),
            counts: trace.counts.clone(),
        })
    }
}

/// An error of memory that names the inputs, by which a caller knows the values in between that are too large.
fn of_inputs(error: Error, trace: &Trace) -> Error {
    let inputs = trace.inputs.iter().map(|input| {
        let (name, shape) = trace.graph.input_ty(input.values);
        format!("{name} {shape:?}")
    });
    let inputs: Vec<_> = inputs.collect();
    if inputs.is_empty() {
        return error;
    }
    let named = format!(
        "{} (fewer rows or steps at once need less)",
        inputs.join(", ")
    );
    match error {
        Error::Limit {
            needed,
            limit,
            available,
            ..
        } => Error::Limit {
            what: named,
            needed,
            limit,
            available,
        },
        Error::OutOfMemory { reason, .. } => Error::OutOfMemory {
            what: named,
            reason,
        },
        error => error,
    }
}

/// An executable with the places of what it is fed and what it gives.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) executable: Executable,
    lowered: Lowered,
    inputs: Vec<InputSlots>,
    counts: Vec<(usize, usize)>,
}

/// Seed and step of what is drawn at random.
pub(crate) type Draw = (u64, u64);

/// What runs an executable between copies: [`Executable::run_with`], or one that measures.
pub(crate) type Execute<R> = fn(&Executable, &[TensorCopy<'_>], &[TensorCopy<'_>]) -> Result<R>;

/// What is to be written to a place; zeros past the lengths of a sequence that has some.
struct Piece<'a> {
    place: Slice,
    values: Cow<'a, Values>,
    lengths: Option<&'a [usize]>,
}

/// Numbers to be written to a place.
fn piece<T>(place: Slice, numbers: Vec<T>) -> Piece<'static>
where
    Values: From<Array1<T>>,
{
    Piece {
        place,
        values: Cow::Owned(Array1::from(numbers).into()),
        lengths: None,
    }
}

impl Kept for Compiled {
    fn bytes(&self) -> usize {
        self.executable.own_bytes()
    }
}

impl Compiled {
    /// Runs with inputs and the caller's own floats, and copies what is fetched to tensors in order, each from an element on.
    pub(crate) fn run<R>(
        &self,
        feeds: &[Feed<'_>],
        random: Draw,
        scalars: &[f64],
        outputs: &[(&Tensor, usize)],
        execute: Execute<R>,
    ) -> Result<R> {
        let before = self.feed(feeds, random, scalars)?;
        let fetch = |(from, to): (&Slice, &(_, _))| TensorCopy {
            from: (self.executable.tensor(from.tensor), from.offset),
            to: *to,
            len: from.len,
        };
        let fetches = self.lowered.fetches.iter().zip(outputs);
        let after: Vec<_> = fetches.map(fetch).collect();
        execute(&self.executable, &before, &after)
    }

    /// Writes what a run is fed, and gives the copies to be made with it, of what is on the device already.
    fn feed<'a>(
        &'a self,
        feeds: &[Feed<'a>],
        (seed, step): Draw,
        scalars: &[f64],
    ) -> Result<Vec<TensorCopy<'a>>> {
        let mut copies = vec![];
        let mut pieces: Vec<Piece<'a>> = vec![];
        let place = |slot: usize| self.lowered.inputs[slot];
        if let Some(rng) = self.lowered.rng {
            pieces.push(piece(rng, rng_words(seed, step).to_vec()));
        }
        if let Some(place) = self.lowered.scalars {
            pieces.push(piece(place, scalars.to_vec()));
        }
        for (slots, feed) in self.inputs.iter().zip(feeds) {
            if let Some((slot, lengths)) = slots.lengths.zip(feed.lengths) {
                if let Some(slice) = place(slot) {
                    let lengths = lengths.iter().map(|length| *length as u32);
                    pieces.push(piece(slice, lengths.collect::<Vec<_>>()));
                }
                for (count, _) in self.counts.iter().filter(|(_, of)| *of == slot) {
                    let sum = lengths.iter().sum::<usize>().max(1) as f64;
                    pieces.extend(place(*count).map(|slice| piece(slice, vec![sum])));
                }
            }
            let Some(slice) = place(slots.values) else {
                continue;
            };
            match feed.source {
                Source::Array(values) => pieces.push(Piece {
                    place: slice,
                    values: Cow::Borrowed(values),
                    lengths: slots.ragged_as.and_then(|input| feeds[input].lengths),
                }),
                Source::Tensor(tensor, first) => copies.push(TensorCopy {
                    from: (tensor, first),
                    to: (self.executable.tensor(slice.tensor), slice.offset),
                    len: slice.len,
                }),
            }
        }
        self.write(pieces)?;
        Ok(copies)
    }

    /// Writes pieces: on a GPU those that are neighbours in one tensor together, zeros between them.
    fn write(&self, mut pieces: Vec<Piece<'_>>) -> Result<()> {
        pieces.sort_by_key(|piece| (piece.place.tensor, piece.place.offset));
        let adjoin = |a: &Piece<'_>, b: &Piece<'_>| {
            let (a, b) = (a.place, b.place);
            a.tensor == b.tensor && b.offset < a.offset + a.len + FED_ALIGNMENT
        };
        for run in pieces.chunk_by(adjoin) {
            let (first, last) = (run[0].place, run[run.len() - 1].place);
            let tensor = self.executable.tensor(first.tensor);
            if !tensor.device().is_gpu() {
                for piece in run {
                    let offset = piece.place.offset;
                    piece.values.write(tensor, offset, piece.lengths)?;
                }
                continue;
            }
            let len = last.offset + last.len - first.offset;
            tensor.write_words(first.offset, len, |words| {
                let mut end = 0;
                for piece in run {
                    let start = piece.place.offset - first.offset;
                    words.zeros(start - end);
                    end = start + piece.place.len;
                    piece.values.put(words, piece.lengths);
                }
            })?;
        }
        Ok(())
    }
}
