//! What checks a cell: its derivatives by finite differences, its two halves against each other.

use crate::cell::{Backward, Cell, Derived, Forward, Inner, InnerBackward, MAX_COUNT};
use crate::device::Device;
use crate::error::Error;
use crate::gpu::COUNTS;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::fmt;

mod on_device;
mod report;

pub use report::{CellFault, CellFaults, CellReport};

/// Points at which the functions are compared.
const POINTS: usize = 200;
/// Central differences in f64 with this step are good to about 1e-9 of a smooth function; a wrong
/// term is off by far more.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;
/// The share of points at which a derivative may differ: those that fell on a kink.
const KINKS: usize = POINTS / 20;

/// Checks a cell, built in or of your own:
///
/// - its counts are in range;
/// - [`Cell::backward`] and [`Cell::inner_backward`] are the derivatives of [`Cell::forward`] and
///   [`Cell::inner`], by central differences in f64 at 200 random points (a few may lie on kinks),
///   and agree with [`Cell::shared_gradient`];
/// - on each of `devices` the WGSL half compiles and every function gives what the Rust half gives
///   in f64; and so does a stack of two layers and two directions with lengths, forward and
///   backward.
///
/// ```
/// use bptt::{Device, cell::GruUnit, verify::check_cell};
/// let report = check_cell(&GruUnit::default(), &[Device::cpu()]).unwrap();
/// assert!(report.derivatives < 1e-6);
/// ```
///
/// # Errors
/// [`CellFaults`]: what is wrong, each with a file and a line. Of the Rust half that is where it
/// names its WGSL, of WGSL the function, or the statement that does not compile.
pub fn check_cell<C: Cell>(cell: &C, devices: &[Device]) -> Result<CellReport, CellFaults> {
    if cell.saved() == 0 && cell.check().is_ok() {
        check(&Derived::new(cell), devices)
    } else {
        check(cell, devices)
    }
}

fn check<C: Cell>(cell: &C, devices: &[Device]) -> Result<CellReport, CellFaults> {
    let sources = CellSources {
        cell: cell.name(),
        wgsl: cell.wgsl(),
    };
    let mut faults = counts(cell, &sources);
    if !faults.is_empty() {
        return Err(CellFaults(faults));
    }
    if let Err(error) = cell.check() {
        faults.push(sources.rust(error));
        return Err(CellFaults(faults));
    }
    let (derivatives, mut found) = derivatives(cell, &sources);
    faults.append(&mut found);
    let mut report = CellReport {
        cell: cell.name().to_owned(),
        derivatives,
        devices: vec![],
    };
    for device in devices {
        match on_device::check(cell, device, &sources) {
            Ok(worst) => report.devices.push((device.to_string(), worst)),
            Err(mut found) => faults.append(&mut found),
        }
    }
    if faults.is_empty() {
        Ok(report)
    } else {
        Err(CellFaults(faults))
    }
}

/// Where a cell's two halves are.
struct CellSources {
    cell: &'static str,
    /// The WGSL half where it has its own.
    wgsl: Option<crate::cell::WgslSource>,
}

impl CellSources {
    /// A fault of the Rust half, at the line that names the WGSL half: no more is known of it.
    fn rust(&self, reason: impl fmt::Display) -> CellFault {
        let (file, line) = self.wgsl.map_or((self.cell, 1), |wgsl| wgsl.rust);
        CellFault {
            file: file.to_owned(),
            line: line as usize,
            what: reason.to_string(),
        }
    }

    /// A fault of the WGSL half, at the first line that says `what`.
    fn wgsl(&self, what: &str, reason: impl fmt::Display) -> CellFault {
        let Some(wgsl) = self.wgsl else {
            return self.rust(reason);
        };
        let line = wgsl.text.lines().position(|line| line.contains(what));
        CellFault {
            file: wgsl.file.to_owned(),
            line: line.unwrap_or(0) + 1,
            what: reason.to_string(),
        }
    }

