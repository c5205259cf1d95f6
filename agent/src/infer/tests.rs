//! Tests of the runtime: libraries that are none, providers that are not there, models that do not
//! keep their contract.

use std::{fs, process::Command};

use super::*;
use crate::model_pack::ModelPack;

fn load(library: &Path) -> Result<Runtime, InferError> {
    Runtime::load(&InferOptions { library: Some(library.to_owned()), ..InferOptions::default() })
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

/// The library, or a line that says why the test is skipped.
fn runtime(provider: Provider) -> Option<Runtime> {
    match Runtime::load(&InferOptions { provider, ..InferOptions::default() }) {
        Ok(runtime) => Some(runtime),
        Err(e @ InferError::NoLibrary) => {
            println!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// The smallest model there is: `y = x`, as ONNX writes it down.
fn identity_model(input: &str, sides: &[u8]) -> VerifiedModel {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend(content);
        out
    }
    let tensor = |name: &str| {
        let dims: Vec<u8> = sides.iter().flat_map(|s| field(1, &[1 << 3, *s])).collect();
        // Element type 1: 32-bit floats.
        let ty = [vec![1 << 3, 1], field(2, &dims)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &ty))].concat()
    };
    let node = [field(1, input.as_bytes()), field(2, b"y"), field(4, b"Sqrt")].concat();
    let graph =
        [field(1, &node), field(2, b"g"), field(11, &tensor(input)), field(12, &tensor("y"))];
    let model = [vec![1 << 3, 8], field(7, &graph.concat()), field(8, &[2 << 3, 13])].concat();
    VerifiedModel::for_tests(model, (input, &[1, 3]), ("y", &[1, 3]))
}

#[test]
fn a_provider_that_the_library_has_not_is_said_and_the_processor_takes_over() {
    let Some(runtime) = runtime(Provider::Cuda) else { return };
    if is_in_library(Provider::Cuda) {
        return println!("skipped: this library has CUDA");
    }
    let standing = runtime.standing();
    assert!(standing.is_fallback());
    assert_eq!((standing.asked, standing.used), (Provider::Cuda, Provider::Cpu));
    let said = standing.to_string();
    for word in ["the processor", "`cuda` cannot be used", "built without"] {
        assert!(said.contains(word), "{said}");
    }
    let mut network = runtime.network(&identity_model("x", &[1, 3])).unwrap();
    assert_eq!(network.run(&[4.0, 9.0, 16.0]).unwrap().get("y").unwrap(), [2.0, 3.0, 4.0]);
}

#[test]
fn the_choice_left_open_is_no_fallback_where_there_is_only_the_processor() {
    let Some(runtime) = runtime(Provider::Auto) else { return };
    if is_in_library(Provider::Cuda) {
        return println!("skipped: this library has CUDA");
    }
    let standing = runtime.standing();
    assert_eq!((standing.is_fallback(), standing.used), (false, Provider::Cpu), "{standing}");
}

#[test]
fn the_first_provider_that_works_is_taken() {
    use Provider::{Cpu, Cuda, Tensorrt};
    let no = || InferError::Contract { model: "m".to_owned(), what: "no".to_owned() };
    for (name, works, used, refused) in [
        ("all", vec![Tensorrt, Cuda, Cpu], Some(Tensorrt), vec![]),
        ("no engine", vec![Cuda, Cpu], Some(Cuda), vec![Tensorrt]),
        ("only the processor", vec![Cpu], Some(Cpu), vec![Tensorrt, Cuda]),
        ("a broken model", vec![], None, vec![]),
    ] {
        let standing = Mutex::default();
        let got = first_that_works(Provider::Auto.tried(), &standing, |provider| {
            works.contains(&provider).then_some(provider).ok_or_else(no)
        });
        assert_eq!(got.ok(), used, "{name}");
        let said: Vec<_> = standing.into_inner().unwrap().into_keys().collect();
        assert_eq!(said, refused, "{name}");
    }
}

#[test]
fn numbers_that_are_none_and_broken_files_are_errors() {
    let Some(runtime) = runtime(Provider::Cpu) else { return };
    let good = identity_model("x", &[1, 3]);
    let mut network = runtime.network(&good).unwrap();
    let outputs = network.run(&[-1.0, 0.0, 1.0]).unwrap();
    let error = outputs.get("y").unwrap_err().to_string();
    assert!(error.contains("not finite"), "{error}");

    let cut = |n: usize| {
        let bytes = good.bytes()[..n].to_vec();
        VerifiedModel::for_tests(bytes, ("x", &[1, 3]), ("y", &[1, 3]))
    };
    for n in 0..good.bytes().len() {
        let error = runtime.network(&cut(n)).err().unwrap_or_else(|| panic!("cut at {n}: loaded"));
        assert!(matches!(error, InferError::Load { .. } | InferError::Contract { .. }), "{error}");
    }
    for (name, model, want) in [
        ("other side", identity_model("x", &[1, 4]), "has the shape"),
        ("other rank", identity_model("x", &[3]), "has the shape"),
    ] {
        let error = runtime.network(&model).err().unwrap().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn engines_are_kept_where_only_the_unit_writes() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("data/engines");
    assert!(usable_cache(&cache));
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(!usable_cache(&dir.path().join("file/engines")));
    assert!(!usable_cache(Path::new("a\0b")));
}

#[test]
fn the_networks_of_this_program_keep_their_contracts() {
    let Some(runtime) = runtime(Provider::Cpu) else { return };
    for model in ModelPack::builtin().unwrap().models() {
        let entry = model.entry();
        let mut network = runtime.network(model).unwrap();
        let grey = vec![0.5; entry.input.len()];
        let given = network.run(&grey).unwrap();
        for output in &entry.outputs {
            assert_eq!(given.get(&output.name).unwrap().len(), output.len(), "{}", entry.file);
        }
    }
}
