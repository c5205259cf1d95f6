//! The model pack: which weights the unit may run, and the only way to read them.
//!
//! INVARIANT: a byte of a model reaches the inference library only after the whole file was
//! hashed and the hash was that of the manifest built into this program. The bytes that were
//! hashed are the bytes that run: a file is read once. The networks that are part of this program
//! ([`ModelPack::builtin`]) are hashed like any other.
//!
//! A crash during [`install`] leaves a `.tmp` file beside whole ones; the next run replaces it.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    durable::{self, FileError},
    health::State,
};

/// `models/pack.toml`. Built in, because a manifest that lies beside the models could be changed
/// together with them.
const MANIFEST: &str = include_str!("../../models/pack.toml");

/// `models/builtin.toml`, which `scripts/builtin-manifest.sh` writes.
const BUILTIN_MANIFEST: &str = include_str!("../../models/builtin.toml");

/// The files that it names, put here by `build.rs`.
static BUILTIN_FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The only schema that this version reads.
const SCHEMA: &str = "temoin.models/1";

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// Faces and five points of each.
    FaceDetector,
    /// Head pose, the first of two whose mean is taken.
    #[serde(rename = "head_pose_1x1")]
    HeadPose1x1,
    /// Head pose, the second of two.
    HeadPoseVar,
    /// The outline of one eye.
    EyeLandmarks,
    /// How far one eye is open, whether it can be seen, where its iris is.
    EyeState,
    /// Pose, points and mouth of a face, and whether it is one and is free.
    FaceState,
    /// Whether the driver holds a phone.
    Phone,
    /// Persons, vehicles and phones.
    ObjectDetector,
}

/// A tensor that a model takes or gives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorContract {
    /// Its name in the model.
    pub name: String,
    /// Its sides; every model here has fixed ones.
    pub shape: Vec<usize>,
    /// What the numbers are, in words.
    pub meaning: String,
}

impl TensorContract {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One file of the pack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// File name, without a folder.
    pub file: String,
    /// What it is for.
    pub role: ModelRole,
    /// Whether the pack is of no use without it.
    pub required: bool,
    /// SHA-256 of the file.
    #[serde(deserialize_with = "sha256_of_hex")]
    pub sha256: [u8; 32],
    /// Size of the file.
    pub bytes: u64,
    /// SPDX name of its licence.
    pub licence: String,
    /// Where it comes from.
    pub upstream: String,
    /// How the file was made out of what lies upstream, where it is not the same file.
    pub conversion: Option<String>,
    /// What it takes.
    pub input: TensorContract,
    /// What it gives.
    pub outputs: Vec<TensorContract>,
}

/// The whole manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackManifest {
    /// The manifest's own version.
    pub schema: String,
    /// The pack's name.
    pub name: String,
    /// The files.
    #[serde(default, rename = "model")]
    pub models: Vec<ModelEntry>,
}

impl PackManifest {
    /// The manifest of the downloadable pack that this program was built with.
    ///
    /// # Errors
    /// [`ModelPackError::Manifest`], which a test rules out for the one that ships.
    pub fn built_in() -> Result<Self, ModelPackError> {
        Self::parse(MANIFEST)
    }

    /// The manifest of the networks that are part of this program; it may name none.
    ///
    /// # Errors
    /// [`ModelPackError::Manifest`], which a test rules out for the one that ships.
    pub fn of_builtin_pack() -> Result<Self, ModelPackError> {
        Self::parse(BUILTIN_MANIFEST)
    }

    fn parse(text: &str) -> Result<Self, ModelPackError> {
        let manifest: Self =
            toml::from_str(text).map_err(|e| ModelPackError::Manifest(e.message().to_owned()))?;
        let wrong = |what: String| Err(ModelPackError::Manifest(what));
        if manifest.schema != SCHEMA {
            return wrong(format!("schema `{}` is not `{SCHEMA}`", manifest.schema));
        }
        for (n, model) in manifest.models.iter().enumerate() {
            // A name with a folder in it could lead out of the pack.
            if model.file.is_empty() || model.file.contains('/') || model.file.starts_with('.') {
                return wrong(format!("`{}` is not a plain file name", model.file));
            }
            let earlier = manifest.models.iter().take(n);
            if earlier.into_iter().any(|m| m.role == model.role || m.file == model.file) {
                return wrong(format!("`{}` has a role or name that another has", model.file));
            }
        }
        Ok(manifest)
    }
}

fn sha256_of_hex<'de, D: serde::Deserializer<'de>>(de: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(de)?;
    let mut out = [0; 32];
    hex::decode_to_slice(&text, &mut out).map_err(serde::de::Error::custom)?;
    Ok(out)
}

