//! Programs with any numbers in them: they are refused by the check, or run.

use crate::common::{devices, rng};
use bptt::program::{
    Gemm, Map, Matrix, Operand, PerDirection, Pointwise, Program, RecurrentBackward,
    RecurrentForward, RecurrentShape, RecurrentWeights, Reduce, Row, Scatter, Segment, Slice, View,
};
use bptt::{CellRef, Error, Executable};
use rand::{RngExt, rngs::ChaCha8Rng};

const HOSTILE: [usize; 12] = [
    0,
    1,
    2,
    3,
    17,
    1 << 16,
    1 << 31,
    1 << 32,
    1 << 53,
    usize::MAX / 2,
    usize::MAX - 1,
    usize::MAX,
];

/// A program's numbers, each now and then replaced by another.
struct Numbers {
    rng: ChaCha8Rng,
    /// One of so many numbers is replaced.
    rarity: u32,
}

impl Numbers {
    fn n(&mut self, number: usize) -> usize {
        match self.rng.random_range(0..self.rarity) {
            0 => HOSTILE[self.rng.random_range(0..HOSTILE.len())],
            _ => number,
        }
    }

    fn all<const N: usize>(&mut self, numbers: [usize; N]) -> [usize; N] {
        numbers.map(|number| self.n(number))
    }

    /// A slice of a tensor of so many elements, or of a tensor of another program.
    fn slice(&mut self, program: &mut Program, len: usize) -> Slice {
        let mut slice = match self.rng.random_range(0..8 * self.rarity) {
            0 => {
                let mut other = program.clone();
                for _ in 0..50 {
                    other.tensor("foreign", &[1]);
                }
                other.tensor("foreign", &[len])
            }
            1 => program.temporary("temporary", &[self.n(len)]),
            _ => program.tensor("tensor", &[self.n(len)]),
        };
        (slice.offset, slice.len) = (self.n(0), self.n(len));
        slice
    }

    fn matrix(&mut self, program: &mut Program, [rows, columns]: [usize; 2]) -> Matrix {
        let slice = self.slice(program, rows * columns);
        Matrix {
            tensor: slice.tensor,
            offset: slice.offset,
            rows: self.n(rows),
            columns: self.n(columns),
            row_stride: self.n(columns),
        }
    }

    fn view(&mut self, program: &mut Program, len: usize, strides: &[usize]) -> View {
        let slice = self.slice(program, len);
        let mut strides: Vec<_> = strides.iter().map(|stride| self.n(*stride)).collect();
        strides.truncate(self.n(strides.len()));
        View::new(slice, strides)
    }
}

type Write = fn(&mut Numbers, &mut Program);

fn gemm(n: &mut Numbers, p: &mut Program) {
    let [a, b, c] = [[3, 4], [4, 5], [3, 5]].map(|shape| n.matrix(p, shape));
    let bias = n.slice(p, 5);
    p.push(Gemm::new(a, b, c).bias(Some(bias)));
}

fn scatter(n: &mut Numbers, p: &mut Program) {
    let (input, output) = (n.matrix(p, [5, 2]), n.matrix(p, [3, 2]));
    let (indices, accumulate) = (n.slice(p, 5), n.n(0) > 0);
    p.push(Scatter {
        input,
        indices,
        output,
        accumulate,
    });
}

fn maps(n: &mut Numbers, p: &mut Program) {
    let shape = n.all([2, 3, 4]);
    let operands = vec![
        Operand::Float(n.view(p, 24, &[12, 4, 1])),
        Operand::Whole(n.view(p, 3, &[0, 1, 0])),
        Operand::Position {
            offset: n.n(5),
            strides: n.all([12, 4, 1]).to_vec(),
        },
        Operand::Random {
            rng: n.slice(p, 4),
            site: 1,
            offset: n.n(0),
            strides: n.all([12, 4, 1]).to_vec(),
        },
        Operand::Gather {
            view: n.view(p, 4, &[0, 0, 1]),
            index: n.view(p, 3, &[0, 1, 0]),
            shift: n.n(0) as u32,
            stride: n.n(4),
            len: n.n(6),
        },
    ];
    let to = n.view(p, 24, &[12, 4, 1]);
    p.push(Map::new("hostile", &shape, operands, vec![to], |tape| {
        let [a, b] = [0, 4].map(|index| tape.operand(index));
        let [w, at, random] = [1, 2, 3].map(|index| tape.whole_operand(index));
        vec![w.less(at, a, b) + random.less(w, a, b)]
    }));
}

fn constructed(n: &mut Numbers, p: &mut Program) {
    let (input, factor, output) = (
        n.matrix(p, [6, 2]),
        n.matrix(p, [3, 2]),
        n.matrix(p, [6, 2]),
    );
    p.push(Map::multiply(input, factor, output));
    let (input, output, bias) = (n.matrix(p, [3, 2]), n.matrix(p, [3, 6]), n.slice(p, 6));
    p.push(Map::repeat(input, Some(bias), output));
    let (lengths, output) = (n.slice(p, 2), n.matrix(p, [2, 3]));
    let steps = n.matrix(p, [8, 3]);
    p.push(Map::gather_last(steps, lengths, n.n(0), output));
    let (input, sums) = (n.matrix(p, [4, 3]), [n.slice(p, 3), n.slice(p, 3)]);
    p.push(Reduce::columns(input, &sums, n.n(0) > 0));
    let (output, input) = (n.matrix(p, [2, 6]), n.matrix(p, [2, 3]));
    p.push(Reduce::repeats(output, input, true));
    let whole = n.slice(p, 6);
    let part = whole.part(n.n(1), n.n(4)).matrix(n.n(2), n.n(2));
    p.push(Map::fill_view(
        &n.all([1, 1]),
        part.rows(n.n(1), 1).columns(n.n(1), 1).view(),
        1.0,
    ));
    p.push(Map::fill_view(
        &n.all([2, 3]),
        View::whole(whole, &n.all([2, 3])),
        1.0,
    ));
}

