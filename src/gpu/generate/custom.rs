//! The kernel around a user's own WGSL.

use super::header::{Generated, Header, Source};
use crate::gpu::compose::custom as compose;
use crate::program::{Custom, Slice};

/// Declares an input or output, with the functions that tell its sizes; returns its variable.
fn operand(
    header: &mut Header,
    functions: &mut String,
    name: &str,
    (slice, shape): &(Slice, Vec<usize>),
    writes: bool,
) -> String {
    header.field(&format!("{name}_first"), slice.offset);
    let sizes = shape.iter().enumerate();
    let sizes = sizes.map(|(axis, size)| (format!("{name}_size_{axis}"), *size));
    for (name, value) in [(format!("{name}_len"), slice.len)]
        .into_iter()
        .chain(sizes)
    {
        let value = header.field(&name, value);
        functions.push_str(&format!("fn {name}() -> u32 {{\n    return {value};\n}}\n"));
    }
    header.bind(Source::Tensor(slice.tensor), false, writes)
}

/// The kernel of an operation; places past the end read 0 and are not written.
pub(in crate::gpu) fn custom(op: &Custom, invocations: usize) -> Generated {
    let (mut header, mut functions) = (Header::default(), String::new());
    for (index, input) in op.inputs.iter().enumerate() {
        let name = format!("input_{index}");
        let tensor = operand(&mut header, &mut functions, &name, input, false);
        functions.push_str(&format!(
            "fn {name}(at: u32) -> f32 {{\n    if at >= params.{name}_len {{\n        return 0.0;\n    }}\n    \
             return {tensor}[params.{name}_first + at];\n}}\n"
        ));
    }
    for (index, output) in op.outputs.iter().enumerate() {
        let name = format!("output_{index}");
        let tensor = operand(&mut header, &mut functions, &name, output, true);
        functions.push_str(&format!(
            "fn set_{name}(at: u32, value: f32) {{\n    if at < params.{name}_len {{\n        \
             {tensor}[params.{name}_first + at] = value;\n    }}\n}}\n"
        ));
    }
    let count = header.field("invocations", invocations);
    functions.push_str(&format!(
        "fn each_invocation(index: u32) {{\n    if index < {count} {{\n        invocation(index);\n    }}\n}}\n"
    ));
    let text = header.text() + &functions;
    let shader = compose(op.operation.name(), &text, &op.operation.wgsl());
    header.finish(shader)
}
