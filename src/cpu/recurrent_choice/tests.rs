//! All ways are the same to the bit, and the guess is one of them.

use super::*;
use crate::CellRef;
use crate::cell::{GruUnit, LstmUnit, Reset};
use crate::cpu::recurrent_backward::recurrent_backward_by;
use crate::cpu::recurrent_forward::recurrent_forward_by;
use crate::program::RecurrentShape;
use crate::program::samples::{backward, forward};

/// The bits of all tensors after a run over the same numbers.
fn bits<T: RecurrentOp>(
    op: &T,
    way: Way,
    run: impl Fn(&T, &Memory<'_, f32>, Way, bool),
) -> Vec<Vec<u32>> {
    let mut trial = TrialProgram::new(op, usize::MAX);
    let op = op.in_trial(&mut trial);
    let number = |index: usize| ((index * 7919) % 1009) as f32 / 2018.0 - 0.25;
    let specs = trial.program.tensors().iter();
    let buffers: Vec<_> = specs
        .map(|spec| Buffer::new((0..spec.len()).map(number).collect()))
        .collect();
    let order = LockOrder::new(&buffers, &vec![true; buffers.len()]);
    run(&op, &Memory::lock(&buffers, &order), way, false);
    let bits = |buffer: &Buffer<f32>| buffer.read().iter().map(|x| x.to_bits()).collect();
    buffers.iter().map(bits).collect()
}

#[test]
fn all_ways_leave_the_same_bits() {
    let late = GruUnit {
        reset: Reset::Before,
        ..GruUnit::default()
    };
    let cells = [
        CellRef::new(LstmUnit::default()),
        CellRef::new(GruUnit::default()),
        CellRef::new(late),
    ];
    // Few and many rows, with and without a projection, and an R that no near cache holds.
    let sizes = [
        [7, 5, 33, 33, 1],
        [4, 3, 17, 17, 2],
        [3, 13, 65, 9, 1],
        [2, 9, 700, 700, 1],
    ];
    for cell in &cells {
        for [steps, batch, hidden, output, directions] in sizes {
            if cell.has_late_gates() && output != hidden {
                // There is none such.
                continue;
            }
            let shape = RecurrentShape {
                steps,
                batch,
                hidden,
                output,
                directions,
            };
            let forward = forward(cell, shape);
            let backward = backward(&forward, false);
            let ways = (1..=4).flat_map(|threads| {
                [
                    (Share::Rows, true),
                    (Share::Rows, false),
                    (Share::Columns, false),
                ]
                .map(|(share, together)| Way {
                    threads,
                    share,
                    together,
                })
            });
            let sizes = Sizes::of::<f32>(&forward.operands(), false);
            let possible = |way: &Way| {
                (way.share == Share::Rows || sizes.takes_teams)
                    && (!way.together || sizes.takes_steps)
            };
            let run = |way: Way| {
                threads::with_threads(4, || {
                    let forward = bits(&forward, way, recurrent_forward_by::<f32>);
                    let back = Way {
                        together: false,
                        ..way
                    };
                    (forward, bits(&backward, back, recurrent_backward_by::<f32>))
                })
            };
            let mut ways = ways.filter(possible);
            let first = run(ways.next().expect("there is one"));
            for way in ways {
                assert!(run(way) == first, "{} {shape:?} {way:?}", cell.name());
            }
        }
    }
}

#[test]
fn the_guess_is_a_candidate_and_depends_on_sizes() {
    let guess = |batch, hidden, steps, threads| {
        let shape = RecurrentShape {
            steps,
            batch,
            hidden,
            output: hidden,
            directions: 1,
        };
        let forward = forward(&CellRef::new(LstmUnit::default()), shape);
        let sizes = Sizes::of::<f32>(&forward.operands(), false);
        threads::with_threads(threads, || {
            assert_eq!(sizes.candidates()[0], sizes.guess());
            let mut names: Vec<_> = sizes.candidates().into_iter().map(Way::name).collect();
            names.dedup();
            assert_eq!(names.len(), sizes.candidates().len());
            sizes.guess().name()
        })
    };
    assert_eq!(guess(1, 3, 5, 2), "1 rows together", "little work");
    assert_eq!(
        guess(1, 8192, 1, 64),
        "17 columns apart",
        "threads are woken for it"
    );
    assert_eq!(guess(64, 8192, 9, 2), "2 rows apart", "many rows");
    assert_eq!(guess(1, 64, 10_000, 2), "1 rows together", "a small matrix");
}