/// Why a pack cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelPackError {
    /// The manifest in this program is broken.
    #[error("the built-in manifest of the model pack is broken: {0}")]
    Manifest(String),
    /// A file that the pack is of no use without.
    #[error("no model `{}`: run `make models`, or name the pack's folder", .0.display())]
    Missing(PathBuf),
    /// A file that is not the one the manifest names.
    #[error(
        "model `{}` is refused: sha256 is {found}, expected {expected}: delete it and run `make models`",
        path.display()
    )]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// Hash of the manifest, hex.
        expected: String,
        /// Hash of the file, hex; of its first bytes where it is too long.
        found: String,
    },
    /// A file that is too short or too long to be the right one.
    #[error(
        "model `{}` is refused: it has {found} bytes, expected {expected}: delete it and run `make models`",
        path.display()
    )]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Size in the manifest.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A model whose bytes are those that the manifest names.
pub struct VerifiedModel {
    entry: ModelEntry,
    bytes: Cow<'static, [u8]>,
}

impl std::fmt::Debug for VerifiedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedModel({}, {} bytes)", self.entry.file, self.bytes.len())
    }
}

impl VerifiedModel {
    /// What the manifest says of it.
    pub const fn entry(&self) -> &ModelEntry {
        &self.entry
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Any bytes with one input and one output, to test what runs them.
    #[cfg(test)]
    pub(crate) fn for_tests(
        bytes: Vec<u8>,
        (input, takes): (&str, &[usize]),
        (output, gives): (&str, &[usize]),
    ) -> Self {
        let tensor = |name: &str, shape: &[usize]| TensorContract {
            name: name.to_owned(),
            shape: shape.to_vec(),
            meaning: String::new(),
        };
        let entry = ModelEntry {
            file: "test.onnx".to_owned(),
            role: ModelRole::Phone,
            required: false,
            sha256: [0; 32],
            bytes: 0,
            licence: String::new(),
            upstream: String::new(),
            conversion: None,
            input: tensor(input, takes),
            outputs: vec![tensor(output, gives)],
        };
        Self { entry, bytes: Cow::Owned(bytes) }
    }

    /// Reads and checks one file; `None` where there is none.
    fn read(dir: &Path, entry: &ModelEntry) -> Result<Option<Self>, ModelPackError> {
        let path = dir.join(&entry.file);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(FileError::new("open", &path)(e).into()),
        };
        let found = file.metadata().map_err(FileError::new("read", &path))?.len();
        if found != entry.bytes {
            return Err(ModelPackError::WrongSize { path, expected: entry.bytes, found });
        }
        // It may grow while it is read: never more than one byte too much is taken.
        let mut bytes = Vec::new();
        file.take(entry.bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(FileError::new("read", &path))?;
        Self::checked(&path, entry, Cow::Owned(bytes)).map(Some)
    }

    fn checked(
        path: &Path,
        entry: &ModelEntry,
        bytes: Cow<'static, [u8]>,
    ) -> Result<Self, ModelPackError> {
        let found = ring::digest::digest(&ring::digest::SHA256, &bytes);
        if found.as_ref() == entry.sha256 {
            return Ok(Self { entry: entry.clone(), bytes });
        }
        let (expected, found) = (hex::encode(entry.sha256), hex::encode(found));
        Err(ModelPackError::WrongHash { path: path.to_owned(), expected, found })
    }
}

/// Where the models of a pack are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In this program.
    BuiltIn,
    /// In a folder.
    Folder(PathBuf),
}

/// Models, all of them checked: those that a folder holds, or those of this program.
#[derive(Debug)]
pub struct ModelPack {
    name: String,
    origin: Origin,
    models: Vec<VerifiedModel>,
    missing: Vec<ModelEntry>,
}

impl ModelPack {
    /// Reads and checks every model of the built-in manifest that lies in `dir`.
    ///
    /// # Errors
    /// [`ModelPackError::WrongHash`] and [`ModelPackError::WrongSize`] for any file that is there
    /// and is not the right one, [`ModelPackError::Missing`] where a required one is not there.
    /// One that is not required and not there is no error: see [`Self::missing`].
    pub fn open(dir: &Path) -> Result<Self, ModelPackError> {
        Self::open_as(&PackManifest::built_in()?, dir)
    }

    /// The networks that are part of this program. There may be none: [`Self::get`] says so for
    /// each role.
    ///
    /// # Errors
    /// [`ModelPackError::Manifest`] and [`ModelPackError::WrongHash`] where this program is damaged.
    pub fn builtin() -> Result<Self, ModelPackError> {
        Self::builtin_as(&PackManifest::of_builtin_pack()?, BUILTIN_FILES)
    }

