//! The check of cells: what it accepts, and how it words what it rejects.

#[path = "common/mod.rs"]
mod common;
#[path = "cells/derived.rs"]
mod derived;
#[path = "cells/forward_only.rs"]
mod forward_only;
#[path = "cells/mgu.rs"]
mod mgu;

use bptt::Device;
use bptt::cell::{
    Activation, Backward, Cell, Forward, GruUnit, Inner, InnerBackward, Lanes, LstmUnit, RnnUnit,
    WgslSource,
};
use bptt::verify::check_cell;
use common::{devices, gpu};
use mgu::Mgu;

fn accepts(cell: &impl Cell) {
    let report =
        check_cell(cell, &devices()).unwrap_or_else(|faults| panic!("{cell:?}:\n{faults}"));
    assert!(report.derivatives < 1e-6, "{report}");
    assert_eq!(report.devices.len(), devices().len());
}

#[test]
fn accepts_the_cells_of_the_crate() {
    accepts(&RnnUnit::default());
    accepts(&LstmUnit::default());
    accepts(&GruUnit::default());
    accepts(&Mgu);
}

const ACTIVATIONS: [Activation; 11] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::HARD_SIGMOID,
    Activation::Softsign,
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::Elu { alpha: 0.7 },
    Activation::Affine {
        alpha: 0.8,
        beta: -0.1,
    },
    Activation::ScaledTanh {
        alpha: 1.3,
        beta: 0.7,
    },
    Activation::ThresholdedRelu { alpha: 0.2 },
    Activation::Softplus,
];

#[test]
fn accepts_every_activation_in_every_slot() {
    let derivatives = |cell: &dyn Fn(Activation, usize) -> LstmUnit, activation| {
        for slot in 0..5 {
            check_cell(&cell(activation, slot), &[Device::cpu()])
                .unwrap_or_else(|faults| panic!("{activation:?} in slot {slot}:\n{faults}"));
        }
    };
    let lstm = |activation, slot: usize| {
        let mut lstm = LstmUnit {
            peepholes: true,
            ..LstmUnit::default()
        };
        lstm.activations[slot] = activation;
        lstm
    };
    for activation in ACTIVATIONS {
        derivatives(&lstm, activation);
        accepts(&RnnUnit {
            activation,
            clip: None,
        });
    }
    // As many as there are slots at once, as every cell compiles shaders of its own.
    for first in [0, 5, 8] {
        let slots = |count: usize| (first..first + count).map(|index| ACTIVATIONS[index % 11]);
        let mut lstm = LstmUnit::default();
        let mut gru = GruUnit::default();
        lstm.activations
            .iter_mut()
            .zip(slots(5))
            .for_each(|(slot, a)| *slot = a);
        gru.activations
            .iter_mut()
            .zip(slots(3))
            .for_each(|(slot, a)| *slot = a);
        accepts(&lstm);
        accepts(&gru);
        accepts(&GruUnit {
            reset: bptt::cell::Reset::Before,
            ..gru
        });
    }
}

#[test]
fn accepts_clips_peepholes_and_coupled_gates() {
    for clip in [None, Some(0.9)] {
        for cell_clip in [None, Some(0.7)] {
            for (peepholes, input_forget) in [(true, false), (false, true), (true, true)] {
                accepts(&LstmUnit {
                    peepholes,
                    input_forget,
                    clip,
                    cell_clip,
                    ..LstmUnit::default()
                });
            }
        }
        accepts(&RnnUnit {
            clip,
            ..RnnUnit::default()
        });
        accepts(&GruUnit {
            clip,
            ..GruUnit::default()
        });
    }
}

/// The minimal gated unit with something wrong.
#[derive(Clone, Debug, Default)]
struct Broken {
    /// What of the WGSL is replaced by what.
    wgsl: Option<(&'static str, &'static str)>,
    backward: bool,
    inner_backward: bool,
    nan: bool,
    not_shared: bool,
    gates: Option<usize>,
}

impl Cell for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn gates(&self) -> usize {
        self.gates.unwrap_or(2)
    }
    fn early_gates(&self) -> usize {
        1
    }
    fn states(&self) -> usize {
        1
    }
    fn saved(&self) -> usize {
        3
    }
    fn shared_gradient(&self) -> bool {
        true
    }
    fn wgsl(&self) -> Option<WgslSource> {
        let source = bptt::wgsl!("tests/cells/mgu.wgsl");
        let Some((from, to)) = self.wgsl else {
            return Some(source);
        };
        assert!(source.text.contains(from), "{from}");
        Some(WgslSource {
            file: "tests/broken.wgsl",
            text: Box::leak(source.text.replace(from, to).into_boxed_str()),
            ..source
        })
    }
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        Mgu.inner(unit)
    }
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        if self.nan {
            unit.saved[2] = unit.x[0].constant(f64::NAN);
            return;
        }
        Mgu.forward(unit);
    }
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let (wrong, not_shared) = (self.backward, self.not_shared);
        let one = unit.saved[0].constant(1.0);
        let (forget, candidate, h_before) = (unit.saved[0], unit.saved[1], unit.saved[2]);
        let d_h = unit.d_state[0];
        unit.d_x[0] = d_h * (candidate - h_before) * forget * (one - forget);
        // The factor of tanh's derivative is left out where it is to be wrong.
        let slope = if wrong {
            one
        } else {
            one - candidate * candidate
        };
        unit.d_x[1] = d_h * forget * slope;
        unit.d_r.copy_from_slice(unit.d_x);
        if not_shared {
            unit.d_r[1] += one;
        }
        unit.d_state[0] = d_h * (one - forget);
    }
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        let (forget, h_before) = (unit.saved[0], unit.saved[2]);
        let sign = forget.constant(if self.inner_backward { -1.0 } else { 1.0 });
        let d_forget = unit.d_inner * h_before * forget * forget.complement();
        unit.d_x[0] += d_forget;
        unit.d_r[0] += d_forget;
        unit.d_state[0] += sign * unit.d_inner * forget;
    }
}

