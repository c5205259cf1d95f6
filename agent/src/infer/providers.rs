//! Which provider runs the models, where the one that was asked for cannot be used.
//!
//! INVARIANT: a provider is refused once, with one line in the log, and for the rest of the
//! process: models never move back and forth. INVARIANT: a model that no provider can run refuses
//! none of them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

use super::InferError;

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The best of those below that the library has and that works.
    #[default]
    Auto,
    /// TensorRT, where the library has it; else the processor.
    Tensorrt,
    /// CUDA, where the library has it; else the processor.
    Cuda,
    /// The processor.
    Cpu,
}

impl Provider {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tensorrt => "tensorrt",
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }

    /// What is tried, in this order. The processor is always the last.
    pub(super) const fn tried(self) -> &'static [Self] {
        match self {
            Self::Auto => &[Self::Tensorrt, Self::Cuda, Self::Cpu],
            Self::Tensorrt => &[Self::Tensorrt, Self::Cpu],
            Self::Cuda => &[Self::Cuda, Self::Cpu],
            Self::Cpu => &[Self::Cpu],
        }
    }
}

/// What runs the models in fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What was asked for.
    pub asked: Provider,
    /// What a model that is loaded now runs on.
    pub used: Provider,
    /// What was tried before and cannot be used, each with the reason.
    pub refused: Vec<(Provider, String)>,
    /// The library.
    pub library: PathBuf,
}

impl Standing {
    /// Whether the models run on something lesser than what was asked for, or than what the
    /// library promised.
    pub const fn is_fallback(&self) -> bool {
        !self.refused.is_empty()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = match self.used {
            Provider::Tensorrt => "TensorRT",
            Provider::Cuda => "CUDA",
            Provider::Cpu | Provider::Auto => "the processor",
        };
        write!(f, "models run on {used}, by `{}`", self.library.display())?;
        for (provider, why) in &self.refused {
            write!(f, "; `{}` cannot be used: {why}", provider.as_str())?;
        }
        Ok(())
    }
}

/// Providers that were tried and cannot be used, with the reason, for the rest of the process.
pub(super) type Refused = Arc<Mutex<BTreeMap<Provider, String>>>;

/// Makes a thing with the first provider that can. A provider that failed where a later one did
/// not is refused from then on; where all fail it is the thing's fault, and none is.
pub(super) fn first_that_works<T>(
    usable: &[Provider],
    refused: &Mutex<BTreeMap<Provider, String>>,
    mut make: impl FnMut(Provider) -> Result<T, InferError>,
) -> Result<T, InferError> {
    let mut failed = Vec::new();
    for provider in usable {
        match make(*provider) {
            Ok(made) => {
                for (provider, why) in failed {
                    refuse(refused, provider, why);
                }
                return Ok(made);
            }
            Err(e) if *provider == Provider::Cpu => return Err(e),
            Err(e) => failed.push((*provider, e.to_string())),
        }
    }
    make(Provider::Cpu)
}

/// Notes and says, once, that a provider cannot be used.
pub(super) fn refuse(refused: &Mutex<BTreeMap<Provider, String>>, provider: Provider, why: String) {
    let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
    if let Entry::Vacant(place) = refused.entry(provider) {
        let provider = provider.as_str();
        tracing::warn!(provider, %why, "provider cannot be used: models run without it");
        place.insert(why);
    }
}
