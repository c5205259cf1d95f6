//! ONNX Runtime: loading its shared library, making sessions, running them.
//!
//! The only file that knows the library. It is loaded while the program runs
//! (`ORT_DYLIB_PATH`, or a path in the configuration), so that one build serves every board: which
//! providers (TensorRT, CUDA) there are is a matter of that library.
//!
//! INVARIANT: nothing of the library is called before [`Runtime::load`] has loaded and checked it;
//! a missing or wrong library is an error, never a panic. A process loads one library, once.
//! INVARIANT: no telemetry, and no model is run that is not a [`VerifiedModel`].
//! INVARIANT: a provider that cannot be used is said once, and the models run on the processor:
//! it never blinds the unit. INVARIANT: who holds a [`Network`] has one that ran once already.
//!
//! What TensorRT keeps of its engines lies in [`InferOptions::engine_cache`]; a crash leaves there
//! what TensorRT throws away or makes anew.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ort::{
    environment::Environment,
    ep::ExecutionProviderDispatch,
    logging::LogLevel,
    session::{Session, SessionOutputs, builder::GraphOptimizationLevel},
    value::{TensorRef, ValueType},
};
mod providers;

pub use self::providers::{Provider, Standing};
use self::providers::{Refused, first_that_works, refuse};
use crate::{
    durable,
    model_pack::{TensorContract, VerifiedModel},
};

/// How models are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferOptions {
    /// The shared library. Where it is not given: `ORT_DYLIB_PATH`, then
    /// `$TEMOIN_CACHE/onnxruntime` (`~/.cache/temoin/onnxruntime`), where
    /// `scripts/onnxruntime.sh` puts it.
    pub library: Option<PathBuf>,
    /// Threads that one model runs on. The models here are too small to gain from more than 1.
    pub threads: u8,
    /// What runs the models.
    pub provider: Provider,
    /// Where TensorRT keeps the engines that it built, which takes it minutes. They run as they
    /// lie there, so nobody but the unit may write in this folder; it is made at need, for the
    /// owner alone. `None`: they are built anew at each start.
    pub engine_cache: Option<PathBuf>,
    /// Whether TensorRT may compute with 16-bit floats.
    pub fp16: bool,
}

impl Default for InferOptions {
    fn default() -> Self {
        Self {
            library: None,
            threads: 1,
            provider: Provider::Auto,
            engine_cache: None,
            fp16: false,
        }
    }
}

/// Why a model does not run.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// No library was named and none is where it usually is.
    #[error(
        "no ONNX Runtime: run `scripts/onnxruntime.sh`, or set `ORT_DYLIB_PATH` to libonnxruntime.so"
    )]
    NoLibrary,
    /// The named library is not there or is no library of this machine.
    #[error("`{}` cannot be ONNX Runtime's library: {why}: check `ORT_DYLIB_PATH`", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The process runs on another library already.
    #[error("`{}` is loaded already: a process cannot load `{}` as well", loaded.display(), wanted.display())]
    OtherLibrary {
        /// The library in use.
        loaded: PathBuf,
        /// The one asked for.
        wanted: PathBuf,
    },
    /// An earlier library was refused, and the process must not try again.
    #[error("`{}` was refused before: restart to load `{}`", refused.display(), wanted.display())]
    Restart {
        /// The library that was refused.
        refused: PathBuf,
        /// The one asked for now.
        wanted: PathBuf,
    },
    /// The library refused the model or the provider.
    #[error("model `{model}` cannot be loaded: {source}")]
    Load {
        /// Its file.
        model: String,
        /// What the library said.
        source: ort::Error,
    },
    /// The model does not take or give what the manifest says.
    #[error("model `{model}` does not keep its contract: {what}")]
    Contract {
        /// Its file.
        model: String,
        /// What differs.
        what: String,
    },
    /// The library failed while it ran the model.
    #[error("model `{model}` failed: {source}")]
    Run {
        /// Its file.
        model: String,
        /// What the library said.
        source: ort::Error,
    },
}

/// What became of the first library that this process tried to load.
enum Loaded {
    Yes(PathBuf, Environment, Refused),
    /// The loader refused it. `ort` (2.0.0-rc.14) then takes the slot of its library for filled
    /// and reads it uninitialised when it is called again: it must not be.
    Refused(PathBuf, String),
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

static RUNS: Mutex<BTreeMap<String, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());

