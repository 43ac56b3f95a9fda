//! The text of a generated kernel, written together with its parameters and bindings, so that they agree.

use super::header::{Generated, Header, Source};
use crate::expr::{Node, NodeId, Printer};
use crate::gpu::compose::{EACH_INVOCATION, FUNCTIONS, PHILOX, ROW, concatenate};
use crate::program::{Operand, Pointwise, TensorId, View};
use std::fmt::Display;
use std::ops::Range;

/// A number by way of its bits and a parameter, so that a compiler that takes floats for real numbers cannot compute past it.
const STORED: &str =
    "fn stored(x: f32) -> f32 {\n    return bitcast<f32>(bitcast<u32>(x) ^ params.zero);\n}\n";

/// Whether a number is finite by its bits, which a compiler that knows no NaN cannot decide.
const FINITE: &str = "fn finite(x: f32) -> f32 {\n    let exponent = (bitcast<u32>(x) ^ params.zero) & 0x7f800000u;\n    \
     return select(1.0, 0.0, exponent == 0x7f800000u);\n}\n";

/// What views that lie alike have in common.
#[derive(Clone, Copy, PartialEq)]
enum Shared {
    Offset(TensorId, usize),
    Stride { axis: usize, stride: usize },
}

/// A kernel under way.
pub(super) struct Writer<'a> {
    of: &'a Pointwise,
    header: Header,
    /// The text of each operand at the element of the axes' variables `i0`, `i1` …
    operands: Vec<String>,
    /// The parameters that several views share.
    shared: Vec<(Shared, String)>,
    printer: Printer<'a>,
    main: String,
    /// How many blocks are open.
    depth: usize,
}

impl<'a> Writer<'a> {
    /// A kernel that computes some of the body's nodes.
    pub(super) fn new(of: &'a Pointwise, roots: &[&[NodeId]]) -> Self {
        let mut writer = Self {
            of,
            header: Header::default(),
            operands: vec![],
            shared: vec![],
            printer: Printer::new(&of.body),
            main: String::new(),
            depth: 1,
        };
        for (index, number) in of.body.numbers.iter().enumerate() {
            writer.header.number(&format!("n{index}"), *number as f32);
        }
        for (index, whole) in of.body.wholes.iter().enumerate() {
            writer.field(&format!("w{index}"), *whole as usize);
        }
        let mut reads = vec![false; of.operands.len()];
        for id in of.body.needed(roots.iter().copied().flatten().copied()) {
            if let Node::Operand(index) | Node::WholeOperand(index) = of.body.nodes[id] {
                reads[index] = true;
            }
        }
        for (index, operand) in of.operands.iter().enumerate() {
            let text = reads[index].then(|| writer.operand(index, operand));
            writer.operands.push(text.unwrap_or_default());
        }
        writer
    }

    /// A parameter, as the text that reads it.
    pub(super) fn field(&mut self, name: &str, value: usize) -> String {
        self.header.field(name, value)
    }

    /// The variable of the partial sums.
    pub(super) fn partial(&mut self, writes: bool) -> String {
        self.header.bind(Source::Partial, false, writes)
    }

    fn tensor(&mut self, view: &View, whole: bool) -> String {
        let mut outputs = self.of.elements.iter().chain(&self.of.results);
        let writes = outputs.any(|output| output.tensor == view.tensor);
        self.header.bind(Source::Tensor(view.tensor), whole, writes)
    }

    /// A parameter that may be there already, as the text that reads it.
    fn shared(&mut self, what: Shared, name: &str) -> String {
        if let Some((_, known)) = self.shared.iter().find(|(known, _)| *known == what) {
            return known.clone();
        }
        let (Shared::Offset(_, value) | Shared::Stride { stride: value, .. }) = what;
        let field = self.field(name, value);
        self.shared.push((what, field.clone()));
        field
    }

    /// Where an element is, behind the text of an offset: what each axis adds. Strides of 0 and 1 are part of the text.
    fn at(&mut self, mut text: String, name: &str, strides: &[usize]) -> String {
        for (axis, &stride) in strides.iter().enumerate() {
            match stride {
                0 => {}
                1 => text.push_str(&format!(" + i{axis}")),
                _ => {
                    let what = Shared::Stride { axis, stride };
                    let stride = self.shared(what, &format!("{name}_{axis}"));
                    text.push_str(&format!(" + i{axis} * {stride}"));
                }
            }
        }
        text
    }

    fn at_view(&mut self, name: &str, view: &View) -> String {
        let offset = self.shared(Shared::Offset(view.tensor, view.offset), name);
        self.at(offset, name, &view.strides)
    }

    fn at_place(&mut self, name: &str, offset: usize, strides: &[usize]) -> String {
        let offset = match offset {
            0 => "0u".to_owned(),
            _ => self.field(name, offset),
        };
        self.at(offset, name, strides)
    }