    fn builtin_as(
        manifest: &PackManifest,
        files: &[(&str, &'static [u8])],
    ) -> Result<Self, ModelPackError> {
        let models = manifest.models.iter().map(|entry| {
            let path = Path::new("models/builtin").join(&entry.file);
            let Some((_, bytes)) = files.iter().find(|(name, _)| *name == entry.file) else {
                return Err(ModelPackError::Missing(path));
            };
            VerifiedModel::checked(&path, entry, Cow::Borrowed(bytes))
        });
        Ok(Self {
            name: manifest.name.clone(),
            origin: Origin::BuiltIn,
            models: models.collect::<Result<_, _>>()?,
            missing: Vec::new(),
        })
    }

    fn open_as(manifest: &PackManifest, dir: &Path) -> Result<Self, ModelPackError> {
        let (mut models, mut missing) = (Vec::new(), Vec::new());
        for entry in &manifest.models {
            match VerifiedModel::read(dir, entry)? {
                Some(model) => models.push(model),
                None if entry.required => {
                    return Err(ModelPackError::Missing(dir.join(&entry.file)));
                }
                None => missing.push(entry.clone()),
            }
        }
        let origin = Origin::Folder(dir.to_owned());
        Ok(Self { name: manifest.name.clone(), origin, models, missing })
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its models are.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its models.
    pub fn models(&self) -> &[VerifiedModel] {
        &self.models
    }

    /// The model for a role, where it is there.
    pub fn get(&self, role: ModelRole) -> Option<&VerifiedModel> {
        self.models.iter().find(|m| m.entry.role == role)
    }

    /// What the manifest names and the folder does not hold.
    pub fn missing(&self) -> &[ModelEntry] {
        &self.missing
    }
}

/// Which models a unit has: those of a folder and those of this program, in plain words.
///
/// `Ok`: the folder has all; `Degraded`: some are missing, or only this program's own are there;
/// `Failed`: there is none.
pub fn describe(dir: &Path) -> (State, String) {
    describe_as(ModelPack::open(dir), ModelPack::builtin(), dir)
}

fn describe_as(
    pack: Result<ModelPack, ModelPackError>,
    builtin: Result<ModelPack, ModelPackError>,
    dir: &Path,
) -> (State, String) {
    let own = match &builtin {
        Ok(own) if own.models.is_empty() => "no network is built in".to_owned(),
        Ok(own) => {
            format!("built in: {} ({})", own.name, names(own.models.iter().map(|m| &m.entry)))
        }
        Err(e) => e.to_string(),
    };
    match pack {
        Ok(pack) if pack.missing.is_empty() => {
            let all = pack.models.len();
            (
                State::Ok,
                format!("downloaded: {} in `{}`, {all} models; {own}", pack.name, dir.display()),
            )
        }
        Ok(pack) => {
            let there = names(pack.models.iter().map(|m| &m.entry));
            let missing = names(pack.missing.iter());
            let text = format!(
                "downloaded: {} in `{}` ({there}), without {missing}: run `make models`; {own}",
                pack.name,
                dir.display(),
            );
            (State::Degraded, text)
        }
        Err(e) => {
            let some = builtin.is_ok_and(|own| !own.models.is_empty());
            let state = if some { State::Degraded } else { State::Failed };
            (state, format!("no downloaded pack: {e}; {own}"))
        }
    }
}

fn names<'a>(entries: impl Iterator<Item = &'a ModelEntry>) -> String {
    entries.map(|e| e.file.as_str()).collect::<Vec<_>>().join(", ")
}

/// Copies the models of the built-in manifest from one folder to another, each checked first and
/// each appearing whole or not at all. What is there and right already is left alone.
/// Returns how many files were copied.
///
/// # Errors
/// As [`ModelPack::open`]; nothing wrong is ever copied.
pub fn install(from: &Path, to: &Path) -> Result<usize, ModelPackError> {
    install_as(&PackManifest::built_in()?, from, to)
}

fn install_as(manifest: &PackManifest, from: &Path, to: &Path) -> Result<usize, ModelPackError> {
    // All of the source is checked before anything of the target changes.
    let source = ModelPack::open_as(manifest, from)?;
    durable::make_folder(to)?;
    let mut copied = 0;
    for model in &source.models {
        let there = VerifiedModel::read(to, &model.entry);
        if matches!(there, Ok(Some(_))) {
            continue;
        }
        let target = to.join(&model.entry.file);
        // A folder where the file should be is not ours to remove.
        if fs::symlink_metadata(&target).is_ok_and(|m| m.is_dir()) {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(FileError::new("replace", &target)(error).into());
        }
        durable::replace(&target, &model.bytes)?;
        copied += 1;
    }
    Ok(copied)
}

#[cfg(test)]
mod tests;