/// How often each model, by its file, ran in this process, on blank inputs included.
pub fn runs() -> BTreeMap<String, u64> {
    let runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    runs.iter().map(|(file, count)| (file.clone(), count.load(Ordering::Relaxed))).collect()
}

fn runs_of(file: &str) -> Arc<AtomicU64> {
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(runs.entry(file.to_owned()).or_default())
}

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
    options: InferOptions,
    refused: Refused,
}

impl Runtime {
    /// Loads the library, or takes the one that is loaded already.
    ///
    /// # Errors
    /// [`InferError::NoLibrary`], [`InferError::NotALibrary`], [`InferError::OtherLibrary`],
    /// [`InferError::Restart`]. A provider that is not there is no error: see [`Self::standing`].
    pub fn load(options: &InferOptions) -> Result<Self, InferError> {
        let path = library_path(options.library.as_deref()).ok_or(InferError::NoLibrary)?;
        let not_a_library = |why: String| InferError::NotALibrary { path: path.clone(), why };
        let path = path.canonicalize().map_err(|e| not_a_library(e.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let (environment, refused) = match &*loaded {
            Some(Loaded::Yes(there, environment, refused)) if *there == path => {
                (environment.clone(), Arc::clone(refused))
            }
            Some(Loaded::Yes(there, ..)) => {
                return Err(InferError::OtherLibrary { loaded: there.clone(), wanted: path });
            }
            Some(Loaded::Refused(refused, why)) if *refused == path => {
                return Err(not_a_library(why.clone()));
            }
            Some(Loaded::Refused(refused, _)) => {
                return Err(InferError::Restart { refused: refused.clone(), wanted: path });
            }
            None => {
                check_elf(&path).map_err(not_a_library)?;
                match environment(&path) {
                    Ok(environment) => {
                        let refused = Refused::default();
                        let slot =
                            Loaded::Yes(path.clone(), environment.clone(), Arc::clone(&refused));
                        *loaded = Some(slot);
                        (environment, refused)
                    }
                    Err(why) => {
                        *loaded = Some(Loaded::Refused(path.clone(), why.clone()));
                        return Err(not_a_library(why));
                    }
                }
            }
        };
        drop(loaded);
        let mut options = options.clone();
        // `check` changes nothing: the folder is made only where an engine can come to lie in it.
        let engines = options.provider.tried().contains(&Provider::Tensorrt)
            && is_in_library(Provider::Tensorrt);
        options.engine_cache = options.engine_cache.filter(|dir| engines && usable_cache(dir));
        let runtime = Self { environment, library: path, options, refused };
        // Who names a provider is told that it is not there; who leaves the choice is not.
        let asked = runtime.options.provider;
        if !is_in_library(asked) {
            refuse(&runtime.refused, asked, "this ONNX Runtime was built without it".to_owned());
        }
        Ok(runtime)
    }

    /// What runs the models.
    pub fn standing(&self) -> Standing {
        let asked = self.options.provider;
        let all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refused =
            asked.tried().iter().filter_map(|p| Some((*p, all.get(p)?.clone()))).collect();
        let used = self.usable(&all).first().copied().unwrap_or(Provider::Cpu);
        Standing { asked, used, refused, library: self.library.clone() }
    }

    fn usable(&self, refused: &BTreeMap<Provider, String>) -> Vec<Provider> {
        let tried = self.options.provider.tried().iter().copied();
        tried.filter(|p| !refused.contains_key(p) && is_in_library(*p)).collect()
    }

    /// A model that has run once, on a blank input: its first picture is as quick as any other.
    ///
    /// # Errors
    /// [`InferError::Load`], [`InferError::Contract`], [`InferError::Run`], as the processor says
    /// them.
    pub fn network(&self, model: &VerifiedModel) -> Result<Network, InferError> {
        let usable = {
            let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            self.usable(&refused)
        };
        first_that_works(&usable, &self.refused, |provider| self.network_on(model, provider))
    }

    fn network_on(&self, model: &VerifiedModel, provider: Provider) -> Result<Network, InferError> {
        let entry = model.entry();
        let name = || entry.file.clone();
        let session = self
            .session(model.bytes(), provider)
            .map_err(|source| InferError::Load { model: name(), source })?;
        let contract = |what| InferError::Contract { model: name(), what };
        let inputs: Vec<_> = session.inputs().iter().map(|i| (i.name(), i.dtype())).collect();
        check_tensor(&inputs, &entry.input).map_err(contract)?;
        if inputs.len() != 1 {
            return Err(contract(format!("it takes {} inputs, not 1", inputs.len())));
        }
        let outputs: Vec<_> = session.outputs().iter().map(|o| (o.name(), o.dtype())).collect();
        for wanted in &entry.outputs {
            check_tensor(&outputs, wanted).map_err(contract)?;
        }
        drop((inputs, outputs));
        let mut network = Network {
            session,
            runs: runs_of(&entry.file),
            name: name(),
            input: entry.input.clone(),
            outputs: entry.outputs.clone(),
        };
        network.warm_up()?;
        Ok(network)
    }

    fn session(&self, bytes: &[u8], provider: Provider) -> ort::Result<Session> {
        let mut builder = Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(usize::from(self.options.threads.max(1)))?
            .with_inter_threads(1)?
            // A thread that spins between pictures burns a core for nothing.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?;
        let wanted = self.dispatch(provider);
        if !wanted.is_empty() {
            builder = builder.with_execution_providers(wanted)?;
        }
        builder.commit_from_memory(bytes)
    }

    /// What the library is asked for, beside the processor.
    fn dispatch(&self, provider: Provider) -> Vec<ExecutionProviderDispatch> {
        let cuda = || ort::ep::CUDA::default().build();
        match provider {
            Provider::Auto | Provider::Cpu => Vec::new(),
            Provider::Cuda => vec![cuda().error_on_failure()],
            Provider::Tensorrt => {
                let mut engine = ort::ep::TensorRT::default().with_fp16(self.options.fp16);
                if let Some(dir) = self.options.engine_cache.as_deref().and_then(Path::to_str) {
                    engine = engine
                        .with_engine_cache(true)
                        .with_engine_cache_path(dir)
                        .with_timing_cache(true)
                        .with_timing_cache_path(dir);
                }
                // Parts of a model that TensorRT cannot run are CUDA's, where that can be had.
                vec![engine.build().error_on_failure(), cuda().fail_silently()]
            }
        }
    }
}

/// Whether the loaded library was built with a provider.
fn is_in_library(provider: Provider) -> bool {
    use ort::ep::ExecutionProvider as _;
    match provider {
        Provider::Auto | Provider::Cpu => true,
        Provider::Tensorrt => ort::ep::TensorRT::is_available().unwrap_or(false),
        Provider::Cuda => ort::ep::CUDA::is_available().unwrap_or(false),
    }
}

/// Whether TensorRT can keep its engines here.
fn usable_cache(dir: &Path) -> bool {
    let said = match dir.to_str() {
        // It goes to the library as a C string.
        Some(text) if !text.contains('\0') => durable::make_folder(dir).map_err(|e| e.to_string()),
        _ => Err(format!("`{}` is no name that the library takes", dir.display())),
    };
    if let Err(why) = &said {
        tracing::warn!(%why, "engines are not kept: they are built anew at each start");
    }
    said.is_ok()
}

/// A model with its session. Runs one picture at a time.
pub struct Network {
    session: Session,
    runs: Arc<AtomicU64>,
    name: String,
    input: TensorContract,
    outputs: Vec<TensorContract>,
}

impl Network {
    /// The first run allocates, and builds engines; blank input, and the contract of what comes out.
    fn warm_up(&mut self) -> Result<(), InferError> {
        let blank = vec![0.0; self.input.len()];
        let given = self.run(&blank)?;
        for output in given.contracts {
            // Nothing need be finite yet: no picture is blank.
            given.numbers(&output.name)?;
        }
        Ok(())
    }

    /// Runs the model.
    ///
    /// # Errors
    /// [`InferError::Contract`] where `input` has not as many numbers as the model takes,
    /// [`InferError::Run`] where the library fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Outputs<'_>, InferError> {
        let Self { session, runs, name, input: contract, outputs } = self;
        if input.len() != contract.len() {
            let what = format!("{} numbers given, it takes {}", input.len(), contract.len());
            return Err(InferError::Contract { model: name.clone(), what });
        }
        let failed = |source| InferError::Run { model: name.clone(), source };
        let tensor =
            TensorRef::from_array_view((contract.shape.as_slice(), input)).map_err(failed)?;
        runs.fetch_add(1, Ordering::Relaxed);
        let values = session.run(ort::inputs![contract.name.as_str() => tensor]).map_err(failed)?;
        Ok(Outputs { name, contracts: outputs, values })
    }
}

/// What a model gave.
pub struct Outputs<'a> {
    name: &'a str,
    contracts: &'a [TensorContract],
    values: SessionOutputs<'a>,
}

