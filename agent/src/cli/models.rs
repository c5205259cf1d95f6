//! `temoin-agent models`

use std::{
    io::{Stdout, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use clap::Subcommand;

use super::ConfigArg;
use crate::{
    config::Config,
    model_pack::{self, ModelPack, Origin},
    perception::swap,
};

/// Show, verify or install the models.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say which networks there are, built in or downloaded, and what runs them.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
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
            Command::List { config } => {
                let options = Config::load(&config.config)?.perception();
                list(&mut out, &ModelPack::builtin()?)?;
                match ModelPack::open(&options.models) {
                    Ok(pack) => list(&mut out, &pack)?,
                    Err(e) => writeln!(out, "no downloaded pack: {e}")?,
                }
                writeln!(out, "{}", swap::provider_health(&options).text)?;
            }
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

fn list(out: &mut Stdout, pack: &ModelPack) -> Result<()> {
    match pack.origin() {
        Origin::BuiltIn => writeln!(out, "{}, built in:", pack.name())?,
        Origin::Folder(dir) => {
            writeln!(out, "{}, downloaded, in `{}`:", pack.name(), dir.display())?
        }
    }
    if pack.models().is_empty() {
        writeln!(out, "  none")?;
    }
    for model in pack.models() {
        let m = model.entry();
        writeln!(out, "  {} ({} bytes, {})", m.file, m.bytes, m.licence)?;
    }
    for m in pack.missing() {
        writeln!(out, "  {} is missing: run `make models`", m.file)?;
    }
    Ok(())
}
