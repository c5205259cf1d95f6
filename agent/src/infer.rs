//! ONNX Runtime: loading its shared library, making sessions, running them.
//!
//! The only file that knows the library. It is loaded while the program runs
//! (`ORT_DYLIB_PATH`, or a path in the configuration), so that one build serves every board.
//!
//! INVARIANT: nothing of the library is called before [`Runtime::load`] has loaded and checked it;
//! a missing or wrong library is an error, never a panic. A process loads one library, once.
//! INVARIANT: no telemetry, and no model is run that is not a
//! [`VerifiedModel`].

use std::{
    env,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    ep::ExecutionProviderDispatch,
    logging::LogLevel,
    session::{Session, SessionOutputs, builder::GraphOptimizationLevel},
    value::{TensorRef, ValueType},
};
use serde::Deserialize;

use crate::model_pack::{TensorContract, VerifiedModel};

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// CUDA. Needs the cargo feature `cuda` and a library built with it.
    Cuda,
    /// TensorRT. Needs the cargo feature `tensorrt` and a library built with it.
    Tensorrt,
}

impl Provider {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }

    /// What the library is asked for, beside the processor.
    fn dispatch(self) -> Result<Option<ExecutionProviderDispatch>, InferError> {
        match self {
            Self::Cpu => Ok(None),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Some(ort::ep::CUDA::default().build().error_on_failure())),
            #[cfg(feature = "tensorrt")]
            Self::Tensorrt => Ok(Some(ort::ep::TensorRT::default().build().error_on_failure())),
            #[cfg(not(all(feature = "cuda", feature = "tensorrt")))]
            other => Err(InferError::NotBuilt(other.as_str())),
        }
    }
}

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
}