    fn operand(&mut self, index: usize, operand: &Operand) -> String {
        let name = format!("o{index}");
        match operand {
            Operand::Float(view) | Operand::Whole(view) => {
                let tensor = self.tensor(view, matches!(operand, Operand::Whole(_)));
                format!("{tensor}[{}]", self.at_view(&name, view))
            }
            Operand::Position { offset, strides } => {
                format!("({})", self.at_place(&name, *offset, strides))
            }
            Operand::Random {
                rng,
                site,
                offset,
                strides,
            } => {
                let tensor = self.header.bind(Source::Tensor(rng.tensor), true, false);
                let at = self.at_place(&name, *offset, strides);
                let site = self.field(&format!("{name}_site"), *site as usize);
                let rng = self.field(&format!("{name}_rng"), rng.offset);
                let words = |n: usize| {
                    format!(
                        "vec2<u32>({tensor}[{rng} + {n}u], {tensor}[{rng} + {}u])",
                        n + 1
                    )
                };
                format!("random_word({at}, {site}, {}, {})", words(0), words(2))
            }
            Operand::Gather {
                view,
                index,
                shift,
                stride,
                len,
            } => {
                let table = self.tensor(view, false);
                let indices = self.tensor(index, true);
                let at = self.at_view(&name, view);
                let place = self.at_view(&format!("{name}_index"), index);
                let shift = self.field(&format!("{name}_shift"), *shift as usize);
                let step = match stride {
                    1 => String::new(),
                    stride => format!(" * {}", self.field(&format!("{name}_step"), *stride)),
                };
                let last = self.field(&format!("{name}_last"), len - 1);
                let row = format!("({indices}[{place}] - {shift})");
                format!("select(0.0, {table}[{at} + min({row}, {last}){step}], {row} <= {last})")
            }
        }
    }

    /// A line of the kernel.
    pub(super) fn line(&mut self, text: impl Display) {
        self.main
            .push_str(&format!("{:1$}{text}\n", "", 4 * self.depth));
    }

    /// A line that opens a block, in which nothing is computed yet.
    pub(super) fn open(&mut self, text: impl Display) {
        self.line(format_args!("{text}{{"));
        self.depth += 1;
        self.printer.forget();
    }

    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    /// The axes' variables from a linear index.
    pub(super) fn axes(&mut self, index: &str, axes: Range<usize>) {
        let mut rest = index.to_owned();
        for axis in axes.clone().rev() {
            if axis == axes.start {
                self.line(format_args!("let i{axis} = {rest};"));
            } else {
                let size = self.field(&format!("size_{axis}"), self.of.shape[axis]);
                self.line(format_args!("let i{axis} = {rest} % {size};"));
                rest = format!("({rest} / {size})");
            }
        }
    }

    /// The variables of the axes that form a row, where there is no element.
    pub(super) fn no_place(&mut self) {
        for axis in self.of.split_shape().0.len()..self.of.shape.len() {
            self.line(format_args!("let i{axis} = 0u;"));
        }
    }

    /// Computes nodes, whose values have names then.
    pub(super) fn compute(&mut self, roots: impl IntoIterator<Item = NodeId>) {
        let operands = &self.operands;
        let leaf = |node: &Node| match node {
            Node::Operand(index) | Node::WholeOperand(index) => operands[*index].clone(),
            Node::Statistic(index) => format!("s{index}"),
            Node::Number(index) => format!("params.n{index}"),
            Node::Whole(index) => format!("params.w{index}"),
            _ => unreachable!("other nodes are no leaves"),
        };
        let indent = " ".repeat(4 * self.depth);
        self.printer.print(&mut self.main, &indent, roots, leaf);
    }

    /// Computes nodes and stores them, each in a view at the element of the axes' variables.
    pub(super) fn store(&mut self, name: &str, views: &[View], nodes: &[NodeId]) {
        self.compute(nodes.iter().copied());
        for (index, (view, node)) in views.iter().zip(nodes).enumerate() {
            let tensor = self.tensor(view, false);
            let at = self.at_view(&format!("{name}{index}"), view);
            self.line(format_args!("{tensor}[{at}] = {};", Printer::name(*node)));
        }
    }

    /// Ends a kernel, `by_group` where a workgroup works on a row.
    pub(super) fn finish(mut self, family: &str, by_group: bool) -> Generated {
        let main = self.main;
        let (entry, signature) = match by_group {
            true => (ROW, "each_group(group: u32, local: u32)"),
            false => (EACH_INVOCATION, "each_invocation(index: u32)"),
        };
        let mut libraries = vec![entry];
        let calls = |function: &str| main.contains(function);
        // What is not called costs a driver time too; a row's own functions call some.
        let defined = FUNCTIONS.text.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
            Some(format!("{name}("))
        });
        if by_group || defined.into_iter().any(|name| calls(&name)) {
            libraries.push(FUNCTIONS);
        }
        if calls("random_word(") {
            libraries.push(PHILOX);
        }
        let mut bits = String::new();
        for (name, function) in [("stored(", STORED), ("finite(", FINITE)] {
            if calls(name) {
                self.header.field("zero", 0);
                bits.push_str(function);
            }
        }
        let text = format!(
            "// {family} {}: generated from an expression.\n{}{bits}fn {signature} {{\n{main}}}\n",
            self.of.name,
            self.header.text(),
        );
        let name = format!("{family}.{}", self.of.name);
        self.header.finish(concatenate(name, &text, &libraries))
    }
}
