//! Graphs recorded from decisions.

use super::weights::{FEATURES, WEIGHTS, gru, lstm, names, rnn};
use crate::choices::Choices;
use bptt::expr::Lanes;
use bptt::graph::Var;
use bptt::nn::{Init, LastStep, MaxOverTime, MeanOverTime, Scope, State};

/// Elements of a value, at most.
pub(super) const MOST: usize = 2000;

/// A graph under construction.
pub(super) struct Recording<'a, 's> {
    s: &'a mut Scope<'s>,
    choices: Choices<'a>,
    values: Vec<Var>,
    tokens: Var,
    weights: Vec<Var>,
    /// By recurrence.
    states: Vec<(usize, State<Var>)>,
    pub(super) seen: Vec<&'static str>,
    /// For failures: what was done to which shapes.
    pub(super) log: Vec<String>,
}

/// A function of an element that grows no faster than its argument.
pub(super) fn function<'t>(which: usize, x: bptt::expr::Expr<'t>) -> bptt::expr::Expr<'t> {
    match which {
        0 => x.tanh(),
        1 => x.sigmoid(),
        2 => x * x.tanh() * 0.5,
        3 => x.softplus() - 0.5,
        4 => x.tanh().exp() * 0.4,
        5 => x * ((x * 0.7).erf() + 1.0) * 0.5,
        6 => x.where_positive(x, x * 0.2),
        _ => x * 0.8 + 0.1,
    }
}

impl Recording<'_, '_> {
    pub(super) fn pick(&mut self) -> Var {
        let back = self.choices.below(self.values.len());
        self.values[self.values.len() - 1 - back]
    }

    pub(super) fn shape(&self, of: Var) -> Vec<usize> {
        self.s.shape(of).to_vec()
    }

    /// A value that fits, or the last resort.
    pub(super) fn pick_like(&mut self, fits: impl Fn(&[usize]) -> bool, otherwise: Var) -> Var {
        for _ in 0..4 {
            let candidate = self.pick();
            if fits(self.s.shape(candidate)) {
                return candidate;
            }
        }
        otherwise
    }

    pub(super) fn any_function(&mut self, x: Var) -> bptt::Result<Var> {
        let which = self.choices.below(8);
        self.s.map("function", [x], |[x]| function(which, x))
    }

    pub(super) fn scaled(&mut self, x: Var, factor: f64) -> bptt::Result<Var> {
        self.s.map("scale", [x], |[x]| x * factor)
    }

