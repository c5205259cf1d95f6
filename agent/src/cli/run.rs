//! `temoin-agent run`

use anyhow::Result;
use temoin_hw::pace::StopToken;

use super::ConfigArg;
use crate::{
    config::Config,
    unit::{self, After, Run, Source},
};

/// Drive with this machine's own devices, until stopped.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        unit::run(Run {
            config: Config::load(&self.config.config)?,
            source: Source::Devices,
            stop: StopToken::new(),
            keep: true,
            after: After::Nothing,
            report: None,
        })
    }
}
