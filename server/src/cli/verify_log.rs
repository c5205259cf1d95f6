//! `verify-log`: checks the whole access log without the server's own word.

use std::path::Path;

use temoin_access_log::verify;

use super::say;
use crate::config::Config;

pub(super) fn run(path: &Path) -> Result<(), anyhow::Error> {
    let config = Config::read(path)?;
    let folder = config.log();
    let key = verify::read_public_key(&folder)?;
    let verified = verify::verify_log(&folder, &key, &[])?;
    say(&format!("size {}", verified.checkpoint.size()))?;
    say(&format!("root {}", verified.checkpoint.root()))
}
