//! `verify-log`: checks the whole access log without the server's own word.

use std::path::Path;

use temoin_access_log::{Checkpoint, files, verify};

use super::say;
use crate::config::Config;

pub(super) fn run(path: &Path) -> Result<(), anyhow::Error> {
    let config = Config::read(path)?;
    let folder = config.log();
    let key = verify::read_public_key(&folder)?;
    // What witnesses cosigned must be in it.
    let cosigned = files::read_if_there(&folder.join(files::COSIGNED))?;
    let kept: Vec<Checkpoint> =
        cosigned.map(|note| Checkpoint::parse(&note, &key)).transpose()?.into_iter().collect();
    let verified = verify::verify_log(&folder, &key, &kept)?;
    say(&format!("size {}", verified.checkpoint.size()))?;
    say(&format!("root {}", verified.checkpoint.root()))
}
