//! The errors of the crate.

/// What went wrong. Every variant that concerns an argument names it, says what it was and what it should have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor or array of the wrong shape.
    #[error("{argument}: shape {got:?}, expected {expected}")]
    Shape {
        /// The argument's name.
        argument: String,
        /// The shape that was given.
        got: Vec<usize>,
        /// The shape in symbols and numbers, such as `[T, B, 3]`.
        expected: String,
    },
    /// An argument outside its range.
    #[error("{argument}: {got}, expected {expected}")]
    Argument {
        /// The argument's name.
        argument: String,
        /// What was given.
        got: String,
        /// What it should have been.
        expected: String,
    },
    /// No GPU adapter that fits the request.
    #[error("no GPU adapter: asked for {requested}; found {found}")]
    NoAdapter {
        /// What was asked for.
        requested: String,
        /// The adapters there are, or `none`.
        found: String,
    },
    /// The adapter refused to open a device.
    #[error("the adapter {adapter} gave no device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// The driver's reason.
        reason: String,
    },
    /// The GPU device was lost (driver reset, removal, `destroy`). Its tensors are gone; open a new [`Device`](crate::Device).
    #[error("GPU device lost: {reason}")]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },
    /// The GPU, or the host, has no memory left for an allocation. The device stays usable.
    #[error("out of memory: {what}: {reason}")]
    OutOfMemory {
        /// What was being allocated.
        what: String,
        /// The driver's or the host's reason.
        reason: String,
    },
    /// More than the device can take.
    #[error("{what}: needs {needed}, the device's {limit} is {available}")]
    Limit {
        /// What is too large.
        what: String,
        /// How much it needs.
        needed: u64,
        /// The limit's name in WebGPU.
        limit: &'static str,
        /// What the device has.
        available: u64,
    },
    /// The device was opened without a feature of WebGPU that this needs.
    #[error("{what} needs the feature {feature}, which {device} was opened without")]
    Feature {
        /// What needs it.
        what: String,
        /// The feature's name in wgpu.
        feature: &'static str,
        /// The device.
        device: String,
    },
    /// WGSL that does not compile.
    #[error("{file}:{line}:{column}: {reason}")]
    Shader {
        /// The file, or what else the text comes from.
        file: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: u32,
        /// The compiler's reason.
        reason: String,
    },
    /// A loss, a gradient or a weight that is infinite or not a number.
    #[error("{what} is not finite at step {step}{}", of_epoch(*.epoch))]
    NonFinite {
        /// What is not finite.
        what: String,
        /// The step, from 1: of the epoch, or without one of the trainer.
        step: u64,
        /// The epoch, from 1.
        epoch: Option<usize>,
    },
    /// A fault that the driver or wgpu reported; a defect of this crate or of the driver.
    #[error("GPU fault: {0}")]
    Gpu(String),
    /// A file that could not be read or written, or does not hold what it should.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Argument`].
    pub fn argument(
        argument: impl Into<String>,
        got: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Argument {
            argument: argument.into(),
            got: got.to_string(),
            expected: expected.into(),
        }
    }

    /// An [`Error::Shape`].
    pub fn shape(argument: impl Into<String>, got: &[usize], expected: impl Into<String>) -> Self {
        Self::Shape {
            argument: argument.into(),
            got: got.to_vec(),
            expected: expected.into(),
        }
    }

    /// An [`Error::NonFinite`].
    pub(crate) fn nonfinite(what: &str, step: u64, epoch: Option<usize>) -> Self {
        Self::NonFinite {
            what: what.to_owned(),
            step,
            epoch,
        }
    }

    #[cfg(feature = "safetensors")]
    pub(crate) fn file(path: impl AsRef<std::path::Path>, reason: impl ToString) -> Self {
        Self::File {
            path: path.as_ref().display().to_string(),
            reason: reason.to_string(),
        }
    }
}

fn of_epoch(epoch: Option<usize>) -> String {
    epoch.map_or(String::new(), |epoch| format!(" of epoch {epoch}"))
}

/// `Ok` where `got` equals `expected`, else an error that names the argument.
pub(crate) fn check_shape(argument: &str, got: &[usize], expected: &[usize]) -> Result<()> {
    match got == expected {
        true => Ok(()),
        false => Err(Error::shape(argument, got, format!("{expected:?}"))),
    }
}

/// `Ok` where the count is at least one.
pub(crate) fn check_positive(argument: &str, value: usize) -> Result<()> {
    require(argument, value, value > 0, "at least 1")
}

/// `Ok` for a finite number above 0 that is one in f32 too.
pub(crate) fn check_above_zero(argument: &str, value: f64) -> Result<()> {
    let fits = value.is_finite() && value > 0.0;
    require(argument, value, fits, "a finite number above 0")?;
    check_single(argument, value)
}

/// `Ok` for a number that is not infinite, and not 0 where it was none, in f32, which GPUs and the CPU compute in: the same settings run on
/// every device.
pub(crate) fn check_single(argument: &str, value: f64) -> Result<()> {
    let single = value as f32;
    let fits = single.is_finite() && (single != 0.0 || value == 0.0);
    let expected = "a number that f32 can hold: 0, or 1e-45 to 3.4e38 in size";
    require(argument, format!("{value:e}"), fits, expected)
}

/// `Ok` where an argument fits, else an error that names it.
pub(crate) fn require(
    argument: &str,
    got: impl ToString,
    fits: bool,
    expected: impl Into<String>,
) -> Result<()> {
    match fits {
        true => Ok(()),
        false => Err(Error::argument(argument, got, expected)),
    }
}
