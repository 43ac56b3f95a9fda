//! Random numbers that are a function of their place: the same on every device, forward and backward, in any order.

use pulp::{Arch, Simd, WithSimd};

/// Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): four random words for each
/// of the counters in a register, and a key. Word i of all counters lies together.
#[inline(always)]
fn philox<S: Simd>(simd: S, counter: [S::u32s; 4], key: [u32; 2]) -> [S::u32s; 4] {
    let ([mut a, mut b, mut c, mut d], [mut key0, mut key1]) = (counter, key);
    let (first, second) = (simd.splat_u32s(0xD251_1F53), simd.splat_u32s(0xCD9E_8D57));
    for _ in 0..10 {
        let (low_a, high_a) = simd.widening_mul_u32s(a, first);
        let (low_c, high_c) = simd.widening_mul_u32s(c, second);
        let mix = |high, word, key| simd.xor_u32s(simd.xor_u32s(high, word), simd.splat_u32s(key));
        (a, b, c, d) = (mix(high_c, b, key0), low_c, mix(high_a, d, key1), low_a);
        key0 = key0.wrapping_add(0x9E37_79B9);
        key1 = key1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// The most lanes of a register.
const LANES: usize = 16;

/// The whole numbers that carry seed and step into programs, low words first.
pub(crate) const RNG_LEN: usize = 4;

/// Seed and step as such numbers.
pub(crate) fn rng_words(seed: u64, step: u64) -> [u32; RNG_LEN] {
    [
        seed as u32,
        (seed >> 32) as u32,
        step as u32,
        (step >> 32) as u32,
    ]
}

/// One site of a program that draws random numbers, in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    seed: [u32; 2],
    step: [u32; 2],
    site: u32,
}

impl Stream {
    /// From the elements of a tensor that carries seed and step.
    pub(crate) fn new<F: crate::Real>(rng: &[F], site: u32) -> Self {
        let word = |index: usize| rng[index].to_whole();
        Self {
            seed: [word(0), word(1)],
            step: [word(2), word(3)],
            site,
        }
    }

    /// The words from position `first` on.
    pub(crate) fn words(&self, first: usize, to: &mut [u32]) {
        let mut blocks = [[0; 4]; 17];
        let mut at = first;
        for part in to.chunks_mut(64) {
            let skipped = at % 4;
            let drawn = &mut blocks[..(skipped + part.len()).div_ceil(4)];
            self.blocks((at / 4) as u32, drawn);
            part.copy_from_slice(&drawn.as_flattened()[skipped..][..part.len()]);
            at += part.len();
        }
    }

    /// The four words of each of some blocks, from `first` on.
    pub(crate) fn blocks(&self, first: u32, to: &mut [[u32; 4]]) {
        let stream = *self;
        Arch::new().dispatch(Blocks { stream, first, to });
    }
}

/// Words to be drawn, by code compiled for each set of vector instructions.
struct Blocks<'a> {
    stream: Stream,
    first: u32,
    to: &'a mut [[u32; 4]],
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Stream { seed, step, site } = self.stream;
        let [site, step_0, step_1] = [site, step[0], step[1]].map(|word| simd.splat_u32s(word));
        let lanes: [u32; LANES] = std::array::from_fn(|lane| lane as u32);
        let lanes = S::as_simd_u32s(&lanes).0[0];
        let parts = self.to.chunks_mut(S::U32_LANES);
        for (part, to) in parts.enumerate() {
            let first = (self.first).wrapping_add((part * S::U32_LANES) as u32);
            let counter = simd.add_u32s(simd.splat_u32s(first), lanes);
            let words = philox(simd, [counter, site, step_0, step_1], seed);
            let words = words.map(|word| {
                let mut plane = [0; LANES];
                S::as_mut_simd_u32s(&mut plane).0[0] = word;
                plane
            });
            for (lane, to) in to.iter_mut().enumerate() {
                *to = words.map(|word| word[lane]);
            }
        }
    }
}

/// The word from which on an element is kept, for a probability of dropping it.
pub(crate) fn threshold(rate: f64) -> u32 {
    (rate * 4_294_967_296.0) as u32
}
