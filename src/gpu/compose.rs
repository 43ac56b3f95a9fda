//! WGSL files put together into shaders.
//!
//! Module-scope declarations of WGSL may stand in any order and clashes are errors, so a shader is the concatenation of its
//! files. A table of where each file starts lets an error name the real file and line.

use super::kernel::KernelInfo;
use crate::CellRef;
use crate::cell::WgslSource;

const INDEX: WgslSource = crate::wgsl!("shaders/lib/index.wgsl");
pub(super) const EACH_INVOCATION: WgslSource = crate::wgsl!("shaders/each_invocation.wgsl");
pub(super) const ROW: WgslSource = crate::wgsl!("shaders/row.wgsl");
pub(super) const LENGTHS_ZONEOUT: WgslSource =
    crate::wgsl!("shaders/recurrent/lengths_zoneout.wgsl");
pub(super) const WALK: WgslSource = crate::wgsl!("shaders/recurrent/walk.wgsl");
pub(super) const FINISH_FORWARD: WgslSource = crate::wgsl!("shaders/recurrent/finish_forward.wgsl");
pub(super) const FINISH_BACKWARD: WgslSource =
    crate::wgsl!("shaders/recurrent/finish_backward.wgsl");
pub(super) const PRODUCT: WgslSource = crate::wgsl!("shaders/recurrent/product.wgsl");
const PRODUCT_PLAIN: WgslSource = crate::wgsl!("shaders/recurrent/product_plain.wgsl");
const PRODUCT_SUBGROUP: WgslSource = crate::wgsl!("shaders/recurrent/product_subgroup.wgsl");
pub(super) const WEIGHT: WgslSource = crate::wgsl!("shaders/recurrent/weight_single.wgsl");
pub(super) const WEIGHT_HALF: WgslSource = crate::wgsl!("shaders/recurrent/weight_half.wgsl");
pub(super) const PHILOX: WgslSource = crate::wgsl!("shaders/lib/philox.wgsl");
pub(super) const GEMM_PARAMS: WgslSource = crate::wgsl!("shaders/gemm/params.wgsl");
pub(super) const GEMM_VECTORS: WgslSource = crate::wgsl!("shaders/gemm/vectors.wgsl");
pub(super) const GEMM_NUMBERS: WgslSource = crate::wgsl!("shaders/gemm/b_numbers.wgsl");
pub(super) const GEMM_B: WgslSource = crate::wgsl!("shaders/gemm/b_vectors.wgsl");
pub(super) const GEMM_B_HALF: WgslSource = crate::wgsl!("shaders/gemm/b_half.wgsl");
pub(super) const GEMM_COOPERATIVE: WgslSource = crate::wgsl!("shaders/gemm/cooperative.wgsl");
pub(super) const HALF: WgslSource = crate::wgsl!("shaders/lib/half.wgsl");
pub(super) const GEMM_TILE: WgslSource = crate::wgsl!("shaders/gemm/tile.wgsl");
pub(super) const FUNCTIONS: WgslSource = crate::wgsl!("shaders/lib/functions.wgsl");
const ACTIVATION: WgslSource = crate::wgsl!("shaders/cell/activation.wgsl");
const CONTRACT: WgslSource = crate::wgsl!("shaders/cell/contract.wgsl");
const NO_LATE_GATES: WgslSource = crate::wgsl!("shaders/cell/no_late_gates.wgsl");

/// What the lines are called that assert the counts of a cell.
pub(crate) const COUNTS: &str = "the counts of the cell's Rust half";

/// What the lines are called that the Rust half of a cell gives.
pub(crate) const GENERATED: &str = "what the cell's Rust half gives";

/// A composed shader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shader {
    /// The kernel's name, with the cell's where it has one: `recurrent_forward.lstm`.
    pub name: String,
    /// The text.
    pub text: String,
    /// Each file and the line of the text it starts at (from 1).
    pub files: Vec<(&'static str, usize)>,
    /// Whether every file is this crate's own.
    pub own: bool,
    /// Says whether the shader uses subgroups: WebGPU wants `enable subgroups;` before its first line, which naga does not know.
    pub subgroups: bool,
    /// Says whether the shader uses cooperative matrices of f16, which wgpu's WGSL alone has.
    pub cooperative: bool,
}

