//! Products of few rows with a large matrix, at every step of a sequence: threads share the matrix'
//! columns, so that each keeps its part in its own caches. They wait for each other by spinning, as
//! a step is too short for the system to wake a thread in.

use super::recurrent::CONTIGUOUS;
use crate::panels::{Order, Panels, Start};
use crate::rows::RowScalar;
use crate::threads;
use ndarray::{ArrayView2, ArrayView3, Axis};
use parking_lot::{Mutex, RwLock};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A number that threads watch, on a cache line of its own.
#[repr(align(128))]
struct Watched(AtomicUsize);

/// Looks at a watched number before the system may let another thread of this core run, as there is
/// one where threads outnumber cores or have just begun.
const SPINS: u32 = 1 << 7;

/// Nobody wants or gives a product any more.
const END: usize = usize::MAX;

impl Watched {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
    fn set(&self, number: usize) {
        self.0.store(number, Ordering::Release);
    }
    /// Spins until it is a number that will do, or [`END`].
    fn wait(&self, will_do: impl Fn(usize) -> bool) -> usize {
        let mut spins = 0_u32;
        loop {
            let now = self.0.load(Ordering::Acquire);
            if will_do(now) || now == END {
                return now;
            }
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(SPINS) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Sets a number to [`END`] when this goes, by a panic too, so that no thread waits for one that is
/// gone.
struct Ends<'a>(&'a Watched);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.set(END);
    }
}

/// Threads that compute products with one matrix.
pub(super) struct Team<'a, F> {
    panels: &'a Panels<F>,
    /// What products are added to: a row, or what is there.
    start: Start<'a, F>,
    rows: usize,
    size: usize,
    /// How many products were wanted so far.
    wanted: Watched,
    /// `[rows, K]`
    input: RwLock<Vec<F>>,
    /// The panels of the thread that walks.
    own: Range<usize>,
    others: Vec<Member<F>>,
}

/// The part of another thread of a team.
struct Member<F> {
    /// Whether a thread took the part; the walk does the others.
    taken: AtomicBool,
    /// How many products it gave.
    given: Watched,
    panels: Range<usize>,
    part: Mutex<Part<F>>,
}

/// A member's columns of a product.
struct Part<F> {
    /// The product that is to be computed: none, 0, once one thread has, as two may be about to.
    due: usize,
    /// The columns without gaps: before the product what it is added to, then the sum.
    numbers: Vec<F>,
}

impl<'a, F: RowScalar> Team<'a, F> {
    /// A team of `size` threads for products of `rows` rows.
    pub(super) fn new(
        (panels, start): (&'a Panels<F>, Start<'a, F>),
        rows: usize,
        size: usize,
    ) -> Self {
        let count = panels.count();
        // The last panel, which may be filled up with columns that c has not, is never the walk's own.
        let parts = size.min(count).max(2);
        let range = |member: usize| member * count / parts..(member + 1) * count / parts;
        let member = |member: usize| {
            let panels_of = range(member);
            let numbers = rows * panels.columns(&panels_of).len();
            Member {
                taken: AtomicBool::new(false),
                given: Watched::new(),
                panels: panels_of,
                part: Mutex::new(Part {
                    due: 0,
                    numbers: vec![F::zero(); numbers],
                }),
            }
        };
        Self {
            panels,
            start,
            rows,
            size,
            wanted: Watched::new(),
            input: RwLock::new(vec![F::zero(); rows * panels.inputs()]),
            own: range(0),
            others: (1..parts).map(member).collect(),
        }
    }

    /// Runs a walk with the team, the calling thread among it. The walk must want one product after the other.
    pub(super) fn walk<R>(&mut self, walk: impl FnOnce(&Self) -> R) -> R {
        *self.wanted.0.get_mut() = 0;
        for member in &mut self.others {
            *member.taken.get_mut() = false;
            *member.given.0.get_mut() = 0;
            member.part.get_mut().due = 0;
        }
        let team = &*self;
        threads::beside(team.size.saturating_sub(1), &|| team.help(), || {
            let _ends = Ends(&team.wanted);
            walk(team)
        })
    }

    /// What another thread does until the walk ends, where a part is left for it.
    fn help(&self) {
        let take = |member: &&Member<F>| !member.taken.swap(true, Ordering::Relaxed);
        let Some(member) = self.others.iter().find(take) else {
            return;
        };
        let _ends = Ends(&member.given);
        let mut given = 0;
        loop {
            let wanted = self.wanted.wait(|wanted| wanted != given);
            if wanted == END {
                return;
            }
            {
                let input = self.input.read();
                let a = ArrayView3::from_shape((1, self.rows, self.panels.inputs()), &input[..]);
                let a = a.expect("the input is as large");
                self.compute(member, wanted, a);
            }
            given = wanted;
            member.given.set(given);
        }
    }