/// What the line of a fault of the Rust half says.
const WGSL_IS_NAMED: &str = "bptt::wgsl!";

/// The faults' text, which must name this file or the WGSL's, and the line that says `line`.
fn rejects(cell: &Broken, devices: &[Device], says: &[&str], line: &str) -> String {
    let faults = check_cell(cell, devices).expect_err("the cell is wrong");
    let text = faults.to_string();
    for word in says {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
    let fault = &faults.0[0];
    let source = if fault.file == "tests/cells.rs" {
        include_str!("cells.rs").to_owned()
    } else {
        assert_eq!(fault.file, cell.wgsl().unwrap().file, "{text}");
        cell.wgsl().unwrap().text.to_owned()
    };
    let found = source.lines().nth(fault.line - 1).unwrap();
    assert!(
        found.contains(line),
        "line {} is {found:?}, of:\n{text}",
        fault.line
    );
    text
}

#[test]
fn a_wrong_derivative_in_rust_is_named() {
    let cell = Broken {
        backward: true,
        ..Broken::default()
    };
    let says = [
        "tests/cells.rs:",
        "backward gives d_x[1] = ",
        "finite differences of forward",
    ];
    rejects(&cell, &[], &says, WGSL_IS_NAMED);
    let cell = Broken {
        inner_backward: true,
        ..Broken::default()
    };
    let says = [
        "inner_backward gives d_state[0] = ",
        "finite differences of inner",
    ];
    rejects(&cell, &[], &says, WGSL_IS_NAMED);
}

#[test]
fn a_nan_and_gradients_that_are_not_shared_are_named() {
    let nan = Broken {
        nan: true,
        ..Broken::default()
    };
    rejects(&nan, &[], &["forward leaves saved[0] = NaN"], WGSL_IS_NAMED);
    let not_shared = Broken {
        not_shared: true,
        ..Broken::default()
    };
    let says = ["shared_gradient is true, but backward gives d_x[1] = "];
    rejects(&not_shared, &[], &says, WGSL_IS_NAMED);
}

#[test]
fn counts_out_of_range_are_named() {
    let cell = Broken {
        gates: Some(9),
        ..Broken::default()
    };
    rejects(&cell, &[], &["gates is 9, not 1 to 8"], WGSL_IS_NAMED);
}

#[test]
fn a_wrong_function_in_wgsl_is_named() {
    let Some(gpu) = gpu() else { return };
    for (from, to, says, line) in [
        (
            "out.d_x[1] = d_h * forget * (1.0 - candidate * candidate);",
            "out.d_x[1] = d_h * forget;",
            "cell_backward gives d_x[1] = ",
            "fn cell_backward(",
        ),
        (
            "out.d_before[0] = d_h * (1.0 - forget);",
            "out.d_before[0] = d_h;",
            "cell_backward gives d_state[0] = ",
            "fn cell_backward(",
        ),
        (
            "let candidate = tanh_exact(in.x[1] + in.r[1]);",
            "let candidate = tanh_exact(in.x[1] - in.r[1]);",
            "cell_forward gives state[0] = ",
            "fn cell_forward",
        ),
        (
            "return sigmoid(in.x[0] + in.r[0]) * in.before[0];",
            "return sigmoid(in.x[0]) * in.before[0];",
            "cell_inner gives state[0] = ",
            "fn cell_inner(",
        ),
        (
            "out.d_before[0] = d_inner * forget;",
            "out.d_before[0] = 0.0;",
            "cell_inner_backward gives d_state[0] = ",
            "fn cell_inner_backward(",
        ),
    ] {
        let cell = Broken {
            wgsl: Some((from, to)),
            ..Broken::default()
        };
        let devices = [gpu.clone()];
        rejects(&cell, &devices, &[says, "the Rust half"], line);
    }
}

#[test]
fn wgsl_that_does_not_compile_is_named() {
    let Some(gpu) = gpu() else { return };
    for (from, to, says, line) in [
        (
            "let d_h = in.d_state[0];",
            "let d_h = in.d_stat[0];",
            "d_stat",
            "d_stat[0]",
        ),
        (
            "const SAVED: u32 = 3u;",
            "const SAVED: u32 = 4u;",
            "are not what the Rust half says",
            "const GATES",
        ),
        (
            "fn cell_backward(in",
            "fn cell_back(in",
            "cell_backward",
            "fn ",
        ),
    ] {
        let cell = Broken {
            wgsl: Some((from, to)),
            ..Broken::default()
        };
        let faults = check_cell(&cell, std::slice::from_ref(&gpu)).expect_err("the cell is wrong");
        let text = faults.to_string();
        assert!(text.contains(says), "{text}");
        let fault = &faults.0[0];
        let found = cell.wgsl().unwrap().text.lines().nth(fault.line - 1);
        // A function that is missing is missed where it is called.
        let own =
            fault.file == "tests/broken.wgsl" && found.is_some_and(|found| found.contains(line));
        assert!(own || says == "cell_backward", "{found:?}: {text}");
    }
}
