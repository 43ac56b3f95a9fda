//! Kernels as types: parameters, of which the WGSL struct is written, and bindings, checked against the WGSL by a test, are fields.

use crate::cell::WgslSource;

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// A storage binding; its number is its place in the list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingInfo {
    /// The variable's name.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
}

/// What is known of a kernel without a device.
#[derive(Debug)]
pub struct KernelInfo {
    /// The kernel's name, that of its file.
    pub name: &'static str,
    /// The file that the kernel is written in.
    pub source: WgslSource,
    /// Files it needs besides.
    pub libraries: &'static [WgslSource],
    /// Files of which one is taken, by how the weights it reads are kept: as f32, as f16. Empty where it reads none.
    pub weights: &'static [WgslSource],
    /// Says whether the kernel is composed with a cell.
    pub takes_cell: bool,
    /// The name of the struct of its parameters, at binding 0: read-only storage at a dynamic offset. Not a uniform, as some
    /// drivers compile a shader anew for every value of a uniform that steers it, and the step is one.
    pub params: &'static str,
    /// The parameters: name, type, offset in bytes.
    pub fields: &'static [(&'static str, &'static str, usize)],
    /// The size of the parameters in bytes.
    pub params_size: usize,
    /// The storage bindings, from binding 1 on.
    pub bindings: &'static [BindingInfo],
    /// The override constants the host sets.
    pub overrides: &'static [&'static str],
    /// Constants that the host writes into the text, as lengths of arrays depend on them, with a value they can have.
    pub constants: &'static [(&'static str, u32)],
    /// Says whether the kernel uses subgroup operations, which not every device has.
    pub subgroups: bool,
    /// Says whether the kernel uses cooperative matrices of f16: an extension of WGSL that wgpu alone has.
    pub cooperative: bool,
}

/// A kernel with its buffers, ready to be dispatched.
pub(super) trait Kernel {
    type Params: bytemuck::Pod;
    const INFO: KernelInfo;
    fn buffers(&self) -> Vec<&wgpu::Buffer>;
}

/// The text of a kernel's file.
macro_rules! shader {
    ($kernel:literal) => {
        $crate::cell::WgslSource {
            file: concat!("shaders/", $kernel, ".wgsl"),
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/shaders/",
                $kernel,
                ".wgsl"
            )),
            rust: (file!(), line!()),
        }
    };
}

/// Declares a kernel: a struct of its buffers and one of its parameters (u32 or f32).
macro_rules! kernel {
    (
        $(#[$doc:meta])*
        $name:ident = $kernel:literal, $params:ident { $($field:ident: $type:ty),* $(,)? }
        bindings { $($binding:ident: $access:ident),* $(,)? }
        $(libraries [$($library:expr),*])?
        $(weights [$($weights:expr),*])?
        $(overrides [$($override:literal),*])?
        $(cell: $cell:literal)?
    ) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub(in crate::gpu) struct $params {
            $(pub $field: $type,)*
        }

        $(#[$doc])*
        pub(in crate::gpu) struct $name<'a> {
            $(pub $binding: &'a wgpu::Buffer,)*
        }

        impl $crate::gpu::kernel::Kernel for $name<'_> {
            type Params = $params;
            const INFO: $crate::gpu::kernel::KernelInfo = $crate::gpu::kernel::KernelInfo {
                name: $kernel,
                source: $crate::gpu::kernel::shader!($kernel),
                libraries: &[$($($library),*)?],
                weights: &[$($($weights),*)?],
                takes_cell: false $(|| $cell)?,
                params: stringify!($params),
                fields: &[$((stringify!($field), stringify!($type), std::mem::offset_of!($params, $field))),*],
                params_size: size_of::<$params>(),
                bindings: &[$($crate::gpu::kernel::BindingInfo {
                    name: stringify!($binding),
                    access: $crate::gpu::kernel::Access::$access,
                }),*],
                overrides: &[$($($override),*)?],
                constants: &[],
                subgroups: false,
                cooperative: false,
            };
            fn buffers(&self) -> Vec<&wgpu::Buffer> {
                vec![$(self.$binding),*]
            }
        }
    };
}
pub(super) use {kernel, shader};