/// Softmax without its division: rows with a statistic, of elements and of results.
fn rows(n: &mut Numbers, p: &mut Program) {
    let shape = n.all([3, 5]).to_vec();
    let operands = vec![Operand::Float(n.view(p, 15, &[5, 1]))];
    let (elements, results) = (n.view(p, 15, &[5, 1]), n.view(p, 3, &[1]));
    let body = super::body(|tape| {
        let sum = tape.statistic(bptt::expr::Fold::Sum, tape.operand(0));
        (vec![tape.operand(0) - sum], vec![sum])
    });
    let of = Pointwise {
        name: "hostile".into(),
        shape,
        folded: n.n(1),
        operands,
        body,
        elements: vec![elements],
        results: vec![results],
    };
    let reduce = n.n(0) > 0;
    match reduce {
        true => p.push(Reduce::new(of)),
        false => p.push(Row::new(of)),
    }
}

fn recurrent(n: &mut Numbers, p: &mut Program) {
    let cells: Vec<_> = CellRef::builtin();
    let cell = cells[n.rng.random_range(0..cells.len())].clone();
    let shape = RecurrentShape {
        steps: n.n(3),
        batch: n.n(2),
        hidden: n.n(4),
        output: n.n(4),
        directions: n.n(1),
    };
    let segment = Segment {
        first: n.n(0),
        total: n.n(3),
    };
    let gates = cell.gates() * 4;
    let weight = |n: &mut Numbers, p: &mut Program, len: usize| PerDirection {
        first: n.slice(p, len),
        stride: n.n(len),
    };
    let weights = RecurrentWeights {
        weight_hh: weight(n, p, gates * 4),
        bias_hh: (n.n(1) > 0).then(|| weight(n, p, gates)),
        weight_hr: (n.n(0) > 0).then(|| weight(n, p, 16)),
        weight_diag: (cell.diagonals() > 0).then(|| weight(n, p, cell.diagonals() * 4)),
    };
    let states = 2 * 4 * cell.states();
    let saved = n.slice(p, 24 * cell.saved());
    let (mask, lengths) = (None, (n.n(0) > 0).then(|| n.slice(p, 2)));
    let forward = RecurrentForward {
        products: vec![],
        x_gates: n.slice(p, 6 * gates),
        initial: (n.n(1) > 0).then(|| n.slice(p, states)),
        last: n.slice(p, states),
        y: n.slice(p, 24),
        inner: None,
        saved: Some(saved),
        cell: cell.clone(),
        shape,
        segment,
        weights,
        mask,
        zoneout: None,
        lengths,
    };
    p.push(forward);
    let layout = bptt::program::GatesLayout::new(&cell, &shape, false);
    let diagonal = 2 * cell.diagonals() * 4;
    let backward = RecurrentBackward {
        saved,
        d_y: n.slice(p, 24),
        d_state: n.slice(p, states + diagonal),
        has_d_last: n.n(0) > 0,
        wants_initial: n.n(1) > 0,
        d_gates: n.slice(
            p,
            if layout.len < 4096 {
                layout.len
            } else {
                24 * cell.gates()
            },
        ),
        cell,
        shape,
        segment,
        weights,
        mask,
        zoneout: None,
        lengths,
    };
    p.push(backward);
}

const WRITERS: [(&str, Write); 6] = [
    ("gemm", gemm),
    ("scatter", scatter),
    ("map", maps),
    ("constructed", constructed),
    ("row", rows),
    ("recurrent", recurrent),
];

/// Programs too large to run are only checked.
fn is_small(program: &Program) -> bool {
    let cost = |op: &bptt::program::Op| op.cost().flops.saturating_add(op.cost().bytes());
    let elements = program.memory().map_or(usize::MAX, |memory| memory.len());
    elements < 100_000 && program.ops().iter().all(|op| cost(op) < 10_000_000)
}

#[test]
fn programs_of_any_numbers_are_refused_or_run() {
    let count = std::env::var("BPTT_CASES").map_or(4000, |count| count.parse().unwrap());
    let (mut refused, mut run) = (0, 0);
    for seed in 0..count {
        for (name, write) in WRITERS {
            let mut numbers = Numbers {
                rng: rng(seed),
                rarity: [12, 40, 200][seed as usize % 3],
            };
            let mut program = Program::new();
            write(&mut numbers, &mut program);
            let Err(error) = program.check() else {
                if !is_small(&program) {
                    continue;
                }
                run += 1;
                // A GPU takes long to compile.
                let cpu_only = run % 150 > 0;
                for device in devices()
                    .iter()
                    .filter(|device| !(cpu_only && device.is_gpu()))
                {
                    let case = format!("{name} {seed} on {device}");
                    let executable = Executable::new(device, program.clone(), &[]);
                    let executable = executable.unwrap_or_else(|error| panic!("{case}: {error}"));
                    executable
                        .run()
                        .unwrap_or_else(|error| panic!("{case}: {error}"));
                    executable.plan();
                }
                continue;
            };
            refused += 1;
            let known = matches!(error, Error::Argument { .. } | Error::Limit { .. });
            assert!(known, "{name} {seed}: {error}");
        }
    }
    assert!(
        refused > count && run > count,
        "{refused} refused, {run} run"
    );
}
