//! The four forms of a generated kernel.

use super::split::Split;
use super::writer::{Generated, Source, Writer};
use crate::expr::{Fold, Node, NodeId, Printer};
use crate::program::{Pointwise, product};
use std::fmt::Write;

const INDEX: &str = "    let index = linear_workgroup(workgroup, workgroups) * 64u + local;\n";

/// Whether some nodes read an operand.
fn reads(of: &Pointwise, roots: &[NodeId]) -> impl Fn(usize) -> bool {
    let nodes: Vec<Node> = (of.body.needed(roots.iter().copied()).into_iter())
        .map(|id| of.body.nodes[id])
        .collect();
    move |operand| {
        let own = |node: &Node| matches!(node, Node::Operand(of) | Node::WholeOperand(of) if *of == operand);
        nodes.iter().any(own)
    }
}

fn no_statistic(_: usize) -> String {
    unreachable!("an element of a map or a sum uses no statistic")
}

/// An invocation an element.
pub(in crate::gpu) fn map(of: &Pointwise) -> Generated {
    let mut writer = Writer::new(of);
    writer.operands(reads(of, &of.body.elements));
    let len = writer.field("len", of.len());
    let mut main = format!("{INDEX}    if index >= {len} {{\n        return;\n    }}\n");
    writer.axes(&mut main, "    ", "index", 0..of.shape.len());
    elements(
        of,
        &mut writer,
        &mut Printer::new(&of.body),
        &mut main,
        "    ",
        no_statistic,
    );
    writer.finish("map", &main, false)
}

/// Computes and stores the elements.
fn elements(
    of: &Pointwise,
    writer: &mut Writer<'_>,
    printer: &mut Printer<'_>,
    main: &mut String,
    indent: &str,
    statistic: impl Fn(usize) -> String,
) {
    let outputs: Vec<_> = (of.elements.iter().enumerate())
        .map(|(index, view)| writer.output(&format!("e{index}"), view))
        .collect();
    let roots = of.body.elements.iter().copied();
    printer.print(main, indent, roots, |node| writer.leaf(node, &statistic));
    for (output, node) in outputs.iter().zip(&of.body.elements) {
        writeln!(main, "{indent}{output} = {};", Printer::name(*node)).ok();
    }
}

/// Computes and stores the results.
fn results(
    of: &Pointwise,
    writer: &mut Writer<'_>,
    printer: &mut Printer<'_>,
    main: &mut String,
    indent: &str,
    statistic: impl Fn(usize) -> String,
) {
    let outputs: Vec<_> = (of.results.iter().enumerate())
        .map(|(index, view)| writer.output(&format!("r{index}"), view))
        .collect();
    let roots = of.body.results.iter().copied();
    printer.print(main, indent, roots, |node| writer.leaf(node, &statistic));
    for (output, node) in outputs.iter().zip(&of.body.results) {
        writeln!(main, "{indent}{output} = {};", Printer::name(*node)).ok();
    }
}

/// A workgroup a row: each turn of statistics is a pass over the row, then its elements, then its results.
pub(in crate::gpu) fn row(of: &Pointwise) -> Generated {
    let mut writer = Writer::new(of);
    let body = &of.body;
    writer.operands(|_| true);
    let (kept, folded) = of.split_shape();
    let axis = kept.len();
    let rows = writer.field("rows", product(kept));
    let columns = writer.field("columns", product(folded));
    let mut main = format!(
        "    let group = linear_workgroup(workgroup, workgroups);\n    let live = group < {rows};\n    \
         let row = min(group, {rows} - 1u);\n    let columns = select(0u, {columns}, live);\n"
    );
    writer.axes(&mut main, "    ", "row", 0..axis);
    let statistic = |index: usize| format!("s{index}");
    let mut printer = Printer::new(body);
    let mut open = "    for (var place = local; place < columns; place += 64u) {\n".to_owned();
    writer.axes(&mut open, "        ", "place", axis..of.shape.len());
    for turn in body.turns() {
        for index in &turn {
            let start = match body.statistics[*index].0 {
                Fold::Sum => "0.0",
                Fold::Max => "LOWEST",
            };
            writeln!(main, "    var s{index} = {start};").ok();
        }
        main.push_str(&open);
        printer.forget();
        let roots = turn.iter().map(|index| body.statistics[*index].1);
        printer.print(&mut main, "        ", roots, |node| {
            writer.leaf(node, statistic)
        });
        for index in &turn {
            let (fold, node) = body.statistics[*index];
            let value = Printer::name(node);
            match fold {
                Fold::Sum => writeln!(main, "        s{index} += {value};").ok(),
                Fold::Max => writeln!(main, "        s{index} = max(s{index}, {value});").ok(),
            };
        }
        main.push_str("    }\n");
        for index in &turn {
            let fold = match body.statistics[*index].0 {
                Fold::Sum => "row_sum",
                Fold::Max => "row_max",
            };
            writeln!(main, "    s{index} = {fold}(local, s{index});").ok();
        }
    }
    if !of.elements.is_empty() {
        main.push_str(&open);
        printer.forget();
        elements(
            of,
            &mut writer,
            &mut printer,
            &mut main,
            "        ",
            statistic,
        );
        main.push_str("    }\n");
    }
    if !of.results.is_empty() {
        main.push_str("    if live && local == 0u {\n");
        for axis in axis..of.shape.len() {
            writeln!(main, "        let i{axis} = 0u;").ok();
        }
        printer.forget();
        results(
            of,
            &mut writer,
            &mut printer,
            &mut main,
            "        ",
            statistic,
        );
        main.push_str("    }\n");
    }
    writer.finish("row", &main, true)
}

