//! `temoin-server`: see `temoin-server --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    temoin_server::cli::run(temoin_server::cli::Cli::parse())
}