impl Outputs<'_> {
    /// The numbers of one output, as many as its contract says, all of them finite.
    ///
    /// # Errors
    /// [`InferError::Contract`] where there is no such output, it has another size, or one of its
    /// numbers is none.
    pub fn get(&self, output: &str) -> Result<&[f32], InferError> {
        let numbers = self.numbers(output)?;
        if numbers.iter().all(|n| n.is_finite()) {
            Ok(numbers)
        } else {
            let what = format!("`{output}` has numbers that are not finite");
            Err(InferError::Contract { model: self.name.to_owned(), what })
        }
    }

    fn numbers(&self, output: &str) -> Result<&[f32], InferError> {
        let contract = |what| InferError::Contract { model: self.name.to_owned(), what };
        let wanted = self.contracts.iter().find(|c| c.name == output);
        let (Some(wanted), Some(value)) = (wanted, self.values.get(output)) else {
            return Err(contract(format!("no output `{output}`")));
        };
        let (_, numbers) = value
            .try_extract_tensor::<f32>()
            .map_err(|source| InferError::Run { model: self.name.to_owned(), source })?;
        if numbers.len() == wanted.len() {
            Ok(numbers)
        } else {
            Err(contract(format!("`{output}` has {} numbers, not {}", numbers.len(), wanted.len())))
        }
    }
}