    /// c `[rows, ·]`, a row every `stride`, = start + a · matrix. a: `[rows, K]`
    pub(super) fn product(&self, a: ArrayView2<'_, F>, c: &mut [F], stride: usize) {
        let inputs = self.panels.inputs();
        {
            let mut input = self.input.write();
            for (to, row) in input.chunks_exact_mut(inputs).zip(a.rows()) {
                to.copy_from_slice(row.to_slice().expect(CONTIGUOUS));
            }
        }
        // Nobody else counts.
        let number = self.wanted.0.load(Ordering::Relaxed) + 1;
        for member in &self.others {
            let mut part = member.part.lock();
            part.due = number;
            if let Start::Sum = self.start {
                self.each_row(member, &mut part.numbers, (c, stride), |part, c| {
                    part.copy_from_slice(c);
                });
            }
        }
        self.wanted.set(number);
        let a = a.insert_axis(Axis(0));
        let own = (self.own.clone(), order(number));
        self.panels.part(own, a, self.start, c, stride);
        for member in &self.others {
            let alone = !member.taken.load(Ordering::Relaxed)
                || member.given.wait(|given| given == number) == END;
            if alone {
                self.compute(member, number, a);
            }
            let mut part = member.part.lock();
            self.each_row(member, &mut part.numbers, (c, stride), |part, c| {
                c.copy_from_slice(part);
            });
        }
    }

    /// Computes a member's part of a product, unless another thread has.
    fn compute(&self, member: &Member<F>, number: usize, a: ArrayView3<'_, F>) {
        let mut part = member.part.lock();
        if part.due == number {
            let width = self.panels.columns(&member.panels).len();
            let panels = (member.panels.clone(), order(number));
            self.panels
                .part(panels, a, self.start, &mut part.numbers, width);
            part.due = 0;
        }
    }

    /// Runs a function over each row of a member's part and of its columns in c, without those that fill the last panel up.
    fn each_row(
        &self,
        member: &Member<F>,
        part: &mut [F],
        (c, stride): (&mut [F], usize),
        run: impl Fn(&mut [F], &mut [F]),
    ) {
        let columns = self.panels.columns(&member.panels);
        let rows = part.chunks_exact_mut(columns.len().max(1));
        let columns = columns.start..columns.end.min(self.panels.outputs());
        for (part, c) in rows.zip(c.chunks_mut(stride)) {
            run(&mut part[..columns.len()], &mut c[columns.clone()]);
        }
    }
}

/// The order of the panels in the n-th product.
fn order(number: usize) -> Order {
    match number % 2 {
        0 => Order::Back,
        _ => Order::Forth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ArrayView1, s};

    #[test]
    fn a_team_gives_the_product_of_one_thread() {
        for (outputs, size) in [(300, 1), (300, 2), (300, 3), (300, 99), (9, 2), (256, 2)] {
            let matrix =
                Array2::from_shape_fn((33, outputs), |(k, n)| ((k * 7 + n * 3) % 11) as f32 - 4.0);
            let panels = Panels::new(matrix.view());
            let rows = 5;
            let bias: Vec<_> = (0..panels.width()).map(|column| column as f32).collect();
            for start in [Start::Row(&bias[..]), Start::Sum] {
                // Two numbers of room between rows, which stay as they are.
                let stride = match start {
                    Start::Sum => outputs + 2,
                    _ => panels.width() + 2,
                };
                let mut got = Array2::from_elem((rows, stride), 1.0);
                let mut expected = got.clone();
                let mut walk = |team: &Team<'_, f32>| {
                    for step in 0..100 {
                        let a = Array2::from_shape_fn((rows, 33), |(row, k)| {
                            ((row * 5 + k + step) % 7) as f32
                        });
                        team.product(a.view(), got.as_slice_mut().unwrap(), stride);
                        // Whole numbers, which f32 adds exactly.
                        let product = a.dot(&matrix);
                        let mut columns = expected.slice_mut(s![.., ..outputs]);
                        match start {
                            Start::Row(bias) => {
                                let bias = ArrayView1::from(&bias[..outputs]);
                                columns.assign(&(product + bias));
                            }
                            _ => columns += &product,
                        }
                        let got = got.slice(s![.., ..outputs]);
                        assert_eq!(got, expected.slice(s![.., ..outputs]), "{size} threads");
                    }
                };
                threads::with_threads(4, || {
                    let mut team = Team::new((&panels, start), rows, size);
                    team.walk(&mut walk);
                    team.walk(&mut walk);
                });
                assert!(
                    got.slice(s![.., stride - 2..])
                        .iter()
                        .all(|room| *room == 1.0)
                );
            }
        }
    }

    #[test]
    fn a_walk_that_panics_leaves_no_thread_waiting() {
        let panels = Panels::new(Array2::<f32>::zeros((9, 300)).view());
        let outcome = std::panic::catch_unwind(|| {
            Team::new((&panels, Start::Sum), 1, 2).walk(|_| panic!("on purpose"));
        });
        assert!(outcome.is_err());
    }
}
