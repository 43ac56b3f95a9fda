//! The text of a generated kernel, written together with its parameters and bindings, so that they agree.

use crate::expr::Node;
use crate::gpu::compose::{FUNCTIONS, INDEX, PHILOX, ROW, Shader, concatenate};
use crate::program::{Operand, Pointwise, TensorId, View};
use std::fmt::Write;

/// What a binding of a generated kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::gpu) enum Source {
    /// A tensor of the program.
    Tensor(TensorId),
    /// The partial sums of a reduction.
    Partial,
}

/// A binding of a generated kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gpu) struct Bound {
    pub(in crate::gpu) source: Source,
    /// Whether it is read as whole numbers.
    pub(super) whole: bool,
    pub(in crate::gpu) writes: bool,
}

/// A generated kernel with the parameters of one dispatch.
#[derive(Debug)]
pub(in crate::gpu) struct Generated {
    pub(in crate::gpu) shader: Shader,
    /// The words of its parameters.
    pub(in crate::gpu) params: Vec<u32>,
    pub(in crate::gpu) bindings: Vec<Bound>,
}

/// A kernel under way.
pub(super) struct Writer<'a> {
    of: &'a Pointwise,
    fields: String,
    params: Vec<u32>,
    bindings: Vec<Bound>,
    /// The text of each operand at the element of the axes' variables `i0`, `i1` …
    operands: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(of: &'a Pointwise) -> Self {
        let mut writer = Self {
            of,
            fields: String::new(),
            params: vec![],
            bindings: vec![],
            operands: vec![],
        };
        for (index, number) in of.body.numbers.iter().enumerate() {
            writer.fields.push_str(&format!("    n{index}: f32,\n"));
            writer.params.push((*number as f32).to_bits());
        }
        for (index, whole) in of.body.wholes.iter().enumerate() {
            writer.field(&format!("w{index}"), *whole as usize);
        }
        writer
    }

    /// A parameter, as the text that reads it.
    pub(super) fn field(&mut self, name: &str, value: usize) -> String {
        writeln!(self.fields, "    {name}: u32,").ok();
        self.params.push(value as u32);
        format!("params.{name}")
    }

    /// The variable of a binding.
    pub(super) fn binding(&mut self, source: Source, whole: bool) -> String {
        let writes = match source {
            Source::Tensor(id) => {
                let outputs = self.of.elements.iter().chain(&self.of.results);
                outputs.into_iter().any(|output| output.tensor == id)
            }
            Source::Partial => false,
        };
        self.bind(source, whole, writes)
    }

    pub(super) fn bind(&mut self, source: Source, whole: bool, writes: bool) -> String {
        let known =
            (self.bindings.iter()).position(|bound| bound.source == source && bound.whole == whole);
        let index = known.unwrap_or_else(|| {
            self.bindings.push(Bound {
                source,
                whole,
                writes,
            });
            self.bindings.len() - 1
        });
        format!("t{index}")
    }

    /// Where an element is: an offset and what each axis adds. Strides of 0 and 1 are part of the text.
    fn at(&mut self, name: &str, offset: usize, strides: &[usize]) -> String {
        let mut text = self.field(name, offset);
        for (axis, stride) in strides.iter().enumerate() {
            match stride {
                0 => {}
                1 => text.push_str(&format!(" + i{axis}")),
                stride => {
                    let stride = self.field(&format!("{name}_{axis}"), *stride);
                    text.push_str(&format!(" + i{axis} * {stride}"));
                }
            }
        }
        text
    }

    /// Declares the operands that some nodes read, of which `reads` tells.
    pub(super) fn operands(&mut self, reads: impl Fn(usize) -> bool) {
        for (index, operand) in self.of.operands.iter().enumerate() {
            let text = if reads(index) {
                self.operand(index, operand)
            } else {
                String::new()
            };
            self.operands.push(text);
        }
    }

    fn operand(&mut self, index: usize, operand: &Operand) -> String {
        let name = format!("o{index}");
        match operand {
            Operand::Float(view) | Operand::Whole(view) => {
                let whole = matches!(operand, Operand::Whole(_));
                let tensor = self.binding(Source::Tensor(view.tensor), whole);
                let at = self.at(&name, view.offset, &view.strides);
                format!("{tensor}[{at}]")
            }
            Operand::Position { offset, strides } => {
                let at = self.at(&name, *offset, strides);
                format!("({at})")
            }
            Operand::Random {
                rng,
                site,
                offset,
                strides,
            } => {
                let tensor = self.binding(Source::Tensor(rng.tensor), true);
                let at = self.at(&name, *offset, strides);
                let site = self.field(&format!("{name}_site"), *site as usize);
                let rng = self.field(&format!("{name}_rng"), rng.offset);
                let word = |n: usize| format!("{tensor}[{rng} + {n}u]");
                let (seed, step) = ((word(0), word(1)), (word(2), word(3)));
                format!(
                    "random_word({at}, {site}, vec2<u32>({}, {}), vec2<u32>({}, {}))",
                    seed.0, seed.1, step.0, step.1
                )
            }
            Operand::Gather {
                view,
                index,
                shift,
                stride,
                len,
            } => {
                let table = self.binding(Source::Tensor(view.tensor), false);
                let indices = self.binding(Source::Tensor(index.tensor), true);
                let at = self.at(&name, view.offset, &view.strides);
                let place = self.at(&format!("{name}_index"), index.offset, &index.strides);
                let shift = self.field(&format!("{name}_shift"), *shift as usize);
                let step = self.field(&format!("{name}_step"), *stride);
                let last = self.field(&format!("{name}_last"), len - 1);
                let row = format!("({indices}[{place}] - {shift})");
                format!("select(0.0, {table}[{at} + min({row}, {last}) * {step}], {row} <= {last})")
            }
        }
    }

    /// The text of a leaf of the body. `statistic`: that of a statistic.
    pub(super) fn leaf(&self, node: &Node, statistic: impl Fn(usize) -> String) -> String {
        match node {
            Node::Operand(index) | Node::WholeOperand(index) => self.operands[*index].clone(),
            Node::Statistic(index) => statistic(*index),
            Node::Number(index) => format!("params.n{index}"),
            Node::Whole(index) => format!("params.w{index}"),
            _ => unreachable!("other nodes are no leaves"),
        }
    }

    /// The variable that an output is stored in, at the element of the axes' variables.
    pub(super) fn output(&mut self, name: &str, view: &View) -> String {
        let tensor = self.bind(Source::Tensor(view.tensor), false, true);
        let at = self.at(name, view.offset, &view.strides);
        format!("{tensor}[{at}]")
    }

    /// Statements that give the axes' variables from a linear index, which they use up.
    pub(super) fn axes(
        &mut self,
        text: &mut String,
        indent: &str,
        index: &str,
        axes: std::ops::Range<usize>,
    ) {
        if axes.len() == 1 {
            writeln!(text, "{indent}let i{} = {index};", axes.start).ok();
            return;
        }
        let mut rest = index.to_owned();
        for axis in axes.clone().rev() {
            if axis == axes.start {
                writeln!(text, "{indent}let i{axis} = {rest};").ok();
                continue;
            }
            let size = match self.fields.contains(&format!(" size_{axis}:")) {
                true => format!("params.size_{axis}"),
                false => self.field(&format!("size_{axis}"), self.of.shape[axis]),
            };
            writeln!(text, "{indent}let i{axis} = {rest} % {size};").ok();
            rest = format!("({rest} / {size})");
        }
    }

    /// Ends with the body of `main`, which has `workgroup`, `workgroups` and `local`.
    pub(super) fn finish(self, family: &str, main: &str, uses_rows: bool) -> Generated {
        let mut text = format!(
            "// {family} {}: generated from an expression.\n",
            self.of.name
        );
        writeln!(text, "struct Params {{\n{}}}", self.fields).ok();
        text.push_str("@group(0) @binding(0) var<storage, read> params: Params;\n");
        for (index, bound) in self.bindings.iter().enumerate() {
            let access = if bound.writes { "read_write" } else { "read" };
            let ty = if bound.whole { "u32" } else { "f32" };
            let binding = index + 1;
            writeln!(
                text,
                "@group(0) @binding({binding}) var<storage, {access}> t{index}: array<{ty}>;"
            )
            .ok();
        }
        write!(
            text,
            "@compute @workgroup_size(64)\n\
             fn main(\n    @builtin(workgroup_id) workgroup: vec3<u32>,\n    \
             @builtin(num_workgroups) workgroups: vec3<u32>,\n    \
             @builtin(local_invocation_index) local: u32,\n) {{\n{main}}}\n"
        )
        .ok();
        let mut libraries = vec![INDEX];
        let calls = |functions: &[&str]| functions.iter().any(|function| main.contains(function));
        // What is not called costs a driver time too.
        if calls(&["sigmoid(", "tanh_exact(", "exp_m1(", "softplus(", "erf("]) {
            libraries.push(FUNCTIONS);
        }
        if calls(&["random_word("]) {
            libraries.push(PHILOX);
        }
        if uses_rows {
            libraries.push(ROW);
        }
        let name = format!("{family}.{}", self.of.name);
        Generated {
            shader: concatenate(name, &text, &libraries),
            params: self.params,
            bindings: self.bindings,
        }
    }
}
