//! Puts the networks that `models/builtin.toml` names into the program, so that adding one is a
//! change of the manifest only. What the manifest says of them is checked when they are read
//! (`src/model_pack.rs`).

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let models = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../models");
    let manifest = models.join("builtin.toml");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", manifest.display());
    let text = fs::read_to_string(&manifest)
        .map_err(|e| format!("cannot read `{}`: {e}", manifest.display()))?;
    let mut files = String::from("&[");
    // The script that writes the manifest puts each name on a line of its own.
    for line in text.lines() {
        let Some(name) = line.strip_prefix("file = \"").and_then(|l| l.strip_suffix('"')) else {
            continue;
        };
        let path = models.join("builtin").join(name);
        println!("cargo:rerun-if-changed={}", path.display());
        let path = path
            .canonicalize()
            .map_err(|e| format!("`{}`: {e}: run scripts/builtin-manifest.sh", path.display()))?;
        write!(files, "({name:?}, include_bytes!({path:?})),")?;
    }
    files.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("builtin.rs"), files)?;
    Ok(())
}
