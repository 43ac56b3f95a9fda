//! Elements dropped at random.

use super::{Memory, threads};
use crate::Real;
use crate::philox::{Stream, threshold};
use crate::program::Dropout;

/// Elements of a thread's task, and those whose random words are drawn at once.
const TASK: usize = 1 << 14;
const DRAW: usize = 1 << 10;

/// Of work as threads count it, what an element takes.
const WORK: usize = 32;

/// output\[i\] = input\[i\] · m\[i mod period\], m being 0 or 1 / (1 − rate)
pub(super) fn dropout<F: Real>(op: &Dropout, memory: &Memory<'_, F>) {
    let stream = Stream::new(&memory.read(op.rng), op.site);
    let threshold = threshold(op.rate);
    let kept = F::from_double(1.0 / (1.0 - op.rate));
    let input = op.input.map(|input| memory.read(input));
    let mut output = memory.write(op.output);
    let work = WORK * output.len();
    let tasks = output.chunks_mut(TASK).enumerate().collect();
    threads::for_each_of(work, tasks, |(task, mut output): (usize, &mut [F])| {
        let mut blocks = [[0; 4]; DRAW / 4 + 1];
        let mut first = task * TASK;
        while !output.is_empty() {
            let place = first % op.period;
            let count = output.len().min(DRAW).min(op.period - place);
            let skipped = place % 4;
            let drawn = &mut blocks[..(skipped + count).div_ceil(4)];
            stream.blocks((place / 4) as u32, drawn);
            let words = &drawn.as_flattened()[skipped..];
            let (now, later) = output.split_at_mut(count);
            if let Some(input) = &input {
                now.copy_from_slice(&input[first..first + count]);
            } else {
                now.fill(F::one());
            }
            for (value, word) in now.iter_mut().zip(words) {
                *value = if *word < threshold {
                    F::zero()
                } else {
                    kept * *value
                };
            }
            (output, first) = (later, first + count);
        }
    });
}
