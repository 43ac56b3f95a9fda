//! WGSL of cells, recorded from their Rust halves.

use super::{Backward, Cell, Forward, Inner, InnerBackward};
use crate::expr::{Expr, Node, NodeId, Printer, Tape, literal};
use std::fmt::Write;

/// A function's arguments on a tape, by the names that WGSL has for them.
struct Arguments<'t> {
    tape: &'t Tape,
    names: Vec<String>,
}

impl<'t> Arguments<'t> {
    fn new(tape: &'t Tape) -> Self {
        Self {
            tape,
            names: vec![],
        }
    }

    fn take(&mut self, name: &str, count: usize) -> Vec<Expr<'t>> {
        let first = self.names.len();
        self.names
            .extend((0..count).map(|index| format!("{name}[{index}]")));
        (first..first + count)
            .map(|index| self.tape.operand(index))
            .collect()
    }

    /// The function with a signature that gives `result`, of the names of some values.
    fn function(
        &self,
        signature: &str,
        values: &[Expr<'_>],
        result: impl FnOnce(&[String]) -> String,
    ) -> String {
        let body = self.tape.finish(values, &[]);
        let mut text = format!("\nfn {signature} {{\n");
        let leaf = |node: &Node| match node {
            Node::Operand(index) => self.names[*index].clone(),
            Node::Number(index) => literal(body.numbers[*index]),
            node => unreachable!("a cell records no {node:?}"),
        };
        Printer::new(&body).print(&mut text, "    ", body.elements.iter().copied(), leaf);
        let names: Vec<_> = body
            .elements
            .iter()
            .map(|id: &NodeId| Printer::name(*id))
            .collect();
        writeln!(text, "    return {};\n}}", result(&names)).ok();
        text
    }
}

/// An array of WGSL; of one zero where it has no values.
fn array(len: &str, values: &[String]) -> String {
    let values = if values.is_empty() {
        "0.0".to_owned()
    } else {
        values.join(", ")
    };
    format!("array<f32, {len}>({values})")
}

fn gradients(values: &[String], gates: usize, states: usize) -> String {
    let (d_x, rest) = values.split_at(gates);
    let (d_r, rest) = rest.split_at(gates);
    let (d_before, d_diagonal) = rest.split_at(states);
    let slots = array("DIAGONAL_SLOTS", d_diagonal);
    let slots = if d_diagonal.is_empty() {
        "array<f32, DIAGONAL_SLOTS>()".to_owned()
    } else {
        slots
    };
    format!(
        "CellBackward({}, {}, {}, {slots})",
        array("GATES", d_x),
        array("GATES", d_r),
        array("STATES", d_before)
    )
}

/// The WGSL half of a cell, by the contract of `shaders/cell/contract.wgsl`.
pub(crate) fn wgsl(cell: &impl Cell) -> String {
    let (gates, early, states) = (cell.gates(), cell.early_gates(), cell.states());
    let mut text = format!(
        "const GATES: u32 = {gates}u;\nconst STATES: u32 = {states}u;\nconst SAVED: u32 = {}u;\n",
        cell.saved()
    );
    {
        let tape = Tape::new();
        let mut of = Arguments::new(&tape);
        let (x, r) = (of.take("in.x", gates), of.take("in.r", gates));
        let diagonal = of.take("in.diagonal", cell.diagonals());
        let mut state = of.take("in.before", states);
        let mut saved = vec![tape.constant(0.0); cell.saved()];
        cell.forward(Forward {
            x: &x,
            r: &r,
            diagonal: &diagonal,
            state: &mut state,
            saved: &mut saved,
        });
        text += &of.function(
            "cell_forward(in: CellIn) -> CellForward",
            &[state, saved].concat(),
            |values| {
                let (state, saved) = values.split_at(states);
                format!(
                    "CellForward({}, {})",
                    array("STATES", state),
                    array("SAVED", saved)
                )
            },
        );
    }
    {
        let tape = Tape::new();
        let mut of = Arguments::new(&tape);
        let saved = of.take("in.saved", cell.saved());
        let diagonal = of.take("in.diagonal", cell.diagonals());
        let mut d_state = of.take("in.d_state", states);
        let nothing = |count| vec![tape.constant(0.0); count];
        let (mut d_x, mut d_r) = (nothing(gates), nothing(gates));
        let mut d_diagonal = nothing(cell.diagonals());
        cell.backward(Backward {
            saved: &saved,
            diagonal: &diagonal,
            d_state: &mut d_state,
            d_x: &mut d_x,
            d_r: &mut d_r,
            d_diagonal: &mut d_diagonal,
        });
        let values = [d_x, d_r, d_state, d_diagonal].concat();
        let signature = "cell_backward(in: CellBackIn) -> CellBackward";
        text += &of.function(signature, &values, |values| {
            gradients(values, gates, states)
        });
    }
    if early == gates {
        return text;
    }
    let tape = Tape::new();
    let mut of = Arguments::new(&tape);
    let (x, r) = (of.take("in.x", gates), of.take("in.r", early));
    let state = of.take("in.before", states);
    let v = cell.inner(Inner {
        x: &x,
        r: &r,
        state: &state,
    });
    text += &of.function("cell_inner(in: CellIn) -> f32", &[v], |values| {
        values[0].clone()
    });

    let tape = Tape::new();
    let mut of = Arguments::new(&tape);
    let saved = of.take("saved", cell.saved());
    let d_inner = tape.operand(of.names.len());
    of.names.push("d_inner".to_owned());
    let nothing = |count| vec![tape.constant(0.0); count];
    let (mut d_x, mut d_r, mut d_state) = (nothing(gates), nothing(gates), nothing(states));
    cell.inner_backward(InnerBackward {
        saved: &saved,
        d_inner,
        d_state: &mut d_state,
        d_x: &mut d_x,
        d_r: &mut d_r,
    });
    let signature = "cell_inner_backward(saved: array<f32, SAVED>, d_inner: f32) -> CellBackward";
    let values = [d_x, d_r, d_state].concat();
    text + &of.function(signature, &values, |values| {
        gradients(values, gates, states)
    })
}
