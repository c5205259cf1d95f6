//! `temoin-agent`: the unit in the van.
#![forbid(unsafe_code)]

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser;
use rustix::process::{Resource, Rlimit, setrlimit};
use temoin_agent::cli::Cli;

fn main() -> ExitCode {
    temoin_media::limit_memory_arenas();
    let cli = Cli::parse();
    // Pictures are in this process's memory: a core dump would put them on the disk.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(e) = setrlimit(Resource::Core, none) {
        drop(writeln!(std::io::stderr(), "temoin-agent: core dumps cannot be switched off: {e}"));
        return ExitCode::FAILURE;
    }
    let level = match cli.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug,h2=info,hyper=info,tower=info,rustls=info",
    };
    let filter = std::env::var("TEMOIN_LOG").unwrap_or_else(|_| level.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
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
