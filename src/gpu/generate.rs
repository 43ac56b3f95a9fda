//! Kernels generated from expressions: their WGSL and their parameters, without a device.

mod custom;
mod header;
mod kernels;
mod split;
mod writer;

pub(in crate::gpu) use custom::custom;
pub(in crate::gpu) use header::{Generated, Source};
pub(in crate::gpu) use kernels::{finish, map, part, row};
pub(in crate::gpu) use split::{ROUNDS, reduce_split};

use super::compose::Shader;
use crate::program::{Map, Op, Program, Reduce, Row};

/// The generated kernels of a checked program: what the crate hands to a driver for its maps, rows and sums, for validation.
pub fn generated(program: &Program) -> Vec<Shader> {
    let mut all = vec![];
    for op in program.ops() {
        match op {
            Op::Map(Map(of)) => all.push(map(of)),
            Op::Row(Row(of)) => all.push(row(of)),
            Op::Reduce(Reduce(of)) => {
                let split = reduce_split(of);
                all.push(part(of, &split));
                if split.blocks > 1 {
                    all.push(finish(of, &split));
                }
            }
            Op::Custom(of) => all.push(custom(of, 1)),
            _ => {}
        }
    }
    all.into_iter().map(|generated| generated.shader).collect()
}
