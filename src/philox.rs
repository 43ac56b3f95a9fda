//! Random numbers that are a function of their place: the same on every device, forward and backward, in any order.

/// Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): four random words for a counter
/// and a key.
pub(crate) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut key0, mut key1]) = (counter, key);
    for _ in 0..10 {
        let first = u64::from(a) * 0xD251_1F53;
        let second = u64::from(c) * 0xCD9E_8D57;
        (a, b, c, d) = (
            (second >> 32) as u32 ^ b ^ key0,
            second as u32,
            (first >> 32) as u32 ^ d ^ key1,
            first as u32,
        );
        key0 = key0.wrapping_add(0x9E37_79B9);
        key1 = key1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// The elements of a tensor that carries seed and step into programs: 16 bits an element, low ones first, exact in f32.
pub(crate) const RNG_LEN: usize = 8;

/// Seed and step as such a tensor.
pub(crate) fn rng_values(seed: u64, step: u64) -> [f32; RNG_LEN] {
    let part = |word: u64, index: usize| f32::from((word >> (16 * index)) as u16);
    std::array::from_fn(|index| part(if index < 4 { seed } else { step }, index % 4))
}

/// One site of a program that draws random numbers, in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    seed: [u32; 2],
    step: [u32; 2],
    site: u32,
}

impl Stream {
    /// From the tensor's elements.
    pub(crate) fn new<F: crate::Real>(rng: &[F], site: u32) -> Self {
        let part = |index: usize| rng[index].to_double() as u32;
        let word = |index: usize| part(index) | (part(index + 1) << 16);
        Self {
            seed: [word(0), word(2)],
            step: [word(4), word(6)],
            site,
        }
    }

    /// The four words of a block.
    pub(crate) fn block(&self, block: u32) -> [u32; 4] {
        philox([block, self.site, self.step[0], self.step[1]], self.seed)
    }
}

/// The word from which on an element is kept, for a probability of dropping it.
pub(crate) fn threshold(rate: f64) -> u32 {
    (rate * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123.
    #[test]
    fn known_answers() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn seed_and_step_survive_the_tensor() {
        let (seed, step) = (0xfedc_ba98_7654_3210, 0x0123_4567_89ab_cdef);
        let stream = Stream::new(&rng_values(seed, step), 7);
        assert_eq!(stream.seed, [0x7654_3210, 0xfedc_ba98]);
        assert_eq!(stream.step, [0x89ab_cdef, 0x0123_4567]);
    }
}