/// An invocation a block of a row: every blocks-th of its elements. Where a row is one block it gives the results too.
pub(in crate::gpu) fn part(of: &Pointwise, split: &Split) -> Generated {
    let mut writer = Writer::new(of);
    let body = &of.body;
    let once = split.blocks == 1;
    let folded_nodes: Vec<_> = body.statistics.iter().map(|(_, node)| *node).collect();
    let mut roots = [&folded_nodes[..], &body.elements].concat();
    if once {
        roots.extend(&body.results);
    }
    writer.operands(reads(of, &roots));
    let (kept, folded) = of.split_shape();
    let axis = kept.len();
    let rows = writer.field("rows", split.rows);
    let blocks = writer.field("blocks", split.blocks);
    let len = writer.field("row_len", product(folded));
    let mut main = format!(
        "{INDEX}    if index >= {rows} * {blocks} {{\n        return;\n    }}\n    \
         let row = index % {rows};\n"
    );
    writer.axes(&mut main, "    ", "row", 0..axis);
    for index in 0..folded_nodes.len() {
        writeln!(main, "    var s{index} = 0.0;").ok();
    }
    writeln!(
        main,
        "    for (var place = index / {rows}; place < {len}; place += {blocks}) {{"
    )
    .ok();
    writer.axes(&mut main, "        ", "place", axis..of.shape.len());
    let mut printer = Printer::new(body);
    let roots = folded_nodes.iter().copied();
    printer.print(&mut main, "        ", roots, |node| {
        writer.leaf(node, no_statistic)
    });
    for (index, node) in folded_nodes.iter().enumerate() {
        writeln!(main, "        s{index} += {};", Printer::name(*node)).ok();
    }
    elements(
        of,
        &mut writer,
        &mut printer,
        &mut main,
        "        ",
        no_statistic,
    );
    main.push_str("    }\n");
    if once {
        printer.forget();
        main.push_str("    {\n");
        for axis in axis..of.shape.len() {
            writeln!(main, "        let i{axis} = 0u;").ok();
        }
        let statistic = |index: usize| format!("s{index}");
        results(
            of,
            &mut writer,
            &mut printer,
            &mut main,
            "        ",
            statistic,
        );
        main.push_str("    }\n");
    } else {
        let partial = writer.bind(Source::Partial, false, true);
        for index in 0..folded_nodes.len() {
            let at = format!("index + {index}u * {rows} * {blocks}");
            writeln!(main, "    {partial}[{at}] = s{index};").ok();
        }
    }
    writer.finish("reduce", &main, false)
}

/// The blocks' sums added up, by an invocation a row or (where there are many blocks) a workgroup a row, then the results.
pub(in crate::gpu) fn finish(of: &Pointwise, split: &Split) -> Generated {
    let mut writer = Writer::new(of);
    let body = &of.body;
    writer.operands(reads(of, &body.results));
    let axis = of.split_shape().0.len();
    let rows = writer.field("rows", split.rows);
    let blocks = writer.field("blocks", split.blocks);
    let partial = writer.bind(Source::Partial, false, false);
    let mut main = match split.by_workgroup {
        true => format!(
            "    let group = linear_workgroup(workgroup, workgroups);\n    let live = group < {rows};\n    \
             let row = min(group, {rows} - 1u);\n"
        ),
        false => format!(
            "{INDEX}    if index >= {rows} {{\n        return;\n    }}\n    let row = index;\n"
        ),
    };
    let (start, step) = match split.by_workgroup {
        true => ("local", "64u"),
        false => ("0u", "1u"),
    };
    for index in 0..body.statistics.len() {
        write!(
            main,
            "    var s{index} = 0.0;\n    \
             for (var block = {start}; block < {blocks}; block += {step}) {{\n        \
             s{index} += {partial}[block * {rows} + row + {index}u * {rows} * {blocks}];\n    }}\n"
        )
        .ok();
        if split.by_workgroup {
            writeln!(main, "    s{index} = row_sum(local, s{index});").ok();
        }
    }
    main.push_str(match split.by_workgroup {
        true => "    if live && local == 0u {\n",
        false => "    {\n",
    });
    writer.axes(&mut main, "        ", "row", 0..axis);
    for axis in axis..of.shape.len() {
        writeln!(main, "        let i{axis} = 0u;").ok();
    }
    let statistic = |index: usize| format!("s{index}");
    let mut printer = Printer::new(body);
    results(
        of,
        &mut writer,
        &mut printer,
        &mut main,
        "        ",
        statistic,
    );
    main.push_str("    }\n");
    writer.finish("reduce_finish", &main, split.by_workgroup)
}