    pub(super) fn step(&mut self) -> bptt::Result<()> {
        let x = self.pick();
        let shape = self.shape(x);
        let rank = shape.len();
        let len: usize = shape.iter().product();
        let (name, y) = match self.choices.below(28) {
            0 | 1 => ("function", self.any_function(x)?),
            2 => {
                let repeats = |other: &[usize]| {
                    let pairs = other.iter().rev().zip(shape.iter().rev());
                    pairs.into_iter().all(|(a, b)| a == b || *a == 1 || *b == 1)
                        && other.len() * shape.len() < 17
                };
                let z = self.pick_like(repeats, x);
                let larger = self
                    .s
                    .map("mixed", [x, z], |[x, z]| (x * z.tanh()) * 0.5 + z * 0.3)?;
                if self.s.ty(larger).len() > MOST {
                    return Ok(());
                }
                ("two", larger)
            }
            3 => {
                let z = self.pick_like(|other| other == shape, x);
                let y = self.s.add(x, z)?;
                ("sum of two", y)
            }
            4 if rank > 0 => {
                let which = self.choices.below(3);
                let y = self.s.rows("rows", [x], |row, [x]| match which {
                    0 => {
                        let e = (x - row.max(x)).exp();
                        e / row.sum(e)
                    }
                    1 => {
                        let centered = x - row.mean(x);
                        centered / (row.mean(centered * centered) + 0.3).sqrt()
                    }
                    _ => {
                        let most = row.max(x);
                        x - most - row.sum((x - most).exp()).ln()
                    }
                })?;
                ("rows", y)
            }
            5 if rank > 0 => {
                let which = self.choices.below(3);
                let y = self.s.fold_rows("fold", [x], |row, [x]| match which {
                    0 => row.mean(x * x.tanh()),
                    1 => {
                        let most = row.max(x);
                        row.sum((x - most).exp()).ln() + most
                    }
                    _ => (row.mean(x * x) + 0.2).sqrt(),
                })?;
                ("folded rows", y)
            }
            6 => {
                let axes: Vec<_> = (0..rank).filter(|_| self.choices.chance(50)).collect();
                let count: usize = axes.iter().map(|axis| shape[*axis]).product();
                let y = self.s.sum(x, &axes)?;
                ("sum", self.scaled(y, 1.0 / count as f64)?)
            }
            7 => {
                let mut to = shape.clone();
                match self.choices.below(3) {
                    0 if rank > 1 => {
                        let axis = self.choices.below(rank - 1);
                        to[axis] *= to.remove(axis + 1);
                    }
                    1 if rank > 0 && rank < 4 => {
                        let axis = self.choices.below(rank);
                        for factor in [2, 3, 5, 7] {
                            if to[axis].is_multiple_of(factor) && to[axis] > 0 {
                                to[axis] /= factor;
                                to.insert(axis, factor);
                                break;
                            }
                        }
                    }
                    _ if rank < 4 => to.insert(self.choices.below(rank + 1), 1),
                    _ => to = vec![len],
                }
                ("reshape", self.s.reshape(x, &to)?)
            }
            8 | 9 if rank > 0 => {
                let axis = self.choices.below(rank);
                let size = shape[axis];
                let len = size - self.choices.below(size);
                let start = self.choices.below(size - len + 1);
                ("slice", self.s.slice(x, axis, start, len)?)
            }
            10 | 11 if rank > 1 => {
                let mut order: Vec<_> = (0..rank).collect();
                for axis in 1..rank {
                    order.swap(axis, self.choices.below(axis + 1));
                }
                ("permute", self.s.permute(x, &order)?)
            }
            12 | 13 if rank > 0 => {
                let axis = self.choices.below(rank);
                let mut all = vec![x];
                for _ in 0..1 + self.choices.below(3) {
                    let fits = |other: &[usize]| {
                        let same =
                            |(index, (a, b)): (usize, (&usize, &usize))| index == axis || a == b;
                        other.len() == rank && other.iter().zip(&shape).enumerate().all(same)
                    };
                    all.push(self.pick_like(fits, x));
                }
                if self.choices.chance(50) {
                    all.swap(0, 1);
                }
                ("concat", self.s.concat(&all, axis)?)
            }
            14 | 15 if shape.last() == Some(&FEATURES) => {
                let [w, b] = [self.weights[0], self.weights[1]];
                let y = match self.choices.below(3) {
                    0 => self.s.linear(x, w, Some(b))?,
                    1 => self.s.linear(x, w, None)?,
                    _ => self.s.matmul(x, w)?,
                };
                ("weights", self.scaled(y, 0.5)?)
            }
            16 if rank > 0 => {
                let columns = shape[rank - 1];
                let transposed = self.choices.chance(50);
                let last = if rank == 2 && transposed {
                    self.s.permute(x, &[1, 0])?
                } else {
                    x
                };
                let fits =
                    |other: &[usize]| other.len() == 2 && other[usize::from(transposed)] == columns;
                let none = self.weights[0];
                let z = self.pick_like(fits, none);
                let [k, n] = self.s.shape(z) else {
                    return Ok(());
                };
                let (k, n) = if transposed { (*n, *k) } else { (*k, *n) };
                if k != columns || len / columns.max(1) * n > MOST {
                    return Ok(());
                }
                let y = match transposed {
                    true => self.s.linear(x, z, None)?,
                    false => self.s.matmul(x, z)?,
                };
                let y = self.scaled(y, 1.0 / columns as f64)?;
                // What was turned stays among the values.
                self.values.push(last);
                ("product", y)
            }
            17 => {
                let table = self.weights[3];
                let table = self.pick_like(|other| other.len() == 2 && other[1] < 9, table);
                let y = self.s.gather(table, self.tokens)?;
                ("gather", y)
            }
            18 | 24 | 25 | 26 if rank == 3 && shape[2] == FEATURES => {
                let which = self.choices.below(3);
                let batch = shape[1];
                let own = self
                    .states
                    .iter()
                    .rposition(|(of, state)| *of == which && self.s.shape(*state.h())[1] == batch);
                let state = match self.choices.below(3) {
                    0 => None,
                    1 => own.map(|index| self.states[index].1.clone()),
                    _ => {
                        // One value as all states.
                        let layers = if which == 2 { 1 } else { 2 };
                        let states = if which == 0 { 2 } else { 1 };
                        let wanted = [layers, batch, FEATURES];
                        let found = self.pick_like(|other| other == wanted, x);
                        let fits = self.s.shape(found) == wanted;
                        fits.then(|| State::from_parts(vec![found; states]))
                    }
                };
                if state.is_some() {
                    self.seen.push("states in");
                }
                let (y, last) = match which {
                    0 => self.s.layer("lstm", &lstm(), (x, state))?,
                    1 => self.s.layer("gru", &gru(), (x, state))?,
                    _ => self.s.layer("rnn", &rnn(), (x, state))?,
                };
                if self.choices.chance(50) {
                    self.values.extend(last.parts());
                }
                self.states.push((which, last));
                ("recurrence", y)
            }
            19 if rank == 3 => {
                let y = match self.choices.below(3) {
                    0 => self.s.layer("last", &LastStep, x)?,
                    1 => self.s.layer("mean", &MeanOverTime, x)?,
                    _ => self.s.layer("max", &MaxOverTime, x)?,
                };
                ("over time", y)
            }
            20 => ("dropout", self.s.dropout(x, 0.25)?),
            21 => {
                // One value five times, the last time as it is.
                let mut sum = x;
                for _ in 0..4 {
                    let part = self.any_function(x)?;
                    sum = self.s.add(part, sum)?;
                }
                ("five uses", self.scaled(sum, 0.3)?)
            }
            22 => {
                let classes = self.shape(self.tokens);
                if rank != classes.len() + 1 || shape[..rank - 1] != classes {
                    return Ok(());
                }
                let tokens = self.tokens;
                let y = self
                    .s
                    .fold_rows_of_class("class", x, tokens, |row, x, class| {
                        let most = row.max(x);
                        let picked = row.sum(row.is(class, x, x.zero()));
                        row.sum((x - most).exp()).ln() + most - picked
                    })?;
                ("classes", y)
            }
            _ => {
                let which = self.choices.below(self.weights.len());
                ("weight", self.any_function(self.weights[which])?)
            }
        };
        self.seen.push(name);
        self.log
            .push(format!("{name} {shape:?} -> {:?}", self.s.shape(y)));
        if self.s.ty(y).len() <= MOST {
            self.values.push(y);
        }
        Ok(())
    }
}

