//! The four forms of a generated kernel.

use super::header::Generated;
use super::split::Split;
use super::writer::Writer;
use crate::expr::{Fold, NodeId, Printer};
use crate::gpu::ops::GROUP;
use crate::program::{Pointwise, product};
use std::ops::Range;

/// The nodes that statistics fold.
fn folded_nodes(of: &Pointwise) -> Vec<NodeId> {
    of.body.statistics.iter().map(|(_, node)| *node).collect()
}

/// Numbers that are added one after the other, before their sum is added to the others' with what rounding takes from it.
const TOGETHER: usize = 16;

/// A loop in which an invocation adds numbers up.
struct Rounds<'a> {
    variable: &'a str,
    first: &'a str,
    end: &'a str,
    step: &'a str,
    /// How many rounds it has at most.
    count: usize,
}

impl Rounds<'_> {
    /// Adds up what `each` computes in a round, in `s{index}` each.
    ///
    /// Many numbers in two levels: a sum of millions is right to some roundings (Kahan, 1965).
    fn sums(
        &self,
        writer: &mut Writer<'_>,
        indices: Range<usize>,
        each: impl Fn(&mut Writer<'_>) -> Vec<String>,
    ) {
        let Self {
            variable,
            first,
            end,
            step,
            count,
        } = *self;
        let inner = |writer: &mut Writer<'_>, sum: &str, (first, end): (&str, &str)| {
            writer.open(format_args!(
                "for (var {variable} = {first}; {variable} < {end}; {variable} += {step}) "
            ));
            for (index, value) in indices.clone().zip(each(writer)) {
                writer.line(format_args!("{sum}{index} += {value};"));
            }
            writer.close();
        };
        let zeros = |writer: &mut Writer<'_>, names: &[&str]| {
            for (index, name) in indices
                .clone()
                .flat_map(|index| names.iter().map(move |name| (index, name)))
            {
                writer.line(format_args!("var {name}{index} = 0.0;"));
            }
        };
        if count <= 2 * TOGETHER {
            zeros(writer, &["s"]);
            return inner(writer, "s", (first, end));
        }
        zeros(writer, &["s", "rest"]);
        writer.open(format_args!(
            "for (var start = {first}; start < {end}; start += {TOGETHER}u * {step}) "
        ));
        zeros(writer, &["few"]);
        writer.line(format_args!(
            "let stop = min({end}, start + {TOGETHER}u * {step});"
        ));
        inner(writer, "few", ("start", "stop"));
        for index in indices {
            writer.line(format_args!(
                "few{index} = stored(few{index} + rest{index});"
            ));
            writer.line(format_args!(
                "let sum{index} = stored(s{index} + few{index});"
            ));
            // An infinite sum leaves no remainder.
            writer.line(format_args!(
                "rest{index} = select(0.0, few{index} - stored(sum{index} - s{index}), finite(sum{index}) > 0.0);"
            ));
            writer.line(format_args!("s{index} = sum{index};"));
        }
        writer.close();
    }
}

/// An invocation an element.
pub(in crate::gpu) fn map(of: &Pointwise) -> Generated {
    let mut writer = Writer::new(of, &[&of.body.elements]);
    let len = writer.field("len", of.len());
    writer.line(format_args!("if index >= {len} {{ return; }}"));
    writer.axes("index", 0..of.shape.len());
    writer.store("e", &of.elements, &of.body.elements);
    writer.finish("map", false)
}

/// A workgroup a row: each turn of statistics is a pass over the row, then its elements, then its results.
pub(in crate::gpu) fn row(of: &Pointwise) -> Generated {
    let body = &of.body;
    let mut writer = Writer::new(of, &[&folded_nodes(of), &body.elements, &body.results]);
    let (kept, folded) = of.split_shape();
    let axis = kept.len();
    let rows = writer.field("rows", product(kept));
    let columns = writer.field("columns", product(folded));
    writer.line(format_args!("let live = group < {rows};"));
    writer.line(format_args!("let row = min(group, {rows} - 1u);"));
    writer.line(format_args!("let columns = select(0u, {columns}, live);"));
    writer.axes("row", 0..axis);
    let each_place = |writer: &mut Writer<'_>| {
        writer.open("for (var place = local; place < columns; place += 64u) ");
        writer.axes("place", axis..of.shape.len());
    };
    for turn in body.turns() {
        for index in &turn {
            let start = match body.statistics[*index].0 {
                Fold::Sum => "0.0",
                Fold::Max => "LOWEST",
            };
            writer.line(format_args!("var s{index} = {start};"));
        }
        each_place(&mut writer);
        writer.compute(turn.iter().map(|index| body.statistics[*index].1));
        for index in &turn {
            let (fold, node) = body.statistics[*index];
            let value = Printer::name(node);
            match fold {
                Fold::Sum => writer.line(format_args!("s{index} += {value};")),
                Fold::Max => {
                    writer.line(format_args!("s{index} = larger(s{index}, {value});"));
                }
            }
        }
        writer.close();
        for index in &turn {
            let fold = match body.statistics[*index].0 {
                Fold::Sum => "row_sum",
                Fold::Max => "row_max",
            };
            writer.line(format_args!("s{index} = {fold}(local, s{index});"));
        }
    }
    if !of.elements.is_empty() {
        each_place(&mut writer);
        writer.store("e", &of.elements, &body.elements);
        writer.close();
    }
    if !of.results.is_empty() {
        writer.open("if live && local == 0u ");
        writer.no_place();
        writer.store("r", &of.results, &body.results);
        writer.close();
    }
    writer.finish("row", true)
}

