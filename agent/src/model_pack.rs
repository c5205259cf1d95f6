//! The model pack: which weights the unit may run, and the only way to read them.
//!
//! INVARIANT: a byte of a model reaches the inference library only after the whole file was
//! hashed and the hash was that of the manifest built into this program. The bytes that were
//! hashed are the bytes that run: a file is read once.
//!
//! A crash during [`install`] leaves a `.tmp` file beside whole ones; the next run replaces it.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::durable::{self, FileError};

/// `models/pack.toml`. Built in, because a manifest that lies beside the models could be changed
/// together with them.
const MANIFEST: &str = include_str!("../../models/pack.toml");

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
    #[serde(rename = "model")]
    pub models: Vec<ModelEntry>,
}

impl PackManifest {
    /// The manifest that this program was built with.
    ///
    /// # Errors
    /// [`ModelPackError::Manifest`], which a test rules out for the one that ships.
    pub fn built_in() -> Result<Self, ModelPackError> {
        Self::parse(MANIFEST)
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
    bytes: Vec<u8>,
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
        let mut bytes = Vec::new();
        // Bounded once more: the file may grow while it is read.
        file.take(entry.bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(FileError::new("read", &path))?;
        let found = ring::digest::digest(&ring::digest::SHA256, &bytes);
        if found.as_ref() != entry.sha256 {
            let (expected, found) = (hex::encode(entry.sha256), hex::encode(found));
            return Err(ModelPackError::WrongHash { path, expected, found });
        }
        Ok(Some(Self { entry: entry.clone(), bytes }))
    }
}

/// The models that a folder holds, all of them checked.
#[derive(Debug)]
pub struct ModelPack {
    name: String,
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
        Ok(Self { name: manifest.name.clone(), models, missing })
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        &self.name
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
mod tests {
    use super::*;

    /// A pack of two tiny files, of which the second is not required.
    fn manifest() -> PackManifest {
        let mut manifest = PackManifest::built_in().unwrap();
        manifest.models.truncate(2);
        for (model, content) in manifest.models.iter_mut().zip(["one", "two"]) {
            model.file = format!("{content}.onnx");
            model.bytes = 3;
            let hash = ring::digest::digest(&ring::digest::SHA256, content.as_bytes());
            model.sha256.copy_from_slice(hash.as_ref());
        }
        assert!(manifest.models[0].required && !manifest.models[1].required);
        manifest
    }

    #[test]
    fn the_built_in_manifest_names_all_roles_once() {
        let manifest = PackManifest::built_in().unwrap();
        let mut roles: Vec<_> = manifest.models.iter().map(|m| m.role).collect();
        roles.sort();
        use ModelRole::{EyeLandmarks, FaceDetector, HeadPose1x1, HeadPoseVar, ObjectDetector};
        assert_eq!(roles, [FaceDetector, HeadPose1x1, HeadPoseVar, EyeLandmarks, ObjectDetector]);
        for model in &manifest.models {
            assert!(model.upstream.starts_with("https://"), "{}", model.upstream);
            assert!((1..=64 << 20).contains(&model.bytes), "{}", model.file);
            assert!(!model.input.is_empty() && model.outputs.iter().all(|o| !o.is_empty()));
        }
    }

    #[test]
    fn broken_manifests_are_refused() {
        for (name, from, to, want) in [
            ("schema", "temoin.models/1", "temoin.models/2", "schema"),
            ("unknown key", "name = \"cabin-1\"", "nom = \"cabin-1\"", "unknown field `nom`"),
            ("folder", "yunet_n_320_320.onnx\"\nrole", "../x\"\nrole", "plain file name"),
            ("hidden", "yunet_n_320_320.onnx\"\nrole", ".x\"\nrole", "plain file name"),
            ("two roles", "head_pose_var", "head_pose_1x1", "another has"),
            ("short hash", "sha256 = \"81", "sha256 = \"", "string length"),
        ] {
            let text = MANIFEST.replacen(from, to, 1);
            assert_ne!(text, MANIFEST, "{name}");
            let error = PackManifest::parse(&text).unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error}");
        }
    }

    #[test]
    fn a_pack_opens_only_with_the_right_bytes() {
        for (name, one, two, want) in [
            ("whole", Some("one"), Some("two"), Ok(0)),
            ("not required and missing", Some("one"), None, Ok(1)),
            ("required and missing", None, Some("two"), Err("make models")),
            ("other bytes", Some("onE"), Some("two"), Err("sha256 is")),
            ("other bytes, not required", Some("one"), Some("twO"), Err("sha256 is")),
            ("cut off", Some("on"), Some("two"), Err("it has 2 bytes, expected 3")),
            ("too long", Some("one "), Some("two"), Err("it has 4 bytes, expected 3")),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (file, content) in [("one.onnx", one), ("two.onnx", two)] {
                if let Some(content) = content {
                    fs::write(dir.path().join(file), content).unwrap();
                }
            }
            match (ModelPack::open_as(&manifest(), dir.path()), want) {
                (Ok(pack), Ok(missing)) => {
                    assert_eq!(pack.missing().len(), missing, "{name}");
                    assert_eq!(pack.get(ModelRole::FaceDetector).unwrap().bytes(), b"one");
                }
                (Err(error), Err(want)) => {
                    let text = error.to_string();
                    assert!(text.contains(want) && text.contains(".onnx"), "{name}: {text}");
                    assert!(text.contains("make models"), "{name}: {text}");
                }
                (got, want) => panic!("{name}: {got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn a_manifest_beside_the_models_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one.onnx"), "bad").unwrap();
        let bad = hex::encode(ring::digest::digest(&ring::digest::SHA256, b"bad"));
        fs::write(dir.path().join("pack.toml"), format!("sha256 = \"{bad}\"")).unwrap();
        let error = ModelPack::open_as(&manifest(), dir.path()).unwrap_err();
        assert!(matches!(error, ModelPackError::WrongHash { .. }), "{error}");
    }

    #[test]
    fn install_copies_what_is_right_and_only_once() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = to.path().join("new/models");
        fs::write(from.path().join("one.onnx"), "one").unwrap();
        fs::write(from.path().join("two.onnx"), "twO").unwrap();
        let error = install_as(&manifest(), from.path(), &target).unwrap_err();
        assert!(matches!(error, ModelPackError::WrongHash { .. }), "{error}");
        assert!(!target.exists(), "nothing is touched before all of the source is checked");

        fs::write(from.path().join("two.onnx"), "two").unwrap();
        assert_eq!(install_as(&manifest(), from.path(), &target).unwrap(), 2);
        assert_eq!(install_as(&manifest(), from.path(), &target).unwrap(), 0);
        fs::write(target.join("two.onnx"), "damaged").unwrap();
        fs::write(target.join("two.onnx.tmp"), "an earlier crash").unwrap();
        assert_eq!(install_as(&manifest(), from.path(), &target).unwrap(), 1);
        assert_eq!(fs::read(target.join("two.onnx")).unwrap(), b"two");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    }
}