/// Loads the library. Once a process only: see [`Loaded::Refused`].
fn environment(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|e| e.to_string())?;
    builder
        .with_name("temoin")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|e| e.to_string())
}

/// Where the library is to be: the configuration, the environment, the cache folder.
fn library_path(configured: Option<&Path>) -> Option<PathBuf> {
    let named = || env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()).map(PathBuf::from);
    let cached = || {
        let set = |name| env::var_os(name).filter(|p| !p.is_empty()).map(PathBuf::from);
        let cache = set("TEMOIN_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("temoin")))
            .or_else(|| Some(set("HOME")?.join(".cache/temoin")))?;
        Some(cache.join("onnxruntime/libonnxruntime.so")).filter(|p| p.exists())
    };
    configured.map(Path::to_owned).or_else(named).or_else(cached)
}

/// Whether the file can be a shared library at all: the loader's own message for anything else is
/// hard to understand, and it opens what it is given.
fn check_elf(path: &Path) -> Result<(), String> {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut f| f.read_exact(&mut magic)).map_err(|e| e.to_string())?;
    if magic == *b"\x7fELF" { Ok(()) } else { Err("it is not a shared library".to_owned()) }
}

/// Whether a model has this tensor. A side that the model leaves open fits any.
fn check_tensor(there: &[(&str, &ValueType)], wanted: &TensorContract) -> Result<(), String> {
    let TensorContract { name, shape, .. } = wanted;
    let found =
        there.iter().find(|(n, _)| n == name).ok_or_else(|| format!("no tensor `{name}`"))?;
    let ValueType::Tensor { ty, shape: sides, .. } = found.1 else {
        return Err(format!("`{name}` is not a tensor"));
    };
    let fits = |(side, want): (&i64, &usize)| *side < 0 || usize::try_from(*side) == Ok(*want);
    if *ty != ort::value::TensorElementType::Float32 {
        Err(format!("`{name}` does not hold 32-bit floats"))
    } else if sides.len() == shape.len() && sides.iter().zip(shape).all(fits) {
        Ok(())
    } else {
        Err(format!("`{name}` has the shape {sides:?}, not {shape:?}"))
    }
}

/// The library's own messages, in the agent's log.
fn log(level: LogLevel, category: &str, _id: &str, _location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(category, "onnxruntime: {message}"),
        LogLevel::Warning => tracing::warn!(category, "onnxruntime: {message}"),
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(category, "onnxruntime: {message}"),
    }
}

#[cfg(test)]
mod tests;
