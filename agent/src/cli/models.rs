//! `temoin-agent models`

use std::{io::Write as _, path::PathBuf};

use anyhow::Result;
use clap::Subcommand;

use crate::model_pack::{self, ModelPack};

/// Verify or install the model pack.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check every model of a folder against the pack's manifest.
    Verify {
        /// The folder.
        folder: PathBuf,
    },
    /// Copy models into a folder, each checked; a wrong one is refused.
    Install {
        /// Where they are.
        from: PathBuf,
        /// Where they are to be.
        to: PathBuf,
    },
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let mut out = std::io::stdout();
        match self.command {
            Command::Verify { folder } => {
                let pack = ModelPack::open(&folder)?;
                writeln!(out, "pack {}: verified", pack.name())?;
            }
            Command::Install { from, to } => {
                let copied = model_pack::install(&from, &to)?;
                writeln!(out, "{copied} models copied and verified")?;
            }
        }
        Ok(())
    }
}