impl Shader {
    fn append(&mut self, file: &'static str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.files.push((file, self.text.lines().count() + 1));
        self.text.push_str(text);
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn add(&mut self, sources: impl IntoIterator<Item = WgslSource>) {
        for source in sources {
            self.append(source.file, source.text);
        }
    }

    /// The file and line that a line of the composed text came from.
    pub fn locate(&self, line: usize) -> (&'static str, usize) {
        let (file, start) = self
            .files
            .iter()
            .rev()
            .find(|(_, start)| *start <= line)
            .copied()
            .unwrap_or(("?", 1));
        (file, line + 1 - start)
    }

    /// Invocations of a workgroup, where its sizes are numbers, or names of constants or of overrides that are given. Drivers are
    /// not asked, as wgpu tells nothing of a pipeline.
    pub fn workgroup_size(&self, overrides: &[(&str, f64)]) -> Option<u64> {
        let (_, rest) = self.text.split_once("@workgroup_size(")?;
        let (sizes, _) = rest.split_once(')')?;
        let number = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit());
            text[..end.unwrap_or(text.len())].parse::<u64>().ok()
        };
        let size = |word: &str| {
            let given = overrides.iter().find(|(name, _)| *name == word);
            let declared = || self.text.split_once(&format!(" {word}: u32 = "));
            number(word)
                .or_else(|| given.map(|(_, value)| *value as u64))
                .or_else(|| number(declared()?.1))
        };
        let words = sizes.split(',').map(str::trim);
        words.filter(|word| !word.is_empty()).map(size).product()
    }
}

/// What an invocation of a kernel over a cell works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Batch rows.
    pub(super) rows: u32,
    /// Columns of the weights.
    pub(super) outputs: u32,
    /// Inputs of one row that differ by column: 1, or the cell's gates.
    pub(super) inputs: u32,
    /// Whether inputs are passed round in subgroups.
    pub(super) subgroups: bool,
}

/// Puts a kernel's files together, `constants` being the values of the kernel's own; `half`: with weights in f16.
pub(super) fn compose(
    kernel: &KernelInfo,
    cell: Option<(&CellRef, Tile)>,
    constants: &[(&str, u32)],
    half: bool,
) -> Shader {
    let mut shader = Shader {
        name: kernel.name.to_owned(),
        own: cell.is_none_or(|(cell, _)| is_own(cell)),
        subgroups: kernel.subgroups || cell.is_some_and(|(_, tile)| tile.subgroups),
        cooperative: kernel.cooperative,
        ..Shader::default()
    };
    if let Some((cell, tile)) = cell {
        // First, as what does not hold of the counts is better known than what follows from it.
        let counts = format!(
            "const_assert GATES == {}u;\nconst_assert STATES == {}u;\nconst_assert SAVED == {}u;\n\
             const EARLY_GATES: u32 = {}u;\nconst DIAGONALS: u32 = {}u;\nconst DIAGONAL_SLOTS: u32 = {}u;\n\
             const SHARED_GRADIENT: bool = {};\nconst ROWS: u32 = {}u;\nconst OUTPUTS: u32 = {}u;\n\
             const INPUTS: u32 = {}u;\n",
            cell.gates(),
            cell.states(),
            cell.saved(),
            cell.early_gates(),
            cell.diagonals(),
            cell.diagonals().max(1),
            cell.shared_gradient(),
            tile.rows,
            tile.outputs,
            tile.inputs,
        );
        shader.append(COUNTS, &counts);
        shader.append(GENERATED, &cell.generated_wgsl());
    }
    // Directives stand in the kernel's own file, before all declarations.
    shader.add([kernel.source, INDEX]);
    shader.add(kernel.libraries.iter().copied());
    let fields = kernel.fields.iter().map(|(name, ty, _)| (*name, *ty));
    shader.append(
        "the kernel's parameters",
        &params_text(kernel.params, fields),
    );
    let constants = constants.iter();
    let lines = constants.map(|(name, value)| format!("const {name}: u32 = {value}u;\n"));
    shader.append("the kernel's constants", &lines.collect::<String>());
    if let Some((cell, tile)) = cell {
        shader.name = format!("{}.{}", kernel.name, cell.name());
        shader.add([CONTRACT, FUNCTIONS, ACTIVATION, PRODUCT]);
        shader.add(cell.wgsl());
        if tile.subgroups {
            shader.name.push_str(".subgroup");
            shader.add([PRODUCT_SUBGROUP]);
        } else {
            shader.add([PRODUCT_PLAIN]);
        }
        if !cell.has_late_gates() {
            shader.add([NO_LATE_GATES]);
        }
    }
    if let Some(weights) = kernel.weights.get(usize::from(half)) {
        shader.add([*weights]);
        if half {
            shader.name.push_str(".half");
        }
    }
    shader
}

