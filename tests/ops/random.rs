//! Random words, by their documentation, and the masks of dropout.

use super::program::reason;
use crate::common::{Case, devices, every_device};
use bptt::expr::{Fold, Lanes, Tape};
use bptt::program::{Map, Operand, Pointwise, Reduce, View};
use bptt::verify::SINGLE;

/// What a mask depends on.
#[derive(Clone, Copy)]
struct Draw {
    seed: u64,
    step: u64,
    site: u32,
    rate: f64,
}

/// Every word of seed and step different.
const DRAW: Draw = Draw {
    seed: 0xfedc_ba98_7654_3210,
    step: 0x0123_4567_89ab_cdef,
    site: 0x0003_0002,
    rate: 0.3,
};

/// Philox4x32-10 from the paper: ten rounds, the key going up between them.
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut c = counter.map(u64::from);
    for round in 0..10 {
        let bump = |key: u32, weyl: u32| u64::from(key.wrapping_add(weyl.wrapping_mul(round)));
        let (k0, k1) = (bump(key[0], 0x9e37_79b9), bump(key[1], 0xbb67_ae85));
        let (left, right) = (0xd251_1f53 * c[0], 0xcd9e_8d57 * c[2]);
        let (low, high) = (|x: u64| x & 0xffff_ffff, |x: u64| x >> 32);
        c = [
            high(right) ^ c[1] ^ k0,
            low(right),
            high(left) ^ c[3] ^ k1,
            low(left),
        ];
    }
    c.map(|word| word as u32)
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// The word at a position, as the documentation of the operand says.
fn word(draw: Draw, position: usize) -> u32 {
    let [low, high] = words(draw.step);
    let counter = [(position / 4) as u32, draw.site, low, high];
    philox(counter, words(draw.seed))[position % 4]
}

/// 1 / (1 − rate), or 0 where a word is below the rate.
fn factor(draw: Draw, position: usize) -> f64 {
    match f64::from(word(draw, position)) >= (draw.rate * 4_294_967_296.0).floor() {
        true => 1.0 / (1.0 - draw.rate),
        false => 0.0,
    }
}

fn mask(draw: Draw, len: usize) -> Case {
    let mut case = Case::new(21);
    let rng = case.random_state(draw.seed, draw.step);
    let output = case.output("output", &[len]);
    case.program
        .push(Map::mask(output, rng, draw.site, draw.rate));
    case
}

fn values(case: &Case, device: &bptt::Device) -> Vec<f64> {
    case.run(device).remove(0).1.into_iter().collect()
}

