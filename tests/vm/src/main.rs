//! Tests of the unit's devices against real Linux drivers, and of its disk against power cuts, in an
//! emulated machine.
//!
//! QEMU boots Debian's own kernel with its virtual drivers, one machine for each scenario, and mounts
//! this machine's root read-only. In it this same program runs as the guest: it loads the scenario's
//! drivers, runs the unit's own capture on them, makes faults, and says on the serial line how it went.
//!
//! Nothing of the machine that it runs on is changed: the guest can write to its own memory only.
#![forbid(unsafe_code)]

mod bench;
mod cab;
mod cameras;
mod chip;
mod guest;
mod host;
mod imu;
mod power;
mod scenario;
mod service;
mod signals;
mod together;
mod vehicle;
mod vivid;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tests the unit's devices against real Linux drivers, in an emulated machine
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot a machine for each scenario and say how it went.
    Run(host::Run),
    /// Inside of such a machine: run one scenario.
    Guest {
        /// Its name.
        scenario: String,
        /// The unpacked kernel, with its modules.
        kernel: PathBuf,
    },
    /// Inside of such a machine, and of the unit's service: say what it can reach and what not.
    Service,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            host::say(&format!("{}{e:#}", guest::FAILED));
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn run() -> Result<bool> {
    match Args::parse().command {
        Command::Run(run) => run.run(),
        Command::Guest { scenario, kernel } => guest::run(&scenario, &kernel).map(|()| true),
        Command::Service => service::within().map(|()| true),
    }
}
