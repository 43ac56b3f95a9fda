//! Elements dropped at random.

use super::Memory;
use crate::Real;
use crate::philox::{Stream, threshold};
use crate::program::Dropout;

/// output\[i\] = input\[i\] · m\[i mod period\], m being 0 or 1 / (1 − rate)
pub(super) fn dropout<F: Real>(op: &Dropout, memory: &Memory<'_, F>) {
    let stream = Stream::new(&memory.read(op.rng), op.site);
    let threshold = threshold(op.rate);
    let kept = F::from_double(1.0 / (1.0 - op.rate));
    let input = op.input.map(|input| memory.read(input));
    let mut output = memory.write(op.output);
    let mut known = (u32::MAX, [0; 4]);
    for (index, output) in output.iter_mut().enumerate() {
        let place = index % op.period;
        let block = (place / 4) as u32;
        if known.0 != block {
            known = (block, stream.block(block));
        }
        *output = if known.1[place % 4] < threshold {
            F::zero()
        } else {
            kept * input.as_ref().map_or(F::one(), |input| input[index])
        };
    }
}
