//! Graphs compiled for a signature, fed and run: the one place that does so.

use super::trace::Trace;
use crate::data::Values;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::executable::{Executable, TensorCopy};
use crate::graph::{Dtype, Op, Type, Var};
use crate::lower::{FED_ALIGNMENT, Lowered, Request, lower};
use crate::philox::rng_words;
use crate::program::{Program, Slice};
use crate::tensor::Tensor;

/// What one input is this time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) has_lengths: bool,
}

/// What is fed to one input: an array, a tensor or a part of one, and the steps of each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    pub(crate) values: Source<'a>,
    pub(crate) lengths: Option<&'a [usize]>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Values(&'a Values),
    /// Elements of a tensor, from this one on.
    Part(&'a Tensor, usize),
}

impl<'a> From<&'a Values> for Feed<'a> {
    fn from(values: &'a Values) -> Self {
        Self {
            values: Source::Values(values),
            lengths: None,
        }
    }
}

impl Feed<'_> {
    pub(crate) fn signature(&self) -> Signature {
        let (shape, dtype) = match self.values {
            Source::Values(values) => (values.shape(), values.dtype()),
            Source::Part(tensor, _) => (tensor.shape(), tensor.dtype()),
        };
        Signature {
            shape: shape.to_vec(),
            dtype,
            has_lengths: self.lengths.is_some(),
        }
    }
}

/// The places of an input among those of its graph: its values, and its lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputSlots {
    values: usize,
    lengths: Option<usize>,
}

impl Trace {
    /// Adds an input of a signature, time-major.
    pub(crate) fn input(&mut self, name: &str, of: &Signature) -> (Var, InputSlots) {
        self.input_of(name, of, 1)
    }

    /// Adds an input of a signature whose rows are along an axis.
    pub(crate) fn input_of(
        &mut self,
        name: &str,
        of: &Signature,
        batch_axis: usize,
    ) -> (Var, InputSlots) {
        let graph = &mut self.graph;
        let lengths = of.has_lengths.then(|| {
            let batch = of.shape.get(batch_axis).copied().unwrap_or(0);
            graph.input(format!("lengths of {name}"), Type::index([batch]))
        });
        let of_lengths = lengths.map(|_| graph.inputs() - 1);
        let ty = Type {
            shape: of.shape.clone(),
            dtype: of.dtype,
            lengths,
            distribution: false,
        };
        let var = graph.input(name, ty);
        let slots = InputSlots {
            values: graph.inputs() - 1,
            lengths: of_lengths,
        };
        (var, slots)
    }

    /// Whether the lengths of some value are those of an input.
    pub(crate) fn are_lengths_of(&self, input: &InputSlots, lengths: Option<Var>) -> bool {
        let Some(lengths) = lengths else { return false };
        match self.graph.nodes[lengths.node].op {
            Op::Input(slot) => input.lengths == Some(slot),
            _ => false,
        }
    }
}

/// An executable with the places of what it is fed and what it gives.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) executable: Executable,
    lowered: Lowered,
    inputs: Vec<InputSlots>,
    counts: Vec<(usize, usize)>,
    /// The shapes of what is fetched.
    pub(crate) shapes: Vec<Vec<usize>>,
}

/// What a run is given besides its inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Besides<'a> {
    /// Seed and step of what is random.
    pub(crate) random: (u64, u64),
    /// The caller's own floats.
    pub(crate) scalars: &'a [f64],
}

/// A program that a graph was lowered to.
pub(crate) struct Written {
    pub(crate) program: Program,
    pub(crate) lowered: Lowered,
}

impl Written {
    /// Lowers a traced graph. `prepare` adds the tensors that are there already and says what is asked; `finish` appends the caller's
    /// own operations.
    pub(crate) fn new(
        trace: &Trace,
        mut program: Program,
        request: &Request<'_>,
        finish: impl FnOnce(&mut Program, &Lowered),
    ) -> Result<Self> {
        let lowered = lower(&trace.graph, &mut program, request)?;
        finish(&mut program, &lowered);
        Ok(Self { program, lowered })
    }

    /// Compiles it.
    pub(crate) fn compile(
        self,
        device: &Device,
        externals: &[Tensor],
        trace: &Trace,
        inputs: Vec<InputSlots>,
        fetches: &[Var],
    ) -> Result<Compiled> {
        let shape = |var: &Var| trace.graph.shape(*var).to_vec();
        Ok(Compiled {
            executable: Executable::new(device, self.program, externals)?,
            lowered: self.lowered,
            inputs,
            counts: trace.counts.clone(),
            shapes: fetches.iter().map(shape).collect(),
        })
    }
}

/// What is to be written to a place.
enum Piece<'a> {
    Values(&'a Values),
    Floats(Vec<f64>),
    Wholes(Vec<u32>),
}

