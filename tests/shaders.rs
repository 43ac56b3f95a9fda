//! Every kernel with every cell, as it is handed to a driver: valid WGSL, and just what the host
//! code says of it.

#[path = "common/mod.rs"]
mod common;
#[path = "shaders/generated.rs"]
mod generated;

use bptt::CellRef;
use bptt::cell::{Backward, Cell, Forward, Lanes, LstmUnit, WgslSource};
use bptt::gpu::{Access, KernelInfo, Shader, shaders};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess, TypeInner};

fn module(shader: &Shader) -> naga::Module {
    naga::front::wgsl::parse_str(&shader.text).unwrap_or_else(|error| {
        let line = error
            .location(&shader.text)
            .map_or(1, |location| location.line_number as usize);
        panic!("{}: {:?}: {error}", shader.name, shader.locate(line))
    })
}

#[test]
fn every_shader_is_valid() {
    // Written out as well, for other compilers of WGSL to try.
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaders");
    std::fs::create_dir_all(&folder).unwrap();
    for (_, shader) in shaders() {
        let (enable, mut capabilities) = match shader.subgroups {
            true => ("enable subgroups;\n", Capabilities::SUBGROUP),
            // No capability beyond WebGPU's own.
            false => ("", Capabilities::empty()),
        };
        if shader.name.ends_with(".half") {
            // WebGPU's own `unpack2x16float`.
            capabilities |= Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        }
        if shader.cooperative {
            // No other compiler knows these, which are wgpu's own.
            capabilities |= Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX;
        } else {
            let text = format!("{enable}{}", shader.text);
            std::fs::write(folder.join(format!("{}.wgsl", shader.name)), text).unwrap();
        }
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        validator.subgroup_stages(ShaderStages::COMPUTE);
        let broadcast_and_shuffle = SubgroupOperationSet::BALLOT | SubgroupOperationSet::SHUFFLE;
        validator.subgroup_operations(SubgroupOperationSet::BASIC | broadcast_and_shuffle);
        validator
            .validate(&module(&shader))
            .unwrap_or_else(|error| panic!("{}: {error:?}", shader.name));
    }
}

/// Those of expressions: of every layer, loss, optimizer, metric and option.
#[test]
fn every_generated_kernel_is_valid() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("shaders");
    std::fs::create_dir_all(&folder).unwrap();
    let all = generated::generated();
    for (index, shader) in all.iter().enumerate() {
        let file = folder.join(format!("{}.{index}.wgsl", shader.name));
        std::fs::write(file, &shader.text).unwrap();
        let module = module(shader);
        // No capability beyond WebGPU's own.
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
        validator
            .validate(&module)
            .unwrap_or_else(|error| panic!("{}: {error:?}\n{}", shader.name, shader.text));
        let variables = module.global_variables.iter();
        let storage = variables.filter(|(_, of)| matches!(of.space, AddressSpace::Storage { .. }));
        // WebGPU's default limit.
        assert!(storage.count() <= 8, "{}", shader.text);
    }
    let families = |family: &str| all.iter().filter(|of| of.name.starts_with(family)).count();
    for family in ["map.", "row.", "reduce.", "reduce_finish."] {
        assert!(families(family) > 0, "no {family}");
    }
    for function in [
        "abs(",
        "sqrt(",
        "exp(",
        "exp_m1(",
        "log(",
        "softplus(",
        "sigmoid(",
        "tanh_exact(",
        "erf(",
        "random_word(",
        "select(",
        "row_max(",
        "row_sum(",
    ] {
        let uses = |shader: &Shader| {
            // The text of the expression stands before the first library.
            let own = shader.text.lines().take(shader.files[1].1 - 1);
            own.into_iter().any(|line| line.contains(function))
        };
        assert!(all.iter().any(uses), "no kernel uses {function}");
    }
}

#[test]
fn every_kernel_is_composed_with_every_cell_it_takes() {
    let all = shaders();
    let names: Vec<&str> = all.iter().map(|(_, shader)| shader.name.as_str()).collect();
    for cell in CellRef::builtin() {
        for kernel in ["recurrent_forward", "recurrent_backward"] {
            assert!(
                names.contains(&format!("{kernel}.{}", cell.name()).as_str()),
                "{names:?}"
            );
        }
    }
    // Every kernel file is some kernel's.
    let of_expressions = generated::generated();
    let files: std::collections::BTreeSet<&str> = all
        .iter()
        .map(|(_, shader)| shader)
        .chain(&of_expressions)
        .flat_map(|shader| &shader.files)
        .map(|(file, _)| *file)
        .collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [
        "shaders",
        "shaders/lib",
        "shaders/cell",
        "shaders/gemm",
        "shaders/recurrent",
    ] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".wgsl") {
                assert!(
                    files.contains(format!("{folder}/{name}").as_str()),
                    "{folder}/{name} is in no shader"
                );
            }
        }
    }
}