#[test]
fn the_tests_philox_has_the_known_answers() {
    // Known answers of the authors' Random123.
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
fn masks_are_what_the_documentation_says_on_every_device() {
    for len in [1, 3, 7, 17, 65, 257, 1030, 3000] {
        for rate in [0.3, 0.5, 0.999] {
            let draw = Draw { rate, ..DRAW };
            let expected: Vec<f64> = (0..len).map(|position| factor(draw, position)).collect();
            mask(draw, len).check_values(&expected);
        }
    }
}

/// Words at positions of every stride: one for all steps, along the axis that is no line, from a position on.
#[test]
fn words_at_strided_positions() {
    for (strides, offset) in [
        ([0, 5, 1], 0),
        ([15, 5, 1], 0),
        ([1, 7, 3], 2),
        ([0, 0, 1], 9),
        ([4, 0, 0], 1),
        ([35, 1, 7], 3),
    ] {
        let shape = [4, 7, 5];
        let mut case = Case::new(22);
        let rng = case.random_state(DRAW.seed, DRAW.step);
        let output = case.output("output", &shape);
        let random = Operand::Random {
            rng,
            site: DRAW.site,
            offset,
            strides: strides.to_vec(),
        };
        let to = View::whole(output, &shape);
        case.program
            .push(Map::new("words", &shape, vec![random], vec![to], |tape| {
                vec![tape.whole_operand(0).to_float()]
            }));
        let mut expected = vec![];
        for a in 0..4 {
            for b in 0..7 {
                for c in 0..5 {
                    let position = offset + a * strides[0] + b * strides[1] + c * strides[2];
                    expected.push(f64::from(word(DRAW, position)));
                }
            }
        }
        // A word as f32 is rounded, by a GPU perhaps otherwise: its upper bits are what counts.
        for device in every_device() {
            for (got, expected) in values(&case, &device).iter().zip(&expected) {
                assert!(
                    (got - expected).abs() <= 512.0,
                    "{got} {expected} {strides:?} on {device}"
                );
            }
        }
    }
}

#[test]
fn a_word_at_the_threshold_is_kept() {
    // The known answer for a counter and a key of zeros.
    let answer: [u32; 4] = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
    assert_eq!(philox([0; 4], [0; 2]), answer);
    for (index, word) in answer.into_iter().enumerate() {
        for (above, kept) in [(0.0, true), (0.5, true), (1.0, false)] {
            let rate = (f64::from(word) + above) / 4_294_967_296.0;
            let (seed, step, site) = (0, 0, 0);
            let draw = Draw {
                seed,
                step,
                site,
                rate,
            };
            for device in every_device() {
                let value = values(&mask(draw, 4), &device)[index];
                assert_eq!(value != 0.0, kept, "word {index} + {above} on {device}");
            }
        }
    }
}

#[test]
fn a_rate_of_zero_keeps_all() {
    let draw = Draw { rate: 0.0, ..DRAW };
    mask(draw, 70).check_values(&[1.0; 70]);
}

#[test]
fn as_many_are_dropped_as_the_rate_says() {
    for device in devices() {
        for rate in [0.1, 0.3, 0.7] {
            let mask = values(&mask(Draw { rate, ..DRAW }, 100_000), &device);
            // All, and each word of the blocks by itself.
            let share = |mask: Vec<&f64>| {
                mask.iter().filter(|m| ***m == 0.0).count() as f64 / mask.len() as f64
            };
            let all = share(mask.iter().collect());
            assert!((all - rate).abs() < 0.01, "{all} of {rate} on {device}");
            for word in 0..4 {
                let one = share(mask.iter().skip(word).step_by(4).collect());
                assert!((one - rate).abs() < 0.02, "{one} of {rate} on {device}");
            }
        }
    }
}

#[test]
fn masks_repeat_and_differ_by_seed_step_and_site() {
    const LEN: usize = 20_000;
    for device in devices() {
        let draw = |draw| values(&mask(draw, LEN), &device);
        let one = draw(DRAW);
        assert_eq!(one, draw(DRAW), "{device}");
        // Each part of seed and step counts.
        let mut others = vec![Draw {
            site: DRAW.site + 1,
            ..DRAW
        }];
        for shift in [0, 16, 32, 48] {
            let (seed, step) = (DRAW.seed ^ (1 << shift), DRAW.step ^ (1 << shift));
            others.push(Draw { seed, ..DRAW });
            others.push(Draw { step, ..DRAW });
        }
        // Masks drawn apart agree where both drop or both keep.
        let expected = 0.3 * 0.3 + 0.7 * 0.7;
        for (number, other) in others.into_iter().enumerate() {
            let other = draw(other);
            let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            let share = equal as f64 / LEN as f64;
            assert!(
                (share - expected).abs() < 0.02,
                "{share} of mask {number} on {device}"
            );
        }
    }
}

#[test]
fn more_elements_than_one_dispatch_dimension_holds() {
    let case = mask(DRAW, 65_535 * 64 + 5);
    let expected = case.run(&bptt::Device::cpu()).remove(0).1;
    for device in devices().iter().skip(1) {
        assert!(case.run(device).remove(0).1 == expected, "{device}");
    }
}

#[test]
fn seeds_that_do_not_fit_are_refused() {
    let mut case = Case::new(24);
    let rng = case.random_state(1, 2);
    let output = case.output("output", &[6]);
    case.program.push(Map::mask(output, rng.part(0, 3), 0, 0.5));
    let message = reason(case.program);
    assert!(
        message.contains("(map): operand 0 has 3 elements, not 4"),
        "{message}"
    );
}

#[test]
fn an_input_is_dropped_in_place() {
    for (len, period) in [(1, 1), (6, 3), (66, 33), (250, 10), (12_291, 4097)] {
        let mut case = Case::new(22);
        let rng = case.random_state(DRAW.seed, DRAW.step);
        let x = case.random("x", &[len + 4], 1.0);
        case.also_output(x);
        let shape = [len / period, period];
        let view = View::whole(x.part(3, len), &shape);
        let random = Operand::Random {
            rng,
            site: DRAW.site,
            offset: 0,
            strides: vec![0, 1],
        };
        let operands = vec![Operand::Float(view.clone()), random];
        case.program
            .push(Map::new("dropout", &shape, operands, vec![view], |tape| {
                let (x, word) = (tape.operand(0), tape.whole_operand(1));
                let threshold = word.constant((DRAW.rate * 4_294_967_296.0) as u32);
                vec![word.less(threshold, x.zero(), x * (1.0 / (1.0 - DRAW.rate)))]
            }));
        case.check(SINGLE);
    }
}

/// Mesa unrolls the loop of a random word: its rounds are none of the loop over elements.
#[test]
fn long_sums_of_random_words_are_whole() {
    for (rows, len) in [(4, 1 << 20), (1, 1 << 21)] {
        let mut case = Case::new(23);
        let rng = case.random_state(1, 2);
        let to = case.output("kept", &[rows]);
        let tape = Tape::new();
        let word = tape.whole_operand(0);
        let kept = word.less(
            word.constant(1 << 31),
            tape.constant(1.0),
            tape.constant(0.0),
        );
        case.program.push(Reduce(Pointwise {
            name: "kept".into(),
            shape: vec![rows, len],
            folded: 1,
            operands: vec![Operand::Random {
                rng,
                site: 5,
                offset: 0,
                strides: vec![len, 1],
            }],
            body: tape.finish(&[], &[tape.statistic(Fold::Sum, kept)]).into(),
            elements: vec![],
            results: vec![View::new(to, [1])],
        }));
        let expected = case.run(&bptt::Device::cpu()).remove(0).1;
        for device in devices().iter().skip(1) {
            assert_eq!(case.run(device).remove(0).1, expected, "{device}");
        }
    }
}
