//! `temoin-keys`: see `temoin-keys --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    temoin_keys::cli::run(temoin_keys::cli::Cli::parse())
}
