//! The operations. Each has one name, found in `src/cpu/`, `src/gpu/ops/`, `shaders/` and `tests/`.

use std::borrow::Cow;

use super::operands::{Check, Operands};
use super::{
    Cost, Custom, Gemm, Map, Program, RecurrentBackward, RecurrentForward, Reduce, Row, Scatter,
};

macro_rules! operations {
    ($($op:ident = $name:literal),* $(,)?) => {
        /// One operation.
        #[derive(Clone, Debug)]
        #[allow(missing_docs, reason = "each variant is the struct of its name")]
        pub enum Op {
            $($op($op),)*
        }

        $(impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self::$op(op)
            }
        })*

        impl Op {
            /// The operation's name, that of its files.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$op(_) => $name,)*
                }
            }
        }
    };
}

operations! {
    Map = "map",
    Row = "row",
    Reduce = "reduce",
    Gemm = "gemm",
    Scatter = "scatter",
    Custom = "custom",
    RecurrentForward = "recurrent_forward",
    RecurrentBackward = "recurrent_backward",
}

impl Op {
    /// What it computes: its name, and that of its expression where it has one (`map.adam`).
    pub fn label(&self) -> Cow<'static, str> {
        match self {
            Self::Map(Map(of)) | Self::Row(Row(of)) | Self::Reduce(Reduce(of)) => {
                Cow::Owned(format!("{}.{}", self.name(), of.name))
            }
            Self::Custom(of) => Cow::Owned(format!("custom.{}", of.operation.name())),
            _ => Cow::Borrowed(self.name()),
        }
    }

    /// What the operation takes at least.
    pub fn cost(&self) -> Cost {
        match self {
            Self::Map(Map(of)) | Self::Row(Row(of)) | Self::Reduce(Reduce(of)) => of.cost(),
            Self::Gemm(of) => of.cost(),
            Self::Scatter(of) => of.cost(),
            Self::Custom(of) => of.cost(),
            Self::RecurrentForward(of) => of.cost(),
            Self::RecurrentBackward(of) => of.cost(),
        }
    }

    /// The operands of the operation, where it is consistent.
    pub(super) fn operands<'a>(&self, program: &'a Program) -> Check<Operands<'a>> {
        let mut operands = Operands::of(program);
        let o = &mut operands;
        match self {
            Self::Map(of) => of.check(o),
            Self::Row(of) => of.check(o),
            Self::Reduce(of) => of.check(o),
            Self::Gemm(of) => of.check(o),
            Self::Scatter(of) => of.check(o),
            Self::Custom(of) => of.check(o),
            Self::RecurrentForward(of) => of.check(o),
            Self::RecurrentBackward(of) => of.check(o),
        }?;
        operands.disjoint()?;
        Ok(operands)
    }
}
