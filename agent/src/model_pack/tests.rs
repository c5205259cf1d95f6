//! Tests of the model pack: what is refused, and what installing leaves.

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
fn the_networks_of_this_program_are_those_of_its_manifest() {
    let pack = ModelPack::builtin().unwrap();
    assert_eq!(*pack.origin(), Origin::BuiltIn);
    assert_eq!(pack.models().len(), BUILTIN_FILES.len());
    assert!(pack.missing().is_empty());
    let bytes: usize = pack.models().iter().map(|m| m.bytes().len()).sum();
    assert!(bytes < 4 << 20, "{bytes} bytes");
    for model in pack.models() {
        let entry = model.entry();
        assert_eq!(pack.get(entry.role).unwrap().entry(), entry);
        assert!(!entry.input.is_empty() && entry.outputs.iter().all(|o| !o.is_empty()));
    }
    assert!(pack.get(ModelRole::FaceDetector).is_none());
}

#[test]
fn a_program_whose_networks_are_damaged_does_not_run_them() {
    for (name, files, want) in [
        ("whole", vec![("one.onnx", b"one".as_slice()), ("two.onnx", b"two")], None),
        ("other bytes", vec![("one.onnx", b"onE"), ("two.onnx", b"two")], Some("sha256 is")),
        ("not there", vec![("one.onnx", b"one")], Some("no model")),
    ] {
        match (ModelPack::builtin_as(&manifest(), &files), want) {
            (Ok(pack), None) => {
                assert_eq!(pack.get(ModelRole::FaceDetector).unwrap().bytes(), b"one");
            }
            (Err(e), Some(want)) if e.to_string().contains(want) => {}
            (got, want) => panic!("{name}: {got:?}, want {want:?}"),
        }
    }
}

#[test]
fn a_manifest_without_models_is_an_empty_pack() {
    let text = format!("schema = \"{SCHEMA}\"\nname = \"none\"\n");
    let pack = ModelPack::builtin_as(&PackManifest::parse(&text).unwrap(), &[]).unwrap();
    assert!(pack.models().is_empty() && pack.get(ModelRole::EyeState).is_none());
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

#[test]
fn what_there_is_is_said_in_plain_words() {
    let folder = |files: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(dir.path().join(format!("{file}.onnx")), file).unwrap();
        }
        dir
    };
    let own = |some: bool| {
        let files: &[(&str, &[u8])] = &[("one.onnx", b"one"), ("two.onnx", b"two")];
        let mut manifest = manifest();
        manifest.models.truncate(if some { 2 } else { 0 });
        ModelPack::builtin_as(&manifest, files)
    };
    for (name, files, some, state, said) in [
        ("all", vec!["one", "two"], true, State::Ok, vec!["2 models", "built in: cabin-1 (one"]),
        (
            "all, none built in",
            vec!["one", "two"],
            false,
            State::Ok,
            vec!["no network is built in"],
        ),
        (
            "one missing",
            vec!["one"],
            true,
            State::Degraded,
            vec!["without two.onnx", "make models"],
        ),
        ("no pack", vec![], true, State::Degraded, vec!["no downloaded pack", "built in"]),
        (
            "nothing",
            vec![],
            false,
            State::Failed,
            vec!["no downloaded pack", "no network is built"],
        ),
    ] {
        let dir = folder(&files);
        let pack = ModelPack::open_as(&manifest(), dir.path());
        let (found, text) = describe_as(pack, own(some), dir.path());
        assert_eq!(found, state, "{name}: {text}");
        for word in said {
            assert!(text.contains(word), "{name}: {text}");
        }
    }
    let dir = folder(&["one"]);
    fs::write(dir.path().join("one.onnx"), "onE").unwrap();
    let (state, text) =
        describe_as(ModelPack::open_as(&manifest(), dir.path()), own(true), dir.path());
    assert_eq!(state, State::Degraded);
    assert!(text.contains("is refused"), "{text}");
}