impl Compiled {
    /// Writes what a run is fed, and gives the copies to be made with it, of what is on the device already.
    pub(crate) fn feed<'a>(
        &'a self,
        feeds: &[Feed<'a>],
        besides: Besides<'_>,
    ) -> Result<Vec<TensorCopy<'a>>> {
        let mut copies = vec![];
        let mut pieces: Vec<(Slice, Piece<'a>)> = vec![];
        let place = |slot: usize| self.lowered.inputs[slot];
        if let Some(rng) = self.lowered.rng {
            let (seed, step) = besides.random;
            pieces.push((rng, Piece::Wholes(rng_words(seed, step).to_vec())));
        }
        if let Some(scalars) = self.lowered.scalars {
            pieces.push((scalars, Piece::Floats(besides.scalars.to_vec())));
        }
        for (slots, feed) in self.inputs.iter().zip(feeds) {
            let lengths = slots.lengths.zip(feed.lengths);
            if let Some((slot, lengths)) = lengths {
                if let Some(slice) = place(slot) {
                    let lengths = lengths.iter().map(|length| *length as u32);
                    pieces.push((slice, Piece::Wholes(lengths.collect())));
                }
                for (count, _) in self.counts.iter().filter(|(_, of)| *of == slot) {
                    let sum = lengths.iter().sum::<usize>().max(1) as f64;
                    pieces.extend(place(*count).map(|slice| (slice, Piece::Floats(vec![sum]))));
                }
            }
            let Some(slice) = place(slots.values) else {
                continue;
            };
            let on_device = match feed.values {
                Source::Values(Values::Tensor(tensor)) => Some((tensor, 0)),
                Source::Values(values) => {
                    pieces.push((slice, Piece::Values(values)));
                    None
                }
                Source::Part(tensor, first) => Some((tensor, first)),
            };
            copies.extend(on_device.map(|from| TensorCopy {
                from,
                to: (self.executable.tensor(slice.tensor), slice.offset),
                len: slice.len,
            }));
        }
        self.write(pieces)?;
        Ok(copies)
    }

    /// Writes pieces: on a GPU those that are neighbours in one tensor together, zeros between them.
    fn write(&self, mut pieces: Vec<(Slice, Piece<'_>)>) -> Result<()> {
        pieces.sort_by_key(|(slice, _)| (slice.tensor, slice.offset));
        let adjoin = |(a, _): &(Slice, Piece<'_>), (b, _): &(Slice, Piece<'_>)| {
            a.tensor == b.tensor && b.offset < a.offset + a.len + FED_ALIGNMENT
        };
        for run in pieces.chunk_by(adjoin) {
            let (first, last) = (run[0].0, run[run.len() - 1].0);
            let tensor = self.executable.tensor(first.tensor);
            if !tensor.device().is_gpu() || run.len() == 1 {
                for (slice, piece) in run {
                    match piece {
                        Piece::Values(values) => values.write(tensor, slice.offset)?,
                        Piece::Floats(values) => tensor.write_slice(slice.offset, values)?,
                        Piece::Wholes(wholes) => tensor.write_wholes(slice.offset, wholes)?,
                    }
                }
                continue;
            }
            let len = last.offset + last.len - first.offset;
            tensor.write_words(first.offset, len, |words| {
                let mut end = 0;
                for (slice, piece) in run {
                    let start = slice.offset - first.offset;
                    words.put((end..start).map(|_| 0));
                    end = start + slice.len;
                    match piece {
                        Piece::Values(values) => values.put(words),
                        Piece::Floats(values) => {
                            words.put(values.iter().map(|value| (*value as f32).to_bits()));
                        }
                        Piece::Wholes(wholes) => words.copy(wholes),
                    }
                }
            })?;
        }
        Ok(())
    }

    /// The copy of the n-th fetch, or of a part of it, to a tensor.
    pub(crate) fn fetch<'a>(&'a self, index: usize, to: (&'a Tensor, usize)) -> TensorCopy<'a> {
        let slice = self.lowered.fetches[index];
        TensorCopy {
            from: (self.executable.tensor(slice.tensor), slice.offset),
            to,
            len: slice.len,
        }
    }

    /// Fetches another part of the program.
    pub(crate) fn add_fetch(&mut self, slice: Option<Slice>) {
        self.lowered.fetches.extend(slice);
    }

    /// Runs with inputs, and copies what is fetched to tensors in order.
    pub(crate) fn run<'a, R>(
        &'a self,
        feeds: &[Feed<'a>],
        besides: Besides<'_>,
        outputs: &'a [Tensor],
        execute: impl FnOnce(&Executable, &[TensorCopy<'_>], &[TensorCopy<'_>]) -> Result<R>,
    ) -> Result<R> {
        let before = self.feed(feeds, besides)?;
        let outputs = outputs.iter().enumerate();
        let after: Vec<_> = outputs
            .map(|(index, to)| self.fetch(index, (to, 0)))
            .collect();
        execute(&self.executable, &before, &after)
    }
}

/// `Ok` where there are as many inputs as there should be.
pub(crate) fn check_count(inputs: usize, expected: usize) -> Result<()> {
    if inputs == expected {
        return Ok(());
    }
    Err(Error::argument(
        "inputs",
        inputs,
        format!("{expected} of them"),
    ))
}