/// An invocation a block of a row: every blocks-th of its elements. Where a row is one block it gives the results too.
pub(in crate::gpu) fn part(of: &Pointwise, split: &Split) -> Generated {
    let body = &of.body;
    let once = split.blocks == 1;
    let folded = folded_nodes(of);
    let results: &[_] = if once { &body.results } else { &[] };
    let mut writer = Writer::new(of, &[&folded, &body.elements, results]);
    let axis = of.split_shape().0.len();
    let rows = writer.field("rows", split.rows);
    let len = writer.field("row_len", product(of.split_shape().1));
    // Sizes that are 1 are no parameters.
    let (all, row, first, step) = if once {
        (rows, "index".to_owned(), "0u".to_owned(), "1u".to_owned())
    } else {
        let blocks = writer.field("blocks", split.blocks);
        let (row, first) = (format!("index % {rows}"), format!("index / {rows}"));
        (format!("{rows} * {blocks}"), row, first, blocks)
    };
    writer.line(format_args!("if index >= {all} {{ return; }}"));
    writer.line(format_args!("let row = {row};"));
    writer.axes("row", 0..axis);
    let rounds = Rounds {
        variable: "place",
        first: &first,
        end: &len,
        step: &step,
        count: product(of.split_shape().1).div_ceil(split.blocks),
    };
    rounds.sums(&mut writer, 0..folded.len(), |writer| {
        writer.axes("place", axis..of.shape.len());
        writer.compute(folded.iter().copied());
        writer.store("e", &of.elements, &body.elements);
        folded.iter().map(|node| Printer::name(*node)).collect()
    });
    if once {
        writer.open("");
        writer.no_place();
        writer.store("r", &of.results, &body.results);
        writer.close();
    } else {
        let partial = writer.partial(true);
        for index in 0..folded.len() {
            writer.line(format_args!(
                "{partial}[index + {index}u * {all}] = s{index};"
            ));
        }
    }
    writer.finish("reduce", false)
}

/// The blocks' sums added up, by an invocation a row or (where there are many blocks) a workgroup a row, then the results.
pub(in crate::gpu) fn finish(of: &Pointwise, split: &Split) -> Generated {
    let body = &of.body;
    let mut writer = Writer::new(of, &[&body.results]);
    let rows = writer.field("rows", split.rows);
    let blocks = writer.field("blocks", split.blocks);
    let partial = writer.partial(false);
    let (first, step) = if split.by_workgroup {
        writer.line(format_args!("let row = min(group, {rows} - 1u);"));
        ("local", "64u")
    } else {
        writer.line(format_args!("if index >= {rows} {{ return; }}"));
        writer.line("let row = index;");
        ("0u", "1u")
    };
    let rounds = Rounds {
        variable: "block",
        first,
        end: &blocks,
        step,
        count: split
            .blocks
            .div_ceil(if split.by_workgroup { GROUP } else { 1 }),
    };
    for index in 0..body.statistics.len() {
        rounds.sums(&mut writer, index..index + 1, |_| {
            vec![format!(
                "{partial}[block * {rows} + row + {index}u * {rows} * {blocks}]"
            )]
        });
        if split.by_workgroup {
            writer.line(format_args!("s{index} = row_sum(local, s{index});"));
        }
    }
    writer.open(match split.by_workgroup {
        true => format!("if group < {rows} && local == 0u "),
        false => String::new(),
    });
    writer.axes("row", 0..of.split_shape().0.len());
    writer.no_place();
    writer.store("r", &of.results, &body.results);
    writer.close();
    writer.finish("reduce_finish", split.by_workgroup)
}
