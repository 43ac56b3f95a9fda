//! Adapters: what there is, and which one to take.

use crate::error::{Error, Result};
use std::fmt;

/// What an adapter is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AdapterKind {
    /// A graphics card with its own memory.
    Discrete,
    /// A GPU in the processor, sharing its memory.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// A kind that the driver does not tell (browsers, OpenGL).
    Other,
    /// A driver that runs shaders on the CPU: lavapipe, SwiftShader, WARP.
    Software,
}

/// A GPU adapter of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// The adapter's name, as the driver gives it.
    pub name: String,
    /// What the adapter is made of.
    pub kind: AdapterKind,
    /// The API: `vulkan`, `metal`, `dx12`, `gl`, `webgpu`.
    pub backend: String,
    /// Driver name and version, where the driver tells.
    pub driver: String,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {:?}", self.name, self.backend, self.kind)?;
        if !self.driver.is_empty() {
            write!(f, ", {}", self.driver)?;
        }
        f.write_str(")")
    }
}

/// Drivers that run on the CPU, whatever kind they report.
const SOFTWARE: [&str; 4] = [
    "llvmpipe",
    "lavapipe",
    "swiftshader",
    "microsoft basic render",
];

impl From<wgpu::AdapterInfo> for AdapterInfo {
    fn from(info: wgpu::AdapterInfo) -> Self {
        let lower = info.name.to_lowercase();
        let kind = match info.device_type {
            _ if SOFTWARE.iter().any(|software| lower.contains(software)) => AdapterKind::Software,
            // It does nothing, and stands for any GPU.
            _ if info.backend == wgpu::Backend::Noop => AdapterKind::Other,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Other => AdapterKind::Other,
        };
        let driver = format!("{} {}", info.driver, info.driver_info)
            .trim()
            .to_owned();
        Self {
            name: info.name,
            kind,
            backend: info.backend.to_str().to_owned(),
            driver,
        }
    }
}

/// Which adapter is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Any but a software adapter.
    Hardware,
    /// The best adapter there is.
    Any,
    /// The best whose name, API or driver contains this, in any case.
    Named(String),
}

impl Wish {
    /// The adapter that the environment variable `BPTT_ADAPTER` names, else `otherwise`.
    pub(crate) fn from_environment(otherwise: Self) -> Self {
        match std::env::var("BPTT_ADAPTER") {
            Ok(name) if !name.trim().is_empty() => Self::Named(name.trim().to_owned()),
            _ => otherwise,
        }
    }

    fn allows(&self, info: &AdapterInfo) -> bool {
        match self {
            Self::Hardware => info.kind != AdapterKind::Software,
            Self::Any => true,
            Self::Named(name) => {
                let mut known = info.to_string().to_lowercase();
                // Mesa's driver is known by one name and reports another.
                if known.contains("llvmpipe") {
                    known.push_str(" lavapipe");
                }
                known.contains(&name.to_lowercase())
            }
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware => f.write_str("a hardware adapter"),
            Self::Any => f.write_str("any adapter"),
            Self::Named(name) => write!(f, "an adapter named {name:?}"),
        }
    }
}

/// All adapters with compute shaders, best first: by kind, OpenGL after the other APIs.
pub(crate) async fn enumerate() -> Vec<(wgpu::Adapter, AdapterInfo)> {
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters: Vec<_> = instance
        .enumerate_adapters(wgpu::Backends::all())
        .await
        .into_iter()
        .filter(|adapter| {
            adapter
                .get_downlevel_capabilities()
                .flags
                .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        })
        .map(|adapter| {
            let info = AdapterInfo::from(adapter.get_info());
            (adapter, info)
        })
        .collect();
    adapters.sort_by_key(|(_, info)| (info.kind, info.backend == "gl"));
    adapters
}

/// The best adapter that a wish allows.
pub(crate) async fn choose(wish: &Wish) -> Result<(wgpu::Adapter, AdapterInfo)> {
    let adapters = enumerate().await;
    let found = match &adapters[..] {
        [] => "none".to_owned(),
        some => some
            .iter()
            .map(|(_, info)| info.to_string())
            .collect::<Vec<_>>()
            .join("; "),
    };
    adapters
        .into_iter()
        .find(|(_, info)| wish.allows(info))
        .ok_or(Error::NoAdapter {
            requested: wish.to_string(),
            found,
        })
}

/// The features that cooperative matrices of f16 take.
pub(crate) const COOPERATIVE: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP);

/// Rows and columns of an adapter's cooperative matrices of f16 with sums in f32: 16 or 8, where it has them.
pub(crate) fn cooperative(adapter: &wgpu::Adapter) -> Option<u32> {
    let known = adapter.cooperative_matrix_properties();
    let has = |size: &u32| {
        let (half, single) = (
            wgpu::CooperativeScalarType::F16,
            wgpu::CooperativeScalarType::F32,
        );
        let fits = |of: &wgpu::CooperativeMatrixProperties| {
            [of.m_size, of.n_size, of.k_size] == [*size; 3]
                && (of.ab_type, of.cr_type) == (half, single)
                && !of.saturating_accumulation
        };
        known.iter().any(fits)
    };
    let wanted = adapter.features().contains(COOPERATIVE);
    [16, 8].into_iter().find(|size| wanted && has(size))
}