    /// An error of a device, at its place where it is one of WGSL.
    fn device(&self, device: &Device, error: &Error) -> CellFault {
        match error {
            Error::Shader { file, reason, .. } if *file == COUNTS => {
                let what = "GATES, STATES or SAVED are not what the Rust half says";
                self.wgsl("GATES", format!("{what}: {reason}"))
            }
            Error::Shader {
                file, line, reason, ..
            } => CellFault {
                file: (*file).to_owned(),
                line: *line,
                what: format!("on {device}: {reason}"),
            },
            _ => self.wgsl("fn cell_forward", format!("on {device}: {error}")),
        }
    }
}

fn counts<C: Cell>(cell: &C, sources: &CellSources) -> Vec<CellFault> {
    let early = (cell.early_gates(), 1..=cell.gates());
    let any = 1..=MAX_COUNT;
    let counts = [
        ("gates", cell.gates(), any.clone()),
        ("states", cell.states(), any.clone()),
        ("saved", cell.saved(), any),
        ("diagonals", cell.diagonals(), 0..=MAX_COUNT),
        ("early_gates", early.0, early.1),
    ];
    let outside = counts
        .iter()
        .filter(|(_, count, range)| !range.contains(count));
    let fault = |(name, count, range): &(&str, usize, std::ops::RangeInclusive<usize>)| {
        let reason = format!(
            "{name} is {count}, not {} to {}",
            range.start(),
            range.end()
        );
        sources.rust(reason)
    };
    outside.map(fault).collect()
}

/// The arguments of the functions at one point.
#[derive(Clone)]
struct Point {
    x: Vec<f64>,
    r: Vec<f64>,
    state: Vec<f64>,
    diagonal: Vec<f64>,
}

impl Point {
    fn random<C: Cell>(cell: &C, rng: &mut ChaCha8Rng) -> Self {
        let mut values = |count: usize| (0..count).map(|_| rng.random_range(-1.5..1.5)).collect();
        Self {
            x: values(cell.gates()),
            r: values(cell.gates()),
            state: values(cell.states()),
            diagonal: values(cell.diagonals()),
        }
    }

    /// The new states, what is saved, and v where there are late gates.
    fn forward<C: Cell>(&self, cell: &C) -> (Vec<f64>, Vec<f64>, f64) {
        let (mut state, mut saved) = (self.state.clone(), vec![f64::NAN; cell.saved()]);
        cell.forward(Forward {
            x: &self.x,
            r: &self.r,
            diagonal: &self.diagonal,
            state: &mut state,
            saved: &mut saved,
        });
        let inner = if cell.early_gates() < cell.gates() {
            cell.inner(Inner {
                x: &self.x,
                r: &self.r[..cell.early_gates()],
                state: &self.state,
            })
        } else {
            0.0
        };
        (state, saved, inner)
    }

    /// ⟨weights, new states⟩ + `d_inner` · v
    fn value<C: Cell>(&self, cell: &C, weights: &[f64], d_inner: f64) -> f64 {
        let (state, _, inner) = self.forward(cell);
        let states: f64 = state.iter().zip(weights).map(|(s, w)| s * w).sum();
        states + d_inner * inner
    }

    /// The arguments by the names of their gradients.
    fn arguments(&mut self) -> [(&'static str, &mut Vec<f64>); 4] {
        [
            ("d_x", &mut self.x),
            ("d_r", &mut self.r),
            ("d_state", &mut self.state),
            ("d_diagonal", &mut self.diagonal),
        ]
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "x = {:.3?}, r = {:.3?}, state = {:.3?}",
            self.x, self.r, self.state
        )?;
        if !self.diagonal.is_empty() {
            write!(f, ", diagonal = {:.3?}", self.diagonal)?;
        }
        Ok(())
    }
}

