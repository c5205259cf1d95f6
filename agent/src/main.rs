//! `temoin-agent`: the unit in the van.
#![forbid(unsafe_code)]

use std::{io::Write as _, process::ExitCode};

use clap::Parser;
use temoin_agent::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug,h2=info,hyper=info,tower=info,rustls=info",
    };
    let filter = std::env::var("TEMOIN_LOG").unwrap_or_else(|_| level.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Nothing is left to be done where even standard error is closed.
            drop(writeln!(std::io::stderr(), "temoin-agent: {e:#}"));
            ExitCode::FAILURE
        }
    }
}
