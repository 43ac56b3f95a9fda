use super::program::reason;
use crate::common::{Case, devices, every_device};
use bptt::program::{Dropout, Slice};
use bptt::verify::SINGLE;

/// What a mask depends on.
#[derive(Clone, Copy)]
struct Draw {
    seed: u64,
    step: u64,
    site: u32,
    rate: f64,
}

/// Every 16-bit part of seed and step different, as each travels in an element of its own.
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

/// Whether element `index` of m is kept, as the documentation of the operation says.
fn is_kept(draw: Draw, index: usize) -> bool {
    let [low, high] = words(draw.step);
    let counter = [(index / 4) as u32, draw.site, low, high];
    let word = philox(counter, words(draw.seed))[index % 4];
    f64::from(word) >= (draw.rate * 4_294_967_296.0).floor()
}

fn rng(case: &mut Case, draw: Draw) -> Slice {
    let parts = [draw.seed, draw.step].map(|value| [0, 16, 32, 48].map(|shift| value >> shift));
    let parts = parts.as_flattened().iter().map(|part| *part as u16);
    let values: Vec<f32> = parts.map(f32::from).collect();
    // Among other numbers, as beside lengths.
    let around = [&[7.0, 8.0, 9.0], &values[..], &[1.0, 2.0]].concat();
    case.given("rng", &[around.len()], around).part(3, 8)
}

/// m alone, without an input.
fn mask(draw: Draw, len: usize, period: usize) -> Case {
    let mut case = Case::new(21);
    let rng = rng(&mut case, draw);
    let output = case.output("output", &[len]);
    case.program.push(Dropout {
        input: None,
        output,
        rng,
        site: draw.site,
        rate: draw.rate,
        period,
    });
    case
}

fn values(case: &Case, device: &bptt::Device) -> Vec<f64> {
    case.run(device).remove(0).1.into_iter().collect()
}

#[test]
fn the_tests_philox_has_the_known_answers() {
    // Of the authors' Random123.
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
    // Periods that divide by 4 and that do not, below, at and above the length.
    for (len, period) in [
        (1, 1),
        (7, 3),
        (17, 100),
        (65, 65),
        (257, 33),
        (1030, 6),
        (1030, 8),
        (3000, 1027),
    ] {
        for rate in [0.3, 0.5, 0.999] {
            let draw = Draw { rate, ..DRAW };
            let expected: Vec<f64> = (0..len)
                .map(|index| match is_kept(draw, index % period) {
                    true => 1.0 / (1.0 - rate),
                    false => 0.0,
                })
                .collect();
            mask(draw, len, period).check_values(&expected);
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
                let value = values(&mask(draw, 4, 4), &device)[index];
                assert_eq!(value != 0.0, kept, "word {index} + {above} on {device}");
            }
        }
    }
}

#[test]
fn an_input_inside_larger_tensors() {
    for (len, period) in [(1, 1), (3, 7), (65, 33), (257, 10), (10_000, 4097)] {
        let mut case = Case::new(22);
        let rng = rng(&mut case, DRAW);
        let input = case.random("input", &[len + 7], 1.0).part(5, len);
        let whole = case.random("output", &[len + 4], 1.0);
        case.also_output(whole);
        case.program.push(Dropout {
            input: Some(input),
            output: whole.part(3, len),
            rng,
            site: DRAW.site,
            rate: DRAW.rate,
            period,
        });
        case.check(SINGLE);
    }
}

#[test]
fn a_rate_of_zero_changes_nothing() {
    let input: Vec<f32> = (0..70).map(|index| index as f32 / 7.0 - 3.0).collect();
    let mut case = Case::new(23);
    let rng = rng(&mut case, DRAW);
    let given = case.given("input", &[70], input.clone());
    let output = case.output("output", &[70]);
    case.program.push(Dropout {
        input: Some(given),
        output,
        rng,
        site: 1,
        rate: 0.0,
        period: 70,
    });
    let expected: Vec<f64> = input.into_iter().map(f64::from).collect();
    case.check_values(&expected);
}

#[test]
fn as_many_are_dropped_as_the_rate_says() {
    for device in devices() {
        for rate in [0.1, 0.3, 0.7] {
            let draw = Draw { rate, ..DRAW };
            let mask = values(&mask(draw, 100_000, 100_000), &device);
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
        let draw = |draw| values(&mask(draw, LEN, LEN), &device);
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
    let case = mask(DRAW, 65_535 * 256 + 5, 1_000_003);
    let expected = case.run(&bptt::Device::cpu()).remove(0).1;
    for device in devices().iter().skip(1) {
        assert!(case.run(device).remove(0).1 == expected, "{device}");
    }
}

#[test]
fn rates_periods_and_seeds_that_do_not_fit_are_refused() {
    let refused = |rate, period, rng_len| {
        let mut case = Case::new(24);
        let rng = rng(&mut case, DRAW);
        let output = case.output("output", &[6]);
        case.program.push(Dropout {
            input: None,
            output,
            rng: rng.part(0, rng_len),
            site: 0,
            rate,
            period,
        });
        reason(case.program)
    };
    for rate in [1.0, -0.1, 1.5, f64::NAN] {
        let expected = format!("operation 0 (dropout): rate is {rate}, not 0 to below 1");
        let message = refused(rate, 6, 8);
        assert!(message.contains(&expected), "{message}");
    }
    let message = refused(0.5, 0, 8);
    assert!(message.contains("(dropout): period is 0"), "{message}");
    let message = refused(0.5, 6, 7);
    let expected = "(dropout): rng has 7 elements, not 8";
    assert!(message.contains(expected), "{message}");

    let mut case = Case::new(24);
    let rng = rng(&mut case, DRAW);
    let output = case.output("output", &[6]);
    case.program.push(Dropout {
        input: Some(output),
        output,
        rng,
        site: 0,
        rate: 0.5,
        period: 6,
    });
    let message = reason(case.program);
    let expected = "output and input are in one tensor";
    assert!(message.contains(expected), "{message}");
}