/// What is recorded, and what has gradients: floats among the inputs, then the weights.
pub(super) struct Recorded {
    pub(super) outputs: Vec<Var>,
    pub(super) of: Vec<Var>,
    pub(super) seen: Vec<&'static str>,
    pub(super) log: Vec<String>,
}

/// Inputs: x `[T, B, F]`, another sequence `[T₂, B, F]`, `[2, B, F]`, `[B, F]`, tokens `[T, B]`.
pub(super) fn record(s: &mut Scope<'_>, inputs: &[Var], numbers: &[u32]) -> bptt::Result<Recorded> {
    let weights = WEIGHTS
        .iter()
        .map(|(name, shape)| s.parameter(name, shape, Init::Uniform(1.0)));
    let weights = weights.collect::<bptt::Result<Vec<_>>>()?;
    let floats = &inputs[..4];
    let mut recording = Recording {
        s,
        choices: Choices::new(numbers),
        // x is the first to be picked.
        values: floats.iter().rev().copied().collect(),
        tokens: inputs[4],
        weights: weights.clone(),
        states: vec![],
        seen: vec![],
        log: vec![],
    };
    for _ in 0..1 + recording.choices.below(14) {
        recording.step()?;
    }
    let mut outputs = vec![*recording.values.last().expect("there are inputs")];
    for _ in 0..recording.choices.below(3) {
        outputs.push(recording.pick());
    }
    let (seen, log) = (recording.seen, recording.log);
    let mut of = floats.to_vec();
    of.extend(weights);
    // Those of the recurrences, by the model's names.
    for name in names() {
        of.push(s.shared(name)?);
    }
    Ok(Recorded {
        outputs,
        of,
        seen,
        log,
    })
}