/// The gradients that the backward functions give, in the order of [`Point::arguments`].
fn gradients<C: Cell>(
    cell: &C,
    point: &Point,
    saved: &[f64],
    weights: &[f64],
    d_inner: f64,
) -> [Vec<f64>; 4] {
    let mut d_state = weights.to_vec();
    let nothing = |count: usize| vec![f64::NAN; count];
    let (mut d_x, mut d_r) = (nothing(cell.gates()), nothing(cell.gates()));
    let mut d_diagonal = nothing(cell.diagonals());
    cell.backward(Backward {
        saved,
        diagonal: &point.diagonal,
        d_state: &mut d_state,
        d_x: &mut d_x,
        d_r: &mut d_r,
        d_diagonal: &mut d_diagonal,
    });
    if cell.early_gates() < cell.gates() {
        cell.inner_backward(InnerBackward {
            saved,
            d_inner,
            d_state: &mut d_state,
            d_x: &mut d_x,
            d_r: &mut d_r,
        });
    }
    [d_x, d_r, d_state, d_diagonal]
}

/// The worst error of a derivative, and what is wrong.
fn derivatives<C: Cell>(cell: &C, sources: &CellSources) -> (f64, Vec<CellFault>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut worst = 0.0_f64;
    // By function, argument and element: how often it is off, and the first time.
    let mut off: Vec<(String, usize, CellFault)> = vec![];
    let late_gates = cell.early_gates() < cell.gates();
    for number in 0..POINTS {
        let mut point = Point::random(cell, &mut rng);
        // The gradients of the new states and of v, one being 0: so each function is checked by itself.
        let of_inner = late_gates && number % 2 == 1;
        let (function, of, d_inner) = if of_inner {
            ("inner_backward", "inner", rng.random_range(-1.0..1.0))
        } else {
            ("backward", "forward", 0.0)
        };
        let weight = |_| {
            if of_inner {
                0.0
            } else {
                rng.random_range(-1.0..1.0)
            }
        };
        let weights: Vec<f64> = (0..cell.states()).map(weight).collect();
        let (state, saved, _) = point.forward(cell);
        for (name, values) in [("state", &state), ("saved", &saved)] {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                let what = format!("{name}[{index}]");
                let reason = format!("forward leaves {what} = {} at {point}", values[index]);
                return (f64::NAN, vec![sources.rust(reason)]);
            }
        }
        let got = gradients(cell, &point, &saved, &weights, d_inner);
        if cell.shared_gradient()
            && let Some(gate) = (0..cell.gates()).find(|gate| got[0][*gate] != got[1][*gate])
        {
            let reason = format!(
                "shared_gradient is true, but {function} gives d_x[{gate}] = {} and d_r[{gate}] = {} at {point}",
                got[0][gate], got[1][gate]
            );
            return (f64::NAN, vec![sources.rust(reason)]);
        }
        for (argument, got) in got.iter().enumerate() {
            for (index, got) in got.iter().enumerate() {
                let name = point.arguments()[argument].0;
                let moved = |by: f64| {
                    let mut moved = point.clone();
                    moved.arguments()[argument].1[index] += by;
                    moved.value(cell, &weights, d_inner)
                };
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let error = (got - expected).abs() / (1.0 + expected.abs());
                if error <= TOLERANCE {
                    worst = worst.max(error);
                    continue;
                }
                let what = format!("{name}[{index}]");
                let key = format!("{function} {what}");
                match off.iter_mut().find(|(known, ..)| *known == key) {
                    Some((_, times, _)) => *times += 1,
                    None => {
                        let given = if of_inner {
                            format!("gradient of v {d_inner:.3}")
                        } else {
                            format!("gradient of the new states {weights:.3?}")
                        };
                        let reason = format!(
                            "{function} gives {what} = {got:.6}, finite differences of {of} {expected:.6}, at {point}, {given}"
                        );
                        off.push((key, 1, sources.rust(reason)));
                    }
                }
            }
        }
    }
    let wrong = off.into_iter().filter(|(_, times, _)| *times > KINKS);
    (worst, wrong.map(|(_, _, fault)| fault).collect())
}
