//! A cell's backward functions against finite differences of its forward ones.

use super::{CellFault, CellSources};
use crate::cell::{Backward, Cell, Forward, Inner, InnerBackward};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::fmt;

/// Points at which the functions are compared.
const POINTS: usize = 200;
/// Central differences in f64 with this step are good to about 1e-9 of a smooth function; a wrong
/// term is off by far more.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;
/// The points at which a derivative may differ: those that fell on a kink.
const KINKS: usize = POINTS / 20;

/// The functions' arguments by their gradients' names, in the order of [`Point::arguments`].
const GRADIENTS: [&str; 4] = ["d_x", "d_r", "d_state", "d_diagonal"];

/// The functions at one point.
#[derive(Clone)]
struct Point {
    /// x, r, old states and diagonal weights.
    arguments: [Vec<f64>; 4],
    /// The gradient of the new states.
    d_state: Vec<f64>,
    /// The gradient of v.
    d_inner: f64,
}

impl Point {
    /// One of the two gradients is 0, so that each backward function is checked by itself.
    fn random<C: Cell>(cell: &C, rng: &mut ChaCha8Rng, of_inner: bool) -> Self {
        let counts = [cell.gates(), cell.gates(), cell.states(), cell.diagonals()];
        let arguments =
            counts.map(|count| (0..count).map(|_| rng.random_range(-1.5..1.5)).collect());
        let mut weight = |wanted: bool| {
            if wanted {
                rng.random_range(-1.0..1.0)
            } else {
                0.0
            }
        };
        let d_inner = weight(of_inner);
        let d_state = (0..cell.states()).map(|_| weight(!of_inner)).collect();
        Self {
            arguments,
            d_state,
            d_inner,
        }
    }

    /// The new states, what is saved, and v where there are late gates.
    fn forward<C: Cell>(&self, cell: &C) -> (Vec<f64>, Vec<f64>, f64) {
        let [x, r, before, diagonal] = &self.arguments;
        let (mut state, mut saved) = (before.clone(), vec![f64::NAN; cell.saved()]);
        cell.forward(Forward {
            x,
            r,
            diagonal,
            state: &mut state,
            saved: &mut saved,
        });
        let r = &r[..cell.early_gates()];
        let late = r.len() < cell.gates();
        let inner = if late {
            cell.inner(Inner {
                x,
                r,
                state: before,
            })
        } else {
            0.0
        };
        (state, saved, inner)
    }

    /// The gradients that the backward functions give, in the order of [`GRADIENTS`].
    fn gradients<C: Cell>(&self, cell: &C, saved: &[f64]) -> [Vec<f64>; 4] {
        let mut gradients = self.arguments.clone();
        gradients
            .iter_mut()
            .for_each(|gradient| gradient.fill(f64::NAN));
        let [d_x, d_r, d_state, d_diagonal] = &mut gradients;
        d_state.copy_from_slice(&self.d_state);
        let diagonal = &self.arguments[3];
        cell.backward(Backward {
            saved,
            diagonal,
            d_state,
            d_x,
            d_r,
            d_diagonal,
        });
        if cell.early_gates() < cell.gates() {
            let d_inner = self.d_inner;
            cell.inner_backward(InnerBackward {
                saved,
                d_inner,
                d_state,
                d_x,
                d_r,
            });
        }
        gradients
    }

    /// The derivative of ⟨`d_state`, new states⟩ + `d_inner` · v to an argument's element.
    fn difference<C: Cell>(&self, cell: &C, argument: usize, index: usize) -> f64 {
        let value = |by: f64| {
            let mut moved = self.clone();
            moved.arguments[argument][index] += by;
            let (state, _, inner) = moved.forward(cell);
            let states: f64 = state.iter().zip(&self.d_state).map(|(s, d)| s * d).sum();
            states + self.d_inner * inner
        };
        (value(STEP) - value(-STEP)) / (2.0 * STEP)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, r, state, diagonal] = &self.arguments;
        write!(f, "x = {x:.3?}, r = {r:.3?}, state = {state:.3?}")?;
        if !diagonal.is_empty() {
            write!(f, ", diagonal = {diagonal:.3?}")?;
        }
        Ok(())
    }
}

/// The worst error of a derivative, and what is wrong.
pub(super) fn check<C: Cell>(cell: &C, sources: &CellSources) -> (f64, Vec<CellFault>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut worst, mut faults) = (0.0_f64, vec![]);
    // With late gates half of the points are for either function.
    let late_gates = cell.early_gates() < cell.gates();
    let functions = [("backward", "forward"), ("inner_backward", "inner")];
    let functions = &functions[..1 + usize::from(late_gates)];
    for (number, (function, of)) in functions.iter().enumerate() {
        let of_inner = number == 1;
        let mut checked = vec![];
        for _ in 0..POINTS / functions.len() {
            let point = Point::random(cell, &mut rng, of_inner);
            let (state, saved, _) = point.forward(cell);
            let gradients = point.gradients(cell, &saved);
            let fault = not_finite(&state, "state")
                .or_else(|| not_finite(&saved, "saved"))
                .or_else(|| not_shared(&gradients, function).filter(|_| cell.shared_gradient()));
            if let Some(fault) = fault {
                return (f64::NAN, vec![sources.rust(format!("{fault} at {point}"))]);
            }
            checked.push((point, gradients));
        }
        for (argument, name) in GRADIENTS.into_iter().enumerate() {
            for index in 0..checked[0].1[argument].len() {
                let mut off = vec![];
                for (point, gradients) in &checked {
                    let got = gradients[argument][index];
                    let expected = point.difference(cell, argument, index);
                    let error = (got - expected).abs() / (1.0 + expected.abs());
                    if error <= TOLERANCE {
                        worst = worst.max(error);
                    } else {
                        off.push((point, got, expected));
                    }
                }
                if let Some((point, got, expected)) = off.first()
                    && off.len() > KINKS
                {
                    let given = match of_inner {
                        true => format!("gradient of v {:.3}", point.d_inner),
                        false => format!("gradient of the new states {:.3?}", point.d_state),
                    };
                    faults.push(sources.rust(format!(
                        "{function} gives {name}[{index}] = {got:.6}, finite differences of {of} {expected:.6}, \
                         at {point}, {given}"
                    )));
                }
            }
        }
    }
    (worst, faults)
}

fn not_finite(values: &[f64], name: &str) -> Option<String> {
    let index = values.iter().position(|value| !value.is_finite())?;
    Some(format!(
        "forward leaves {name}[{index}] = {}",
        values[index]
    ))
}

fn not_shared([d_x, d_r, ..]: &[Vec<f64>; 4], function: &str) -> Option<String> {
    let gate = (0..d_x.len()).find(|gate| d_x[*gate] != d_r[*gate])?;
    Some(format!(
        "shared_gradient is true, but {function} gives d_x[{gate}] = {} and d_r[{gate}] = {}",
        d_x[gate], d_r[gate]
    ))
}