impl Default for InferOptions {
    fn default() -> Self {
        Self { library: None, threads: 1, provider: Provider::Cpu }
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
    /// A provider that this program was built without.
    #[error("the provider `{0}` is not in this build: build with `--features {0}`, or set `cpu`")]
    NotBuilt(&'static str),
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
    Yes(PathBuf, Environment),
    /// The loader refused it. `ort` (2.0.0-rc.14) then takes the slot of its library for filled
    /// and reads it uninitialised when it is called again: it must not be.
    Refused(PathBuf, String),
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    threads: u8,
    provider: Provider,
}

impl Runtime {
    /// Loads the library, or takes the one that is loaded already.
    ///
    /// # Errors
    /// [`InferError::NoLibrary`], [`InferError::NotALibrary`], [`InferError::OtherLibrary`],
    /// [`InferError::Restart`], [`InferError::NotBuilt`].
    pub fn load(config: &InferOptions) -> Result<Self, InferError> {
        config.provider.dispatch()?;
        let path = library_path(config.library.as_deref()).ok_or(InferError::NoLibrary)?;
        let not_a_library = |why: String| InferError::NotALibrary { path: path.clone(), why };
        let path = path.canonicalize().map_err(|e| not_a_library(e.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let environment = match &*loaded {
            Some(Loaded::Yes(there, environment)) if *there == path => environment.clone(),
            Some(Loaded::Yes(there, _)) => {
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
                        *loaded = Some(Loaded::Yes(path, environment.clone()));
                        environment
                    }
                    Err(why) => {
                        *loaded = Some(Loaded::Refused(path.clone(), why.clone()));
                        return Err(not_a_library(why));
                    }
                }
            }
        };
        Ok(Self { environment, threads: config.threads.max(1), provider: config.provider })
    }

    /// A model, ready to run.
    ///
    /// # Errors
    /// [`InferError::Load`] and [`InferError::Contract`].
    pub fn network(&self, model: &VerifiedModel) -> Result<Network, InferError> {
        let entry = model.entry();
        let name = || entry.file.clone();
        let session = self
            .session(model.bytes())
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
        Ok(Network {
            session,
            name: name(),
            input: entry.input.clone(),
            outputs: entry.outputs.clone(),
        })
    }

    fn session(&self, bytes: &[u8]) -> ort::Result<Session> {
        let mut builder = Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(usize::from(self.threads))?
            .with_inter_threads(1)?
            // A thread that spins between pictures burns a core for nothing.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?;
        if let Ok(Some(provider)) = self.provider.dispatch() {
            builder = builder.with_execution_providers([provider])?;
        }
        builder.commit_from_memory(bytes)
    }
}

/// A model with its session. Runs one picture at a time.
pub struct Network {
    session: Session,
    name: String,
    input: TensorContract,
    outputs: Vec<TensorContract>,
}

impl Network {
    /// Runs the model.
    ///
    /// # Errors
    /// [`InferError::Contract`] where `input` has not as many numbers as the model takes,
    /// [`InferError::Run`] where the library fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Outputs<'_>, InferError> {
        let Self { session, name, input: contract, outputs } = self;
        if input.len() != contract.len() {
            let what = format!("{} numbers given, it takes {}", input.len(), contract.len());
            return Err(InferError::Contract { model: name.clone(), what });
        }
        let failed = |source| InferError::Run { model: name.clone(), source };
        let tensor =
            TensorRef::from_array_view((contract.shape.as_slice(), input)).map_err(failed)?;
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
    /// The numbers of one output, as many as its contract says.
    ///
    /// # Errors
    /// [`InferError::Contract`] where there is no such output or it has another size.
    pub fn get(&self, output: &str) -> Result<&[f32], InferError> {
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
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::model_pack::ModelPack;

    fn load(library: &Path) -> Result<Runtime, InferError> {
        Runtime::load(&InferOptions {
            library: Some(library.to_owned()),
            ..InferOptions::default()
        })
    }

    #[test]
    fn what_is_no_library_is_an_error_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, text) = (dir.path().join("libonnxruntime.so"), dir.path().join("text.so"));
        fs::write(&text, "not a library").unwrap();
        for _ in 0..2 {
            for path in [&missing, &text, dir.path()] {
                let error = load(path).err().unwrap();
                assert!(matches!(error, InferError::NotALibrary { .. }), "{error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            }
        }
    }

    /// In a process of its own, which it leaves unfit for any other test.
    #[test]
    fn a_library_that_the_loader_refuses_is_an_error_each_time() {
        for library in ["damaged", "another"] {
            let child = Command::new(env::current_exe().unwrap())
                .args(["--exact", "infer::tests::child", "--ignored", "--nocapture"])
                .env("TEMOIN_TEST_LIBRARY", library)
                .output()
                .unwrap();
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(said.contains("1 passed"), "{said}");
        }
    }

    #[test]
    #[ignore = "started by a_library_that_the_loader_refuses_is_an_error_each_time"]
    fn child() {
        let dir = tempfile::tempdir().unwrap();
        let damaged = dir.path().join("damaged.so");
        fs::write(&damaged, b"\x7fELF and nothing that follows").unwrap();
        let path = match env::var("TEMOIN_TEST_LIBRARY").unwrap().as_str() {
            "damaged" => damaged.clone(),
            // A whole library, of other functions: the C library that this runs on.
            _ => {
                let maps = fs::read_to_string("/proc/self/maps").unwrap();
                maps.split_whitespace().find(|f| f.ends_with("libc.so.6")).unwrap().into()
            }
        };
        for _ in 0..2 {
            let error = load(&path).err().unwrap();
            assert!(matches!(error, InferError::NotALibrary { .. }), "{error}");
        }
        let other = env::current_exe().unwrap();
        let error = load(&other).err().unwrap();
        assert!(matches!(error, InferError::Restart { .. }), "{error}");
    }

    #[test]
    fn providers_that_are_not_built_in_are_named() {
        for provider in [Provider::Cuda, Provider::Tensorrt] {
            if provider.dispatch().is_err() {
                let options = InferOptions { provider, ..InferOptions::default() };
                let error = Runtime::load(&options).err().unwrap().to_string();
                assert!(error.contains(&format!("--features {}", provider.as_str())), "{error}");
            }
        }
        assert!(Provider::Cpu.dispatch().unwrap().is_none());
    }

    #[test]
    fn wrong_numbers_and_names_are_errors() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/models");
        if !models.exists() {
            println!("skipped: ../shared/models is not beside the checkout");
            return;
        }
        let runtime = match Runtime::load(&InferOptions::default()) {
            Ok(runtime) => runtime,
            Err(e @ InferError::NoLibrary) => return println!("skipped: {e}"),
            Err(e) => panic!("{e}"),
        };
        let pack = ModelPack::open(&models).unwrap();
        let model = pack.get(crate::model_pack::ModelRole::HeadPose1x1).unwrap();
        let mut network = runtime.network(model).unwrap();
        let error = network.run(&[0.0; 7]).err().unwrap().to_string();
        assert!(error.contains("7 numbers given, it takes 12288"), "{error}");
        let input = vec![0.0; 12288];
        let outputs = network.run(&input).unwrap();
        assert_eq!(outputs.get("output").unwrap().len(), 3);
        let error = outputs.get("outputs").err().unwrap().to_string();
        assert!(error.contains("no output `outputs`"), "{error}");
    }

    #[test]
    fn a_model_must_keep_its_contract() {
        let wanted = |name: &str, shape: &[usize]| TensorContract {
            name: name.to_owned(),
            shape: shape.to_vec(),
            meaning: String::new(),
        };
        let tensor = |ty, sides: &[i64]| ValueType::Tensor {
            ty,
            shape: ort::value::Shape::new(sides.iter().copied()),
            dimension_symbols: ort::value::SymbolicDimensions::empty(sides.len()),
        };
        use ort::value::TensorElementType::{Float32, Int64};
        let there = [
            ("a", &tensor(Float32, &[1, 3])),
            ("b", &tensor(Int64, &[1])),
            ("c", &tensor(Float32, &[-1, 3])),
        ];
        for (name, shape, want) in [
            ("a", vec![1, 3], None),
            ("c", vec![1, 3], None),
            ("a", vec![1, 4], Some("has the shape")),
            ("a", vec![3], Some("has the shape")),
            ("b", vec![1], Some("32-bit floats")),
            ("d", vec![1], Some("no tensor `d`")),
        ] {
            match (check_tensor(&there, &wanted(name, &shape)), want) {
                (Ok(()), None) => {}
                (Err(e), Some(want)) if e.contains(want) => {}
                (got, want) => panic!("{name} {shape:?}: {got:?}, want {want:?}"),
            }
        }
    }
}