/// The struct of a kernel's parameters, of these names and types, at binding 0.
pub(super) fn params_text<'a>(
    name: &str,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let fields: String = fields
        .map(|(name, ty)| format!("    {name}: {ty},\n"))
        .collect();
    format!(
        "struct {name} {{\n{fields}}}\n@group(0) @binding(0) var<storage, read> params: {name};\n"
    )
}

/// Whether all of a cell's WGSL is this crate's. Its constants come from its Rust half, which may be another's beside a source of
/// ours: without a brace there is no function in them, and no loop.
fn is_own(cell: &CellRef) -> bool {
    let Some(wgsl) = cell.wgsl() else {
        // Recorded: straight lines.
        return true;
    };
    let known = (CellRef::builtin().iter()).any(|known| known.wgsl() == Some(wgsl));
    known && !cell.wgsl_constants().contains('{')
}

/// Generated text with the files it needs.
pub(super) fn concatenate(name: String, text: &str, libraries: &[WgslSource]) -> Shader {
    let mut shader = Shader {
        name,
        // Straight lines in loops of the crate's own.
        own: true,
        ..Shader::default()
    };
    shader.append("the generated text", text);
    shader.add([INDEX]);
    shader.add(libraries.iter().copied());
    shader
}

/// A user's own WGSL behind what was generated for it.
pub(super) fn custom(name: &'static str, header: &str, wgsl: &str) -> Shader {
    let libraries = [EACH_INVOCATION, FUNCTIONS];
    let mut shader = concatenate(format!("custom.{name}"), header, &libraries);
    shader.own = false;
    shader.append(name, wgsl);
    shader
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Backward, Cell, Forward, GruUnit, Lanes};

    /// A source of the crate with constants that are not.
    #[derive(Clone, Debug)]
    struct Borrowed(&'static str);
    impl Cell for Borrowed {
        fn name(&self) -> &'static str {
            "borrowed"
        }
        fn gates(&self) -> usize {
            3
        }
        fn states(&self) -> usize {
            1
        }
        fn saved(&self) -> usize {
            5
        }
        fn shared_gradient(&self) -> bool {
            false
        }
        fn wgsl(&self) -> Option<WgslSource> {
            Cell::wgsl(&GruUnit::default())
        }
        fn wgsl_constants(&self) -> String {
            self.0.to_owned()
        }
        fn forward<N: Lanes>(&self, _: Forward<'_, N>) {}
        fn backward<N: Lanes>(&self, _: Backward<'_, N>) {}
    }

    #[test]
    fn only_wgsl_of_the_crate_is_trusted() {
        assert!(CellRef::builtin().iter().all(is_own));
        assert!(is_own(&CellRef::new(Borrowed("const A: u32 = 1u;"))));
        let function = "fn forever() { loop {} }";
        assert!(!is_own(&CellRef::new(Borrowed(function))));
    }
}
