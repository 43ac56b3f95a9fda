//! The kernel around a user's own WGSL.

use super::writer::{Bound, Generated, Source};
use crate::gpu::compose::custom as compose;
use crate::program::{Custom, Slice};
use std::fmt::Write;

/// A kernel under way.
#[derive(Default)]
struct Text {
    fields: String,
    functions: String,
    params: Vec<u32>,
    bindings: Vec<Bound>,
}

impl Text {
    fn field(&mut self, name: &str, value: usize) {
        writeln!(self.fields, "    {name}: u32,").ok();
        self.params.push(value as u32);
    }

    /// Declares an input or output; returns its variable.
    fn operand(
        &mut self,
        name: &str,
        (slice, shape): &(Slice, Vec<usize>),
        writes: bool,
    ) -> String {
        let source = Source::Tensor(slice.tensor);
        let known = self
            .bindings
            .iter()
            .position(|bound| bound.source == source);
        let index = known.unwrap_or_else(|| {
            self.bindings.push(Bound {
                source,
                whole: false,
                writes,
            });
            self.bindings.len() - 1
        });
        self.field(&format!("{name}_first"), slice.offset);
        self.field(&format!("{name}_len"), slice.len);
        let mut get = |of: &str| {
            writeln!(
                self.functions,
                "fn {of}() -> u32 {{\n    return params.{of};\n}}"
            )
            .ok();
        };
        get(&format!("{name}_len"));
        for axis in 0..shape.len() {
            get(&format!("{name}_size_{axis}"));
        }
        for (axis, size) in shape.iter().enumerate() {
            self.field(&format!("{name}_size_{axis}"), *size);
        }
        format!("t{index}")
    }
}

/// The kernel of an operation; places past the end read 0 and are not written.
pub(in crate::gpu) fn custom(op: &Custom, invocations: usize) -> Generated {
    let mut text = Text::default();
    for (index, input) in op.inputs.iter().enumerate() {
        let name = format!("input_{index}");
        let tensor = text.operand(&name, input, false);
        write!(
            text.functions,
            "fn {name}(at: u32) -> f32 {{\n    if at >= params.{name}_len {{\n        return 0.0;\n    }}\n    \
             return {tensor}[params.{name}_first + at];\n}}\n"
        )
        .ok();
    }
    for (index, output) in op.outputs.iter().enumerate() {
        let name = format!("output_{index}");
        let tensor = text.operand(&name, output, true);
        write!(
            text.functions,
            "fn set_{name}(at: u32, value: f32) {{\n    if at < params.{name}_len {{\n        \
             {tensor}[params.{name}_first + at] = value;\n    }}\n}}\n"
        )
        .ok();
    }
    text.field("invocations", invocations);
    let mut header = format!("struct Params {{\n{}}}\n", text.fields);
    header.push_str("@group(0) @binding(0) var<storage, read> params: Params;\n");
    for (index, bound) in text.bindings.iter().enumerate() {
        let access = if bound.writes { "read_write" } else { "read" };
        let binding = index + 1;
        writeln!(
            header,
            "@group(0) @binding({binding}) var<storage, {access}> t{index}: array<f32>;"
        )
        .ok();
    }
    header.push_str(&text.functions);
    header.push_str(
        "@compute @workgroup_size(64)\n\
         fn main(\n    @builtin(workgroup_id) workgroup: vec3<u32>,\n    \
         @builtin(num_workgroups) workgroups: vec3<u32>,\n    \
         @builtin(local_invocation_index) local: u32,\n) {\n    \
         let index = linear_workgroup(workgroup, workgroups) * 64u + local;\n    \
         if index < params.invocations {\n        invocation(index);\n    }\n}\n",
    );
    Generated {
        shader: compose(op.operation.name(), &header, &op.operation.wgsl()),
        params: text.params,
        bindings: text.bindings,
    }
}
