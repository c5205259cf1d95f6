//! The command line: one file for each subcommand.

pub mod check;
pub mod enrol;
pub mod limits;
pub mod look;
pub mod models;
pub mod replay;
pub mod run;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Where the configuration is unless --config names another.
pub const CONFIG: &str = "/etc/temoin/agent.toml";

/// The unit in the van: watches road and driver, keeps unflagged video in RAM only, and uploads
/// flagged clips, sealed, to its fleet's server.
#[derive(Parser)]
#[command(name = "temoin-agent", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more: -v for INFO, -vv for DEBUG (may name places; never in production).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  temoin-agent replay --cabin me.mp4 --road road.mp4 --nmea track.nmea
      look at your own dashcam files; nothing is kept or sent
  temoin-agent enrol --ticket ticket.toml --config agent.toml
      make this unit one of the fleet's, with the administrator's one-time ticket
  temoin-agent replay drives/monday --config agent.toml --speed max
      drive a recorded drive and upload what is flagged
  temoin-agent check --config agent.toml
      say what is there, what is wrong and what to do; changes nothing
  temoin-agent look me.mp4
      show what the unit sees: an annotated video beside you, and in words what was not seen and why
  temoin-agent limits build romania-latest.osm.pbf --country RO --out limits.temoin
      make the file of speed limits from an OpenStreetMap extract
  temoin-agent run --config agent.toml
      drive with this machine's own cameras";

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Replay(replay::Args),
    Enrol(enrol::Args),
    Check(check::Args),
    Models(models::Args),
    Look(look::Args),
    Limits(limits::Args),
}

/// The option that names the configuration.
#[derive(clap::Args)]
pub struct ConfigArg {
    /// Configuration file.
    #[arg(long, default_value = CONFIG, value_name = "FILE")]
    pub config: PathBuf,
}

impl Cli {
    /// Carries out the subcommand.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::Replay(args) => args.run(),
            Command::Enrol(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Models(args) => args.run(),
            Command::Look(args) => args.run(),
            Command::Limits(args) => args.run(),
        }
    }
}
