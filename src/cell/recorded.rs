//! WGSL of cells, recorded from their Rust halves.

use super::{Backward, Cell, Forward, Inner, InnerBackward};
use crate::expr::{Expr, Node, NodeId, Printer, Tape, literal};
use std::fmt::Write;

/// An array of WGSL, of zeros where it has no values.
fn array(len: &str, values: &[String]) -> String {
    format!("array<f32, {len}>({})", values.join(", "))
}

fn gradients(values: &[String], gates: usize, states: usize) -> String {
    let (d_x, rest) = values.split_at(gates);
    let (d_r, rest) = rest.split_at(gates);
    let (d_before, d_diagonal) = rest.split_at(states);
    format!(
        "CellBackward({}, {}, {}, {})",
        array("GATES", d_x),
        array("GATES", d_r),
        array("STATES", d_before),
        array("DIAGONAL_SLOTS", d_diagonal)
    )
}

/// The WGSL half of a cell, by the contract of `shaders/cell/contract.wgsl`.
pub(crate) fn wgsl(cell: &impl Cell) -> String {
    let (gates, early, states) = (cell.gates(), cell.early_gates(), cell.states());
    let (kept, diagonals) = (cell.saved(), cell.diagonals());
    let mut text = format!(
        "const GATES: u32 = {gates}u;\nconst STATES: u32 = {states}u;\nconst SAVED: u32 = {kept}u;\n"
    );

    // The functions' arguments, by the names that WGSL has for them.
    let tape = Tape::new();
    let mut names = vec![];
    let mut arguments = |name: &str, count: usize| -> Vec<Expr<'_>> {
        let first = names.len();
        names.extend((0..count).map(|index| format!("{name}[{index}]")));
        (first..first + count)
            .map(|index| tape.operand(index))
            .collect()
    };
    let (x, r) = (arguments("in.x", gates), arguments("in.r", gates));
    let diagonal = arguments("in.diagonal", diagonals);
    let before = arguments("in.before", states);
    let (saved, d_after) = (arguments("in.saved", kept), arguments("in.d_state", states));
    let alone = arguments("saved", kept);
    let d_inner = tape.operand(names.len());
    names.push("d_inner".to_owned());

    // A function with a signature that gives `result`, of the names of some values.
    let function = |signature: &str, values: &[Expr<'_>], result: &dyn Fn(&[String]) -> String| {
        let body = tape.finish(values, &[]);
        let mut text = format!("\nfn {signature} {{\n");
        let leaf = |node: &Node| match node {
            Node::Operand(index) => names[*index].clone(),
            Node::Number(index) => literal(body.numbers[*index]),
            node => unreachable!("a cell records no {node:?}"),
        };
        Printer::new(&body).print(&mut text, "    ", body.elements.iter().copied(), leaf);
        let name = |id: &NodeId| Printer::name(*id);
        let values: Vec<_> = body.elements.iter().map(name).collect();
        writeln!(text, "    return {};\n}}", result(&values)).ok();
        text
    };
    let zeros = |count| vec![tape.constant(0.0); count];
    let gradients = |values: &[String]| gradients(values, gates, states);

    let (mut after, mut kept) = (before.clone(), zeros(kept));
    cell.forward(Forward {
        x: &x,
        r: &r,
        diagonal: &diagonal,
        state: &mut after,
        saved: &mut kept,
    });
    let signature = "cell_forward(in: CellIn) -> CellForward";
    text += &function(signature, &[after, kept].concat(), &|values| {
        let (state, saved) = values.split_at(states);
        let (state, saved) = (array("STATES", state), array("SAVED", saved));
        format!("CellForward({state}, {saved})")
    });

    let (mut d_state, mut d_diagonal) = (d_after, zeros(diagonals));
    let (mut d_x, mut d_r) = (zeros(gates), zeros(gates));
    cell.backward(Backward {
        saved: &saved,
        diagonal: &diagonal,
        d_state: &mut d_state,
        d_x: &mut d_x,
        d_r: &mut d_r,
        d_diagonal: &mut d_diagonal,
    });
    let values = [d_x, d_r, d_state, d_diagonal].concat();
    text += &function(
        "cell_backward(in: CellBackIn) -> CellBackward",
        &values,
        &gradients,
    );
    if early == gates {
        return text;
    }

    let (r, state) = (&r[..early], &before[..]);
    let v = cell.inner(Inner { x: &x, r, state });
    text += &function("cell_inner(in: CellIn) -> f32", &[v], &|values| {
        values[0].clone()
    });

    let (mut d_x, mut d_r, mut d_state) = (zeros(gates), zeros(gates), zeros(states));
    cell.inner_backward(InnerBackward {
        saved: &alone,
        d_inner,
        d_state: &mut d_state,
        d_x: &mut d_x,
        d_r: &mut d_r,
    });
    let signature = "cell_inner_backward(saved: array<f32, SAVED>, d_inner: f32) -> CellBackward";
    text + &function(signature, &[d_x, d_r, d_state].concat(), &gradients)
}
