//! Recorded data for tests, which lies beside a checkout where somebody has it.

use std::path::PathBuf;

/// A file or folder under `../shared/data` beside the checkout; says so where it is not there.
pub(crate) fn shared_data(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data `{name}` beside the checkout");
    None
}