fn check_params(kernel: &KernelInfo, module: &naga::Module, ty: naga::Handle<naga::Type>) {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        panic!("{}: the parameters are no struct", kernel.name)
    };
    assert_eq!(module.types[ty].name.as_deref(), Some(kernel.params));
    let members: Vec<(&str, &str, usize)> = members
        .iter()
        .map(|member| {
            let ty = match module.types[member.ty].inner {
                TypeInner::Scalar(naga::Scalar::U32) => "u32",
                TypeInner::Scalar(naga::Scalar::F32) => "f32",
                ref other => panic!("{}: {other:?}", kernel.name),
            };
            (member.name.as_deref().unwrap(), ty, member.offset as usize)
        })
        .collect();
    assert_eq!(
        members, kernel.fields,
        "{}: names, types and offsets",
        kernel.name
    );
    assert_eq!(*span as usize, kernel.params_size, "{}: size", kernel.name);
}

#[test]
fn bindings_and_parameters_are_what_the_host_says() {
    for (kernel, shader) in shaders() {
        let module = module(&shader);
        let mut found = 0;
        for (_, variable) in module.global_variables.iter() {
            let Some(place) = &variable.binding else {
                continue;
            };
            assert_eq!(place.group, 0, "{}", shader.name);
            let name = variable.name.as_deref().unwrap();
            match variable.space {
                AddressSpace::Storage { access } if place.binding == 0 => {
                    assert_eq!(name, "params", "{}", shader.name);
                    assert!(!access.contains(StorageAccess::STORE), "{}", shader.name);
                    check_params(kernel, &module, variable.ty);
                }
                AddressSpace::Storage { access } => {
                    let binding = kernel.bindings[place.binding as usize - 1];
                    assert_eq!(
                        binding.name, name,
                        "{}, binding {}",
                        shader.name, place.binding
                    );
                    let writes = access.contains(StorageAccess::STORE);
                    assert_eq!(
                        binding.access == Access::ReadWrite,
                        writes,
                        "{}: {name}",
                        shader.name
                    );
                }
                other => panic!("{}: {name} in {other:?}", shader.name),
            }
            found += 1;
        }
        assert_eq!(found, kernel.bindings.len() + 1, "{}", shader.name);
        // WebGPU's default limits: 8 storage buffers, the parameters being one.
        assert!(kernel.bindings.len() < 8, "{}", shader.name);
        for name in kernel.overrides {
            let known = module
                .overrides
                .iter()
                .any(|(_, constant)| constant.name.as_deref() == Some(name));
            assert!(known, "{} has no override {name}", shader.name);
        }
        let [entry] = &module.entry_points[..] else {
            panic!("{}: one entry point", shader.name)
        };
        assert_eq!(entry.name, "main");
    }
}

#[test]
fn lines_of_a_composed_shader_lead_back_to_their_files() {
    for (_, shader) in shaders() {
        for (file, start) in &shader.files {
            assert_eq!(shader.locate(*start), (*file, 1));
            if file.ends_with(".wgsl") {
                assert_eq!(shader.locate(*start + 2), (*file, 3), "{}", shader.name);
            }
        }
    }
}

#[test]
fn counts_of_the_two_halves_must_agree() {
    // The composed text asserts them, so a cell whose halves differ does not compile.
    #[derive(Clone, Debug)]
    struct Miscounted;
    impl Cell for Miscounted {
        fn name(&self) -> &'static str {
            "miscounted"
        }
        fn gates(&self) -> usize {
            3
        }
        fn states(&self) -> usize {
            2
        }
        fn saved(&self) -> usize {
            5
        }
        fn shared_gradient(&self) -> bool {
            true
        }
        fn wgsl(&self) -> Option<WgslSource> {
            Cell::wgsl(&LstmUnit::default())
        }
        fn forward<N: Lanes>(&self, _: Forward<'_, N>) {}
        fn backward<N: Lanes>(&self, _: Backward<'_, N>) {}
    }
    let Some(device) = common::gpu() else {
        return;
    };
    let config = bptt::nn::Recurrent::with_cell(Miscounted, 3, 5);
    let layer = config.build(&device, 0).unwrap();
    let x = bptt::Tensor::zeros(&device, &[2, 2, 3]).unwrap();
    let error = layer.forward(&x, None).unwrap_err().to_string();
    assert!(
        error.contains("the counts of the cell's Rust half:1"),
        "{error}"
    );
    assert_eq!(CellRef::new(Miscounted).name(), "miscounted");
}

#[test]
fn workgroup_sizes_are_what_the_host_reads_of_them() {
    for (kernel, shader) in shaders() {
        let module = module(&shader);
        let entry = &module.entry_points[0];
        let overridden = entry.workgroup_size_overrides.is_some();
        let given = overridden.then_some(("UNITS", 48.0));
        let size = shader.workgroup_size(given.as_slice());
        let expected = match overridden {
            true => 48,
            false => entry
                .workgroup_size
                .iter()
                .map(|size| u64::from(*size))
                .product(),
        };
        assert_eq!(size, Some(expected), "{}", kernel.name);
    }
}
