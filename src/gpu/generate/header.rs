//! The parameters and bindings of a generated kernel.

use crate::gpu::compose::{Shader, params_text};
use crate::program::TensorId;

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
    /// Says whether the binding is read as whole numbers.
    whole: bool,
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

/// Parameters and bindings as far as they are known.
#[derive(Default)]
pub(super) struct Header {
    /// Names and types.
    fields: Vec<(String, &'static str)>,
    params: Vec<u32>,
    bindings: Vec<Bound>,
}

impl Header {
    /// A whole number, as the text that reads it. A known name is the known parameter.
    pub(super) fn field(&mut self, name: &str, value: usize) -> String {
        if !self.fields.iter().any(|(known, _)| known == name) {
            self.fields.push((name.to_owned(), "u32"));
            self.params.push(value as u32);
        }
        format!("params.{name}")
    }

    pub(super) fn number(&mut self, name: &str, value: f32) {
        self.fields.push((name.to_owned(), "f32"));
        self.params.push(value.to_bits());
    }

    /// The variable of a binding.
    pub(super) fn bind(&mut self, source: Source, whole: bool, writes: bool) -> String {
        let same = |bound: &Bound| (bound.source, bound.whole) == (source, whole);
        let known = self.bindings.iter().position(same);
        let index = known.unwrap_or(self.bindings.len());
        if known.is_none() {
            self.bindings.push(Bound {
                source,
                whole,
                writes,
            });
        }
        format!("t{index}")
    }

    /// The declarations.
    pub(super) fn text(&self) -> String {
        let mut text = params_text(
            "Params",
            self.fields.iter().map(|(name, ty)| (&name[..], *ty)),
        );
        for (index, bound) in self.bindings.iter().enumerate() {
            let access = if bound.writes { "read_write" } else { "read" };
            let ty = if bound.whole { "u32" } else { "f32" };
            text.push_str(&format!(
                "@group(0) @binding({}) var<storage, {access}> t{index}: array<{ty}>;\n",
                index + 1
            ));
        }
        text
    }

    pub(super) fn finish(self, shader: Shader) -> Generated {
        let Self {
            params, bindings, ..
        } = self;
        Generated {
            shader,
            params,
            bindings,
        }
    }
}
